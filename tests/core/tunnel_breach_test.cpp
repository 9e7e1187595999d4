// A peer that breaks the protocol is told so, and nothing after it counts; one that is merely late is not.
#include <gtest/gtest.h>

#include "tests/core/tunnel_peer.h"

namespace tg::tunnel_breach_test {

using Lines = std::vector<std::string>;

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

const Breach kBreaches[] = {
    {"unknown_type", kAtConnector, [](Lone& l) { l.frame(FrameType{99}, 0, 0); }},
    {"frame_above_a_record", kAtConnector, [](Lone& l) {
       l.open(1);
       l.in.insert(l.in.end(), {4, 0, 0x3f, 0xf9, 0, 0, 0, 1});
     }},
    {"wrong_side", kAtClient, [](Lone& l) { l.open(1); }},
    {"id_used_before", kAtConnector, [](Lone& l) { l.open(1); l.open(1); }},
    {"id_going_back", kAtConnector, [](Lone& l) { l.open(5); l.open(4); }},
    {"query_id_used_before", kAtConnector, [](Lone& l) { l.open(1); encode_query(l.in, 1, {1, "a", 1}); }},
    {"data_on_a_stream_that_never_was", kAtConnector, [](Lone& l) { l.frame(FrameType::data, 0, 9, "x"); }},
    {"fin_on_a_stream_that_never_was", kAtConnector, [](Lone& l) { l.frame(FrameType::fin, 0, 9); }},
    {"reset_on_a_stream_that_never_was", kAtClient, [](Lone& l) { l.frame(FrameType::reset, 0, 1, "\0\0"sv); }},
    {"datagram_on_a_stream_that_never_was", kAtConnector, [](Lone& l) { l.frame(FrameType::datagram, 0, 1, "x"); }},
    {"opened_that_was_not_asked_for", kAtClient, [](Lone& l) { l.frame(FrameType::opened, 0, 1, kZero4); }},
    {"opened_twice", kAtClient, [](Lone& l) {
       client_open(l);
       l.frame(FrameType::opened, 0, 1, kZero4);
       l.frame(FrameType::opened, 0, 1, kZero4);
     }},
    {"opened_with_too_much_credit", kAtClient, [](Lone& l) {
       client_open(l);
       l.frame(FrameType::opened, 0, 1, "\x80\0\0\0"sv);
     }},
    {"opened_udp_with_credit", kAtClient, [](Lone& l) {
       client_open(l, Protocol::udp);
       l.frame(FrameType::opened, 0, 1, kOne4);
     }},
    {"opened_for_a_query", kAtClient, [](Lone& l) {
       EXPECT_TRUE(l.tunnel.query({1, "a", 1}));
       l.frame(FrameType::opened, 0, 1, kZero4);
     }},
    {"reply_to_what_is_no_query", kAtClient, [](Lone& l) {
       client_open(l);
       l.frame(FrameType::query, kFlagReply, 1, "\0"sv);
     }},
    {"reply_that_was_not_asked_for", kAtClient, [](Lone& l) { l.frame(FrameType::query, kFlagReply, 1, "\0"sv); }},
    {"data_before_opened_at_a_connector", kAtConnector, [](Lone& l) {
       l.open(1);
       l.frame(FrameType::data, 0, 1, "x");
     }},
    {"data_before_opened_at_a_client", kAtClient, [](Lone& l) {
       client_open(l);
       l.frame(FrameType::data, 0, 1, "x");
     }},
    {"fin_before_opened", kAtConnector, [](Lone& l) { l.open(1); l.frame(FrameType::fin, 0, 1); }},
    {"window_before_opened", kAtClient, [](Lone& l) { client_open(l); l.frame(FrameType::window, 0, 1, kOne4); }},
    {"datagram_before_opened", kAtClient, [](Lone& l) {
       client_open(l, Protocol::udp);
       l.frame(FrameType::datagram, 0, 1, "x");
     }},
    {"echo_before_opened", kAtClient, [](Lone& l) {
       client_open(l, Protocol::icmp);
       l.frame(FrameType::echo, 0, 1, "xx");
     }},
    {"data_behind_fin", kAtConnector, [](Lone& l) {
       l.open(1);
       EXPECT_TRUE(l.feed());
       l.tunnel.opened(1);
       l.frame(FrameType::fin, 0, 1);
       l.frame(FrameType::data, 0, 1, "x");
     }},
    {"fin_behind_fin", kAtConnector, [](Lone& l) {
       l.open(1);
       EXPECT_TRUE(l.feed());
       l.tunnel.opened(1);
       l.frame(FrameType::fin, 0, 1);
       l.frame(FrameType::fin, 0, 1);
     }},
    {"data_behind_its_own_reset", kAtConnector, [](Lone& l) {
       l.open(1);
       EXPECT_TRUE(l.feed());
       l.tunnel.opened(1);
       l.frame(FrameType::reset, 0, 1, "\0\0"sv);
       l.frame(FrameType::data, 0, 1, "x");
     }},
    {"data_above_its_credit", kAtConnector, [](Lone& l) {
       l.open(1);
       EXPECT_TRUE(l.feed());
       l.tunnel.opened(1);
       for (int i = 0; i < 17; ++i) l.frame(FrameType::data, 0, 1, std::string(kPayloadMax, 'x'));
     }},
    {"data_on_udp", kAtConnector, [](Lone& l) { l.open(1, Protocol::udp); l.frame(FrameType::data, 0, 1, "x"); }},
    {"datagram_on_tcp", kAtConnector, [](Lone& l) { l.open(1); l.frame(FrameType::datagram, 0, 1, "x"); }},
    {"echo_on_udp", kAtConnector, [](Lone& l) { l.open(1, Protocol::udp); l.frame(FrameType::echo, 0, 1, "xx"); }},
    {"window_on_udp", kAtConnector, [](Lone& l) {
       l.open(1, Protocol::udp);
       l.frame(FrameType::window, 0, 1, kOne4);
     }},
    {"window_of_nothing", kAtConnector, [](Lone& l) { l.open(1); l.frame(FrameType::window, 0, 1, kZero4); }},
    {"window_overflow", kAtConnector, [](Lone& l) {
       l.open(1);
       l.frame(FrameType::window, 0, 1, "\x7f\xff\xff\xff"sv);
     }},
    {"window_with_the_high_bit", kAtConnector, [](Lone& l) {
       l.open(1);
       l.frame(FrameType::window, 0, 1, "\x80\0\0\1"sv);
     }},
    {"open_of_an_unknown_protocol", kAtConnector, [](Lone& l) {
       encode_open(l.in, 1, {1, Protocol{132}, 80, "nas"}, 0);
     }},
    {"query_with_odd_bytes", kAtConnector, [](Lone& l) { encode_query(l.in, 1, {1, "a\nb", 1}); }},
    {"reply_to_a_query_that_never_was", kAtClient, [](Lone& l) {
       EXPECT_TRUE(l.tunnel.query({1, "a", 1}));
       l.frame(FrameType::query, kFlagReply | kFlagMore, 1, "\0"sv);
       l.frame(FrameType::query, kFlagReply, 1);
       l.frame(FrameType::query, kFlagReply, 1, "\0"sv);
       l.frame(FrameType::query, kFlagReply, 2, "\0"sv);
     }},
    {"frame_between_pieces", kAtConnector, [](Lone& l) {
       l.open(1, Protocol::udp);
       l.frame(FrameType::datagram, kFlagMore, 1, "x");
       l.frame(FrameType::ping, 0, 0, "12345678");
     }},
    {"piece_of_another_stream", kAtConnector, [](Lone& l) {
       l.open(1, Protocol::udp);
       l.open(2, Protocol::udp);
       l.frame(FrameType::datagram, kFlagMore, 1, "x");
       l.frame(FrameType::datagram, 0, 2, "x");
     }},
    {"piece_without_a_byte", kAtConnector, [](Lone& l) { l.frame(FrameType::grant, kFlagMore, 0); }},
    {"echo_in_pieces_without_a_sequence", kAtConnector, [](Lone& l) {
       l.open(1, Protocol::icmp);
       l.frame(FrameType::echo, kFlagMore, 1, "x");
       l.frame(FrameType::echo, 0, 1);
     }},
    {"datagram_too_long", kAtConnector, [](Lone& l) {
       l.open(1, Protocol::udp);
       for (int i = 0; i < 5; ++i) l.frame(FrameType::datagram, kFlagMore, 1, std::string(kPayloadMax, 'x'));
     }},
    {"grant_too_long", kAtConnector, [](Lone& l) {
       for (int i = 0; i < 17; ++i) l.frame(FrameType::grant, kFlagMore, 0, std::string(kPayloadMax, 'x'));
     }},
    {"answer_to_no_ping", kAtClient, [](Lone& l) { l.frame(FrameType::ping, kFlagAck, 0, "12345678"); }},
    {"goaway_about_streams_that_never_were", kAtClient, [](Lone& l) { encode_goaway(l.in, Code::shutting_down, 1); }},
    {"goaway_that_takes_back", kAtClient, [](Lone& l) {
       client_open(l);
       encode_goaway(l.in, Code::shutting_down, 0);
       encode_goaway(l.in, Code::shutting_down, 1);
     }},
    {"goaway_of_a_client_with_a_stream", kAtConnector, [](Lone& l) {
       l.open(1);
       encode_goaway(l.in, Code::none, 1);
     }},
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
  while (const std::size_t n = p.client.produce(p.record, p.now)) append(wire, Bytes(p.record).first(n));
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

}  // namespace tg::tunnel_breach_test
