#include "cmd/qr.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tg::cmd::qr_test {

TEST(QrText, is_as_large_as_the_standard_says_with_white_around_it) {
  // Version 1 has 21 modules on each side, version 2 has 25 (ISO/IEC 18004); two rows share a line.
  EXPECT_EQ(std::ranges::count(qr_text("https://id.ex"), '\n'), 13);
  EXPECT_EQ(std::ranges::count(qr_text("https://id.example.com/dev?c"), '\n'), 15);
}

TEST(QrText, begins_with_the_corner_by_which_it_is_found) {
  const std::string text = qr_text("https://id.ex");
  const std::string second = text.substr(text.find('\n') + 1);   // the first line is white
  EXPECT_TRUE(second.starts_with("\x1b[30;107m  █▀▀▀▀▀█ ")) << second;
}

TEST(QrText, is_none_for_what_is_too_long) { EXPECT_EQ(qr_text(std::string(3000, 'x')), ""); }

}  // namespace tg::cmd::qr_test
