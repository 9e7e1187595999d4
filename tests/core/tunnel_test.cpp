#include "core/tunnel.h"

#include <gtest/gtest.h>

#include "tests/core/tunnel_peer.h"

namespace tg::tunnel_test {

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
  EXPECT_EQ(p.s.take(),
            (Lines{"open 1 nas.home.int", "open 2 nas.home.int", "datagram 1", "datagram 1", "echo 2 3/3"}));
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
    while (const std::size_t n = p.client.produce(p.record, p.now)) append(all, Bytes(p.record).first(n));
    for (Bytes b = all; !b.empty();) {
      const std::size_t n = std::min(cut, b.size());
      ASSERT_TRUE(p.connector.feed(b.first(n), p.now));
      b = b.subspan(n);
    }
    EXPECT_EQ(p.s.got[id], "0123456789abcdefghijklmnopqrstuvwxyz");
    EXPECT_EQ(p.s.take(), (Lines{"grant gggggggg", "open 1 nas.home.int", "open 2 nas.home.int", "datagram 2",
                                 "grant hhhhhhhh", "fin 1"}));
  }
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

}  // namespace tg::tunnel_test
