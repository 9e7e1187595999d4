#include "core/uri.h"

#include <gtest/gtest.h>

namespace tg {
namespace {

TEST(PercentEncoded, leaves_only_unreserved_characters) {
  EXPECT_EQ(percent_encoded("aZ09-._~"), "aZ09-._~");
  EXPECT_EQ(percent_encoded("a b+c/d?e=f&g%h"), "a%20b%2Bc%2Fd%3Fe%3Df%26g%25h");
  EXPECT_EQ(percent_encoded(std::string_view("\0\xff\xc3\xbc", 4)), "%00%FF%C3%BC");
}

}  // namespace
}  // namespace tg
