#include "net/time_zone.h"

#include <gtest/gtest.h>

#include "core/moment.h"

namespace tg::net::time_zone_test {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

TEST(TimeZones, are_those_of_the_machine) {
  const UnixTime summer = parse_utc("2026-07-01T12:00Z").value(), winter = parse_utc("2026-12-01T12:00Z").value();
  EXPECT_EQ(utc_offset("UTC", summer), seconds(0));
  EXPECT_EQ(utc_offset("Europe/Berlin", summer), hours(2));
  EXPECT_EQ(utc_offset("Europe/Berlin", winter), hours(1));
  EXPECT_EQ(utc_offset("Asia/Kolkata", winter), hours(5) + minutes(30));
  EXPECT_EQ(utc_offset("America/New_York", winter), -hours(5));
  EXPECT_EQ(utc_offset("Mars/Olympus", winter), std::nullopt);
  EXPECT_EQ(utc_offset("../../../etc/passwd", winter), std::nullopt);
  EXPECT_EQ(utc_offset("", winter), std::nullopt);
  EXPECT_EQ(utc_offset("Europe/Berlin", parse_utc("2060-07-01T12:00Z").value()), hours(2)) << "beyond its table";
}

}  // namespace tg::net::time_zone_test
