#include "net/loop.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <memory>
#include <vector>

namespace {

int settings = 0;   // how often the kernel was told of a deadline

}  // namespace

// The program's is found before libc's.
extern "C" int timerfd_settime(int fd, int flags, const itimerspec* now, itimerspec* before) noexcept {
  ++settings;
  return static_cast<int>(::syscall(SYS_timerfd_settime, fd, flags, now, before));
}

namespace tg::net::loop_test {

using namespace std::chrono_literals;

struct ATimer : testing::Test {
  Loop loop;
  std::vector<int> called;
  Timer end{loop, [this] { loop.stop(); }};

  Timer calling(int what) {
    return {loop, [this, what] { called.push_back(what); }};
  }
  void run_for(Duration d) {
    end.after(d);
    loop.run();
  }
};

TEST_F(ATimer, that_is_put_off_is_called_when_it_is_due_and_not_before) {
  Instant due{}, came{};
  Timer late(loop, [&] {
    came = Loop::now();
    called.push_back(1);
  });
  Timer between = calling(2);
  late.after(10ms);
  between.after(20ms);
  due = Loop::now() + 40ms;
  late.at(due);
  run_for(80ms);
  EXPECT_EQ(called, (std::vector{2, 1}));
  EXPECT_GE(came, due);
}

TEST_F(ATimer, that_is_brought_forward_is_called_once) {
  Timer t = calling(1);
  t.after(1h);
  t.after(5ms);
  run_for(30ms);
  EXPECT_EQ(called, std::vector{1});
}

TEST_F(ATimer, that_was_cancelled_is_not_called_and_can_be_set_again) {
  Timer soon = calling(1), now = calling(2), again = calling(3), later = calling(4);
  soon.after(5ms);
  soon.cancel();
  now.after(0s);
  now.cancel();
  again.after(5ms);
  again.cancel();
  again.after(10ms);
  later.after(0s);
  later.after(15ms);
  run_for(40ms);
  EXPECT_EQ(called, (std::vector{3, 4}));
}

TEST_F(ATimer, that_is_due_now_is_called_once_from_the_loop) {
  Timer t = calling(1);
  t.after(0s);
  t.after(-1s);
  t.at(Instant{});
  EXPECT_TRUE(called.empty());
  run_for(10ms);
  EXPECT_EQ(called, std::vector{1});
}

TEST_F(ATimer, that_is_destroyed_or_replaced_is_not_called) {
  auto posted = std::make_unique<Timer>(calling(1)), waiting = std::make_unique<Timer>(calling(2));
  Timer replaced = calling(3), moved = calling(4);
  posted->after(0s);
  waiting->after(5ms);
  replaced.after(0s);
  moved.after(0s);
  posted.reset();
  waiting.reset();
  replaced = calling(5);
  replaced.after(1ms);
  const Timer holder = std::move(moved);
  run_for(20ms);
  EXPECT_EQ(called, (std::vector{4, 5}));
}

TEST_F(ATimer, may_be_set_or_destroyed_from_its_own_callback) {
  int left = 3;
  Timer again(loop, [&] {
    called.push_back(left);
    if (--left > 0) again.after(left == 2 ? 0s : 1ms);
  });
  std::unique_ptr<Timer> own;
  own = std::make_unique<Timer>(loop, [&] { own.reset(); });
  again.after(0s);
  own->after(1ms);
  run_for(20ms);
  EXPECT_EQ(called, (std::vector{3, 2, 1}));
  EXPECT_EQ(own, nullptr);
}

TEST_F(ATimer, that_is_set_to_now_over_and_over_leaves_turns_to_others) {
  Timer greedy(loop, [&] { greedy.after(0s); });
  greedy.after(0s);
  Timer other = calling(1);
  other.after(5ms);
  run_for(20ms);
  EXPECT_EQ(called, std::vector{1});
}

TEST_F(ATimer, bothers_the_kernel_with_earlier_deadlines_alone) {
  Timer t = calling(1);
  t.after(5ms);
  const int before = settings;
  for (int i = 0; i < 1000; ++i) {
    t.after(10ms);
    t.cancel();
    t.after(15ms);
  }
  EXPECT_EQ(settings, before);
  Timer now = calling(2);
  now.after(0s);
  EXPECT_EQ(settings, before);
  run_for(40ms);
  EXPECT_EQ(called, (std::vector{2, 1}));
  EXPECT_GT(settings, before) << "this counts";
}

}  // namespace tg::net::loop_test
