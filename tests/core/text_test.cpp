#include "core/text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tg::text_test {

TEST(Text, escapes_everything_that_moves_a_cursor) {
  EXPECT_EQ(printable("plain, bücher, 日本, 🙂"), "plain, bücher, 日本, 🙂");
  EXPECT_EQ(printable("a\x1b[31mb"), "a\\x1b[31mb");
  EXPECT_EQ(printable(std::string_view("a\0b\r\n\t\x7f", 7)), "a\\x00b\\x0d\\x0a\\x09\\x7f");
  EXPECT_EQ(printable("\xc2\x9b" "31m"), "\\xc2\\x9b31m");            // C1 CSI
  EXPECT_EQ(printable("a\xe2\x80\xae" "b"), "a\\xe2\\x80\\xaeb");      // U+202E turns the line around
  EXPECT_EQ(printable("a\xe2\x80\xa8" "b"), "a\\xe2\\x80\\xa8b");      // U+2028 line separator
}

TEST(Text, escapes_what_is_not_utf_8) {
  EXPECT_EQ(printable("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");                    // overlong
  EXPECT_EQ(printable("\xe0\x80\xaf"), "\\xe0\\x80\\xaf");
  EXPECT_EQ(printable("\xf0\x80\x80\xaf"), "\\xf0\\x80\\x80\\xaf");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
  EXPECT_EQ(printable("a\xe2\x82"), "a\\xe2\\x82");                  // cut short
}

TEST(Text, cuts_between_characters) {
  EXPECT_EQ(printable("abcdef", 6), "abcdef");
  EXPECT_EQ(printable("abcdefg", 6), "abc…");
  EXPECT_EQ(printable("abüdefg", 6), "ab…");     // ü would not fit beside the mark
  EXPECT_EQ(printable("abc", 2), "");
  EXPECT_EQ(printable(std::string(1000, 'x')).size(), 256u);
}

RC_GTEST_PROP(Text, gives_printable_text_within_the_limit, ()) {
  const auto s = *rc::gen::container<std::string>(rc::gen::arbitrary<char>());
  const auto max = *rc::gen::inRange<std::size_t>(3, 40);
  const std::string out = printable(s, max);
  RC_ASSERT(out.size() <= max);
  RC_ASSERT(printable(out, max) == out);
  for (const char c : out) RC_ASSERT(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
}

TEST(Text, lowers_ascii_only) { EXPECT_EQ(lower("AbZ[@É1"), "abz[@É1"); }

}  // namespace tg::text_test
