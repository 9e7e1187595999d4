#include "net/workers.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <future>
#include <optional>
#include <set>
#include <thread>
#include <vector>

namespace tg::net::workers_test {

// What a test's worker has: on which thread it was used and destroyed is told.
struct Station {
  Station(Worker& w, std::atomic<int>& g) : worker(w), gone(g) {}
  ~Station() {
    if (used && *used == std::this_thread::get_id()) ++gone;
  }
  Worker& worker;
  std::atomic<int>& gone;   // that ended on the thread that used them
  std::optional<std::thread::id> used;
};

class WorkersOf : public testing::Test {
 protected:
  // use notes the thread, and has it told at home; run_until turns the home Loop until `count` were told.
  auto use() {
    return [this](Station& s) {
      s.used = std::this_thread::get_id();
      s.worker.tell([this, id = *s.used] {
        EXPECT_EQ(std::this_thread::get_id(), home_thread_);
        told_.push_back(id);
        if (told_.size() == awaited_) loop_.stop();
      });
    };
  }
  void run_until_told(std::size_t count) {
    awaited_ = count;
    Timer deadline(loop_, [this] { loop_.stop(); });
    deadline.after(std::chrono::seconds(10));
    if (told_.size() < count) loop_.run();
    ASSERT_EQ(told_.size(), count);
  }

  Loop loop_;
  const std::thread::id home_thread_ = std::this_thread::get_id();
  std::atomic<int> gone_{0};
  std::size_t awaited_ = 0;
  std::vector<std::thread::id> told_;
  std::function<std::unique_ptr<Station>(Worker&)> make_ = [this](Worker& w) { return std::make_unique<Station>(w, gone_); };
};

TEST_F(WorkersOf, start_when_there_is_work_and_share_it) {
  Workers<Station> workers(loop_, 2, make_);
  EXPECT_EQ(workers.started(), 0u);
  EXPECT_EQ(workers.give(use()).value(), 0u);
  EXPECT_EQ(workers.started(), 1u);
  EXPECT_EQ(workers.give(use()).value(), 1u);
  EXPECT_EQ(workers.give(use()).value(), 0u);
  EXPECT_EQ(workers.give(use()).value(), 1u);
  EXPECT_EQ(workers.started(), 2u) << "as many as were allowed";
  workers.done(1);
  workers.done(1);
  EXPECT_EQ(workers.give(use()).value(), 1u) << "the one with the least to do";
  run_until_told(5);
  const std::set<std::thread::id> threads(told_.begin(), told_.end());
  EXPECT_EQ(threads.size(), 2u);
  EXPECT_FALSE(threads.contains(home_thread_));
}

TEST_F(WorkersOf, who_is_idle_is_used_before_another_thread_starts) {
  Workers<Station> workers(loop_, 8, make_);
  EXPECT_EQ(workers.give(use()).value(), 0u);
  workers.done(0);
  EXPECT_EQ(workers.give(use()).value(), 0u);
  EXPECT_EQ(workers.started(), 1u);
}

TEST_F(WorkersOf, destroy_what_they_have_on_their_threads) {
  {
    Workers<Station> workers(loop_, 3, make_);
    for (int i = 0; i < 3; ++i) workers.give(use()).value();
    run_until_told(3);
    EXPECT_EQ(gone_, 0);
  }
  EXPECT_EQ(gone_, 3);
}

TEST_F(WorkersOf, a_worker_tells_nothing_to_who_is_gone) {
  bool told = false;
  std::promise<void> said;
  {
    Workers<Station> workers(loop_, 1, make_);
    workers.give([&](Station& s) {
      s.worker.tell([&told] { told = true; });
      said.set_value();
    }).value();
    said.get_future().wait();
    workers.end();
  }
  loop_.post([this] { loop_.stop(); });
  loop_.run();
  EXPECT_FALSE(told);
}

TEST_F(WorkersOf, jobs_of_one_worker_are_done_in_their_order) {
  Workers<Station> workers(loop_, 1, make_);
  std::vector<int> order;   // of the worker's thread alone, until it has told
  for (int i = 0; i < 100; ++i) workers.give([&order, i](Station&) { order.push_back(i); }).value();
  workers.post_to_all([&order](Station&) { order.push_back(100); });
  workers.give(use()).value();
  run_until_told(1);
  ASSERT_EQ(order.size(), 101u);
  for (int i = 0; i <= 100; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

#if !defined(__SANITIZE_ADDRESS__)   // UBSan takes two descriptors to look at an exception that is being made, and gives up without

// While it stands, this process can open no descriptor.
class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit none{0, before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(WorkersOf, where_another_cannot_start_those_that_run_do_it_all) {
  Workers<Station> workers(loop_, 2, make_);
  EXPECT_EQ(workers.give(use()).value(), 0u);
  {
    const NoDescriptors exhausted;
    EXPECT_EQ(workers.give(use()).value(), 0u);
  }
  EXPECT_EQ(workers.give(use()).value(), 0u) << "it is not tried again at once";
  EXPECT_EQ(workers.started(), 1u);
  run_until_told(3);
}

TEST_F(WorkersOf, where_none_can_start_who_gives_hears_it) {
  Workers<Station> workers(loop_, 2, make_);
  const NoDescriptors exhausted;
  const auto given = workers.give(use());
  ASSERT_FALSE(given);
  EXPECT_EQ(given.error().code, Errc::exhausted);
  EXPECT_EQ(workers.started(), 0u);
}

#endif

TEST_F(WorkersOf, signals_are_for_the_thread_at_home) {
  Workers<Station> workers(loop_, 1, make_);
  std::atomic<int> blocked{0};
  workers.give([&blocked](Station&) {
    sigset_t now;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &now);
    for (const int s : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) blocked += ::sigismember(&now, s);
  }).value();
  workers.give(use()).value();
  run_until_told(1);
  EXPECT_EQ(blocked, 4);
  sigset_t here;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &here);
  EXPECT_EQ(::sigismember(&here, SIGTERM), 0);
}

}  // namespace tg::net::workers_test
