#include "net/loop.h"

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>

#include "core/result.h"

namespace tg::net {

struct Loop::State {
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  std::unique_ptr<asio::signal_set> signals;
  std::function<void(int)> on_signal;

  void wait_signal() {
    signals->async_wait([this](const asio::error_code& error, int number) {
      if (error) return;
      on_signal(number);
      wait_signal();
    });
  }
};

Loop::Loop() : state_(std::make_unique<State>()) {}
Loop::~Loop() = default;
void Loop::run() { state_->context.run(); }
void Loop::stop() { state_->context.stop(); }

Instant Loop::now() noexcept { return Instant(std::chrono::steady_clock::now().time_since_epoch()); }
UnixTime Loop::wall() noexcept { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

void Loop::post(std::function<void()> work) { asio::post(state_->context, std::move(work)); }

void Loop::on_signal(std::initializer_list<int> signals, std::function<void(int)> handler) {
  TG_CHECK(!state_->signals);
  state_->on_signal = std::move(handler);
  state_->signals = std::make_unique<asio::signal_set>(state_->context);
  for (const int s : signals) state_->signals->add(s);
  state_->wait_signal();
}

struct Watch::State : std::enable_shared_from_this<Watch::State> {
  // One direction: what to call, whether it is wanted, and whether a wait is under way in the reactor.
  struct Direction {
    std::function<void()> callback;
    bool wanted = false;
    bool waiting = false;
  };

  State(Loop& loop, int fd) : descriptor(loop.state_->context, fd) {}

  void wait(Direction& d, asio::posix::descriptor_base::wait_type type) {
    if (!d.wanted || d.waiting || !alive) return;
    d.waiting = true;
    descriptor.async_wait(type, [self = shared_from_this(), &d, type](const asio::error_code& error) {
      d.waiting = false;
      if (error || !self->alive || !d.wanted) return;
      d.callback();
      self->wait(d, type);
    });
  }
  void end() {
    alive = false;
    descriptor.release();   // the descriptor's owner closes it
  }

  asio::posix::stream_descriptor descriptor;
  Direction read, write, failure;
  bool alive = true;
};

Watch::Watch(Loop& loop, int fd, std::function<void()> on_readable, std::function<void()> on_writable,
             std::function<void()> on_error)
    : state_(std::make_shared<State>(loop, fd)) {
  state_->read.callback = std::move(on_readable);
  state_->write.callback = std::move(on_writable);
  state_->failure.callback = std::move(on_error);
}
Watch::~Watch() {
  if (state_) state_->end();
}
Watch::Watch(Watch&&) noexcept = default;
Watch& Watch::operator=(Watch&& o) noexcept {
  if (state_ && state_ != o.state_) state_->end();
  state_ = std::move(o.state_);
  return *this;
}
void Watch::want_read(bool on) {
  state_->read.wanted = on;
  state_->wait(state_->read, asio::posix::descriptor_base::wait_read);
}
void Watch::want_write(bool on) {
  state_->write.wanted = on;
  state_->wait(state_->write, asio::posix::descriptor_base::wait_write);
}
void Watch::want_error(bool on) {
  state_->failure.wanted = on;
  state_->wait(state_->failure, asio::posix::descriptor_base::wait_error);
}

struct Timer::State : std::enable_shared_from_this<Timer::State> {
  State(Loop& loop, std::function<void()> call) : timer(loop.state_->context), callback(std::move(call)) {}
  asio::steady_timer timer;
  std::function<void()> callback;
  Instant due = kNever;
  Instant armed = kNever;         // what the kernel was told: never later than due
  std::uint64_t generation = 0;   // a wait that was overtaken by another does nothing

  void arm(Instant when) {
    armed = when;
    auto wake = [state = shared_from_this(), mine = ++generation](const asio::error_code& error = {}) {
      if (!error && mine == state->generation) state->wake();
    };
    if (when <= Loop::now()) return asio::post(timer.get_executor(), std::move(wake));
    timer.expires_at(std::chrono::steady_clock::time_point(when.time_since_epoch()));
    timer.async_wait(std::move(wake));
  }

  void wake() {
    armed = kNever;
    if (due > Loop::now()) {
      if (due != kNever) arm(due);
      return;
    }
    due = kNever;
    callback();
  }
};

Timer::Timer(Loop& loop, std::function<void()> callback) : state_(std::make_shared<State>(loop, std::move(callback))) {}
Timer::~Timer() { forget(); }
Timer::Timer(Timer&&) noexcept = default;
Timer& Timer::operator=(Timer&& o) noexcept {
  if (state_ != o.state_) forget();
  state_ = std::move(o.state_);
  return *this;
}

void Timer::forget() noexcept {
  if (!state_) return;
  state_->due = kNever;
  ++state_->generation;
  state_->timer.cancel();
}

// Most deadlines are put off over and over, and telling the kernel is dear, tens of microseconds on a virtual machine: so it is
// told only of earlier ones, and not of those that are due now. When it wakes us too early, we look at what is due by then.
void Timer::at(Instant when) {
  state_->due = when;
  if (when < state_->armed) state_->arm(when);
}
void Timer::after(Duration delay) { at(Loop::now() + delay); }
void Timer::cancel() { at(kNever); }

}  // namespace tg::net
