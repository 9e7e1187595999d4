// Credit, and who is served when.
#include <gtest/gtest.h>

#include "tests/core/tunnel_peer.h"

namespace tg::tunnel_credit_test {

using Lines = std::vector<std::string>;

TEST(Tunnel, sends_no_more_than_the_peer_gave_credit_for) {
  TunnelLimits small;
  small.first_credit = 10'000;
  Pair p({}, small);
  const StreamId id = p.open_wide();
  p.c.out[id] = {std::string(50'000, 'x'), true};
  p.client.readable(id);
  p.run();
  EXPECT_EQ(p.s.got[id].size(), 10'000u);
  EXPECT_FALSE(p.client.wants_output());
  p.connector.consumed(id, 4'000);        // below half: not worth a frame yet
  p.run();
  EXPECT_EQ(p.s.got[id].size(), 10'000u);
  p.connector.consumed(id, 1'000);
  p.run();
  EXPECT_EQ(p.s.got[id].size(), 15'000u);
  while (p.s.got[id].size() < 50'000) {
    p.now += 1s;                          // slow: no growth
    p.connector.consumed(id, 5'000);
    p.run();
  }
  EXPECT_EQ(p.s.take(), Lines{"fin 1"});
}

TEST(Tunnel, grows_the_window_of_a_flow_that_it_holds_back) {
  TunnelLimits limits;
  limits.first_credit = 10'000;
  limits.max_credit = 35'000;
  Pair p({}, limits);
  const StreamId id = p.open_wide();
  ASSERT_TRUE(p.connector.round_trip());
  p.c.out[id] = {std::string(1'000'000, 'x')};
  p.client.readable(id);
  std::size_t taken = 0;
  const auto in_flight = [&] {
    p.run();
    const std::size_t n = p.s.got[id].size() - taken;
    p.connector.consumed(id, n);
    taken += n;
    return n;
  };
  EXPECT_EQ(in_flight(), 10'000u);
  EXPECT_EQ(in_flight(), 20'000u);
  EXPECT_EQ(in_flight(), 35'000u);
  EXPECT_EQ(in_flight(), 35'000u);
}

TEST(Tunnel, gives_credit_back_in_eighths_of_a_large_window) {
  TunnelLimits limits;
  limits.first_credit = 1024 * 1024;
  Pair p({}, limits);
  const StreamId id = p.open_wide();
  p.c.out[id] = {std::string(4 * 1024 * 1024, 'x')};
  p.client.readable(id);
  p.run();
  ASSERT_EQ(p.s.got[id].size(), 1024u * 1024);
  p.now += 10s;                           // slow: no growth
  p.run();
  p.connector.consumed(id, 128 * 1024 - 1);
  p.run();
  EXPECT_EQ(p.s.got[id].size(), 1024u * 1024);
  p.connector.consumed(id, 1);
  p.run();
  EXPECT_EQ(p.s.got[id].size(), (1024u + 128) * 1024);
}

TEST(Tunnel, grows_no_window_for_the_time_that_bytes_wait_in_a_queue_on_the_way) {
  TunnelLimits limits;
  limits.first_credit = 10'000;
  Pair p({}, limits);
  const auto round_trip = [&](Duration time) {
    p.carry(p.connector, p.client);
    p.now += time;
    p.carry(p.client, p.connector);
  };
  p.open();                               // and the connector's PING is on its way
  p.carry(p.client, p.connector);
  round_trip(40ms);
  for (int i = 0; i < 20; ++i) {          // the queue is long now
    p.connector.ping(p.now);
    round_trip(2s);
  }
  ASSERT_GT(p.connector.round_trip(), 1s);
  const auto given = [&](Duration within) {
    const StreamId id = p.open();
    p.c.out[id] = {std::string(100'000, 'x')};
    p.carry(p.client, p.connector);
    p.connector.opened(id);
    p.carry(p.connector, p.client);
    p.client.readable(id);
    p.carry(p.client, p.connector);
    EXPECT_EQ(p.s.got[id].size(), 10'000u);
    p.now += within;
    p.connector.ping(p.now);
    p.connector.consumed(id, 10'000);
    round_trip(2s);
    while (p.carry(p.client, p.connector) > 0) {
    }
    return p.s.got[id].size() - 10'000;
  };
  EXPECT_EQ(given(500ms), 10'000u) << "a quarter of a round trip with the queue, and twelve without";
  p.now += std::chrono::minutes(11);      // the way has changed
  for (int i = 0; i < 20; ++i) {
    p.connector.ping(p.now);
    round_trip(2s);
    p.now += std::chrono::minutes(1);
  }
  EXPECT_EQ(given(500ms), 20'000u);
}

TEST(Tunnel, grows_no_window_above_the_total_and_starts_streams_small_then) {
  TunnelLimits limits;
  limits.first_credit = 10'000;
  limits.total_credit = 25'000;
  limits.least_credit = 100;
  Pair p({}, limits);
  const StreamId a = p.open_wide();
  const StreamId b = p.open_wide();
  const StreamId c = p.open_wide();
  for (const StreamId id : {a, b, c}) {
    p.c.out[id] = {std::string(100'000, 'x')};
    p.client.readable(id);
  }
  p.run();
  EXPECT_EQ(p.s.got[a].size(), 10'000u);
  EXPECT_EQ(p.s.got[c].size(), 100u);
  p.connector.consumed(a, 10'000);
  p.run();
  EXPECT_EQ(p.s.got[a].size(), 20'000u);    // as much again, not twice
  p.connector.reset(b, Code::none);         // makes room
  p.connector.consumed(a, 10'000);
  p.run();
  EXPECT_EQ(p.s.got[a].size(), 40'000u);
}

TEST(Tunnel, serves_greedy_streams_in_turn) {
  Pair p;
  const StreamId a = p.open_wide();
  const StreamId b = p.open_wide();
  const StreamId c = p.open_wide();
  for (const StreamId id : {a, b, c}) {
    p.c.out[id] = {std::string(id == c ? 3'000 : 200'000, 'x')};
    p.client.readable(id);
  }
  for (int i = 0; i < 9; ++i) p.carry(p.client, p.connector);
  EXPECT_EQ(p.s.got[c].size(), 3'000u);
  EXPECT_NEAR(static_cast<double>(p.s.got[a].size()), static_cast<double>(p.s.got[b].size()), kFrameMax);
}

TEST(Tunnel, fills_a_record_before_it_returns) {
  Pair p;
  std::vector<StreamId> ids;
  for (int i = 0; i < 200; ++i) ids.push_back(p.open());
  p.run();
  for (const StreamId id : ids) p.connector.opened(id);
  p.run();
  for (const StreamId id : ids) {
    p.c.out[id] = {std::string(500, 'x')};
    p.client.readable(id);
  }
  EXPECT_GT(p.carry(p.client, p.connector), kFrameMax - 1024);
}

TEST(Tunnel, lets_control_overtake_data) {
  Pair p;
  const StreamId id = p.open_wide();
  p.c.out[id] = {std::string(200'000, 'x')};
  p.client.readable(id);
  p.carry(p.client, p.connector);
  p.open();
  p.carry(p.client, p.connector);
  EXPECT_EQ(p.s.take(), Lines{"open 2 nas.home.int"});
}

TEST(Tunnel, sends_opened_before_the_data_that_a_pull_sets_free) {
  Pair p;
  const StreamId a = p.open_wide();
  const StreamId b = p.open();
  p.run();
  p.s.out[a] = {"a"};
  p.s.out[b] = {"b"};
  p.s.in_pull = [&](StreamId id) {
    if (id != a) return;
    p.connector.opened(b);
    p.connector.readable(b);
  };
  p.connector.readable(a);
  p.run();
  EXPECT_EQ(p.c.take(), Lines{"opened 2"});
  EXPECT_EQ(p.c.got[b], "b");
}

TEST(Tunnel, leaves_a_share_to_data_under_a_flood_of_datagrams) {
  Pair p;
  const StreamId udp = p.open_wide(Protocol::udp);
  const StreamId tcp = p.open_wide();
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(p.client.datagram(udp, Buffer(1400)));
  p.c.out[tcp] = {std::string(200'000, 'x')};
  p.client.readable(tcp);
  for (int i = 0; i < 10; ++i) p.carry(p.client, p.connector);
  EXPECT_GE(p.s.got[tcp].size(), kPayloadMax);
  EXPECT_GE(p.s.datagrams.size(), 60u);
}

TEST(Tunnel, asks_a_stream_only_when_it_said_it_was_readable) {
  Pair p;
  const StreamId id = p.open_wide();
  p.client.readable(id);
  p.client.readable(id);
  p.run();
  EXPECT_EQ(p.c.pulls, 1u);      // it had nothing
  p.c.in_pull = [&](StreamId) { p.client.readable(id); };   // not even when it says so without having bytes
  p.client.readable(id);
  p.run();
  EXPECT_EQ(p.c.pulls, 2u);
  p.client.readable(99);
}

TEST(Tunnel, puts_fin_into_the_next_record_when_this_one_is_full) {
  Pair p;
  const StreamId id = p.open_wide();
  p.c.out[id] = {std::string(kPayloadMax, 'x'), true};
  p.client.readable(id);
  EXPECT_EQ(p.carry(p.client, p.connector), kFrameMax);
  EXPECT_TRUE(p.s.take().empty());
  EXPECT_TRUE(p.client.wants_output());
  EXPECT_EQ(p.carry(p.client, p.connector), kFrameHeader);
  EXPECT_EQ(p.s.take(), Lines{"fin 1"});
}

TEST(Tunnel, cuts_no_frame_when_there_is_little_room) {
  Pair p;
  const StreamId id = p.open();
  std::array<std::uint8_t, 8> tiny{};
  EXPECT_EQ(p.client.produce(tiny, p.now), 0u);
  p.run();
  p.connector.opened(id);
  p.run();
  p.c.out[id] = {"x", true};
  p.client.readable(id);
  EXPECT_EQ(p.client.produce(tiny, p.now), 0u);
  std::array<std::uint8_t, 9> small{};
  EXPECT_EQ(p.client.produce(small, p.now), 9u);
  EXPECT_EQ(p.client.produce(MutBytes(small).first(7), p.now), 0u);
  EXPECT_EQ(p.client.produce(small, p.now), 8u);
}

TEST(Tunnel, gives_no_credit_to_a_peer_that_has_ended) {
  Pair p;
  const StreamId id = p.open_wide();
  p.c.out[id] = {std::string(200'000, 'x'), true};
  p.client.readable(id);
  p.s.in_data = [&](StreamId) { p.connector.consumed(id, std::exchange(p.s.got[id], {}).size()); };
  while (p.carry(p.client, p.connector) > 0) {       // all of it, before the connector says a word
  }
  EXPECT_EQ(p.connector.produce(p.record, p.now), 16u);
  EXPECT_EQ(read_header(p.record).type, FrameType::ping);
}

}  // namespace tg::tunnel_credit_test
