// What a peer may do often, and how often.
#include <gtest/gtest.h>

#include "tests/core/tunnel_peer.h"

namespace tg::tunnel_flood_test {

using Lines = std::vector<std::string>;

TEST(TunnelFlood, ends_rapid_resets_and_bears_a_port_scan) {
  Lone l(kAtConnector);
  StreamId id = 0;
  const auto opens = [&](int n, bool by_client) {
    for (int i = 0; i < n; ++i) {
      l.open(++id);
      if (by_client) l.frame(FrameType::reset, 0, id, "\0\0"sv);
      EXPECT_TRUE(l.feed());
      if (!by_client) l.tunnel.reset(id, Code::refused);
      if (i % 1000 == 0) l.sent();
    }
  };
  opens(65'536, false);                // every port refused: as fast as it likes
  opens(150'000, true);
  l.now += 1s;
  opens(2'000, true);
  l.open(++id);
  l.frame(FrameType::reset, 0, id, "\0\0"sv);
  EXPECT_FALSE(l.feed());
  EXPECT_EQ(l.sent().back(), "GOAWAY 0 flood");
}

TEST(TunnelFlood, counts_only_streams_that_were_reset_young) {
  Lone l(kAtConnector);
  for (StreamId id = 1; id <= 60'000; ++id) l.open(id, Protocol::udp);
  EXPECT_TRUE(l.feed());
  l.now += 5s;                         // as DNS flows do that were idle
  for (StreamId id = 1; id <= 60'000; ++id) l.frame(FrameType::reset, 0, id, "\0\0"sv);
  EXPECT_TRUE(l.feed());
  EXPECT_EQ(l.tunnel.streams(), 0u);
}

TEST(TunnelFlood, never_takes_a_client_of_ours_for_one) {
  Pair p;
  int refused = 0;
  for (int i = 0; i < 50'000; ++i) {   // all of it arrives at once
    const auto id = p.client.open({7, Protocol::tcp, 80, "nas"});
    if (id) p.client.reset(*id, Code::none);
    else ++refused;
    if (i % 1000 == 0) p.now += 10ms;
    if (i % 100 == 0) p.run();
  }
  p.run();
  EXPECT_GT(refused, 40'000);
  p.now += 5s;
  EXPECT_TRUE(p.connector.feed({}, p.now));
  p.run();
  p.open();
  p.run();
}

// All that a client may have open goes into a path that swallows, twice, and is moved to another tunnel 3 s later.
TEST(TunnelFlood, does_not_take_streams_that_are_moved_away_for_one) {
  Pair p;
  const StreamId live = p.open_wide();
  Buffer swallowed;
  const auto produce = [&] {
    while (const std::size_t n = p.client.produce(p.record, p.now)) append(swallowed, Bytes(p.record).first(n));
  };
  for (int stall = 0; stall < 2; ++stall) {
    std::vector<StreamId> pending;
    while (const auto id = p.client.open({7, Protocol::tcp, 80, "nas"})) {
      pending.push_back(*id);
      if (pending.size() < 60'000) produce();          // into the kernel's buffers, until they are full
    }
    EXPECT_GT(pending.size(), 65'000u);
    p.now += 3s;
    for (const StreamId id : pending) p.client.reset(id, Code::none);
    ASSERT_TRUE(p.client.on_timeout(p.now)) << "of its own queue";
    produce();
    while (!swallowed.empty()) {
      const std::size_t n = std::min<std::size_t>(swallowed.size(), 1 << 20);
      ASSERT_TRUE(p.connector.feed(Bytes(swallowed).first(n), p.now));
      swallowed.erase(swallowed.begin(), swallowed.begin() + static_cast<std::ptrdiff_t>(n));
    }
  }
  p.run();
  EXPECT_EQ(p.connector.streams(), 1u);
  p.s.out[live].bytes = "still here";
  p.connector.readable(live);
  p.run();
  EXPECT_EQ(p.c.got[live], "still here");
}

TEST(TunnelFlood, ends_floods_of_cheap_frames) {
  const auto frames_until_goaway = [](FrameType type, std::string_view payload, StreamId id, bool gone = false) {
    Lone l(kAtConnector);
    l.open(1);
    EXPECT_TRUE(l.feed());
    l.tunnel.opened(1);
    if (gone) l.tunnel.reset(1, Code::none);
    for (int i = 0; i < 1'000'000; ++i) {
      l.frame(type, 0, id, payload);
      if (l.feed()) continue;
      EXPECT_EQ(l.sent().back(), "GOAWAY 0 flood");
      return i;
    }
    return -1;
  };
  EXPECT_EQ(frames_until_goaway(FrameType::ping, "12345678", 0), 500);
  EXPECT_EQ(frames_until_goaway(FrameType::goaway, "\0\0\0\0\0\0"sv, 0), 500);
  EXPECT_EQ(frames_until_goaway(FrameType::grant, "ey", 0), 100);
  EXPECT_EQ(frames_until_goaway(FrameType::data, "", 1), 1'000);
  EXPECT_EQ(frames_until_goaway(FrameType::window, kOne4, 1), 200'000);
  EXPECT_EQ(frames_until_goaway(FrameType::reset, "\0\0"sv, 1, true), 200'000);
}

TEST(TunnelFlood, bounds_the_control_queue_of_a_peer_that_never_reads) {
  TunnelLimits limits;
  limits.max_queued_control = 5'000;
  Lone l(kAtConnector, limits);
  int answered = 0;
  for (StreamId id = 1; id < 2'000; ++id) {
    l.open(id);
    if (!l.feed()) break;
    l.tunnel.reset(id, Code::denied);
    ++answered;
  }
  EXPECT_GT(answered, 400);
  EXPECT_LT(answered, 501);
  EXPECT_EQ(l.tunnel.on_timeout(l.now).error().code, Errc::protocol);

  TunnelLimits none;
  none.max_streams = 0;
  none.max_queued_control = 5'000;
  Lone full(kAtConnector, none);       // the same without its owner having a say
  for (StreamId id = 1; id < 2'000; ++id) full.open(id);
  EXPECT_FALSE(full.feed());

  Lone c(kAtClient, limits);           // and a client does not add to it
  int opened = 0;
  while (c.tunnel.open({7, Protocol::tcp, 80, "nas"})) ++opened;
  EXPECT_GT(opened, 40);
  EXPECT_TRUE(c.tunnel.on_timeout(c.now));
  for (int i = 0; i < 3'000; ++i) c.tunnel.reset(static_cast<StreamId>(i), Code::none);
  c.sent();
  EXPECT_EQ(c.tunnel.open({7, Protocol::tcp, 80, "nas"}).has_value(), true);
}

TEST(TunnelFlood, asks_to_be_called_when_it_ended_outside_of_feed) {
  TunnelLimits limits;
  limits.max_queued_control = 100;
  Lone l(kAtConnector, limits);
  for (StreamId id = 1; id <= 20; ++id) l.open(id);
  EXPECT_TRUE(l.feed());
  for (StreamId id = 1; id <= 20; ++id) l.tunnel.reset(id, Code::denied);
  EXPECT_LE(l.tunnel.next_deadline(), l.now);
  EXPECT_FALSE(l.tunnel.on_timeout(l.now));
  EXPECT_EQ(l.tunnel.next_deadline(), kNever);
}

TEST(TunnelFlood, lets_windows_through_that_data_earned) {
  TunnelLimits tiny;
  tiny.first_credit = 2;
  tiny.max_credit = 2;
  Pair p({}, tiny);
  const StreamId id = p.open_wide();
  p.c.in_pull = [&](StreamId) { p.c.out[id].bytes = "xxxx"; };     // never runs dry
  p.client.readable(id);
  p.s.in_data = [&](StreamId) { p.connector.consumed(id, 1), p.connector.consumed(id, 1); };
  while (p.s.got[id].size() < 600'000 && p.carry(p.client, p.connector) + p.carry(p.connector, p.client) > 0) {
  }
  EXPECT_GE(p.s.got[id].size(), 600'000u);     // 300,000 WINDOWs at one instant
}

}  // namespace tg::tunnel_flood_test
