#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/resource.h"

namespace tg::address_test {

std::string said_of(std::string_view text) {
  const auto a = Address::parse(text);
  if (a) return "accepted as " + a->text();
  EXPECT_EQ(a.error().code, Errc::invalid_argument) << text;
  return a.error().text;
}

TEST(CanonicalName, is_lower_case_without_the_final_dot) {
  EXPECT_EQ(canonical_name("NAS.Home.Int.").value(), "nas.home.int");
  EXPECT_EQ(canonical_name("_dmarc.a-b.x1").value(), "_dmarc.a-b.x1");
  EXPECT_EQ(canonical_name("*.Corp?", true).value(), "*.corp?");
}

TEST(CanonicalName, keeps_the_limits_of_rfc_1035) {
  const std::string label(63, 'a');
  EXPECT_TRUE(canonical_name(label + ".b"));
  EXPECT_FALSE(canonical_name(label + "a.b"));
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'a');
  EXPECT_EQ(longest.size(), 253u);
  EXPECT_TRUE(canonical_name(longest));
  EXPECT_TRUE(canonical_name(longest + "."));
  EXPECT_FALSE(canonical_name(longest + "a"));
  for (const char* bad :
       {"", ".", "..", ".a", "a..b", "a..", "a b", "a/b", "*.a", "a?", "a\x01", "ü.de", "a:b", "a\\.b"}) {
    EXPECT_FALSE(canonical_name(bad)) << bad;
  }
}

TEST(Address, reads_the_four_kinds) {
  const auto name = Address::parse("NAS.Home.Int.").value();
  EXPECT_EQ(name.kind(), Address::Kind::name);
  EXPECT_EQ(name.text(), "nas.home.int");
  EXPECT_EQ(name.literals(), 12);
  const auto wildcard = Address::parse("*.Corp.Internal").value();
  EXPECT_EQ(wildcard.kind(), Address::Kind::wildcard);
  EXPECT_EQ(wildcard.literals(), 14);
  const auto ip = Address::parse("10.0.1.25").value();
  EXPECT_EQ(ip.kind(), Address::Kind::network);
  EXPECT_EQ(ip.text(), "10.0.1.25");
  EXPECT_EQ(ip, Address::parse("10.0.1.25/32").value());
  const auto net = Address::parse("2001:DB8::/32").value();
  EXPECT_EQ(net.text(), "2001:db8::/32");
  EXPECT_EQ(net.network().prefix(), 32);
}

TEST(Address, says_what_is_wrong_and_what_to_write) {
  EXPECT_EQ(said_of("http://nas/"), "\"http://nas/\" is a URL; write the host only");
  EXPECT_EQ(said_of("nas.home.int:22"), "\"nas.home.int:22\" has a port; use protocols");
  EXPECT_EQ(said_of("10.0.1.25/16"), "10.0.1.25/16 has host bits set; did you mean 10.0.0.0/16?");
  EXPECT_EQ(said_of("10.0.0.0/33"), "the prefix length must be a number from 0 to 32");
  EXPECT_EQ(said_of("nas home"), "\"nas home\" has spaces");
  EXPECT_EQ(said_of("*"), "\"*\" would capture every name; name at least one label, as in *.corp.internal");
  EXPECT_EQ(said_of("*.*"), "\"*.*\" would capture every name; name at least one label, as in *.corp.internal");
  EXPECT_EQ(said_of("10.0.*.*"), "\"10.0.*.*\" looks like a pattern of IP addresses; use a CIDR, as in 10.0.0.0/16");
  EXPECT_EQ(said_of("bücher.de"), "\"bücher.de\" is not ASCII; write the punycode (xn--…) form");
  EXPECT_EQ(said_of("::ffff:10.0.0.1"), "\"::ffff:10.0.0.1\" is IPv4 inside IPv6; write the IPv4 address");
  for (const char* ip_like : {"10.1.2", "300.1.1.1", "1.2.3.4.5", "10", "0x7f.1", "nas.0x1f"}) {
    EXPECT_NE(said_of(ip_like).find("looks like an IP address"), std::string::npos) << ip_like;
  }
  const std::pair<const char*, const char*> rest[] = {{"", "is empty"},
                                                      {"nas/24", "has a '/'"},
                                                      {"[::1]:22", "has brackets"},
                                                      {"fe80::1%eth0", "has a zone"},
                                                      {"root@nas", "has a user"},
                                                      {"1::2::3", "is no IPv6 address"},
                                                      {"10.0.0.1:22", "has a port"},
                                                      {"a..b", "empty label"},
                                                      {".corp", "empty label"},
                                                      {"nas,web", "is no name"},
                                                      {"nas;", "is no name"},
                                                      {"\x1b[0m", "has brackets"},
                                                      {"a\x1b", "\\x1b"}};
  for (const auto& [text, words] : rest)
    EXPECT_NE(said_of(text).find(words), std::string::npos) << text << ": " << said_of(text);
}

TEST(Address, gives_two_spellings_one_text) {
  EXPECT_EQ(Address::parse("A.B").value(), Address::parse("a.b.").value());
  EXPECT_EQ(Address::parse("**?.b").value(), Address::parse("?*.b").value());
  EXPECT_EQ(Address::parse("2001:db8:0::1").value(), Address::parse("2001:DB8::1/128").value());
  EXPECT_FALSE(Address::parse("a.b").value() == Address::parse("a.c").value());
}

TEST(Address, matches_names_and_addresses_apart) {
  EXPECT_TRUE(Address::parse("*.a.internal")->matches("x.a.internal"));
  EXPECT_FALSE(Address::parse("*.a.internal")->matches("a.internal"));
  EXPECT_TRUE(Address::parse("10.0.0.0/8")->matches(IpAddress(Ipv4{0x0A010203})));
  EXPECT_TRUE(Address::parse("10.0.0.0/8")->matches(IpAddress::parse("::ffff:10.1.2.3").value()));
  EXPECT_FALSE(Address::parse("10.0.0.0/8")->matches("10.1.2.3"));
  EXPECT_FALSE(
      Address::parse("a.b")->matches(IpAddress(Ipv4{0})));   // its network_ is 0.0.0.0/0, which means nothing here
}

TEST(Address, overlaps_exactly) {
  const auto overlap = [](const char* a, const char* b) {
    const auto x = Address::parse(a).value(), y = Address::parse(b).value();
    EXPECT_EQ(x.overlaps(y), y.overlaps(x)) << a << " " << b;
    return x.overlaps(y);
  };
  EXPECT_TRUE(overlap("a.b", "A.b."));
  EXPECT_FALSE(overlap("a.b", "a.c"));
  EXPECT_TRUE(overlap("a.b", "*.b"));
  EXPECT_FALSE(overlap("b", "*.b"));
  EXPECT_TRUE(overlap("*.corp.internal", "db*.internal"));
  EXPECT_FALSE(overlap("*.corp", "*.home"));
  EXPECT_TRUE(overlap("10.0.0.0/8", "10.1.0.0/16"));
  EXPECT_FALSE(overlap("10.0.0.0/8", "11.0.0.1"));
  EXPECT_FALSE(overlap("0.0.0.0/0", "::/0"));
  EXPECT_FALSE(overlap("0.0.0.0/0", "*.b"));
  EXPECT_FALSE(overlap("0.0.0.0/0", "a.b"));
}

RC_GTEST_PROP(Address, parses_its_own_text_to_itself, ()) {
  for (int i = 0; i < 100; ++i) {
    const auto text = *rc::gen::container<std::string>(rc::gen::elementOf(std::string("abAB01.*?:/-f")));
    const auto a = Address::parse(text);
    if (a) RC_ASSERT(Address::parse(a->text()).value() == *a);
    else RC_ASSERT(a.error().code == Errc::invalid_argument && !a.error().text.empty());
  }
}

}  // namespace tg::address_test
