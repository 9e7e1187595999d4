#include "core/duration.h"

#include <gtest/gtest.h>

namespace tg::duration_test {

using std::chrono::seconds;

TEST(Duration, is_a_number_and_a_unit) {
  EXPECT_EQ(parse_duration("90s").value(), seconds(90));
  EXPECT_EQ(parse_duration("15m").value(), seconds(900));
  EXPECT_EQ(parse_duration("8h").value(), seconds(8 * 3600));
  EXPECT_EQ(parse_duration("2d").value(), seconds(2 * 86400));
  EXPECT_EQ(parse_duration("0").value(), seconds(0));
  EXPECT_EQ(parse_duration("3650d").value(), seconds(3650LL * 86400));
}

TEST(Duration, is_nothing_else) {
  for (const char* text : {"", "h", "90", "-1s", "+1s", "1.5h", "1 h", " 1h", "1h ", "1h30m", "1H", "3651d",
                           "99999999999999999999s", "9223372036854775807d", "0x1s"}) {
    const auto read = parse_duration(text);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, Errc::invalid_argument) << text;
  }
}

TEST(Duration, is_written_as_it_is_read) {
  for (const char* text : {"90s", "15m", "8h", "2d", "25h", "61m", "0s"}) {
    EXPECT_EQ(to_string(parse_duration(text).value()), text);
  }
}

}  // namespace tg::duration_test
