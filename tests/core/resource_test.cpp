#include "core/resource.h"

#include <bitset>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tg::resource_test {

using Set = std::bitset<65536>;

std::vector<PortRange> some_ranges() {
  const auto near = rc::gen::oneOf(rc::gen::inRange<int>(0, 40), rc::gen::inRange<int>(65500, 65536),
                                   rc::gen::inRange<int>(0, 65536));
  const auto pairs = *rc::gen::container<std::vector<std::pair<int, int>>>(rc::gen::pair(near, near));
  std::vector<PortRange> out;
  for (const auto& [a, b] : pairs) out.push_back({static_cast<std::uint16_t>(a), static_cast<std::uint16_t>(b)});
  return out;
}

Set set_of(const std::vector<PortRange>& ranges) {
  Set out;
  for (const PortRange& r : ranges) for (int p = r.first; p <= r.last; ++p) out.set(static_cast<std::size_t>(p));
  return out;
}

RC_GTEST_PROP(Ports, are_the_union_of_their_ranges, ()) {
  const auto ranges = some_ranges();
  const Ports ports(ranges);
  const Set set = set_of(ranges);
  for (int p = 0; p < 65536; p += p < 100 || p > 65400 ? 1 : 97) {
    RC_ASSERT(ports.contains(static_cast<std::uint16_t>(p)) == set[static_cast<std::size_t>(p)]);
  }
  RC_ASSERT(ports.is_all() == set.all());
  RC_ASSERT(ports.empty() == set.none());
}

RC_GTEST_PROP(Ports, have_one_form_for_each_set, ()) {
  auto ranges = some_ranges();
  const Ports a(ranges);
  std::reverse(ranges.begin(), ranges.end());
  ranges.insert(ranges.end(), a.ranges().begin(), a.ranges().end());
  RC_ASSERT(Ports(ranges) == a);
  for (std::size_t i = 1; i < a.ranges().size(); ++i) {
    RC_ASSERT(a.ranges()[i - 1].last + 1 < a.ranges()[i].first);   // apart, and not touching
  }
}

TEST(Ports, read_a_port_or_a_range) {
  EXPECT_EQ(Ports::parse("443").value(), (PortRange{443, 443}));
  EXPECT_EQ(Ports::parse("8000-8100").value(), (PortRange{8000, 8100}));
  EXPECT_EQ(Ports::parse("0-65535").value(), (PortRange{0, 65535}));
  for (const char* bad :
       {"", "-", "1-", "-1", "65536", "1-65536", "http", "1,2", "1 - 2", " 1", "1-2-3", "0x50", "100000"}) {
    const auto r = Ports::parse(bad);
    ASSERT_FALSE(r) << bad;
    EXPECT_EQ(r.error().code, Errc::invalid_argument);
    EXPECT_NE(r.error().text.find("8000-8100"), std::string::npos);
  }
  EXPECT_EQ(Ports::parse("9-8").error().text, "\"9-8\" runs backwards; write the smaller port first");
}

TEST(Ports, are_written_as_people_say_them) {
  EXPECT_EQ(Ports::all().to_string(), "all");
  EXPECT_EQ(Ports::none().to_string(), "none");
  EXPECT_EQ(Ports({{8000, 8100}, {22, 22}, {80, 80}}).to_string(), "22, 80, 8000-8100");
}

TEST(Protocols, let_everything_through_unless_told_otherwise) {
  const Protocols everything;
  EXPECT_TRUE(everything.allow(Protocol::tcp, 0));
  EXPECT_TRUE(everything.allow(Protocol::udp, 65535));
  EXPECT_TRUE(everything.allow(Protocol::icmp, 0));
  EXPECT_EQ(everything.to_string(), "everything");
  const Protocols some{Ports({{22, 22}, {80, 80}}), Ports::all(), false};
  EXPECT_TRUE(some.allow(Protocol::tcp, 22));
  EXPECT_FALSE(some.allow(Protocol::tcp, 23));
  EXPECT_TRUE(some.allow(Protocol::udp, 23));
  EXPECT_FALSE(some.allow(Protocol::icmp, 0));
  EXPECT_FALSE(some.allow(static_cast<Protocol>(47), 22));   // GRE and others: never
  EXPECT_EQ(some.to_string(), "tcp 22, 80; udp all");
  EXPECT_EQ((Protocols{Ports::none(), Ports::none(), true}).to_string(), "icmp");
  EXPECT_EQ((Protocols{Ports::none(), Ports::none(), false}).to_string(), "nothing");
  EXPECT_EQ(to_string(Protocol::tcp), "tcp");
  EXPECT_EQ(to_string(Protocol::udp), "udp");
  EXPECT_EQ(to_string(Protocol::icmp), "icmp");
  EXPECT_EQ(to_string(static_cast<Protocol>(47)), "unknown");
}

TEST(Host, is_an_address_where_the_text_is_one) {
  EXPECT_EQ(parse_host("10.0.0.1").value(), Host(IpAddress(Ipv4{0x0A000001})));
  EXPECT_EQ(parse_host("::ffff:10.0.0.1").value(), Host(IpAddress(Ipv4{0x0A000001})));
  EXPECT_EQ(parse_host("NAS.Home.Int.").value(), Host(std::string("nas.home.int")));
  EXPECT_EQ(to_string(parse_host("2001:DB8::1").value()), "2001:db8::1");
  EXPECT_EQ(to_string(parse_host("nas").value()), "nas");
  for (const char* bad :
       {"", ".", "300.1.1.1", "10.1", "0x7f.1", "127.0x1", "nas..home", "nas home", "*.home", "bücher.de", "nas:22"}) {
    EXPECT_FALSE(parse_host(bad)) << bad;
  }
}

}  // namespace tg::resource_test
