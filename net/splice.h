// Two TCP connections joined byte for byte, inside the kernel.
#pragma once

#include <functional>
#include <memory>

#include "core/bytes.h"
#include "net/loop.h"
#include "net/socket.h"

namespace tg::net {

// Splice moves bytes between two connected sockets with splice(2): they never enter this process. An end of one direction
// travels as a half-close.
class Splice {
 public:
  // `first` is sent to `b` before anything that `a` says. `done` is called once, from the Loop, when both directions have
  // ended, one has failed, or one has ended and the other has not followed within 10 s; it may destroy the Splice. Errors: Errc::exhausted when no pipe can be made.
  static Result<std::unique_ptr<Splice>> start(Loop& loop, Fd a, Fd b, Buffer first, std::function<void()> done);
  ~Splice();

 private:
  struct State;
  explicit Splice(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace tg::net
