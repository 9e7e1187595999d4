#include "core/moment.h"

#include <gtest/gtest.h>

namespace tg::moment_test {

using std::chrono::seconds;
const UnixTime kNow(seconds(1'800'000'000));   // 2027-01-15 08:00:00

std::int64_t at(const char* text) {
  const auto read = parse_moment(text, kNow);
  return read ? read->time_since_epoch().count() : -1;
}

TEST(Moment, is_how_long_ago) {
  EXPECT_EQ(at("1h"), 1'800'000'000 - 3600);
  EXPECT_EQ(at("2d"), 1'800'000'000 - 2 * 86400);
  EXPECT_EQ(at("0"), 1'800'000'000);
}

TEST(Moment, is_a_day_or_a_time_of_utc) {
  EXPECT_EQ(at("2027-01-15"), 1'800'000'000 - 8 * 3600);
  EXPECT_EQ(at("2027-01-15 08:00"), 1'800'000'000);
  EXPECT_EQ(at("2027-01-15T08:00"), 1'800'000'000);
  EXPECT_EQ(at("2027-01-15T08:00:07Z"), 1'800'000'007);
  EXPECT_EQ(at("2028-02-29"), 1'835'395'200);
  EXPECT_EQ(at("1970-01-01"), 0);
}

TEST(Moment, is_nothing_else) {
  for (const char* text : {"", "yesterday", "2027", "2027-01", "2027-1-15", "2027-13-01", "2027-02-29", "2027-01-15T",
                           "2027-01-15T8:00", "2027-01-15T24:00", "2027-01-15T08:60", "2027-01-15T08:00:60",
                           "2027-01-15T08:00+01:00", "2027-01-15T08:00Zz",
                           "2027-01-15x08:00", "-1h", "1h ", "+027-01-15", "2027-01-15T08"}) {
    const auto read = parse_moment(text, kNow);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, Errc::invalid_argument);
  }
}

}  // namespace tg::moment_test
