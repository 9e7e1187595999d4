#include "core/send_ahead.h"

#include <gtest/gtest.h>

namespace tg::send_ahead_test {

using namespace std::chrono_literals;

// after returns the limit when a socket has taken so many bytes each millisecond for a second.
std::size_t after(std::uint64_t bytes_a_millisecond) {
  SendAhead ahead;
  Instant now{1h};
  for (std::uint64_t i = 1; i <= 1000; ++i) ahead.taken(i * bytes_a_millisecond, now += 1ms);
  return ahead.limit();
}

TEST(SendAhead, begins_with_the_least) { EXPECT_EQ(SendAhead().limit(), SendAhead::kLeast); }

TEST(SendAhead, is_what_the_socket_took_in_its_time) {
  EXPECT_EQ(after(2'500), SendAhead::kLeast) << "20 Mbit/s";
  EXPECT_EQ(after(12'500), 50'000u) << "100 Mbit/s";
  EXPECT_EQ(after(125'000), SendAhead::kMost) << "1 Gbit/s";
}

TEST(SendAhead, forgets_a_fast_line_within_its_time) {
  SendAhead ahead;
  ahead.taken(10'000'000, Instant{1h});
  ahead.taken(20'000'000, Instant{1h} + 4ms);
  EXPECT_EQ(ahead.limit(), SendAhead::kMost);
  ahead.taken(20'000'000, Instant{1h} + 7ms);
  EXPECT_EQ(ahead.limit(), SendAhead::kMost) << "it is too early to say";
  ahead.taken(20'000'000, Instant{1h} + 8ms);
  EXPECT_EQ(ahead.limit(), SendAhead::kLeast);
}

TEST(SendAhead, after_a_pause_nothing_is_assumed) {
  SendAhead ahead;
  ahead.taken(10'000'000, Instant{1h});
  ahead.taken(20'000'000, Instant{1h} + 4ms);
  ahead.taken(20'100'000, Instant{2h});
  EXPECT_EQ(ahead.limit(), SendAhead::kLeast);
}

}  // namespace tg::send_ahead_test
