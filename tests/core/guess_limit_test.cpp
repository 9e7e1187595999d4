#include "core/guess_limit.h"

#include <gtest/gtest.h>

namespace tg::guess_limit_test {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// Row 26 of the threats.
TEST(GuessLimit, lets_ten_tries_happen_at_once_and_ten_an_hour) {
  GuessLimit limit(10, minutes(6));
  const Instant start{};
  int tried = 0;
  for (Instant now = start; now < start + hours(1); now += seconds(1)) {
    if (limit.wait("a", now)) continue;
    limit.count("a", now);
    ++tried;
  }
  EXPECT_EQ(tried, 19) << "ten at once, and nine of the ten of the hour after";
  EXPECT_FALSE(limit.wait("a", start + hours(3)));
}

TEST(GuessLimit, says_how_long_to_wait) {
  GuessLimit limit(2, minutes(6));
  const Instant start{};
  EXPECT_FALSE(limit.wait("a", start));
  limit.count("a", start);
  EXPECT_FALSE(limit.wait("a", start));
  limit.count("a", start);
  EXPECT_EQ(limit.wait("a", start), minutes(6));
  EXPECT_EQ(limit.wait("a", start + minutes(5)), minutes(1));
  EXPECT_FALSE(limit.wait("a", start + minutes(6)));
  EXPECT_FALSE(limit.wait("b", start)) << "another one's matter";
}

TEST(GuessLimit, does_not_count_what_was_right) {
  GuessLimit limit(2, minutes(6));
  const Instant now{};
  for (int i = 0; i < 100; ++i) {
    ASSERT_FALSE(limit.wait("a", now));
    limit.count("a", now);
    limit.forgive("a");
  }
  limit.count("a", now);
  limit.count("a", now);
  EXPECT_TRUE(limit.wait("a", now));
  limit.forgive("nobody");
}

TEST(GuessLimit, forgets_who_guessed_least_when_there_are_too_many) {
  GuessLimit limit(2, minutes(6));
  const Instant now{};
  for (int i = 0; i < 3; ++i) limit.count("the one", now);
  for (std::size_t i = 0; i < GuessLimit::kKeys + 1000; ++i) limit.count(std::to_string(i), now);
  EXPECT_LE(limit.size(), GuessLimit::kKeys);
  EXPECT_TRUE(limit.wait("the one", now));
  limit.count("later", now + hours(10));
  EXPECT_EQ(limit.size(), 1u) << "whoever may guess again is not remembered";
}

}  // namespace tg::guess_limit_test
