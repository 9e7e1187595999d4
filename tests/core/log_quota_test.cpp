#include "core/log_quota.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace tg::log_quota_test {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Instant kStart = Instant{} + seconds(1000);

// through says how many of `lines` lines at once go through.
int through(LogQuota& quota, const std::string& device, Instant now, int lines = 1000) {
  int count = 0;
  for (int i = 0; i < lines; ++i) count += quota.take(device, now).has_value() ? 1 : 0;
  return count;
}

// fill has every place taken by a device that has said one line.
void fill(LogQuota& quota, Instant now) {
  for (std::size_t i = 0; i < LogQuota::kDevices; ++i) quota.take("d" + std::to_string(i), now);
}

TEST(LogQuota, lets_twenty_lines_through_at_once_and_one_a_second_from_then_on) {
  LogQuota quota;
  EXPECT_EQ(through(quota, "a", kStart), 20);
  int later = 0;
  for (int tenths = 1; tenths <= 600; ++tenths) later += through(quota, "a", kStart + milliseconds(100) * tenths, 50);
  EXPECT_EQ(later, 60);
  EXPECT_EQ(through(quota, "a", kStart + seconds(79)), 19);
  EXPECT_EQ(through(quota, "a", kStart + seconds(200)), 20) << "not more for having been quiet for longer";
}

TEST(LogQuota, says_how_many_were_left_out_once_and_with_the_next_that_goes_through) {
  LogQuota quota;
  EXPECT_EQ(quota.take("a", kStart), 0u);
  EXPECT_EQ(through(quota, "a", kStart, 19 + 312), 19);
  EXPECT_EQ(quota.take("a", kStart + milliseconds(999)), std::nullopt);
  EXPECT_EQ(quota.take("a", kStart + seconds(1)), 313u);
  EXPECT_EQ(quota.take("a", kStart + seconds(2)), 0u);
}

TEST(LogQuota, leaves_out_nothing_of_another_device) {
  LogQuota quota;
  through(quota, "loud", kStart);
  EXPECT_EQ(quota.take("quiet", kStart), 0u);
  EXPECT_EQ(through(quota, "quiet", kStart), 19);
}

TEST(LogQuota, devices_for_whom_there_is_no_room_share_one_quota) {
  LogQuota quota;
  fill(quota, kStart);
  int all = 0;
  for (int i = 0; i < 1000; ++i) all += through(quota, "more" + std::to_string(i), kStart, 20);
  EXPECT_EQ(all, 20);
  EXPECT_EQ(quota.size(), LogQuota::kDevices);
  EXPECT_EQ(through(quota, "d7", kStart), 19) << "who was there before has his own";
}

TEST(LogQuota, who_has_been_quiet_makes_room) {
  LogQuota quota;
  fill(quota, kStart);
  through(quota, "d7", kStart);
  EXPECT_EQ(through(quota, "new", kStart + milliseconds(500)), 20) << "the one that is shared";
  EXPECT_EQ(through(quota, "newer", kStart + seconds(1)), 0) << "not looked at again so soon";
  EXPECT_EQ(quota.size(), LogQuota::kDevices);
  EXPECT_EQ(through(quota, "newest", kStart + seconds(2)), 20);
  EXPECT_EQ(quota.size(), 2u) << "d7, which is not whole again, and the newest";
  EXPECT_EQ(through(quota, "d7", kStart + seconds(2)), 2) << "whoever is loud does not get a fresh burst";
}

// The model has no bound and no rate: it counts lines, and knows how many may have gone through in any stretch of time.
RC_GTEST_PROP(LogQuota, tells_of_every_line_and_lets_no_more_through_than_it_may, ()) {
  struct Seen {
    std::vector<Instant> through;
    std::uint64_t said = 0, told = 0, untold = 0;
  };
  LogQuota quota;
  std::map<std::string, Seen> model;
  Instant now = kStart;
  const int steps = *rc::gen::inRange(1, 400);
  for (int i = 0; i < steps; ++i) {
    if (*rc::gen::inRange(0, 8) == 0) now += milliseconds(*rc::gen::inRange(0, 5000));
    const std::string device(1, static_cast<char>('a' + *rc::gen::inRange(0, 3)));
    Seen& seen = model[device];
    ++seen.said;
    if (const auto left_out = quota.take(device, now)) {
      RC_ASSERT(*left_out == seen.untold);
      seen.told += 1 + *left_out;
      seen.untold = 0;
      seen.through.push_back(now);
    } else {
      ++seen.untold;
      RC_ASSERT(seen.through.size() >= 20u);   // nobody is silenced before he has had his burst
      RC_ASSERT(now - seen.through[seen.through.size() - 20] < seconds(20));
    }
    RC_ASSERT(seen.said == seen.told + seen.untold);
  }
  for (const auto& [device, seen] : model) {
    for (std::size_t from = 0; from < seen.through.size(); ++from) {
      for (std::size_t to = from; to < seen.through.size(); ++to) {
        const auto passed = std::chrono::floor<seconds>(seen.through[to] - seen.through[from]).count();
        RC_ASSERT(static_cast<std::int64_t>(to - from + 1) <= 20 + passed);
      }
    }
  }
}

}  // namespace tg::log_quota_test
