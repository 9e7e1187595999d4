#include "core/mend_pace.h"

#include <gtest/gtest.h>

namespace tg::mend_pace_test {

using namespace std::chrono_literals;

constexpr Instant kStart{1h};

TEST(MendPace, lets_the_first_repairs_happen_at_once) {
  MendPace p;
  EXPECT_EQ(p.due(kStart), kStart);
  p.mended(kStart);
  EXPECT_EQ(p.due(kStart + 1ms), kStart + 1ms);
  EXPECT_FALSE(p.quarrel());
}

TEST(MendPace, grows_slower_against_somebody_who_insists) {
  MendPace p;
  Instant now = kStart;
  int repairs = 0;
  for (; now < kStart + 10min; now = p.due(now + 1ms)) {
    p.mended(now);
    ++repairs;
  }
  EXPECT_TRUE(p.quarrel());
  EXPECT_GE(repairs, 10 * 60 / 5);
  EXPECT_LE(repairs, 10 * 60 / 5 + 10);
}

TEST(MendPace, forgets_after_a_calm_time) {
  MendPace p;
  for (int i = 0; i < 10; ++i) p.mended(kStart);
  EXPECT_EQ(p.calm_at(), kStart + 20s);
  EXPECT_GT(p.due(kStart + 1s), kStart + 1s);
  EXPECT_EQ(p.due(kStart + 20s), kStart + 20s);
  EXPECT_FALSE(p.quarrel());
  EXPECT_EQ(p.times(), 0);
  EXPECT_EQ(p.calm_at(), kNever);
}

}  // namespace tg::mend_pace_test
