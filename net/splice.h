// Two TCP connections joined byte for byte, inside the kernel.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "core/bytes.h"
#include "net/loop.h"
#include "net/socket.h"

namespace tg::net {

// PipePool lends pipes to Splices for as long as bytes are in them: what a process may hold in pipes is limited
// (fs.pipe-user-pages-soft), and most connections are idle most of the time.
class PipePool {
 public:
  struct Pipe {
    Fd out, in;
  };
  // take errors: exhausted or io, as pipe2(2).
  Result<Pipe> take();
  void give(Pipe empty);

  // moved counts the bytes that have left all its pipes; it may be asked on any thread.
  void count(std::size_t bytes) noexcept { moved_.store(moved() + bytes, std::memory_order_relaxed); }
  std::uint64_t moved() const noexcept { return moved_.load(std::memory_order_relaxed); }

 private:
  std::vector<Pipe> spare_;
  std::atomic<std::uint64_t> moved_{0};   // written by one thread
};

// Splice moves bytes between two connected sockets with splice(2): they never enter this process. An end of one direction
// travels as a half-close.
class Splice {
 public:
  // `first` is sent to `b` before anything that `a` says. `done` is called once, from the Loop, when both directions have
  // ended, one has failed, or one has ended and the other has not followed within 10 s; it may destroy the Splice. `pipes`
  // must outlive this. Errors: Errc::exhausted when no pipe can be made.
  static Result<std::unique_ptr<Splice>> start(Loop& loop, PipePool& pipes, Fd a, Fd b, Buffer first, std::function<void()> done);
  ~Splice();

 private:
  struct State;
  explicit Splice(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace tg::net
