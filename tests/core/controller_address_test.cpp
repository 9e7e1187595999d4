#include "core/controller_address.h"

#include <gtest/gtest.h>

namespace tg::controller_address_test {

TEST(ControllerAddress, comes_back_as_it_was_written) {
  for (const char* host : {"203.0.113.10:8443", "tg.example.com:443", "[2001:db8::1]:8443"}) {
    const std::string text = ControllerAddress{HostPort::parse(host).value(), Buffer(32, 0xfb)}.to_string();
    EXPECT_EQ(text, std::string(host) + "#-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s");
    EXPECT_EQ(ControllerAddress::parse(text).value().to_string(), text);
  }
}

TEST(ControllerAddress, says_which_part_is_wrong) {
  const std::string pin = "#-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s";
  const auto why = [](const std::string& text) {
    const auto out = ControllerAddress::parse(text);
    return out ? "it is one" : out.error().text;
  };
  EXPECT_NE(why("203.0.113.10:8443").find("is no HOST:PORT#PIN"), std::string::npos);
  EXPECT_NE(why("203.0.113.10:" + pin).find("before the #"), std::string::npos);
  EXPECT_NE(why("tg.example.com" + pin).find("before the #"), std::string::npos);
  EXPECT_NE(why("203.0.113.10:8443#").find("behind the #"), std::string::npos);
  EXPECT_NE(why("203.0.113.10:8443" + pin.substr(0, 43)).find("behind the #"), std::string::npos);
  EXPECT_NE(why("203.0.113.10:8443" + pin + "x").find("behind the #"), std::string::npos);
  EXPECT_EQ(why("\x1b[2J").find('\x1b'), std::string::npos);
}

}  // namespace tg::controller_address_test
