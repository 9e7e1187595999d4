#include "core/matcher.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tg::matcher_test {

Resource resource(ResourceId id, std::string_view address, std::string alias = "") {
  Resource r;
  r.id = id;
  r.name = "r" + std::to_string(id);
  r.network = "home";
  r.address = Address::parse(address).value();
  r.alias = std::move(alias);
  return r;
}

ResourceId winner(const Matcher& m, std::string_view host) {
  const Resource* r = m.find(parse_host(host).value());
  return r == nullptr ? 0 : r->id;
}

TEST(Matcher, prefers_an_exact_name_to_a_wildcard) {
  const Matcher m({resource(1, "*.corp.internal"), resource(2, "db.corp.internal")});
  EXPECT_EQ(winner(m, "db.corp.internal"), 2u);
  EXPECT_EQ(winner(m, "DB.Corp.Internal."), 2u);
  EXPECT_EQ(winner(m, "web.corp.internal"), 1u);
  EXPECT_EQ(winner(m, "a.b.corp.internal"), 1u);
  EXPECT_EQ(winner(m, "corp.internal"), 0u);
  EXPECT_EQ(winner(m, "example.com"), 0u);
}

TEST(Matcher, prefers_more_literal_characters_then_the_smaller_id) {
  const Matcher m({resource(1, "*.internal"), resource(2, "*.corp.internal"), resource(3, "db*.internal"),
                   resource(9, "d*.abcorp.internal"), resource(8, "x*y.internal"), resource(7, "xy*.internal")});
  EXPECT_EQ(winner(m, "db.corp.internal"), 2u);       // 14 literals over 11 and 9
  EXPECT_EQ(winner(m, "db1.home.internal"), 3u);
  EXPECT_EQ(winner(m, "d.abcorp.internal"), 9u);
  EXPECT_EQ(winner(m, "xy.y.internal"), 7u);          // eleven each
  EXPECT_EQ(winner(m, "xay.internal"), 8u);
}

TEST(Matcher, prefers_the_longest_prefix) {
  const Matcher m({resource(1, "10.0.0.0/8"), resource(2, "10.1.0.0/16"), resource(3, "10.1.2.3"),
                   resource(4, "0.0.0.0/0"), resource(5, "2001:db8::/32"), resource(6, "2001:db8::1")});
  EXPECT_EQ(winner(m, "10.1.2.3"), 3u);
  EXPECT_EQ(winner(m, "::ffff:10.1.2.3"), 3u);
  EXPECT_EQ(m.find(IpAddress::parse("::ffff:10.1.2.3").value())->id, 3u);
  EXPECT_EQ(winner(m, "10.1.2.4"), 2u);
  EXPECT_EQ(winner(m, "10.2.2.4"), 1u);
  EXPECT_EQ(winner(m, "192.0.2.1"), 4u);
  EXPECT_EQ(winner(m, "2001:db8::1"), 6u);
  EXPECT_EQ(winner(m, "2001:db8::2"), 5u);
  EXPECT_EQ(winner(m, "2001:db9::2"), 0u);
}

TEST(Matcher, takes_an_alias_for_an_exact_name) {
  const Matcher m({resource(5, "nas.home.int", "nas.tg"), resource(3, "*.tg"), resource(4, "10.0.0.1", "ten.tg"),
                   resource(9, "web.home.int", "db.home.int"), resource(8, "db.home.int")});
  EXPECT_EQ(winner(m, "nas.tg"), 5u);
  EXPECT_EQ(winner(m, "ten.tg"), 4u);
  EXPECT_EQ(winner(m, "other.tg"), 3u);
  EXPECT_EQ(winner(m, "db.home.int"), 8u);   // an alias and an address collide: the smaller id
  EXPECT_EQ(target_host(*m.by_id(5), "nas.tg"), "nas.home.int");
  EXPECT_EQ(target_host(*m.by_id(4), "ten.tg"), "10.0.0.1");
  EXPECT_EQ(target_host(*m.by_id(5), "nas.home.int"), "nas.home.int");
  EXPECT_EQ(target_host(*m.by_id(3), "x.tg"), "x.tg");
}

TEST(Matcher, ignores_an_alias_that_would_stand_for_many_hosts) {
  const Matcher m({resource(1, "*.corp", "corp.tg"), resource(2, "10.0.0.0/8", "ten.tg")});
  EXPECT_EQ(winner(m, "corp.tg"), 0u);
  EXPECT_EQ(winner(m, "ten.tg"), 0u);
  EXPECT_EQ(target_host(*m.by_id(1), "corp.tg"), "corp.tg");
}

TEST(Matcher, takes_the_smaller_id_for_the_same_address) {
  const Matcher m({resource(7, "a.b"), resource(2, "a.b"), resource(9, "10.0.0.0/8"), resource(4, "10.0.0.0/8"),
                   resource(6, "*.c"), resource(5, "*.c")});
  EXPECT_EQ(winner(m, "a.b"), 2u);
  EXPECT_EQ(winner(m, "10.1.1.1"), 4u);
  EXPECT_EQ(winner(m, "x.c"), 5u);
}

TEST(Matcher, keeps_the_order_among_many_with_one_ending) {
  std::vector<Resource> many = {resource(1, "a*.int"), resource(3, "a?*.int"), resource(4, "a*b*.int")};
  for (ResourceId i = 1; i < 9; ++i) many.push_back(resource(10 + i, "x" + std::to_string(i) + "*.int"));
  const Matcher m(many);
  EXPECT_EQ(winner(m, "ab.int"), 4u);      // six literals over five
  EXPECT_EQ(winner(m, "ac.int"), 1u);      // five each
  EXPECT_EQ(winner(m, "x5.int"), 15u);
  EXPECT_EQ(winner(m, "b.int"), 0u);
}

TEST(Matcher, takes_the_smaller_id_of_many_with_one_ending_and_one_with_another) {
  std::vector<Resource> many = {resource(50, "ab*.int"), resource(1, "a*y.int")};
  for (char c = 'b'; c < 'k'; ++c) many.push_back(resource(static_cast<ResourceId>(c), std::string(1, c) + "*y.int"));
  EXPECT_EQ(winner(Matcher(many), "abzy.int"), 1u);
  EXPECT_EQ(winner(Matcher(many), "abz.int"), 50u);
}

// Of 2^32 addresses, with 100,000 Resources: half of a million that are nobody's would do to find a hash that is not of one only.
TEST(Matcher, takes_no_address_for_another) {
  std::vector<Resource> all;
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    Resource r = resource(i + 1, "10.0.0.1");
    r.address = Address::parse(IpAddress(Ipv4{0x0A000000u + i * 31}).to_string()).value();
    all.push_back(std::move(r));
  }
  const Matcher m(std::move(all));
  std::uint32_t address = 1;
  for (int i = 0; i < 1'000'000; ++i) {
    address = address * 1664525u + 1013904223u;
    const Resource* found = m.find(IpAddress(Ipv4{address}));
    ASSERT_TRUE(found == nullptr || found->address.network().base().v4().value == address) << address;
  }
  EXPECT_EQ(m.find(IpAddress(Ipv4{0x0A000000u + 31}))->id, 2u);
}

TEST(Matcher, explains_the_whole_order) {
  const Matcher m({resource(1, "*.internal"), resource(4, "*.corp.internal"), resource(3, "?*.corp.internal"),
                   resource(9, "db.corp.internal"), resource(8, "x.home", "db.corp.internal"), resource(5, "*.home")});
  std::vector<ResourceId> ids;
  for (const Resource* r : m.candidates(std::string("db.corp.internal"))) ids.push_back(r->id);
  EXPECT_EQ(ids, (std::vector<ResourceId>{8, 9, 3, 4, 1}));
  EXPECT_TRUE(m.candidates(std::string("nowhere")).empty());
  EXPECT_TRUE(m.candidates(IpAddress()).empty());
}

TEST(Matcher, finds_by_id_and_keeps_the_first_of_one_id) {
  const Matcher m({resource(7, "a.b"), resource(2, "c.d"), resource(7, "e.f")});
  EXPECT_EQ(m.resources().size(), 2u);
  EXPECT_EQ(m.by_id(7)->address.text(), "a.b");
  EXPECT_EQ(m.by_id(3), nullptr);
  EXPECT_EQ(m.find("e.f"), nullptr);
  EXPECT_EQ(Matcher().find("a.b"), nullptr);
  EXPECT_EQ(Matcher().by_id(1), nullptr);
  Matcher moved;
  moved = Matcher({resource(1, "a.b")});
  EXPECT_EQ(moved.find(std::string("a.b"))->id, 1u);
}

// The oracle: the rules word by word, without an index.
bool naive_glob(std::string_view p, std::string_view n) {
  if (p.empty()) return n.empty();
  if (p[0] == '*') return naive_glob(p.substr(1), n) || (!n.empty() && naive_glob(p, n.substr(1)));
  return !n.empty() && (p[0] == '?' || p[0] == n[0]) && naive_glob(p.substr(1), n.substr(1));
}

std::tuple<int, int> naive_rank(const Resource& r, const Host& host) {   // (0, 0) is no match; more wins
  if (const auto* ip = std::get_if<IpAddress>(&host)) {
    if (r.address.kind() != Address::Kind::network) return {0, 0};
    const Cidr& net = r.address.network();
    if (net.base().bits() != ip->bits()) return {0, 0};
    for (int i = 0; i < net.prefix(); ++i) if (net.base().bit(i) != ip->bit(i)) return {0, 0};
    return {1, net.prefix()};
  }
  const auto& name = std::get<std::string>(host);
  const bool one_host = r.address.text().find_first_of("*?/") == std::string::npos;
  if (one_host && (r.address.text() == name || r.alias == name)) return {2, 0};
  if (r.address.kind() != Address::Kind::wildcard || !naive_glob(r.address.text(), name)) return {0, 0};
  const auto& p = r.address.text();
  return {1, static_cast<int>(std::count_if(p.begin(), p.end(), [](char c) { return c != '*' && c != '?'; }))};
}

std::vector<ResourceId> naive_order(const std::vector<Resource>& resources, const Host& host) {
  std::vector<std::tuple<int, int, ResourceId>> all;
  for (const Resource& r : resources) {
    if (const auto [kind, weight] = naive_rank(r, host); kind > 0) all.emplace_back(-kind, -weight, r.id);
  }
  std::sort(all.begin(), all.end());
  std::vector<ResourceId> out;
  for (const auto& entry : all) out.push_back(std::get<2>(entry));
  return out;
}

std::string pick(std::initializer_list<const char*> from) {
  return *rc::gen::elementOf(std::vector<std::string>(from.begin(), from.end()));
}

std::string some_name() {
  std::string out = pick({"a", "b", "db1", "db2", "web"});
  for (int n = *rc::gen::inRange(0, 3); n > 0; --n) out += "." + pick({"a", "corp", "home", "db1"});
  return out + "." + pick({"int", "internal", "tg"});
}

std::string some_pattern() {
  std::string out = some_name();
  for (int n = *rc::gen::inRange(1, 4); n > 0; --n) {
    const auto at = *rc::gen::inRange<std::size_t>(0, out.size());
    const auto cut = *rc::gen::inRange<std::size_t>(0, std::min<std::size_t>(5, out.size() - at));
    out.replace(at, cut, pick({"*", "*", "?", "??", "*?"}));
  }
  return out;
}

IpAddress some_ip() {
  const auto low = *rc::gen::inRange<std::uint32_t>(0, 16);
  if (*rc::gen::inRange(0, 4) > 0) return Ipv4{0x0A000000u | low << 14 | (low & 3)};
  std::array<std::uint8_t, 16> b{0x20, 0x01, 0x0d, 0xb8};
  b[7] = static_cast<std::uint8_t>(low << 4);
  b[15] = static_cast<std::uint8_t>(low & 3);
  return IpAddress::v6(b);
}

std::string shouted(std::string name) {
  for (char& c : name) if (*rc::gen::inRange(0, 2) == 0 && c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  if (*rc::gen::inRange(0, 2) == 0) name += '.';
  return name;
}

std::vector<Resource> some_resources() {
  std::vector<Resource> out;
  std::vector<ResourceId> ids;
  const int n = *rc::gen::inRange(0, 60);
  for (int i = 1; i <= n; ++i) ids.push_back(static_cast<ResourceId>(i) * 3);
  for (; !ids.empty(); ids.pop_back()) {
    std::swap(ids.back(), ids[*rc::gen::inRange<std::size_t>(0, ids.size())]);
    const int kind = *rc::gen::inRange(0, 8);
    std::string text = kind < 2 ? some_name() : kind < 6 ? some_pattern() : "";
    if (kind >= 6) {
      const IpAddress ip = some_ip();
      text = Cidr(ip, *rc::gen::elementOf(ip.is_v4() ? std::vector<int>{8, 15, 16, 17, 30, 32}
                                                     : std::vector<int>{32, 60, 127, 128}))
                 .to_string();
    }
    const auto address = Address::parse(text);
    if (!address) continue;   // "*.?" and the like
    out.push_back(resource(ids.back(), text, *rc::gen::inRange(0, 4) == 0 ? some_name() : ""));
  }
  return out;
}

// 100 worlds with 1,000 hosts each.
RC_GTEST_PROP(Matcher, agrees_with_the_rules_word_by_word, ()) {
  const auto resources = some_resources();
  const Matcher m(resources);
  for (int i = 0; i < 1000; ++i) {
    const bool name = *rc::gen::inRange(0, 4) > 0;
    const Host host = name ? parse_host(shouted(some_name())).value() : Host(some_ip());
    const auto order = naive_order(resources, host);
    const Resource* won = m.find(host);
    RC_ASSERT((won == nullptr ? 0 : won->id) == (order.empty() ? 0 : order[0]));
    std::vector<ResourceId> ids;
    for (const Resource* r : m.candidates(host)) ids.push_back(r->id);
    RC_ASSERT(ids == order);
  }
}

TEST(Matcher, looks_at_few_of_many_wildcards_with_one_ending) {
  std::vector<Resource> all;
  for (ResourceId i = 1; i <= 5000; ++i) all.push_back(resource(i, "host" + std::to_string(i) + "-*.corp.internal"));
  all.push_back(resource(6000, "*.corp.internal"));
  const Matcher m(std::move(all));
  for (ResourceId i = 1; i <= 5000; i += 7) EXPECT_EQ(winner(m, "host" + std::to_string(i) + "-a.corp.internal"), i);
  EXPECT_EQ(winner(m, "host.corp.internal"), 6000u);
}

TEST(Matcher, copes_with_the_longest_names) {
  const std::string label(63, 'a');
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
  const Matcher m({resource(1, "*" + longest.substr(1)), resource(2, "?" + longest.substr(1)),
                   resource(3, longest.substr(0, 252) + "*")});
  EXPECT_EQ(winner(m, longest), 1u);
  EXPECT_EQ(winner(m, longest.substr(0, 252)), 3u);
}

}  // namespace tg::matcher_test
