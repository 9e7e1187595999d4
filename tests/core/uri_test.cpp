#include "core/uri.h"

#include <gtest/gtest.h>

namespace tg::uri_test {

TEST(Uri, encodes_all_but_what_is_never_meant_otherwise) {
  EXPECT_EQ(percent_encoded("NAS box/1?é"), "NAS%20box%2F1%3F%C3%A9");
  EXPECT_EQ(percent_encoded("alice+x@example.com"), "alice%2Bx%40example.com");
  EXPECT_EQ(percent_encoded("a-b.c_d~9"), "a-b.c_d~9");
}

TEST(Uri, reads_back_every_byte) {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  EXPECT_EQ(percent_decoded(percent_encoded(all)), all);
  EXPECT_EQ(percent_decoded("%4e%4E+"), "NN+") << "a plus is a plus in a path";
}

TEST(Uri, a_percent_without_its_digits_is_no_text) {
  for (const char* bad : {"%", "%4", "a%4", "%4g", "%g4", "%%41"}) EXPECT_EQ(percent_decoded(bad), std::nullopt) << bad;
}

TEST(Uri, reads_queries_as_forms_write_them) {
  EXPECT_EQ(parse_query("a=1&b=two+words&c=%2B&d&&e="), (QueryItems{{"a", "1"}, {"b", "two words"}, {"c", "+"}, {"d", ""}, {"e", ""}}));
  EXPECT_EQ(parse_query("a=1=2&a=3"), (QueryItems{{"a", "1=2"}, {"a", "3"}}));
  EXPECT_EQ(parse_query(""), QueryItems());
  EXPECT_EQ(parse_query("a=%"), std::nullopt);
  EXPECT_EQ(parse_query("%zz=1"), std::nullopt);
}

}  // namespace tg::uri_test
