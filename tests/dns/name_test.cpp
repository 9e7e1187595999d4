#include "dns/name.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>

#include "tests/support/dns_wire.h"

namespace tg::dns::name_test {

Name name(std::string_view text) {
  auto n = Name::parse(text);
  EXPECT_TRUE(n.has_value()) << text;
  return n.value_or(Name{});
}

std::string wire_text(const Name& n) { return std::string(as_text(n.wire())); }

TEST(Name, is_the_root_by_default) {
  EXPECT_TRUE(Name{}.is_root());
  EXPECT_EQ(Name{}.size(), 1u);
  EXPECT_EQ(Name{}.to_string(), ".");
  EXPECT_EQ(Name{}, name("."));
  EXPECT_EQ(Name{}.label_count(), 0u);
}

TEST(Name, is_stored_as_labels_in_wire_form) {
  EXPECT_EQ(wire_text(name("nas.home.int")), std::string("\x03nas\x04home\x03int\x00", 14));
  EXPECT_EQ(name("nas.home.int").label_count(), 3u);
}

TEST(Name, canonical_text_is_lower_case_without_the_final_dot) {
  EXPECT_EQ(name("NAS.Home.INT.").to_string(), "nas.home.int");
}

TEST(Name, escapes_odd_bytes_both_ways) {
  const Name odd = name("a\\.b.\\000\\255x\\\\.int");
  EXPECT_EQ(wire_text(odd), std::string("\x03" "a.b" "\x04" "\x00\xffx\\" "\x03int\x00", 14));
  EXPECT_EQ(odd.to_string(), "a\\.b.\\000\\255x\\\\.int");
  EXPECT_EQ(name(odd.to_string()), odd);
}

TEST(Name, keeps_the_case_of_letters_and_compares_without_it) {
  EXPECT_EQ(name("NaS.home.int"), name("nas.HOME.int"));
  EXPECT_EQ(name("NaS.home.int").hash(), name("nas.HOME.int").hash());
  EXPECT_FALSE(name("NaS.home.int").same_bytes(name("nas.home.int")));
  EXPECT_TRUE(name("NaS.home.int").lower().same_bytes(name("nas.home.int")));
}

TEST(Name, compares_only_ascii_letters_without_case) {   // RFC 4343 section 3
  EXPECT_FALSE(name("\\195\\132.int") == name("\\195\\164.int"));
  EXPECT_FALSE(name("a@.int") == name("a`.int"));   // 0x40 and 0x60 differ by the bit that letters differ by
  EXPECT_FALSE(name("a[.int") == name("a{.int"));
}

TEST(Name, a_dot_inside_a_label_is_no_border_between_labels) {
  EXPECT_FALSE(name("nas\\.home.int") == name("nas.home.int"));
  EXPECT_FALSE(name("x\\.home.int").is_subdomain_of(name("home.int")));
}

TEST(Name, parse_refuses_what_no_name_is) {
  for (const char* bad : {"", "..", ".a", "a..b", "a..", "a\\", "a\\25", "a\\256", "a\\2x5", "\\"})
    EXPECT_FALSE(Name::parse(bad).has_value()) << bad;
}

TEST(Name, a_label_may_have_63_bytes_but_not_64) {
  EXPECT_TRUE(Name::parse(std::string(63, 'a')).has_value());
  EXPECT_FALSE(Name::parse(std::string(64, 'a')).has_value());
}

TEST(Name, a_name_may_have_255_bytes_but_not_256) {
  const std::string l63(63, 'a');
  const std::string longest = l63 + "." + l63 + "." + l63 + "." + std::string(61, 'b');
  ASSERT_TRUE(Name::parse(longest).has_value());
  EXPECT_EQ(name(longest).size(), 255u);
  EXPECT_EQ(name(longest + ".").size(), 255u);
  EXPECT_FALSE(Name::parse(longest + "b").has_value());
  std::string letters = "a";
  for (int i = 1; i < 127; ++i) letters += ".a";
  EXPECT_EQ(name(letters).size(), 255u);
  EXPECT_EQ(name(letters).label_count(), 127u);
  EXPECT_FALSE(Name::parse(letters + ".a").has_value());
  EXPECT_FALSE(Name::parse(l63 + "." + l63 + "." + l63 + "." + std::string(60, 'b') + ".c").has_value());
}

TEST(Name, every_name_is_a_subdomain_of_itself_its_parents_and_the_root) {
  EXPECT_TRUE(name("nas.home.int").is_subdomain_of(name("NAS.home.int")));
  EXPECT_TRUE(name("nas.home.int").is_subdomain_of(name("HOME.int")));
  EXPECT_TRUE(name("nas.home.int").is_subdomain_of(Name{}));
  EXPECT_TRUE(Name{}.is_subdomain_of(Name{}));
  EXPECT_FALSE(name("home.int").is_subdomain_of(name("nas.home.int")));
  EXPECT_FALSE(name("nashome.int").is_subdomain_of(name("home.int")));
  EXPECT_FALSE(name("nas.home.org").is_subdomain_of(name("home.int")));
}

TEST(Name, parent_drops_the_first_label) {
  EXPECT_EQ(name("nas.home.int").parent(), name("home.int"));
  EXPECT_EQ(name("int").parent(), Name{});
  EXPECT_EQ(Name{}.parent(), Name{});
}

TEST(Name, hostname_is_what_a_resource_may_be_called_and_nothing_else) {
  std::string out = "old";
  EXPECT_TRUE(name("NAS_1.Home-x.int").hostname(out));
  EXPECT_EQ(out, "nas_1.home-x.int");
  for (const char* odd : {".", "nas\\.home.int", "*.home.int", "na?s.int", "a b.int", "a\\000.int", "b\\195\\188.int",
      "a\\\\b.int"})
    EXPECT_FALSE(name(odd).hostname(out)) << odd;
}

TEST(Name, copies_are_independent) {
  Name a = name("a.very.long.name.that.would.not.fit.into.a.small.string");
  Name b = a;
  a = name("b");
  EXPECT_EQ(b.to_string(), "a.very.long.name.that.would.not.fit.into.a.small.string");
  Name& self = b;
  b = self;
  EXPECT_EQ(b.label_count(), 12u);
}

TEST(ReverseName, four_octets_are_one_address) {
  EXPECT_EQ(reverse_address(name("50.1.168.192.in-addr.arpa")), Ipv4{0xC0A80132});
  EXPECT_EQ(reverse_address(name("50.1.168.192.IN-ADDR.ARPA")), Ipv4{0xC0A80132});
  EXPECT_EQ(reverse_address(name("0.0.0.0.in-addr.arpa")), Ipv4{0});
}

TEST(ReverseName, fewer_octets_are_a_network_and_more_labels_are_below) {
  const auto net = reverse_name(name("96.100.in-addr.arpa"));
  ASSERT_TRUE(net.has_value());
  EXPECT_EQ(net->network.to_string(), "100.96.0.0/16");
  EXPECT_FALSE(net->below);
  EXPECT_FALSE(reverse_address(name("96.100.in-addr.arpa")).has_value());
  const auto below = reverse_name(name("lb._dns-sd._udp.0.96.100.in-addr.arpa"));
  ASSERT_TRUE(below.has_value());
  EXPECT_EQ(below->network.to_string(), "100.96.0.0/24");
  EXPECT_TRUE(below->below);
  EXPECT_TRUE(reverse_name(name("1.4.3.2.1.in-addr.arpa"))->below);
  EXPECT_FALSE(reverse_address(name("1.4.3.2.1.in-addr.arpa")).has_value());
}

TEST(ReverseName, odd_octets_are_labels_not_octets) {
  for (const char* odd : {"256.1.168.192.in-addr.arpa", "01.1.168.192.in-addr.arpa", "1a.1.168.192.in-addr.arpa",
                          "-1.1.168.192.in-addr.arpa", "1000.1.168.192.in-addr.arpa"})
    EXPECT_TRUE(reverse_name(name(odd))->below) << odd;
}

TEST(ReverseName, other_names_are_no_reverse_names) {
  for (const char* other : {"in-addr.arpa", "x.in-addr.arpa", "1.2.3.4.ip6.arpa", "4.3.2.1.xin-addr.arpa", "4.3.2.1",
      "."})
    EXPECT_FALSE(reverse_name(name(other)).has_value()) << other;
}

RC_GTEST_PROP(ReverseName, reads_back_what_it_writes, (std::uint32_t value)) {
  RC_ASSERT(reverse_address(to_reverse(Ipv4{value})) == Ipv4{value});
}

rc::Gen<std::string> any_labels() {
  const auto label = rc::gen::resize(20,
      rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::arbitrary<char>())));
  return rc::gen::map(rc::gen::resize(10, rc::gen::container<std::vector<std::string>>(label)),
      [](std::vector<std::string> labels) {
    std::string wire;
    for (const std::string& l : labels) wire += static_cast<char>(l.size()) + l;
    return wire + '\0';
  });
}

RC_GTEST_PROP(Name, text_of_any_bytes_reads_back_as_the_same_name, ()) {
  const std::string wire = *any_labels();
  Reader in(as_bytes(wire));
  const auto n = Name::read(in);
  RC_ASSERT(n.has_value());
  const auto again = Name::parse(n->to_string());
  RC_ASSERT(again.has_value());
  RC_ASSERT(*again == *n);
  RC_ASSERT(again->same_bytes(n->lower()));
}

RC_GTEST_PROP(Name, equal_names_have_equal_hashes_whatever_the_case, ()) {
  std::string wire = *any_labels();
  Reader a(as_bytes(wire));
  const Name n = *Name::read(a);
  std::string shouted = wire;
  for (char& c : shouted)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  Reader b(as_bytes(shouted));
  if (const auto read = Name::read(b)) {
    RC_ASSERT(*read == n);
    RC_ASSERT(read->hash() == n.hash());
  }
}

}  // namespace tg::dns::name_test
