#include "core/policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace tg::policy_test {

Resource resource(ResourceId id, const std::string& address, Protocols protocols = {}, std::string alias = "") {
  return {id, "r" + std::to_string(id), "home", Address::parse(address).value(), std::move(alias), std::move(protocols)};
}

Grant grant(std::vector<ResourceId> ids) {
  Grant g;
  g.user = "alice@example.com";
  std::sort(ids.begin(), ids.end());
  g.resources = std::move(ids);
  return g;
}

OpenRequest tcp(ResourceId id, const std::string& host, std::uint16_t port = 80) { return {id, Protocol::tcp, port, host}; }

const Protocols kWebOnly{Ports({{80, 80}}), Ports::none(), false};

TEST(Policy, lets_a_granted_resource_through) {
  const Policy policy({resource(1, "nas.home.int")});
  const auto d = policy.decide(grant({1}), tcp(1, "nas.home.int"));
  EXPECT_EQ(d.code, Code::none);
  EXPECT_EQ(d.host, "nas.home.int");
}

TEST(Policy, denies_what_the_grant_does_not_cover) {
  const Policy policy({resource(1, "nas.home.int"), resource(2, "box.home.int")});
  EXPECT_EQ(policy.decide(grant({2}), tcp(1, "nas.home.int")).code, Code::denied);
  EXPECT_EQ(policy.decide(grant({}), tcp(1, "nas.home.int")).code, Code::denied);
}

TEST(Policy, denies_a_resource_that_the_controller_did_not_tell_of) {
  const Policy policy({resource(1, "nas.home.int")});
  EXPECT_EQ(policy.decide(grant({1, 9}), tcp(9, "nas.home.int")).code, Code::denied);
  EXPECT_EQ(policy.decide(grant({9}), tcp(9, "elsewhere.home.int")).code, Code::denied);
}

TEST(Policy, a_broader_resource_does_not_lead_around_a_narrower_ones_rules) {
  const Policy policy({resource(1, "*.home.int"), resource(2, "nas.home.int", kWebOnly)});
  const Grant both = grant({1, 2});
  EXPECT_EQ(policy.decide(both, tcp(1, "nas.home.int", 22)).code, Code::denied);
  EXPECT_EQ(policy.decide(both, tcp(2, "nas.home.int", 22)).code, Code::port_not_allowed);
  EXPECT_EQ(policy.decide(both, tcp(2, "nas.home.int", 80)).code, Code::none);
  EXPECT_EQ(policy.decide(both, tcp(1, "other.home.int", 22)).code, Code::none);
}

TEST(Policy, a_narrower_resource_of_somebody_else_is_not_seen) {
  const Policy policy({resource(1, "10.0.0.0/8"), resource(2, "10.0.1.25", kWebOnly)});
  EXPECT_EQ(policy.decide(grant({1}), tcp(1, "10.0.1.25", 22)).code, Code::none);
}

TEST(Policy, spelling_does_not_lead_around_a_rule) {
  const Policy policy({resource(1, "*.home.int"), resource(2, "nas.home.int", kWebOnly), resource(3, "10.0.1.25")});
  for (const char* host : {"NAS.home.int", "nas.home.int.", "Nas.Home.INT."}) {
    EXPECT_EQ(policy.decide(grant({1, 2}), tcp(1, host, 22)).code, Code::denied) << host;
  }
  for (const char* host : {"10.0.1.025", "0xa.0.1.25", "167772441", "10.0.1.25.", "nas.home.int/", "nas..home.int", ""}) {
    EXPECT_NE(policy.decide(grant({1, 2, 3}), tcp(3, host)).code, Code::none) << host;
  }
}

TEST(Policy, dials_the_resources_own_name_for_its_alias) {
  const Policy policy({resource(1, "nas.home.int", {}, "nas.tg")});
  EXPECT_EQ(policy.decide(grant({1}), tcp(1, "nas.tg")).host, "nas.home.int");
}

TEST(Policy, a_question_needs_the_grant_but_no_port) {
  const Policy policy({resource(1, "nas.home.int", kWebOnly)});
  EXPECT_EQ(policy.decide(grant({1}), Query{1, "nas.home.int", 15}).code, Code::none);
  EXPECT_EQ(policy.decide(grant({}), Query{1, "nas.home.int", 15}).code, Code::denied);
}

TEST(Policy, only_a_resource_for_the_address_itself_names_it) {
  const Policy policy({resource(1, "0.0.0.0/0"), resource(2, "127.0.0.1", kWebOnly), resource(3, "169.254.0.0/16")});
  const IpAddress loopback = IpAddress::parse("127.0.0.1").value();
  const IpAddress metadata = IpAddress::parse("169.254.169.254").value();
  EXPECT_TRUE(policy.names(grant({1, 2, 3}), loopback, Protocol::tcp, 80));
  EXPECT_FALSE(policy.names(grant({1, 2, 3}), loopback, Protocol::tcp, 22));
  EXPECT_FALSE(policy.names(grant({1, 3}), loopback, Protocol::tcp, 80));
  EXPECT_FALSE(policy.names(grant({1, 3}), metadata, Protocol::tcp, 80));
}

TEST(Policy, what_is_withheld_takes_its_hosts_from_wider_ones) {
  const Policy policy({resource(1, "10.0.1.25"), resource(2, "10.0.1.0/24"), resource(3, "nas.home.int"), resource(4, "*.home.int")});
  Grant g = grant({2, 4});
  EXPECT_EQ(policy.decide(g, tcp(2, "10.0.1.25")).code, Code::none) << "nobody said that there is a narrower one for the user";
  g.withheld = {1, 3};
  for (const ResourceId claimed : {1, 2}) EXPECT_EQ(policy.decide(g, tcp(claimed, "10.0.1.25")).code, Code::denied) << claimed;
  for (const ResourceId claimed : {3, 4}) EXPECT_EQ(policy.decide(g, tcp(claimed, "nas.home.int")).code, Code::denied) << claimed;
  EXPECT_EQ(policy.decide(g, tcp(2, "10.0.1.26")).code, Code::none);
  EXPECT_EQ(policy.decide(g, tcp(4, "box.home.int")).code, Code::none);
  EXPECT_EQ(policy.decide(g, Query{3, "nas.home.int", 15}).code, Code::denied);
  EXPECT_FALSE(policy.names(g, IpAddress::parse("10.0.1.25").value(), Protocol::tcp, 80));
}

TEST(Policy, what_a_grant_gives_until_a_moment_is_withheld_then) {
  const Policy policy({resource(1, "10.0.1.25"), resource(2, "10.0.1.0/24")});
  const UnixTime noon(std::chrono::hours(12));
  Grant g = grant({2});
  g.ends[noon] = {1};
  EXPECT_EQ(policy.decide(g, tcp(1, "10.0.1.25")).code, Code::none);
  EXPECT_FALSE(g.end(noon + Grant::kEndTolerance - std::chrono::seconds(1)));
  EXPECT_EQ(policy.decide(g, tcp(1, "10.0.1.25")).code, Code::none);
  EXPECT_TRUE(g.end(noon + Grant::kEndTolerance));
  EXPECT_FALSE(g.end(noon + Grant::kEndTolerance)) << "once";
  EXPECT_EQ(policy.decide(g, tcp(1, "10.0.1.25")).code, Code::denied);
  EXPECT_EQ(policy.decide(g, tcp(2, "10.0.1.25")).code, Code::denied);
  EXPECT_EQ(policy.decide(g, tcp(2, "10.0.1.26")).code, Code::none);
}

// The oracle writes the rules of the contract down once more, in the plainest way.
struct Oracle {
  const std::vector<Resource>& resources;

  static bool covers(const Grant& g, ResourceId id) { return std::find(g.resources.begin(), g.resources.end(), id) != g.resources.end(); }

  static bool withheld(const Grant& g, ResourceId id) { return std::find(g.withheld.begin(), g.withheld.end(), id) != g.withheld.end(); }

  static bool wins(const Resource& a, const Resource& b, bool name) {
    if (!name && a.address.network().prefix() != b.address.network().prefix()) {
      return a.address.network().prefix() > b.address.network().prefix();
    }
    const bool exact_a = a.address.kind() == Address::Kind::name, exact_b = b.address.kind() == Address::Kind::name;
    if (name && exact_a != exact_b) return exact_a;
    if (name && !exact_a && a.address.literals() != b.address.literals()) return a.address.literals() > b.address.literals();
    return a.id < b.id;
  }

  Code decide(const Grant& g, const OpenRequest& r) const {
    const auto ip = IpAddress::parse(r.host);
    const Resource* best = nullptr;
    for (const Resource& x : resources) {
      if (!covers(g, x.id) && !withheld(g, x.id)) continue;
      if (!(ip ? x.address.matches(*ip) : x.address.matches(r.host))) continue;
      if (best == nullptr || wins(x, *best, !ip)) best = &x;
    }
    if (best == nullptr || best->id != r.resource || withheld(g, best->id)) return Code::denied;
    return best->protocols.allow(r.protocol, r.port) ? Code::none : Code::port_not_allowed;
  }
};

TEST(Policy, a_million_decisions_agree_with_an_oracle) {
  const char* addresses[] = {"*.home.int", "nas.home.int", "n*.home.int", "*s.home.int", "box.home.int", "?as.home.int", "*.int",
                             "10.0.0.0/8", "10.0.0.0/16", "10.0.1.0/24", "10.0.1.25", "10.0.1.26", "0.0.0.0/0"};
  const char* hosts[] = {"nas.home.int", "box.home.int", "home.int", "a.b.home.int", "las.home.int",
                         "10.0.1.25", "10.0.1.27", "10.0.2.1", "10.9.9.9", "11.0.0.1"};
  std::mt19937 random(20260101);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  std::size_t different = 0, allowed = 0;
  for (int world = 0; world < 2000; ++world) {
    std::vector<Resource> resources;
    const std::size_t count = 1 + below(7);
    for (ResourceId id = 1; id <= count; ++id) {
      resources.push_back(resource(id, addresses[below(std::size(addresses))], below(2) ? Protocols{} : kWebOnly));
    }
    const Policy policy(resources);
    const Oracle oracle{resources};
    for (int i = 0; i < 500; ++i) {
      std::vector<ResourceId> ids;
      for (ResourceId id = 1; id <= count + 1; ++id) {
        if (below(2)) ids.push_back(id);
      }
      Grant g = grant(ids);
      for (ResourceId id = 1; id <= count; ++id) {
        if (!g.covers(id) && below(4) == 0) g.withheld.push_back(id);
      }
      const Protocol protocols[] = {Protocol::tcp, Protocol::udp, Protocol::icmp};
      const OpenRequest request{1 + below(count + 1), protocols[below(3)], static_cast<std::uint16_t>(below(2) ? 80 : 22),
                                hosts[below(std::size(hosts))]};
      const Code got = policy.decide(g, request).code;
      if (got != oracle.decide(g, request)) ++different;
      if (got == Code::none) ++allowed;
    }
  }
  EXPECT_EQ(different, 0u);
  EXPECT_GT(allowed, 10'000u);   // the worlds are not so poor that all is denied
}

}  // namespace tg::policy_test
