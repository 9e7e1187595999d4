#include "core/backoff.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace tg::backoff_test {

using namespace std::chrono_literals;

TEST(Backoff, doubles_from_the_first_to_the_longest_and_cuts_up_to_a_half) {
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    Backoff b(200ms, 1500ms, seed * 0x9E3779B97F4A7C15);
    for (const Duration most : {200ms, 400ms, 800ms, 1500ms, 1500ms}) {
      const Duration delay = b.next();
      EXPECT_LE(delay, most);
      EXPECT_GT(delay, most / 2);
    }
    b.reset();
    EXPECT_LE(b.next(), Duration(200ms));
  }
}

TEST(Backoff, never_gives_up) {
  Backoff b(200ms, 1500ms, 7);
  for (int i = 0; i < 10'000; ++i) {
    const Duration delay = b.next();
    ASSERT_GT(delay, Duration(100ms));
    ASSERT_LE(delay, Duration(1500ms));
  }
}

// A thousand machines that lost the same peer at the same moment: they come back evenly.
TEST(Backoff, brings_nobody_back_in_step) {
  std::map<std::int64_t, int> in_20_ms;
  std::uint64_t seed = 1;
  for (int i = 0; i < 1000; ++i) {
    seed = seed * 6364136223846793005 + 1442695040888963407;
    Backoff b(1000ms, 1000ms, seed);
    ++in_20_ms[b.next() / 20ms];
  }
  EXPECT_GE(in_20_ms.size(), 25u);
  for (const auto& [when, count] : in_20_ms) EXPECT_LE(count, 75) << when * 20 << " ms";
}

TEST(Backoff, with_one_length_differs_only_by_chance) {
  Backoff b(1000ms, 1000ms, 99);
  std::set<Duration> seen;
  for (int i = 0; i < 100; ++i) seen.insert(b.next());
  EXPECT_GT(seen.size(), 80u);
  EXPECT_GT(*seen.begin(), Duration(500ms));
  EXPECT_LE(*seen.rbegin(), Duration(1000ms));
}

}  // namespace tg::backoff_test
