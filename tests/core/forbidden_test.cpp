#include "core/forbidden.h"

#include <gtest/gtest.h>

namespace tg::forbidden_test {

const IpAddress kOwn[] = {IpAddress::parse("192.168.1.88").value(), IpAddress::parse("2001:db8::88").value()};

std::string_view why(std::string_view text) {
  return forbidden_address(IpAddress::parse(text).value(), kOwn).value_or("allowed");
}

TEST(ForbiddenAddress, judges_a_table_of_addresses) {
  const std::pair<const char*, const char*> table[] = {
      {"127.0.0.1", "loopback"},
      {"127.0.0.0", "loopback"},
      {"127.1.2.3", "loopback"},
      {"127.255.255.255", "loopback"},
      {"126.255.255.255", "allowed"},
      {"128.0.0.0", "allowed"},
      {"::1", "loopback"},
      {"::ffff:127.0.0.1", "loopback"},
      {"::127.0.0.1", "loopback"},
      {"::ffff:0:127.0.0.1", "loopback"},
      {"64:ff9b::127.0.0.1", "loopback"},
      {"2002:7f00:1::", "loopback"},
      {"2002:7f00:1::1", "loopback"},
      {"0.0.0.0", "unspecified"},
      {"0.0.0.1", "unspecified"},
      {"0.255.255.255", "unspecified"},
      {"1.0.0.0", "allowed"},
      {"::", "unspecified"},
      {"::ffff:0.0.0.0", "unspecified"},
      {"64:ff9b::", "unspecified"},
      {"2002::", "unspecified"},
      {"::2", "unspecified"},             // 0.0.0.2 inside
      {"169.254.0.0", "link-local"},
      {"169.254.1.1", "link-local"},
      {"169.254.255.255", "link-local"},
      {"169.253.255.255", "allowed"},
      {"169.255.0.0", "allowed"},
      {"fe80::", "link-local"},
      {"fe80::1", "link-local"},
      {"febf:ffff::1", "link-local"},
      {"fec0::1", "allowed"},
      {"fe7f::1", "allowed"},
      {"::ffff:169.254.1.1", "link-local"},
      {"64:ff9b::169.254.1.1", "link-local"},
      {"2002:a9fe:101::", "link-local"},
      {"169.254.169.254", "cloud metadata"},
      {"::ffff:169.254.169.254", "cloud metadata"},
      {"64:ff9b::169.254.169.254", "cloud metadata"},
      {"2002:a9fe:a9fe::1", "cloud metadata"},
      {"169.254.170.2", "cloud metadata"},
      {"169.254.170.23", "cloud metadata"},
      {"100.100.100.200", "cloud metadata"},
      {"::ffff:100.100.100.200", "cloud metadata"},
      {"100.100.100.201", "allowed"},
      {"168.63.129.16", "cloud metadata"},
      {"192.0.0.192", "cloud metadata"},
      {"fd00:ec2::254", "cloud metadata"},
      {"fd00:ec2::23", "cloud metadata"},
      {"fd20:ce::254", "cloud metadata"},
      {"fd00:ec2::255", "allowed"},
      {"224.0.0.1", "multicast"},
      {"239.255.255.255", "multicast"},
      {"223.255.255.255", "allowed"},
      {"240.0.0.1", "allowed"},
      {"ff02::1", "multicast"},
      {"ff0e::1", "multicast"},
      {"::ffff:224.0.0.1", "multicast"},
      {"255.255.255.255", "broadcast"},
      {"255.255.255.254", "allowed"},
      {"::ffff:255.255.255.255", "broadcast"},
      {"2002:ffff:ffff::", "broadcast"},
      {"192.168.1.88", "the connector itself"},
      {"::ffff:192.168.1.88", "the connector itself"},
      {"64:ff9b::192.168.1.88", "the connector itself"},
      {"2002:c0a8:158::1", "the connector itself"},
      {"2001:db8::88", "the connector itself"},
      {"2001:db8::89", "allowed"},
      {"192.168.1.50", "allowed"},
      {"10.0.0.1", "allowed"},
      {"172.16.30.1", "allowed"},
      {"100.64.0.1", "allowed"},
      {"8.8.8.8", "allowed"},
      {"fd00::1", "allowed"},
      {"2606:4700::1111", "allowed"},
      {"::ffff:10.0.0.1", "allowed"},
      {"64:ff9b::10.0.0.1", "allowed"},
      {"64:ff9c::127.0.0.1", "allowed"},
  };
  EXPECT_GE(std::size(table), 60u);
  for (const auto& [address, answer] : table) EXPECT_EQ(why(address), answer) << address;
}

TEST(ForbiddenAddress, knows_its_own_addresses_in_mapped_form) {
  const IpAddress own[] = {IpAddress::parse("::ffff:10.0.0.9").value()};
  EXPECT_EQ(forbidden_address(IpAddress::parse("10.0.0.9").value(), own), "the connector itself");
  EXPECT_EQ(forbidden_address(IpAddress::parse("10.0.0.8").value(), own), std::nullopt);
  EXPECT_EQ(forbidden_address(IpAddress::parse("10.0.0.9").value(), {}), std::nullopt);
}

}  // namespace tg::forbidden_test
