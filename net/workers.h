// Threads that carry traffic, each with a Loop of its own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "net/log.h"
#include "net/loop.h"
#include "net/socket.h"

namespace tg::net {

// processors returns how many this process may run on (sched_setaffinity(2)); 1 at least.
unsigned processors() noexcept;

// Worker is one thread and its Loop. Not movable: what works on it refers to it.
class Worker {
 public:
  // `home` is the Loop of who has this worker, and is alive as long as `present` is.
  Worker(Loop& home, std::weak_ptr<void> present) : home_(home), present_(std::move(present)) {}
  ~Worker() { stop(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  Loop& loop() noexcept { return loop_; }
  // tell has `work` done on the Loop at home, unless who has this worker is gone by then. For the worker's thread.
  void tell(std::function<void()> work);

  // prepare takes the descriptors that the Loop needs, before anything is made on it. Errors: exhausted.
  Result<> prepare();
  // start begins the thread, which is sent no signals; `at_end` is called on it when its Loop has stopped. Errors: exhausted.
  Result<> start(std::function<void()> at_end);
  // stop ends the Loop and waits for the thread. Not for the worker's thread.
  void stop();

 private:
  Loop& home_;
  std::weak_ptr<void> present_;
  Loop loop_;
  std::thread thread_;
};

// Workers are the threads of one process that do the same kind of work, in pieces that last: tunnels, or pairs of connections.
// Each has a State, which is used and destroyed on its thread. Threads start when there is work for them: an idle process has
// none. Nothing is shared but by what a State is made with. All calls are for the thread of `home`.
template <class State>
class Workers {
 public:
  using Job = std::function<void(State&)>;

  // `most`: threads, 1 at least. `make` makes a State when its thread starts; it is called on the thread of `home`, and what it
  // returns may keep the Worker's address. `home` must outlive this.
  Workers(Loop& home, std::size_t most, std::function<std::unique_ptr<State>(Worker&)> make)
      : home_(home), most_(std::max<std::size_t>(most, 1)), make_(std::move(make)) {}

  // give has `job` done by the worker that has the least work, counts one piece more for it, and returns its number. Where a
  // thread cannot be started, which the log says, those that run do it all, and it is tried again kAgain later. Errors:
  // exhausted, when there is no worker at all.
  static constexpr Duration kAgain = std::chrono::seconds(5);
  Result<std::size_t> give(Job job) {
    auto least = std::min_element(all_.begin(), all_.end(), [](const auto& a, const auto& b) { return a->pieces < b->pieces; });
    const bool another = all_.size() < most_ && (least == all_.end() || (*least)->pieces > 0);
    if (another && start()) least = all_.end() - 1;
    if (all_.empty()) return fail(Errc::exhausted, "there is no thread to carry it");
    ++(*least)->pieces;
    const auto number = static_cast<std::size_t>(least - all_.begin());
    post(number, std::move(job));
    return number;
  }
  // done says that a piece of work of a worker is over.
  void done(std::size_t worker) { --all_.at(worker)->pieces; }

  void post(std::size_t worker, Job job) {
    One& one = *all_.at(worker);
    one.worker.loop().post([&one, job = std::move(job)] { job(*one.state); });
  }
  void post_to_all(const Job& job) {
    for (std::size_t i = 0; i < all_.size(); ++i) post(i, job);
  }

  // end waits for the threads to end; nothing may be given or posted afterwards. What they had to tell is not told.
  void end() {
    present_.reset();
    for (auto& one : all_) one->worker.loop().stop();   // at once, so that the slowest is all that is waited for
    all_.clear();
  }

  std::size_t most() const noexcept { return most_; }
  std::size_t started() const noexcept { return all_.size(); }

 private:
  struct One {
    One(Loop& home, const std::shared_ptr<void>& present) : worker(home, present) {}
    ~One() { worker.stop(); }
    Worker worker;
    std::unique_ptr<State> state;
    std::size_t pieces = 0;
  };

  bool start() {
    if (Loop::now() < again_) return false;
    auto one = std::make_unique<One>(home_, present_);
    auto begun = one->worker.prepare();
    if (begun) {
      one->state = make_(one->worker);
      begun = one->worker.start([o = one.get()] { o->state.reset(); });
    }
    if (!begun) {
      log(Level::error, "{}: {} carry traffic", begun.error().text, all_.size());
      again_ = Loop::now() + kAgain;
      return false;
    }
    all_.push_back(std::move(one));
    return true;
  }

  Loop& home_;
  std::size_t most_;
  std::function<std::unique_ptr<State>(Worker&)> make_;
  std::shared_ptr<void> present_ = std::make_shared<int>();
  std::vector<std::unique_ptr<One>> all_;
  Instant again_{};   // no thread is started before
};

}  // namespace tg::net
