#include "cmd/client/targets.h"

#include <gtest/gtest.h>

namespace tg::client::targets_test {

Cidr net(const char* text) { return Cidr::parse(text).value(); }

TEST(Targets, lend_no_address_that_the_client_itself_uses) {
  for (const char* range : {"100.95.0.240/28", "172.16.30.0/28"}) {
    Targets targets(net(range));
    EXPECT_EQ(targets.pool().capacity(), 7u) << range;   // of 14, half is tg's own
    for (int i = 0; i < 7; ++i) {
      const auto lent = targets.pool().acquire("host" + std::to_string(i) + ".home.int", Instant{});
      ASSERT_TRUE(lent) << range;
      for (const Cidr& own : Targets::own_networks()) EXPECT_FALSE(own.contains(*lent)) << range;
    }
  }
  EXPECT_EQ(Targets(net("100.64.0.0/10")).pool().capacity(), (1u << 22) - 2 - 8);
  EXPECT_EQ(Targets(net("100.96.0.0/12")).pool().capacity(), (1u << 20) - 2) << "the usual range is whole";
  EXPECT_EQ(Targets(net("100.95.0.248/29")).pool().capacity(), 0u);
}

TEST(Targets, own_networks_are_those_of_the_documents) {
  ASSERT_EQ(Targets::own_networks().size(), 2u);
  EXPECT_EQ(Targets::own_networks()[0].to_string(), "100.95.0.248/29");
  EXPECT_EQ(Targets::own_networks()[1].to_string(), "172.16.30.0/29");
}

Resource resource(ResourceId id, const char* address) {
  Resource r;
  r.id = id;
  r.name = address;
  r.address = Address::parse(address).value();
  return r;
}

std::shared_ptr<const Matcher> matcher(std::vector<const char*> addresses) {
  std::vector<Resource> all;
  for (const char* a : addresses) all.push_back(resource(all.size() + 1, a));
  return std::make_shared<const Matcher>(std::move(all));
}

Ipv4 ip(const char* text) { return IpAddress::parse(text).value().v4(); }

TEST(Targets, an_address_resource_inside_the_range_is_found_and_its_addresses_are_lent_to_nobody) {
  Targets targets(net("100.100.5.0/29"));
  targets.set_matcher(matcher({"*.home.int", "100.100.5.1", "100.100.5.4/31"}));
  const auto found = targets.find(ip("100.100.5.1"));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->resource->id, 2u);
  EXPECT_EQ(found->host, "100.100.5.1");
  ASSERT_TRUE(targets.find(ip("100.100.5.5")));
  EXPECT_FALSE(targets.find(ip("100.100.5.2")));
  EXPECT_EQ(targets.pool().capacity(), 3u);
  for (const char* name : {"a.home.int", "b.home.int", "c.home.int"}) {
    const auto lent = targets.pool().acquire(name, Instant{});
    ASSERT_TRUE(lent);
    EXPECT_EQ(targets.matcher()->find(IpAddress(*lent)), nullptr);
    EXPECT_EQ(targets.find(*lent)->host, name);
  }
  EXPECT_EQ(targets.problem(), "");
}

TEST(Targets, an_address_that_was_lent_stays_the_names_while_it_is_a_resources) {
  const Instant now{std::chrono::hours(1)}, later = now + AddressPool::kHold;
  Targets targets(net("100.96.0.0/12"));
  targets.set_matcher(matcher({"nas.home.int"}));
  const Ipv4 lent = targets.pool().acquire("nas.home.int", now).value();
  targets.set_matcher(matcher({"nas.home.int", "100.64.0.0/10"}));
  EXPECT_EQ(targets.find(lent, later)->host, "nas.home.int");
  EXPECT_EQ(targets.name_at(lent, later), "nas.home.int");
  EXPECT_EQ(targets.find(ip("100.100.5.7"), later)->host, "100.100.5.7");
  // The name is nobody's any more. Who asked for it a moment ago must not land at another host.
  targets.set_matcher(matcher({"100.64.0.0/10"}));
  EXPECT_FALSE(targets.find(lent, later - Duration(1)));
  targets.pool().pin(lent);
  EXPECT_FALSE(targets.find(lent, later)) << "a flow is live";
  targets.pool().unpin(lent);
  EXPECT_EQ(targets.find(lent, later)->host, IpAddress(lent).to_string());
  EXPECT_EQ(targets.name_at(lent, later), std::nullopt);
}

TEST(Targets, say_that_no_address_is_left_for_names) {
  Targets targets(net("100.96.0.0/12"));
  EXPECT_EQ(targets.problem(), "");
  targets.set_matcher(matcher({"nas.home.int", "100.64.0.0/10"}));
  EXPECT_EQ(targets.problem(), "every address of the range 100.96.0.0/12 belongs to an address Resource: new names get "
                               "none; choose another range with --range");
  EXPECT_FALSE(targets.pool().acquire("nas.home.int", Instant{}));
  targets.set_matcher(matcher({"nas.home.int"}));
  EXPECT_EQ(targets.problem(), "");
  EXPECT_TRUE(targets.pool().acquire("nas.home.int", Instant{}));
}

}  // namespace tg::client::targets_test
