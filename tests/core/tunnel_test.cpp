#include "core/tunnel.h"

#include <gtest/gtest.h>

#include "tests/core/tunnel_peer.h"

namespace tg {
namespace {

using Lines = std::vector<std::string>;

TEST(Tunnel, opens_a_stream_and_carries_bytes_both_ways) {
  Pair p;
  EXPECT_TRUE(p.client.send_grant("ey.grant"));
  const StreamId id = p.open();
  p.run();
  EXPECT_EQ(p.s.take(), (Lines{"grant ey.grant", "open 1 nas.home.int"}));
  EXPECT_EQ(p.s.opens.back(), (OpenRequest{7, Protocol::tcp, 80, "nas.home.int"}));
  p.connector.opened(id);
  p.s.out[id] = {"welcome"};
  p.connector.readable(id);
  p.run();
  EXPECT_EQ(p.c.take(), Lines{"opened 1"});
  EXPECT_EQ(p.c.got[id], "welcome");
  p.c.out[id] = {"hello"};
  p.client.readable(id);
  p.run();
  EXPECT_EQ(p.s.got[id], "hello");
  EXPECT_FALSE(p.client.wants_output());
  EXPECT_FALSE(p.connector.wants_output());
}

TEST(Tunnel, closes_each_way_by_itself_and_is_gone_after_both) {
  Pair p;
  const StreamId id = p.open_wide();
  p.c.out[id] = {"bye", true};
  p.client.readable(id);
  p.run();
  EXPECT_EQ(p.s.got[id], "bye");
  EXPECT_EQ(p.s.take(), Lines{"fin 1"});
  EXPECT_TRUE(p.client.alive(id));
  p.s.out[id] = {std::string(100'000, 'x'), true};   // the other way goes on
  p.connector.readable(id);
  p.run();
  EXPECT_EQ(p.c.got[id].size(), 100'000u);
  EXPECT_EQ(p.c.take(), Lines{"fin 1"});
  EXPECT_FALSE(p.client.alive(id));
  EXPECT_FALSE(p.connector.alive(id));
  EXPECT_EQ(p.client.streams() + p.connector.streams(), 0u);
}

TEST(Tunnel, resets_both_ways_at_once) {
  Pair p;
  const StreamId a = p.open();
  const StreamId b = p.open_wide();
  p.connector.reset(a, Code::refused);
  p.client.reset(b, Code::reset);
  p.client.reset(b, Code::reset);      // unknown by now
  p.client.reset(99, Code::reset);
  p.run();
  EXPECT_EQ(p.c.take(), Lines{"reset 1 refused"});
  EXPECT_EQ(p.s.take(), Lines{"reset 2 reset"});
  EXPECT_EQ(p.client.streams() + p.connector.streams(), 0u);
}

TEST(Tunnel, survives_resets_that_cross) {
  Pair p;
  const StreamId id = p.open_wide();
  p.client.reset(id, Code::none);
  p.connector.reset(id, Code::timed_out);
  p.run();
  EXPECT_TRUE(p.c.take().empty());
  EXPECT_TRUE(p.s.take().empty());
}

TEST(Tunnel, sends_datagrams_and_echoes_right_behind_open) {
  Pair p;
  const StreamId udp = p.open(Protocol::udp);
  const StreamId ping = p.open(Protocol::icmp);
  EXPECT_TRUE(p.client.datagram(udp, as_bytes("first")));
  EXPECT_TRUE(p.client.datagram(udp, {}));                         // an empty datagram is one
  EXPECT_TRUE(p.client.echo(ping, {3, as_bytes("abc")}));
  p.run();
  EXPECT_EQ(p.s.take(), (Lines{"open 1 nas.home.int", "open 2 nas.home.int", "datagram 1", "datagram 1", "echo 2 3/3"}));
  EXPECT_EQ(p.s.datagrams, (Lines{"first", ""}));
  EXPECT_FALSE(p.connector.datagram(udp, as_bytes("early")));      // a connector answers OPEN first
  EXPECT_FALSE(p.connector.echo(ping, {}));
  p.connector.opened(udp);
  p.connector.opened(ping);
  EXPECT_TRUE(p.connector.datagram(udp, as_bytes("back")));
  EXPECT_TRUE(p.connector.echo(ping, {3, as_bytes("abc")}));
  p.run();
  EXPECT_EQ(p.c.take(), (Lines{"opened 1", "opened 2", "datagram 1", "echo 2 3/3"}));
}

TEST(Tunnel, carries_the_largest_datagram_in_pieces_with_nothing_between) {
  Pair p;
  const StreamId udp = p.open_wide(Protocol::udp);
  const StreamId ping = p.open_wide(Protocol::icmp);
  const std::string big(kDatagramMax, 'd');
  EXPECT_TRUE(p.client.datagram(udp, as_bytes(big)));
  EXPECT_TRUE(p.client.echo(ping, {1, as_bytes(big).first(kEchoMax)}));
  EXPECT_FALSE(p.client.datagram(udp, Buffer(kDatagramMax + 1)));
  EXPECT_FALSE(p.client.echo(ping, {1, Buffer(kEchoMax + 1)}));
  p.carry(p.client, p.connector);
  p.open();                                       // control, in the middle of the datagram
  p.client.reset(udp, Code::none);                // even the stream's own end waits
  p.run();
  EXPECT_EQ(p.s.datagrams.at(0), big);
  EXPECT_EQ(p.s.take(), (Lines{"datagram 1", "open 3 nas.home.int", "reset 1 none", "echo 2 1/65533"}));
}

TEST(Tunnel, drops_queued_datagrams_of_a_stream_that_ended) {
  Pair p;
  const StreamId a = p.open_wide(Protocol::udp);
  const StreamId b = p.open_wide(Protocol::udp);
  EXPECT_TRUE(p.client.datagram(a, Buffer(40'000)));
  EXPECT_TRUE(p.client.datagram(b, as_bytes("b")));
  p.client.reset(a, Code::none);
  p.run();
  EXPECT_EQ(p.s.take(), (Lines{"reset 1 none", "datagram 2"}));
}

TEST(Tunnel, drops_the_newest_datagram_when_the_queue_is_full) {
  TunnelLimits limits;
  limits.max_queued_datagrams = 3000;
  Pair p(limits);
  const StreamId id = p.open(Protocol::udp);
  EXPECT_TRUE(p.client.datagram(id, Buffer(1400, 'a')));
  EXPECT_TRUE(p.client.datagram(id, Buffer(1400, 'b')));
  EXPECT_FALSE(p.client.datagram(id, Buffer(1400, 'c')));
  const StreamId ping = p.open(Protocol::icmp);
  EXPECT_FALSE(p.client.echo(ping, {1, Buffer(1400)}));
  p.run();
  ASSERT_EQ(p.s.datagrams.size(), 2u);
  EXPECT_EQ(p.s.datagrams[1][0], 'b');
  EXPECT_TRUE(p.client.datagram(id, Buffer(1400, 'd')));
}

TEST(Tunnel, answers_queries) {
  Pair p;
  const auto a = p.client.query({7, "mx.corp", 15});
  const auto b = p.client.query({7, "big.corp", 16});
  const auto c = p.client.query({7, "cancelled.corp", 16});
  p.run();
  EXPECT_EQ(p.s.take(), (Lines{"query 1 mx.corp", "query 2 big.corp", "query 3 cancelled.corp"}));
  p.client.reset(*c, Code::none);
  p.connector.answer(*c, 0, {});
  p.connector.answer(*b, 0, Buffer(kAnswerMax - 1));
  p.connector.answer(*a, 3, as_bytes("soa"));
  p.connector.answer(*a, 3, as_bytes("twice"));
  p.run();
  EXPECT_EQ(p.c.take(), (Lines{"answer 2 0/65534", "answer 1 3/3"}));
  EXPECT_EQ(p.client.streams() + p.connector.streams(), 0u);
  const auto d = p.client.query({7, "toolong.corp", 16});
  p.run();
  p.connector.answer(*d, 0, Buffer(kAnswerMax));
  p.run();
  EXPECT_EQ(p.c.take(), Lines{"answer 4 2/0"});    // SERVFAIL
}

TEST(Tunnel, carries_the_largest_grant_and_refuses_a_larger_one) {
  Pair p;
  EXPECT_TRUE(p.client.send_grant(std::string(kGrantMax, 'g')));
  EXPECT_FALSE(p.client.send_grant(std::string(kGrantMax + 1, 'g')));
  p.run();
  EXPECT_EQ(p.s.take(), Lines{"grant gggggggg"});
}

TEST(Tunnel, refuses_to_open_what_fits_no_frame) {
  Pair p;
  EXPECT_EQ(p.client.open({1, Protocol::tcp, 1, ""}).error().code, Errc::invalid_argument);
  EXPECT_EQ(p.client.open({1, Protocol::tcp, 1, std::string(kHostMax + 1, 'h')}).error().code, Errc::invalid_argument);
  EXPECT_EQ(p.client.open({1, Protocol::tcp, 1, "two words"}).error().code, Errc::invalid_argument);
  EXPECT_EQ(p.client.query({1, "\n", 1}).error().code, Errc::invalid_argument);
}

TEST(Tunnel, holds_data_until_opened) {
  Pair p;
  const StreamId id = p.open();
  p.c.out[id] = {"early"};
  p.client.readable(id);
  p.run();
  EXPECT_EQ(p.c.pulls, 0u);
  p.connector.opened(id);
  p.run();
  EXPECT_EQ(p.s.got[id], "early");
}

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

TEST(Tunnel, bears_any_call_from_within_its_calls) {
  Pair p;
  const StreamId a = p.open_wide();
  const StreamId b = p.open_wide();
  p.c.out[a] = {"lost"};
  p.c.in_pull = [&](StreamId id) {
    if (id == a) p.client.reset(a, Code::reset);
  };
  p.client.readable(a);
  p.run();
  EXPECT_EQ(p.s.take(), Lines{"reset 1 reset"});
  EXPECT_EQ(p.s.got.count(a), 0u);
  p.s.in_data = [&](StreamId id) { p.connector.reset(id, Code::none); };
  p.c.out[b] = {std::string(200'000, 'x')};
  p.client.readable(b);
  p.run();
  EXPECT_EQ(p.c.take(), Lines{"reset 2 none"});
  p.s.in_open = [&](StreamId id) { p.connector.reset(id, Code::denied); };
  p.open();
  p.run();
  EXPECT_EQ(p.c.take(), Lines{"reset 3 denied"});
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

TEST(Tunnel, says_goodbye_and_lets_live_streams_finish) {
  Pair p;
  const StreamId live = p.open_wide();
  const StreamId late = p.open();               // under way when the connector says goodbye
  const auto question = p.client.query({7, "a.corp", 1});
  p.connector.goaway(Code::shutting_down);
  p.connector.goaway(Code::shutting_down);
  p.run();
  EXPECT_EQ(p.c.take(), (Lines{"goaway shutting_down", "reset 2 shutting_down", "reset 3 shutting_down"}));
  EXPECT_FALSE(p.client.alive(late) || p.client.alive(*question));
  EXPECT_TRUE(p.s.take().empty());              // it never heard of them
  EXPECT_TRUE(p.client.going_away() && p.connector.going_away());
  EXPECT_EQ(p.client.open({7, Protocol::tcp, 80, "nas"}).error().code, Errc::closed);
  EXPECT_EQ(p.client.query({7, "nas", 1}).error().code, Errc::closed);
  p.c.out[live] = {"still here", true};
  p.client.readable(live);
  p.run();
  EXPECT_EQ(p.s.got[live], "still here");
}

TEST(Tunnel, does_not_answer_streams_that_came_too_late_for_its_goodbye) {
  Lone l(Tunnel::Side::connector);
  l.open(1);
  EXPECT_TRUE(l.feed());
  l.tunnel.goaway(Code::shutting_down);
  l.open(2, Protocol::udp);
  l.frame(FrameType::datagram, 0, 2, "x");
  encode_query(l.in, 3, {1, "a", 1});
  l.frame(FrameType::reset, 0, 2, std::string_view("\0\0", 2));
  EXPECT_TRUE(l.feed());
  EXPECT_EQ(l.sent(), (Lines{"PING 0", "GOAWAY 0 shutting_down"}));
  EXPECT_EQ(l.h.take(), Lines{"open 1 nas"});
  EXPECT_EQ(l.tunnel.streams(), 1u);
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

TEST(Tunnel, lets_a_client_say_goodbye_too) {
  Pair p;
  const StreamId live = p.open_wide();
  p.client.goaway(Code::none);
  p.run();
  EXPECT_EQ(p.s.take(), Lines{"goaway none"});
  EXPECT_TRUE(p.connector.alive(live));
  EXPECT_EQ(p.client.open({7, Protocol::tcp, 80, "nas"}).error().code, Errc::closed);
}

TEST(Tunnel, refuses_streams_above_its_number_without_a_word_to_its_owner) {
  TunnelLimits two;
  two.max_streams = 2;
  Pair p({}, two);
  p.open();
  p.open();
  p.open();
  p.run();
  EXPECT_EQ(p.s.take().size(), 2u);
  EXPECT_EQ(p.c.take(), Lines{"reset 3 exhausted"});
  Pair q(two);
  q.open();
  q.open();
  EXPECT_EQ(q.client.open({7, Protocol::tcp, 80, "nas"}).error().code, Errc::exhausted);
}

TEST(Tunnel, ignores_calls_that_come_too_late_or_make_no_sense) {
  Pair p;
  const StreamId udp = p.open_wide(Protocol::udp);
  p.connector.opened(udp);
  p.connector.answer(udp, 0, {});
  p.connector.consumed(udp, 5);
  p.connector.opened(42);
  p.connector.answer(42, 0, {});
  p.connector.consumed(42, 5);
  p.client.readable(udp);
  EXPECT_FALSE(p.client.datagram(42, {}));
  EXPECT_FALSE(p.client.echo(udp, {}));
  EXPECT_FALSE(p.client.wants_output());
  EXPECT_FALSE(p.connector.wants_output());
}

TEST(Tunnel, takes_its_input_in_any_cut) {
  for (std::size_t cut = 1; cut < 40; ++cut) {
    Pair p;
    EXPECT_TRUE(p.client.send_grant(std::string(40'000, 'g')));
    const StreamId id = p.open();
    const StreamId udp = p.open(Protocol::udp);
    EXPECT_TRUE(p.client.datagram(udp, Buffer(20'000, 'u')));
    p.run();
    p.connector.opened(id);
    p.run();
    p.c.out[id] = {"0123456789abcdefghijklmnopqrstuvwxyz", true};
    p.client.readable(id);
    Buffer all;
    EXPECT_TRUE(p.client.send_grant(std::string(20'000, 'h')));
    while (const std::size_t n = p.client.produce(p.record, p.now)) all.insert(all.end(), p.record.begin(), p.record.begin() + static_cast<std::ptrdiff_t>(n));
    for (Bytes b = all; !b.empty();) {
      const std::size_t n = std::min(cut, b.size());
      ASSERT_TRUE(p.connector.feed(b.first(n), p.now));
      b = b.subspan(n);
    }
    EXPECT_EQ(p.s.got[id], "0123456789abcdefghijklmnopqrstuvwxyz");
    EXPECT_EQ(p.s.take(), (Lines{"grant gggggggg", "open 1 nas.home.int", "open 2 nas.home.int", "datagram 2", "grant hhhhhhhh", "fin 1"}));
  }
}

// --- time

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

// --- a peer that breaks the protocol: each is told so, and nothing after it counts

struct Breach {
  const char* name;
  Tunnel::Side side;                      // of the one that is attacked
  std::function<void(Lone&)> act;
};

class TunnelBreach : public testing::TestWithParam<Breach> {};

TEST_P(TunnelBreach, ends_the_tunnel) {
  Lone l(GetParam().side);
  GetParam().act(l);
  l.frame(FrameType::ping, 0, 0, "12345678");
  const auto result = l.feed();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::protocol) << result.error().text;
  const Lines sent = l.sent();
  ASSERT_FALSE(sent.empty());
  EXPECT_EQ(sent.back(), "GOAWAY 0 protocol_error") << result.error().text;
  EXPECT_FALSE(l.tunnel.feed({}, l.now));
  EXPECT_FALSE(l.tunnel.wants_output());
  EXPECT_FALSE(l.tunnel.datagram(1, {}));
}

constexpr auto kAtClient = Tunnel::Side::client;
constexpr auto kAtConnector = Tunnel::Side::connector;
using namespace std::string_view_literals;
constexpr auto kZero4 = "\0\0\0\0"sv;
constexpr auto kOne4 = "\0\0\0\1"sv;

StreamId client_open(Lone& l, Protocol p = Protocol::tcp) {
  return l.tunnel.open({7, p, p == Protocol::icmp ? std::uint16_t{0} : std::uint16_t{80}, "nas"}).value();
}

const Breach kBreaches[] = {
    {"unknown_type", kAtConnector, [](Lone& l) { l.frame(FrameType{99}, 0, 0); }},
    {"frame_above_a_record", kAtConnector, [](Lone& l) { l.open(1); l.in.insert(l.in.end(), {4, 0, 0x3f, 0xf9, 0, 0, 0, 1}); }},
    {"wrong_side", kAtClient, [](Lone& l) { l.open(1); }},
    {"id_used_before", kAtConnector, [](Lone& l) { l.open(1); l.open(1); }},
    {"id_going_back", kAtConnector, [](Lone& l) { l.open(5); l.open(4); }},
    {"query_id_used_before", kAtConnector, [](Lone& l) { l.open(1); encode_query(l.in, 1, {1, "a", 1}); }},
    {"data_on_a_stream_that_never_was", kAtConnector, [](Lone& l) { l.frame(FrameType::data, 0, 9, "x"); }},
    {"fin_on_a_stream_that_never_was", kAtConnector, [](Lone& l) { l.frame(FrameType::fin, 0, 9); }},
    {"reset_on_a_stream_that_never_was", kAtClient, [](Lone& l) { l.frame(FrameType::reset, 0, 1, "\0\0"sv); }},
    {"datagram_on_a_stream_that_never_was", kAtConnector, [](Lone& l) { l.frame(FrameType::datagram, 0, 1, "x"); }},
    {"opened_that_was_not_asked_for", kAtClient, [](Lone& l) { l.frame(FrameType::opened, 0, 1, kZero4); }},
    {"opened_twice", kAtClient, [](Lone& l) { client_open(l); l.frame(FrameType::opened, 0, 1, kZero4); l.frame(FrameType::opened, 0, 1, kZero4); }},
    {"opened_with_too_much_credit", kAtClient, [](Lone& l) { client_open(l); l.frame(FrameType::opened, 0, 1, "\x80\0\0\0"sv); }},
    {"opened_udp_with_credit", kAtClient, [](Lone& l) { client_open(l, Protocol::udp); l.frame(FrameType::opened, 0, 1, kOne4); }},
    {"opened_for_a_query", kAtClient, [](Lone& l) { EXPECT_TRUE(l.tunnel.query({1, "a", 1})); l.frame(FrameType::opened, 0, 1, kZero4); }},
    {"reply_to_what_is_no_query", kAtClient, [](Lone& l) { client_open(l); l.frame(FrameType::query, kFlagReply, 1, "\0"sv); }},
    {"reply_that_was_not_asked_for", kAtClient, [](Lone& l) { l.frame(FrameType::query, kFlagReply, 1, "\0"sv); }},
    {"data_before_opened_at_a_connector", kAtConnector, [](Lone& l) { l.open(1); l.frame(FrameType::data, 0, 1, "x"); }},
    {"data_before_opened_at_a_client", kAtClient, [](Lone& l) { client_open(l); l.frame(FrameType::data, 0, 1, "x"); }},
    {"fin_before_opened", kAtConnector, [](Lone& l) { l.open(1); l.frame(FrameType::fin, 0, 1); }},
    {"window_before_opened", kAtClient, [](Lone& l) { client_open(l); l.frame(FrameType::window, 0, 1, kOne4); }},
    {"datagram_before_opened", kAtClient, [](Lone& l) { client_open(l, Protocol::udp); l.frame(FrameType::datagram, 0, 1, "x"); }},
    {"echo_before_opened", kAtClient, [](Lone& l) { client_open(l, Protocol::icmp); l.frame(FrameType::echo, 0, 1, "xx"); }},
    {"data_behind_fin", kAtConnector, [](Lone& l) { l.open(1); EXPECT_TRUE(l.feed()); l.tunnel.opened(1); l.frame(FrameType::fin, 0, 1); l.frame(FrameType::data, 0, 1, "x"); }},
    {"fin_behind_fin", kAtConnector, [](Lone& l) { l.open(1); EXPECT_TRUE(l.feed()); l.tunnel.opened(1); l.frame(FrameType::fin, 0, 1); l.frame(FrameType::fin, 0, 1); }},
    {"data_behind_its_own_reset", kAtConnector, [](Lone& l) { l.open(1); EXPECT_TRUE(l.feed()); l.tunnel.opened(1); l.frame(FrameType::reset, 0, 1, "\0\0"sv); l.frame(FrameType::data, 0, 1, "x"); }},
    {"data_above_its_credit", kAtConnector, [](Lone& l) { l.open(1); EXPECT_TRUE(l.feed()); l.tunnel.opened(1); for (int i = 0; i < 17; ++i) l.frame(FrameType::data, 0, 1, std::string(kPayloadMax, 'x')); }},
    {"data_on_udp", kAtConnector, [](Lone& l) { l.open(1, Protocol::udp); l.frame(FrameType::data, 0, 1, "x"); }},
    {"datagram_on_tcp", kAtConnector, [](Lone& l) { l.open(1); l.frame(FrameType::datagram, 0, 1, "x"); }},
    {"echo_on_udp", kAtConnector, [](Lone& l) { l.open(1, Protocol::udp); l.frame(FrameType::echo, 0, 1, "xx"); }},
    {"window_on_udp", kAtConnector, [](Lone& l) { l.open(1, Protocol::udp); l.frame(FrameType::window, 0, 1, kOne4); }},
    {"window_of_nothing", kAtConnector, [](Lone& l) { l.open(1); l.frame(FrameType::window, 0, 1, kZero4); }},
    {"window_overflow", kAtConnector, [](Lone& l) { l.open(1); l.frame(FrameType::window, 0, 1, "\x7f\xff\xff\xff"sv); }},
    {"window_with_the_high_bit", kAtConnector, [](Lone& l) { l.open(1); l.frame(FrameType::window, 0, 1, "\x80\0\0\1"sv); }},
    {"open_of_an_unknown_protocol", kAtConnector, [](Lone& l) { encode_open(l.in, 1, {1, Protocol{132}, 80, "nas"}, 0); }},
    {"query_with_odd_bytes", kAtConnector, [](Lone& l) { encode_query(l.in, 1, {1, "a\nb", 1}); }},
    {"empty_reply", kAtClient, [](Lone& l) { EXPECT_TRUE(l.tunnel.query({1, "a", 1})); l.frame(FrameType::query, kFlagReply | kFlagMore, 1, "\0"sv); l.frame(FrameType::query, kFlagReply, 1); l.frame(FrameType::query, kFlagReply, 1, "\0"sv); l.frame(FrameType::query, kFlagReply, 2, "\0"sv); }},
    {"frame_between_pieces", kAtConnector, [](Lone& l) { l.open(1, Protocol::udp); l.frame(FrameType::datagram, kFlagMore, 1, "x"); l.frame(FrameType::ping, 0, 0, "12345678"); }},
    {"piece_of_another_stream", kAtConnector, [](Lone& l) { l.open(1, Protocol::udp); l.open(2, Protocol::udp); l.frame(FrameType::datagram, kFlagMore, 1, "x"); l.frame(FrameType::datagram, 0, 2, "x"); }},
    {"piece_without_a_byte", kAtConnector, [](Lone& l) { l.frame(FrameType::grant, kFlagMore, 0); }},
    {"echo_in_pieces_without_a_sequence", kAtConnector, [](Lone& l) { l.open(1, Protocol::icmp); l.frame(FrameType::echo, kFlagMore, 1, "x"); l.frame(FrameType::echo, 0, 1); }},
    {"datagram_too_long", kAtConnector, [](Lone& l) { l.open(1, Protocol::udp); for (int i = 0; i < 5; ++i) l.frame(FrameType::datagram, kFlagMore, 1, std::string(kPayloadMax, 'x')); }},
    {"grant_too_long", kAtConnector, [](Lone& l) { for (int i = 0; i < 17; ++i) l.frame(FrameType::grant, kFlagMore, 0, std::string(kPayloadMax, 'x')); }},
    {"answer_to_no_ping", kAtClient, [](Lone& l) { l.frame(FrameType::ping, kFlagAck, 0, "12345678"); }},
    {"goaway_about_streams_that_never_were", kAtClient, [](Lone& l) { encode_goaway(l.in, Code::shutting_down, 1); }},
    {"goaway_that_takes_back", kAtClient, [](Lone& l) { client_open(l); encode_goaway(l.in, Code::shutting_down, 0); encode_goaway(l.in, Code::shutting_down, 1); }},
    {"goaway_of_a_client_with_a_stream", kAtConnector, [](Lone& l) { l.open(1); encode_goaway(l.in, Code::none, 1); }},
    {"open_behind_goaway", kAtConnector, [](Lone& l) { encode_goaway(l.in, Code::none, 0); l.open(1); }},
};

INSTANTIATE_TEST_SUITE_P(All, TunnelBreach, testing::ValuesIn(kBreaches),
                         [](const testing::TestParamInfo<Breach>& i) { return std::string(i.param.name); });

TEST(TunnelBreach, says_which_stream_and_what) {
  Lone l(kAtConnector);
  l.open(1);
  l.frame(FrameType::data, 0, 1, "x");
  EXPECT_EQ(l.feed().error().text, "not yet opened: DATA on stream 1");
  EXPECT_TRUE(l.tunnel.alive(1));
  l.tunnel.opened(1);                        // all of these no longer matter
  l.tunnel.goaway(Code::none);
  l.tunnel.reset(1, Code::none);
  EXPECT_EQ(l.sent(), Lines{"GOAWAY 0 protocol_error"});
}

TEST(TunnelBreach, is_told_by_the_peers_goaway) {
  for (const Code code : {Code::protocol_error, Code::flood}) {
    Lone l(kAtClient);
    encode_goaway(l.in, code, 0);
    EXPECT_EQ(l.feed().error().code, Errc::closed);
    EXPECT_EQ(l.h.take(), Lines{"goaway " + std::string(to_string(code))});
    EXPECT_TRUE(l.sent().empty());
    EXPECT_TRUE(l.tunnel.send_grant("ey"));
    EXPECT_FALSE(l.tunnel.wants_output());
    EXPECT_EQ(l.tunnel.open({7, Protocol::tcp, 80, "nas"}).error().code, Errc::closed);
  }
}

TEST(TunnelBreach, leaves_a_datagram_in_pieces_whole_before_goaway) {
  Lone l(kAtClient);
  const StreamId udp = client_open(l, Protocol::udp);
  EXPECT_EQ(l.sent(), Lines{"OPEN 1"});
  EXPECT_TRUE(l.tunnel.datagram(udp, Buffer(40'000)));
  std::array<std::uint8_t, kFrameMax> record{};
  EXPECT_EQ(l.tunnel.produce(record, l.now), kFrameMax);
  l.frame(FrameType{99}, 0, 0);
  EXPECT_FALSE(l.feed());
  EXPECT_EQ(l.sent(), (Lines{"DATAGRAM 1", "DATAGRAM 1", "GOAWAY 0 protocol_error"}));
}

// --- streams that ended while their frames were under way

TEST(TunnelLate, ignores_frames_of_a_stream_that_was_reset_and_counts_their_credit) {
  Pair p;
  const StreamId id = p.open_wide();
  p.c.out[id] = {std::string(1'000'000, 'x'), true};
  p.client.readable(id);
  Buffer wire;                                   // a whole window is under way when the connector resets
  while (const std::size_t n = p.client.produce(p.record, p.now)) wire.insert(wire.end(), p.record.begin(), p.record.begin() + static_cast<std::ptrdiff_t>(n));
  EXPECT_GT(wire.size(), TunnelLimits{}.first_credit);
  p.connector.reset(id, Code::revoked);
  EXPECT_TRUE(p.connector.feed(wire, p.now));
  EXPECT_EQ(p.s.got.count(id), 0u);
  std::array<std::uint8_t, 9> one_more{};        // but not a byte more
  write_header(one_more, {FrameType::data, 0, 1, id});
  EXPECT_EQ(p.connector.feed(one_more, p.now).error().text, "the stream is gone: DATA on stream 1");
}

TEST(TunnelLate, expects_nothing_more_once_the_peer_has_seen_the_reset) {
  Pair p;
  const StreamId id = p.open_wide();
  p.connector.reset(id, Code::revoked);
  p.run();
  std::array<std::uint8_t, 9> data{};
  write_header(data, {FrameType::data, 0, 1, id});
  EXPECT_TRUE(p.connector.feed(data, p.now));    // as far as the connector can know
  p.now += 15s;
  EXPECT_TRUE(p.connector.on_timeout(p.now));
  p.run();                                       // the answer to PING comes from behind the reset
  EXPECT_FALSE(p.connector.feed(data, p.now));
}

TEST(TunnelLate, ignores_every_kind_of_frame_on_a_stream_that_is_gone) {
  Lone l(kAtConnector);
  l.open(1);
  EXPECT_TRUE(l.feed());
  l.tunnel.reset(1, Code::none);
  for (const auto type : {FrameType::fin, FrameType::datagram}) l.frame(type, 0, 1);
  l.frame(FrameType::reset, 0, 1, "\0\0"sv);
  l.frame(FrameType::window, 0, 1, kOne4);
  l.frame(FrameType::echo, 0, 1, "xx");
  EXPECT_TRUE(l.feed());
  EXPECT_EQ(l.h.take(), Lines{"open 1 nas"});
}

// --- floods

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
  opens(10'000, true);
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
  EXPECT_GT(opened, 80);
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
  p.c.out[id] = {std::string(600'000, 'x')};
  p.client.readable(id);
  p.s.in_data = [&](StreamId) { p.connector.consumed(id, 1), p.connector.consumed(id, 1); };
  while (p.s.got[id].size() < 600'000 && p.carry(p.client, p.connector) + p.carry(p.connector, p.client) > 0) {
  }
  EXPECT_EQ(p.s.got[id].size(), 600'000u);     // 300,000 WINDOWs at one instant
}

// --- many streams

TEST(TunnelStreams, finds_long_lived_streams_among_millions_that_ended) {
  Pair p;
  std::vector<StreamId> old;
  for (int i = 0; i < 200'000; ++i) {
    const StreamId id = p.open(Protocol::udp);
    if (i % 1000 == 0) { old.push_back(id); p.run(); continue; }
    p.run();
    p.connector.reset(id, Code::refused);
    if (i % 50 == 0) p.run();
  }
  p.run();
  EXPECT_EQ(p.client.streams(), old.size());
  EXPECT_EQ(p.connector.streams(), old.size());
  p.s.take();
  for (const StreamId id : old) EXPECT_TRUE(p.client.datagram(id, as_bytes("hi")));
  p.run();
  EXPECT_EQ(p.s.take().size(), old.size());
}

}  // namespace
}  // namespace tg
