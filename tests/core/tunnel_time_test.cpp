// Round trips, silence and death.
#include <gtest/gtest.h>

#include "tests/core/tunnel_peer.h"

namespace tg {
namespace {

using Lines = std::vector<std::string>;

TEST(TunnelTime, measures_the_round_trip) {
  Pair p;
  EXPECT_FALSE(p.client.round_trip());
  p.open();
  p.carry(p.client, p.connector);
  p.now += 20ms;
  p.carry(p.connector, p.client);      // PING
  p.now += 20ms;
  p.carry(p.client, p.connector);      // its answer, and a PING
  EXPECT_EQ(p.connector.round_trip(), 20ms);
  p.now += 30ms;
  p.carry(p.connector, p.client);
  EXPECT_EQ(p.client.round_trip(), 30ms);
}

TEST(TunnelTime, does_not_count_its_own_queue_as_round_trip) {
  Pair p;
  p.open();
  p.carry(p.client, p.connector);
  p.now += 5s;                         // the PING waits here
  p.carry(p.connector, p.client);
  p.now += 10ms;
  p.carry(p.client, p.connector);
  EXPECT_EQ(p.connector.round_trip(), 10ms);
}

TEST(TunnelTime, asks_after_silence_and_gives_up_on_no_answer) {
  Lone l(Tunnel::Side::client);
  EXPECT_EQ(l.tunnel.next_deadline(), l.now + 15s);
  l.now += 14s;
  EXPECT_TRUE(l.tunnel.on_timeout(l.now));
  EXPECT_FALSE(l.tunnel.wants_output());
  l.now += 1s;
  EXPECT_TRUE(l.tunnel.on_timeout(l.now));
  EXPECT_EQ(l.sent(), Lines{"PING 0"});
  EXPECT_EQ(l.tunnel.next_deadline(), l.now + 10s);
  l.now += 10s;
  const auto dead = l.tunnel.on_timeout(l.now);
  ASSERT_FALSE(dead);
  EXPECT_EQ(dead.error().code, Errc::timed_out);
  EXPECT_EQ(l.tunnel.next_deadline(), kNever);
  EXPECT_EQ(l.tunnel.feed(as_bytes("x"), l.now).error().code, Errc::timed_out);
  EXPECT_EQ(l.tunnel.on_timeout(l.now).error().code, Errc::timed_out);
  EXPECT_TRUE(l.sent().empty());
}

TEST(TunnelTime, takes_any_byte_for_life) {
  Pair p;
  const StreamId id = p.open_wide();
  p.now += 15s;
  EXPECT_TRUE(p.client.on_timeout(p.now));
  while (p.client.produce(p.record, p.now) > 0) {      // PING is lost in a queue somewhere
  }
  for (int i = 0; i < 5; ++i) {
    p.now += 9s;
    p.s.out[id] = {"x"};
    p.connector.readable(id);
    p.carry(p.connector, p.client);
    EXPECT_TRUE(p.client.on_timeout(p.now));
  }
  p.now += 10s;
  EXPECT_FALSE(p.client.on_timeout(p.now));
}

TEST(TunnelTime, keeps_quiet_tunnels_alive_for_ever) {
  Pair p;
  for (int i = 0; i < 100; ++i) {
    p.now = std::min(p.client.next_deadline(), p.connector.next_deadline());
    EXPECT_TRUE(p.client.on_timeout(p.now));
    EXPECT_TRUE(p.connector.on_timeout(p.now));
    p.run();
  }
  EXPECT_GT(p.now, at(1000s));
}

}  // namespace
}  // namespace tg
