#include "core/idle.h"

#include <gtest/gtest.h>

namespace tg::idle_test {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

const Instant kMoved{hours(3)};

TEST(Idle, a_udp_flow_lives_for_thirty_seconds_of_silence) {
  const Duration limit = idle_limit(Protocol::udp, 123);
  EXPECT_FALSE(idle(kMoved, kMoved, limit));
  EXPECT_FALSE(idle(kMoved, kMoved + seconds(30), limit));
  EXPECT_TRUE(idle(kMoved, kMoved + milliseconds(30'001), limit));
}

TEST(Idle, a_udp_flow_to_port_53_lives_for_five) {
  const Duration limit = idle_limit(Protocol::udp, 53);
  EXPECT_FALSE(idle(kMoved, kMoved + seconds(5), limit));
  EXPECT_TRUE(idle(kMoved, kMoved + milliseconds(5'001), limit));
}

TEST(Idle, the_short_limit_is_for_udp_and_for_port_53_alone) {
  EXPECT_EQ(idle_limit(Protocol::udp, 52), seconds(30));
  EXPECT_EQ(idle_limit(Protocol::udp, 5353), seconds(30));
  EXPECT_EQ(idle_limit(Protocol::icmp, 53), seconds(30));
}

TEST(Idle, tcp_is_never_idle) {
  EXPECT_FALSE(idle(kMoved, kMoved + hours(24 * 365), idle_limit(Protocol::tcp, 53)));
  EXPECT_FALSE(idle(kNever, kMoved, kIdleAtConnector)) << "what a connector's TCP flow says";
}

TEST(Idle, the_connector_waits_longer_than_any_client) {
  EXPECT_EQ(kIdleAtConnector, seconds(60));
  EXPECT_GT(kIdleAtConnector, idle_limit(Protocol::udp, 1));
  EXPECT_FALSE(idle(kMoved, kMoved + seconds(60), kIdleAtConnector));
  EXPECT_TRUE(idle(kMoved, kMoved + milliseconds(60'001), kIdleAtConnector));
}

}  // namespace tg::idle_test
