#include "core/ip.h"

#include <unordered_set>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tg::ip_test {

std::string canonical(std::string_view text) {
  const auto ip = IpAddress::parse(text);
  return ip ? ip->to_string() : "refused";
}

TEST(IpAddress, reads_four_decimal_octets_and_nothing_looser) {
  EXPECT_EQ(IpAddress::parse("192.168.1.50")->v4().value, 0xC0A80132u);
  EXPECT_EQ(canonical("0.0.0.0"), "0.0.0.0");
  EXPECT_EQ(canonical("255.255.255.255"), "255.255.255.255");
  for (const char* bad : {"",          ".",         "1",        "1.2.3",     "1.2.3.",     ".1.2.3",    "1.2.3.4.",
                          "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.04",  "0x7f.0.0.1", "1.2.3.-4",  "+1.2.3.4",
                          " 1.2.3.4",  "1.2.3.4 ",  "1..2.3",   "1.2.3.4/8", "1.2.3.4:53", "1000.1.1.1"}) {
    EXPECT_EQ(canonical(bad), "refused") << bad;
  }
}

TEST(IpAddress, reads_every_form_of_rfc_4291_section_2_2) {
  EXPECT_EQ(canonical("ABCD:EF01:2345:6789:ABCD:EF01:2345:6789"), "abcd:ef01:2345:6789:abcd:ef01:2345:6789");
  EXPECT_EQ(canonical("2001:DB8:0:0:8:800:200C:417A"), "2001:db8::8:800:200c:417a");
  EXPECT_EQ(canonical("FF01::101"), "ff01::101");
  EXPECT_EQ(canonical("::1"), "::1");
  EXPECT_EQ(canonical("::"), "::");
  EXPECT_EQ(canonical("0:0:0:0:0:0:0:0"), "::");
  EXPECT_EQ(canonical("1::"), "1::");
  EXPECT_EQ(canonical("0:0:0:0:0:0:13.1.68.3"), "::d01:4403");
  EXPECT_EQ(canonical("::FFFF:129.144.52.38"), "::ffff:129.144.52.38");
  EXPECT_EQ(canonical("1:2:3:4:5:6:7::"), "1:2:3:4:5:6:7:0");
  EXPECT_EQ(canonical("::2:3:4:5:6:7:8"), "0:2:3:4:5:6:7:8");
  for (const char* bad : {":", ":::", "1:", ":1", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
                          "1:2:3:4:5:6:7:8::", "1:2:3:4::5:6:7:8", "12345::", "g::", "::1%eth0", "[::1]", "::1/64",
                          "::1.2.3", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", "::1:", "1.2.3.4::"}) {
    EXPECT_EQ(canonical(bad), "refused") << bad;
  }
}

TEST(IpAddress, writes_what_rfc_5952_section_4_demands) {
  EXPECT_EQ(canonical("2001:0db8::0001"), "2001:db8::1");                          // 4.1 leading zeros
  EXPECT_EQ(canonical("2001:db8:0:0:0:0:2:1"), "2001:db8::2:1");                   // 4.2.1 shortened as far as possible
  EXPECT_EQ(canonical("2001:db8:0:1:1:1:1:1"), "2001:db8:0:1:1:1:1:1");            // 4.2.2 not for one group
  EXPECT_EQ(canonical("2001:0:0:1:0:0:0:1"), "2001:0:0:1::1");                     // 4.2.3 the longest run
  EXPECT_EQ(canonical("2001:db8:0:0:1:0:0:1"), "2001:db8::1:0:0:1");               // 4.2.3 the first of equals
  EXPECT_EQ(canonical("2001:DB8::ABCD"), "2001:db8::abcd");                        // 4.3 lower case
}

TEST(IpAddress, unmaps_only_mapped_addresses) {
  const auto mapped = IpAddress::parse("::ffff:10.0.0.1").value();
  EXPECT_TRUE(mapped.is_v6());
  EXPECT_EQ(mapped.unmapped(), IpAddress(Ipv4{0x0A000001}));
  for (const char* other : {"::10.0.0.1", "64:ff9b::10.0.0.1", "10.0.0.1", "2001:db8::1"}) {
    const auto ip = IpAddress::parse(other).value();
    EXPECT_EQ(ip.unmapped(), ip) << other;
  }
}

TEST(IpAddress, knows_its_bits_and_bytes) {
  const auto four = IpAddress::parse("128.0.0.1").value();
  EXPECT_EQ(four.bits(), 32);
  EXPECT_TRUE(four.bit(0));
  EXPECT_FALSE(four.bit(1));
  EXPECT_TRUE(four.bit(31));
  EXPECT_EQ(four.bytes().size(), 4u);
  const auto six = IpAddress::parse("8000::1").value();
  EXPECT_EQ(six.bits(), 128);
  EXPECT_TRUE(six.bit(0));
  EXPECT_TRUE(six.bit(127));
  EXPECT_FALSE(six.bit(64));
  std::unordered_set<IpAddress> set{four, six, four};
  EXPECT_EQ(set.size(), 2u);
  EXPECT_EQ(std::unordered_set<Ipv4>({Ipv4{1}, Ipv4{2}, Ipv4{1}}).size(), 2u);
}

RC_GTEST_PROP(IpAddress, any_ipv4_survives_its_text, (std::uint32_t value)) {
  const IpAddress ip(Ipv4{value});
  RC_ASSERT(IpAddress::parse(ip.to_string()).value() == ip);
}

RC_GTEST_PROP(IpAddress, any_ipv6_survives_its_text, ()) {
  std::array<std::uint8_t, 16> bytes{};
  for (auto& b : bytes)
    b = *rc::gen::element<std::uint8_t>(0, 0, 0, 1, 0xff, 0x20);   // zero runs of every length and place
  const auto ip = IpAddress::v6(bytes);
  RC_ASSERT(IpAddress::parse(ip.to_string()).value() == ip);
}

RC_GTEST_PROP(IpAddress, no_text_is_read_past_its_end, (const std::string& any)) {
  const auto alphabet = *rc::gen::container<std::string>(rc::gen::elementOf(std::string("0123456789abcf:.%[]")));
  for (const std::string& s : {any, alphabet}) {
    const std::vector<char> exact(s.begin(), s.end());   // on the heap, of exactly this size
    const auto ip = IpAddress::parse({exact.data(), exact.size()});
    if (ip) RC_ASSERT(IpAddress::parse(ip->to_string()).value() == *ip);
  }
}

TEST(Cidr, clears_the_bits_behind_its_prefix) {
  EXPECT_EQ(Cidr(IpAddress::parse("10.1.2.3").value(), 9).to_string(), "10.0.0.0/9");
  EXPECT_EQ(Cidr(IpAddress::parse("255.255.255.255").value(), 0).to_string(), "0.0.0.0/0");
  EXPECT_EQ(Cidr(IpAddress::parse("2001:db8:ffff::1").value(), 33).to_string(), "2001:db8:8000::/33");
  EXPECT_EQ(Cidr(), Cidr::parse("0.0.0.0/0").value());
}

TEST(Cidr, names_the_network_that_was_meant_when_host_bits_are_set) {
  const auto wrong = Cidr::parse("10.0.1.25/16");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Errc::invalid_argument);
  EXPECT_EQ(wrong.error().text, "10.0.1.25/16 has host bits set; did you mean 10.0.0.0/16?");
  EXPECT_EQ(Cidr::parse("fe80::1/10").error().text, "fe80::1/10 has host bits set; did you mean fe80::/10?");
}

TEST(Cidr, takes_a_bare_address_for_itself_alone) {
  EXPECT_TRUE(Cidr::parse("10.0.0.1")->single());
  EXPECT_EQ(Cidr::parse("10.0.0.1")->to_string(), "10.0.0.1/32");
  EXPECT_EQ(Cidr::parse("::1")->prefix(), 128);
  for (const char* bad : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/-1", "10.0.0.0/8/8", "::/129", "/8",
                          "x/8", "10.0.0.0/ 8"}) {
    EXPECT_FALSE(Cidr::parse(bad)) << bad;
  }
}

RC_GTEST_PROP(Cidr, contains_what_agrees_in_every_bit_of_the_prefix, (std::uint32_t a, std::uint32_t b)) {
  const auto prefix = *rc::gen::inRange(0, 33);
  const auto near = *rc::gen::inRange(0, 33) == 0 ? b : a ^ (1u << *rc::gen::inRange(0, 32));
  const Cidr net(Ipv4{a}, prefix);
  bool same = true;
  for (int i = 0; i < prefix; ++i) same = same && IpAddress(Ipv4{a}).bit(i) == IpAddress(Ipv4{near}).bit(i);
  RC_ASSERT(net.contains(Ipv4{near}) == same);
  RC_ASSERT(Cidr::parse(net.to_string()).value() == net);
  RC_ASSERT(net.contains(net.base()));
}

TEST(Cidr, keeps_the_families_apart) {
  EXPECT_FALSE(Cidr::parse("0.0.0.0/0")->contains(IpAddress::parse("::1").value()));
  EXPECT_FALSE(Cidr::parse("::/0")->contains(IpAddress::parse("1.2.3.4").value()));
  EXPECT_TRUE(Cidr::parse("::/0")->contains(IpAddress::parse("::ffff:1.2.3.4").value()));
  EXPECT_FALSE(Cidr::parse("10.0.0.0/8")->overlaps(Cidr::parse("11.0.0.0/8").value()));
  EXPECT_TRUE(Cidr::parse("10.0.0.0/8")->overlaps(Cidr::parse("10.1.0.0/16").value()));
  EXPECT_TRUE(Cidr::parse("10.1.0.0/16")->overlaps(Cidr::parse("10.0.0.0/8").value()));
}

TEST(Endpoint, reads_both_families) {
  EXPECT_EQ(Endpoint::parse("1.2.3.4:53")->to_string(), "1.2.3.4:53");
  EXPECT_EQ(Endpoint::parse("[::1]:53")->to_string(), "[::1]:53");
  EXPECT_EQ(Endpoint::parse("1.2.3.4", 53)->port, 53);
  EXPECT_EQ(Endpoint::parse("::1", 53)->to_string(), "[::1]:53");
  EXPECT_EQ(Endpoint::parse("[::1]", 53)->to_string(), "[::1]:53");
  EXPECT_EQ(Endpoint::parse("127.0.0.1:0")->port, 0);   // a listener that takes any port
  EXPECT_EQ(Endpoint::parse("1.2.3.4").error().code, Errc::invalid_argument);
  for (const char* bad : {"", ":53", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:x", "1.2.3.4:-1", "1.2.3.4:000053", "[::1",
                          "[::1]53", "[1.2.3.4]:53", "host:53", "::1:2:3:4:5:6:7:8", "[]:53"}) {
    EXPECT_FALSE(Endpoint::parse(bad, 53)) << bad;
  }
}

TEST(HostPort, reads_what_a_person_types) {
  EXPECT_EQ(HostPort::parse("Tg.Example.COM.:443")->to_string(), "tg.example.com:443");
  EXPECT_EQ(HostPort::parse("tg.example.com", 443)->port, 443);
  EXPECT_EQ(HostPort::parse("1.2.3.4:443")->host, "1.2.3.4");
  EXPECT_EQ(HostPort::parse("[2001:DB8::1]:443")->host, "2001:db8::1");
  EXPECT_EQ(HostPort::parse("2001:db8::1", 443)->to_string(), "[2001:db8::1]:443");
  EXPECT_EQ(HostPort::parse("tg.example.com").error().code, Errc::invalid_argument);
  EXPECT_EQ(HostPort::parse("https://tg.example.com:443").error().text, "this is a URL; write HOST:PORT only");
  for (const char* bad : {"", ":443", "a b:443", "host:0", "host:99999", "[host]:443", "300.1.1.1:443", "1:2:3",
                          "user@host:1", "[::1]x", "host:", "[::1"}) {
    EXPECT_FALSE(HostPort::parse(bad, 443)) << bad;
  }
}

}  // namespace tg::ip_test
