// Round trips, silence and death.
#include <gtest/gtest.h>

#include <array>
#include <tuple>
#include <utility>

#include "tests/core/tunnel_peer.h"

namespace tg::tunnel_time_test {

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
  l.now += 2s;
  EXPECT_TRUE(l.tunnel.on_timeout(l.now));
  EXPECT_TRUE(l.tunnel.silent());
  EXPECT_EQ(l.tunnel.next_deadline(), l.now + 58s);
  l.now += 58s;
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
    p.now += 59s;
    p.s.out[id] = {"x"};
    p.connector.readable(id);
    p.carry(p.connector, p.client);
    EXPECT_TRUE(p.client.on_timeout(p.now));
  }
  p.now = p.client.next_deadline();
  EXPECT_TRUE(p.client.on_timeout(p.now));
  EXPECT_TRUE(p.client.silent());
  p.now = p.client.next_deadline();
  EXPECT_FALSE(p.client.on_timeout(p.now));
}

TEST(TunnelTime, keeps_quiet_tunnels_and_their_streams_alive_for_ever) {
  Pair p;
  const StreamId id = p.open_wide();
  while (p.now < at(2h + 5min)) {          // RFC 5382 REQ-5: nobody ends a silent TCP flow before 2 h 4 min
    p.now = std::min(p.client.next_deadline(), p.connector.next_deadline());
    ASSERT_TRUE(p.client.on_timeout(p.now));
    ASSERT_TRUE(p.connector.on_timeout(p.now));
    p.run();
  }
  EXPECT_TRUE(p.client.alive(id) && p.connector.alive(id));
  p.c.out[id] = {"still there"};
  p.client.readable(id);
  p.run();
  EXPECT_EQ(p.s.got[id], "still there");
  EXPECT_TRUE(p.c.take().empty() && p.s.take().empty());
}

// Silent is a client whose tunnel is known to work, with its peer at hand.
struct Silent : Pair {
  Silent() {
    open_wide();
    settle();
  }
  // settle lets the tunnel prove what was said, so that nothing is owed.
  void settle() {
    now += 1s;
    ASSERT_TRUE(client.on_timeout(now));
    run();
    ASSERT_FALSE(client.silent());
    ASSERT_GT(client.next_deadline(), now + 10s) << "nothing is owed";
  }
  void lose(Tunnel& from) {
    while (from.produce(record, now) > 0) {
    }
  }
  // tick goes to the client's next deadline, and returns how long that was after `since`.
  Duration tick(Instant since) {
    now = client.next_deadline();
    EXPECT_TRUE(client.on_timeout(now));
    return now - since;
  }
};

TEST(TunnelSilence, is_noticed_two_seconds_after_an_open_without_an_answer) {
  Silent p;
  const Instant start = p.now += 5s;
  p.open();
  p.lose(p.client);
  EXPECT_EQ(p.tick(start), 1s);
  EXPECT_TRUE(p.client.wants_output()) << "PING";
  p.lose(p.client);
  EXPECT_FALSE(p.client.silent());
  EXPECT_EQ(p.tick(start), 2s);
  EXPECT_TRUE(p.client.silent());
  EXPECT_EQ(p.client.streams(), 2u) << "nothing has ended";
}

TEST(TunnelSilence, is_told_before_it_is_sure) {
  Silent p;
  const Instant start = p.now += 5s;
  p.open();
  EXPECT_FALSE(p.client.asked());
  p.lose(p.client);
  EXPECT_EQ(p.tick(start), 1s);
  EXPECT_TRUE(p.client.asked());
  p.lose(p.client);
  EXPECT_EQ(p.tick(start), 2s);
  EXPECT_EQ(p.client.owed(), start);
  p.connector.ping(p.now);
  p.run();
  EXPECT_FALSE(p.client.asked());
}

TEST(TunnelSilence, of_a_peer_that_still_takes_words_is_not_told) {
  Silent p;
  const Instant start = p.now += 5s;
  p.open();
  p.lose(p.client);
  for (int i = 0; i < 4; ++i) {
    p.client.progress(p.now);
    p.now += 900ms;
    ASSERT_TRUE(p.client.on_timeout(p.now));
    EXPECT_FALSE(p.client.asked()) << i;
  }
  EXPECT_EQ(p.tick(start), 3700ms);
  EXPECT_TRUE(p.client.asked());
}

TEST(TunnelSilence, of_another_by_the_same_way_is_soon_found_here_too) {
  Silent p;
  const Instant start = p.now += 5s;
  p.now += 1s;
  p.client.ping(p.now);                    // the other was asked
  p.lose(p.client);
  p.now += 1s;
  ASSERT_TRUE(p.client.on_timeout(p.now));
  EXPECT_FALSE(p.client.asked()) << "what was only asked asks nobody";
  EXPECT_FALSE(p.client.silent());
  p.client.doubt(start, p.now);            // the other is silent
  EXPECT_EQ(p.client.next_deadline(), p.now);
  ASSERT_TRUE(p.client.on_timeout(p.now));
  EXPECT_TRUE(p.client.silent());
}

TEST(TunnelSilence, of_another_is_nothing_to_one_that_answers) {
  Silent p;
  const Instant start = p.now += 5s;
  p.now += 1s;
  p.client.ping(p.now);
  p.run();
  p.now += 1s;
  p.client.doubt(start, p.now);
  EXPECT_TRUE(p.client.wants_output()) << "it is asked once more";
  ASSERT_TRUE(p.client.on_timeout(p.now));
  EXPECT_FALSE(p.client.silent());
  p.run();
  EXPECT_GT(p.client.next_deadline(), p.now + 10s) << "nothing is owed";
}

TEST(TunnelSilence, of_another_leaves_a_second_to_one_that_was_not_asked) {
  Silent p;
  const Instant start = p.now += 5s;
  p.now += 2s;
  p.client.doubt(start, p.now);
  p.lose(p.client);
  while (!p.client.silent()) p.tick(start);
  EXPECT_EQ(p.now - start, 3s);
}

TEST(TunnelSilence, of_another_on_a_long_line_hastens_nothing) {
  Silent p;
  for (int i = 0; i < 30; ++i) {           // the round trip is known
    p.client.ping(p.now);
    p.carry(p.client, p.connector);
    p.now += 1300ms;
    p.run();
  }
  ASSERT_GT(p.client.round_trip(), 1200ms);
  const Instant start = p.now += 5s;
  p.client.ping(p.now);
  p.lose(p.client);
  p.now += 1s;
  p.client.doubt(start - 1s, p.now);
  ASSERT_TRUE(p.client.on_timeout(p.now));
  EXPECT_FALSE(p.client.silent());
  while (!p.client.silent()) p.tick(start);
  EXPECT_EQ(p.now - start, 2s);
}

TEST(TunnelSilence, of_another_that_was_long_is_no_sign_that_we_were_stopped) {
  Silent p;
  const Instant start = p.now += 9s;
  p.client.ping(p.now);
  p.lose(p.client);
  p.now += 1s;
  p.client.doubt(start - 7s, p.now);
  ASSERT_TRUE(p.client.on_timeout(p.now));
  EXPECT_TRUE(p.client.silent());
}

// As LanedTunnel couples its lanes, on a line with a long round trip that is as good as any.
TEST(TunnelSilence, is_not_found_in_lanes_that_ask_each_other_over_a_long_line) {
  for (const Duration round_trip : {600ms, 950ms, 1300ms, 1900ms}) {
    struct Lane {
      Silent p;
      std::vector<std::pair<Instant, std::vector<std::uint8_t>>> up, down;   // on the way, and when it arrives
      std::vector<StreamId> opened;
      bool asked = false;
    };
    std::array<Lane, 3> lanes;
    Instant now = lanes[0].p.now;
    const Instant start = now;
    int pings = 0, asks = 0;
    for (Lane& l : lanes) l.p.s.in_open = [&l](StreamId id) { l.opened.push_back(id); };
    while (now < start + 120s) {
      now += 10ms;
      for (Lane& l : lanes) {
        l.p.now = now;
        if (&l == &lanes[0] && now < start + 20s && now.time_since_epoch() % 3s < 10ms) l.p.open();
        const std::array ways{std::tuple(&l.p.client, &l.up, &l.p.connector), std::tuple(&l.p.connector, &l.down, &l.p.client)};
        for (auto [from, way, to] : ways) {
          ASSERT_TRUE(from->on_timeout(now));
          while (const std::size_t n = from->produce(l.p.record, now)) {
            const Bytes bytes = Bytes(l.p.record).first(n);
            way->emplace_back(now + round_trip / 2, std::vector<std::uint8_t>(bytes.begin(), bytes.end()));
            if (now > start + 30s && from == &l.p.client) ++pings;
          }
          while (!way->empty() && way->front().first <= now) {
            ASSERT_TRUE(to->feed(way->front().second, now));
            way->erase(way->begin());
          }
        }
        for (const StreamId id : std::exchange(l.opened, {})) l.p.connector.opened(id);
        EXPECT_FALSE(l.p.client.silent()) << round_trip / 1ms;
        if (!std::exchange(l.asked, l.p.client.asked()) && l.asked) {
          ++asks;
          for (Lane& other : lanes) {
            if (&other != &l) other.p.client.ping(now);
          }
        }
      }
    }
    EXPECT_LE(pings, 3 * 2 * 7) << "one in 15 s each, and answers to the connector's: " << round_trip / 1ms;
    EXPECT_GT(asks, 0) << round_trip / 1ms;
  }
}

TEST(TunnelSilence, is_over_with_the_first_byte) {
  Silent p;
  const Instant start = p.now;
  p.open();
  const std::size_t n = p.client.produce(p.record, p.now);
  p.tick(start);
  p.tick(start);
  ASSERT_TRUE(p.client.silent());
  p.now += 6s;                             // the link held it back
  ASSERT_TRUE(p.connector.feed(Bytes(p.record).first(n), p.now));
  p.run();
  EXPECT_FALSE(p.client.silent());
  p.settle();
}

TEST(TunnelSilence, is_none_while_a_far_host_is_slow_to_connect) {
  Silent p;
  p.open();
  p.run();
  for (int i = 0; i < 20; ++i) {           // OPENED does not come, but PINGs are answered
    p.now = p.client.next_deadline();
    ASSERT_TRUE(p.client.on_timeout(p.now));
    EXPECT_FALSE(p.client.silent());
    p.run();
  }
  EXPECT_GT(p.now, at(100s)) << "an answered PING is proof: it is not repeated every second";
}

TEST(TunnelSilence, is_noticed_when_the_last_bytes_came_just_after_the_open) {
  Silent p;
  const StreamId id = p.open_wide();
  p.settle();
  p.s.out[id] = {"a download"};
  p.connector.readable(id);
  std::array<std::uint8_t, kFrameMax> late{};
  const std::size_t n = p.connector.produce(late, p.now);
  p.open();
  p.lose(p.client);
  const Instant start = p.now += 10ms;
  ASSERT_TRUE(p.client.feed(Bytes(late).first(n), p.now));   // was under way; then the path dies
  while (!p.client.silent()) {
    p.lose(p.client);
    p.tick(start);
  }
  EXPECT_EQ(p.now - start, 2s);
}

TEST(TunnelSilence, is_noticed_by_data_datagrams_and_questions_too) {
  for (int what = 0; what < 3; ++what) {
    Silent p;
    const StreamId tcp = p.open_wide(), udp = p.open_wide(Protocol::udp);
    p.settle();
    const Instant start = p.now;
    p.c.out[tcp] = {"x"};
    switch (what) {
      case 0: p.client.readable(tcp); break;
      case 1: p.client.datagram(udp, as_bytes("x")); break;
      default: ASSERT_TRUE(p.client.query({7, "a.corp", 15}));
    }
    p.lose(p.client);
    p.tick(start);
    p.lose(p.client);
    EXPECT_EQ(p.tick(start), 2s) << what;
    EXPECT_TRUE(p.client.silent()) << what;
  }
}

TEST(TunnelSilence, is_noticed_when_the_owner_asks) {
  Silent p;
  const Instant start = p.now += 5s;
  p.client.ping(p.now);                    // the network has changed
  p.lose(p.client);
  EXPECT_EQ(p.tick(start), 2s);
  EXPECT_TRUE(p.client.silent());
}

TEST(TunnelSilence, waits_for_words_that_are_still_on_their_way_but_not_for_ever) {
  Silent p;
  const Instant start = p.now;
  p.open();
  p.lose(p.client);
  while (!p.client.silent()) {             // a slow uplink: the peer's host acknowledges all the time
    p.lose(p.client);
    p.now = p.client.next_deadline();
    p.client.progress(p.now - 100ms);
    ASSERT_TRUE(p.client.on_timeout(p.now));
    ASSERT_LE(p.now - start, 9s);
  }
  EXPECT_EQ(p.now - start, 8s);
}

TEST(TunnelSilence, is_not_concluded_by_a_process_that_did_not_run) {
  Silent p;
  p.open();
  p.lose(p.client);
  p.now += 1h;                             // stopped: what came meanwhile waits in the socket
  ASSERT_TRUE(p.client.on_timeout(p.now));
  EXPECT_FALSE(p.client.silent());
  EXPECT_EQ(p.client.next_deadline(), p.now + 1s);
  p.connector.ping(p.now);
  p.run();
  p.now += 1s;
  EXPECT_TRUE(p.client.on_timeout(p.now));
  EXPECT_FALSE(p.client.silent());
}

TEST(TunnelSilence, is_the_clients_matter) {
  Pair p;
  const StreamId id = p.open_wide();
  p.s.out[id] = {"x"};
  p.connector.readable(id);
  p.carry(p.connector, p.client);
  EXPECT_EQ(p.connector.next_deadline(), p.now + 15s);
}

}  // namespace tg::tunnel_time_test
