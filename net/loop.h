// The event loop: readiness of descriptors, timers, and work from elsewhere. The only file that knows asio is loop.cpp.
#pragma once

#include <functional>
#include <memory>

#include "core/time.h"

namespace tg::net {

class Watch;
class Timer;

// Loop runs callbacks one after the other on the thread that calls run(). Everything made from it must be destroyed
// before it. Not thread-safe but for post() and stop().
class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // run returns after stop().
  void run();
  void stop();

  // now is the monotonic time, read afresh at each call.
  static Instant now() noexcept;
  static UnixTime wall() noexcept;

  // post has `work` called from run(), after what is running now. Thread-safe.
  void post(std::function<void()> work);

  // on_signal has `handler` called from run() when one of the process's signals arrives.
  void on_signal(std::initializer_list<int> signals, std::function<void(int)> handler);

 private:
  friend class Watch;
  friend class Timer;
  struct State;
  std::unique_ptr<State> state_;
};

// Watch calls back while a descriptor is ready and interest in that direction is on (level-triggered: what is not read
// is told again). It does not own the descriptor; destroy the Watch before closing it. A callback may destroy its own
// Watch. `on_error` is called while the socket has failed, or both of its directions are shut (EPOLLERR, EPOLLHUP), or
// urgent data waits (EPOLLPRI): also when nobody wants to read or write.
class Watch {
 public:
  Watch() = default;
  Watch(Loop& loop, int fd, std::function<void()> on_readable, std::function<void()> on_writable = {},
        std::function<void()> on_error = {});
  ~Watch();
  Watch(Watch&&) noexcept;
  Watch& operator=(Watch&&) noexcept;

  void want_read(bool on);
  void want_write(bool on);
  void want_error(bool on);
  explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Timer calls back once at a time. Setting it again, or destroying it, forgets the time before. A callback may do both.
class Timer {
 public:
  Timer() = default;
  Timer(Loop& loop, std::function<void()> callback);
  ~Timer();
  Timer(Timer&&) noexcept;
  Timer& operator=(Timer&&) noexcept;

  void at(Instant when);                 // kNever cancels
  void after(Duration delay);
  void cancel();
  explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  struct State;
  void forget() noexcept;
  std::shared_ptr<State> state_;
};

}  // namespace tg::net
