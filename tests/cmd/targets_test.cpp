#include "cmd/client/targets.h"

#include <gtest/gtest.h>

namespace tg::client {
namespace {

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

}  // namespace
}  // namespace tg::client
