// The decisions of the emulated line: what leaves when, what never does, and what its command line says.
#include "tests/support/link/link.h"

#include <gtest/gtest.h>

#include "core/vnet_header.h"
#include "tests/support/link/options.h"

namespace tg::link {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr Instant kStart = Instant(std::chrono::hours(1));

Packet packet(std::uint8_t name, std::size_t size = 1000, std::uint32_t segments = 1) { return {Buffer{name}, size, segments}; }

struct Left {
  Instant at;
  std::uint8_t name;
};

// all turns the clock from one deadline to the next until nothing is on the way.
std::vector<Left> all(Link& link) {
  std::vector<Left> left;
  while (link.next_deadline() != kNever) {
    const Instant now = link.next_deadline();
    while (auto p = link.leave(now)) left.push_back({now, p->bytes[0]});
  }
  return left;
}

TEST(Link, delays_each_packet_by_as_much_and_lets_none_go_before) {
  Link link({.delay = milliseconds(50)});
  link.arrive(packet(1), kStart);
  link.arrive(packet(2), kStart + milliseconds(10));
  EXPECT_EQ(link.next_deadline(), kStart + milliseconds(50));
  EXPECT_FALSE(link.leave(kStart + milliseconds(50) - Duration(1)));
  const auto left = all(link);
  ASSERT_EQ(left.size(), 2u);
  EXPECT_EQ(left[0].at, kStart + milliseconds(50));
  EXPECT_EQ(left[1].at, kStart + milliseconds(60));
}

TEST(Link, without_anything_asked_passes_packets_at_once) {
  Link link({});
  for (std::uint8_t i = 0; i < 100; ++i) link.arrive(packet(i, 60'000), kStart);
  const auto left = all(link);
  ASSERT_EQ(left.size(), 100u);
  for (std::uint8_t i = 0; i < 100; ++i) EXPECT_EQ(left[i].name, i);
  EXPECT_EQ(left.back().at, kStart);
}

TEST(Link, puts_packets_on_the_line_one_after_the_other_at_its_rate) {
  Link link({.delay = milliseconds(5), .rate = 8'000'000, .queue = 1'000'000});   // 1000 bytes take 1 ms
  for (std::uint8_t i = 1; i <= 3; ++i) link.arrive(packet(i), kStart);
  link.arrive(packet(4, 500), kStart + milliseconds(20));                         // finds it idle
  const auto left = all(link);
  ASSERT_EQ(left.size(), 4u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(left[static_cast<std::size_t>(i)].at, kStart + milliseconds(6 + i));
  EXPECT_EQ(left[3].at, kStart + milliseconds(25) + microseconds(500));
}

TEST(Link, never_exceeds_its_rate_however_packets_come) {
  std::mt19937_64 chance(7);
  Link link({.jitter = milliseconds(1), .rate = 50'000'000, .queue = 100'000});
  Instant now = kStart;
  std::uint64_t bytes = 0;
  for (int i = 0; i < 20'000; ++i) {
    now += microseconds(chance() % 200);
    while (auto p = link.leave(now)) bytes += p->size;
    for (std::uint64_t n = chance() % 3; n > 0; --n) link.arrive(packet(0, 60 + chance() % 1440), now);
    const auto so_far = std::chrono::duration<double>(now - kStart).count();
    ASSERT_LE(static_cast<double>(bytes) * 8, so_far * 50e6 + 1);
  }
  EXPECT_GT(link.counters().dropped, 0u) << "more was offered than it takes";
  EXPECT_GT(static_cast<double>(bytes) * 8, std::chrono::duration<double>(now - kStart).count() * 47e6);
}

TEST(Link, drops_what_the_queue_has_no_room_for_and_takes_again_what_comes_later) {
  Link link({.rate = 8'000'000, .queue = 2500});
  for (std::uint8_t i = 1; i <= 5; ++i) link.arrive(packet(i), kStart);     // two fit, and 500 bytes are too few for a third
  EXPECT_EQ(link.counters().dropped, 3u);
  link.arrive(packet(6), kStart + milliseconds(1));
  const auto left = all(link);
  ASSERT_EQ(left.size(), 3u);
  EXPECT_EQ(left[2].name, 6);
  EXPECT_EQ(link.counters().packets, 6u);
  EXPECT_EQ(link.counters().delivered, 3u);
}

TEST(Link, takes_a_packet_that_finds_the_line_idle_however_small_the_queue) {
  Link link({.rate = 1'000'000, .queue = 10});
  link.arrive(packet(1, 65'000, 45), kStart);
  EXPECT_EQ(all(link).size(), 1u);
}

TEST(Link, bounds_what_is_on_the_way_also_without_a_rate) {
  Link link({.delay = std::chrono::hours(1)});
  for (int i = 0; i < 300; ++i) link.arrive(packet(1, 1 << 20), kStart);
  EXPECT_EQ(link.counters().dropped, 300 - Link::kOnTheWay / (1 << 20));
}

TEST(Link, spreads_jitter_over_its_range_and_keeps_the_order) {
  Link link({.delay = milliseconds(10), .jitter = milliseconds(4)});
  Duration least = std::chrono::hours(1), most{};
  for (int i = 0; i < 2000; ++i) {
    const Instant at = kStart + milliseconds(20) * i;      // far apart: nobody waits for who is before him
    link.arrive(packet(1), at);
    const auto left = all(link);
    ASSERT_EQ(left.size(), 1u);
    least = std::min(least, left[0].at - at);
    most = std::max(most, left[0].at - at);
  }
  EXPECT_GE(least, milliseconds(10));
  EXPECT_LT(least, milliseconds(11));
  EXPECT_LT(most, milliseconds(14));
  EXPECT_GT(most, milliseconds(13));

  Link close({.delay = milliseconds(10), .jitter = milliseconds(4)});
  for (std::uint8_t i = 0; i < 200; ++i) close.arrive(packet(i), kStart + microseconds(100) * i);
  const auto left = all(close);
  ASSERT_EQ(left.size(), 200u);
  for (std::uint8_t i = 0; i < 200; ++i) EXPECT_EQ(left[i].name, i);
  EXPECT_EQ(close.counters().overtaken, 0u);
}

std::vector<int> lost_of(LinkOptions options, int count) {
  Link link(options);
  std::vector<int> lost;
  for (int i = 0; i < count; ++i) {
    link.arrive(packet(1), kStart + milliseconds(i));
    if (all(link).empty()) lost.push_back(i);
  }
  EXPECT_EQ(link.counters().lost, lost.size());
  return lost;
}

TEST(Link, loses_the_share_that_was_asked_for) {
  EXPECT_TRUE(lost_of({.loss = 0}, 1000).empty());
  EXPECT_EQ(lost_of({.loss = 1}, 1000).size(), 1000u);
  const auto few = lost_of({.loss = 0.01}, 100'000).size();
  EXPECT_GT(few, 900u);
  EXPECT_LT(few, 1100u);
}

TEST(Link, loses_the_same_packets_for_the_same_seed_whatever_else_is_asked_for) {
  const auto some = lost_of({.loss = 0.1, .seed = 5}, 1000);
  EXPECT_EQ(lost_of({.loss = 0.1, .seed = 5}, 1000), some);
  EXPECT_EQ(lost_of({.jitter = milliseconds(1), .loss = 0.1, .reorder = 0.5, .seed = 5}, 1000), some);
  EXPECT_NE(lost_of({.loss = 0.1, .seed = 6}, 1000), some);
  EXPECT_NE(lost_of({.loss = 0.1, .seed = 5 | std::uint64_t{1} << 63}, 1000), some);
}

TEST(Link, a_lost_packet_has_taken_its_time_of_the_line) {
  Link link({.rate = 8'000'000, .queue = 1500, .loss = 1});
  link.arrive(packet(1), kStart);
  link.arrive(packet(2), kStart);
  link.arrive(packet(3), kStart);
  EXPECT_EQ(link.counters().lost, 1u);
  EXPECT_EQ(link.counters().dropped, 2u) << "they found the queue full";
  EXPECT_EQ(link.next_deadline(), kNever);
}

TEST(Link, holds_up_a_share_so_that_those_behind_go_past_and_nobody_else_does) {
  Link link({.delay = milliseconds(5), .late = milliseconds(3), .reorder = 0.05});
  std::vector<Instant> came;
  std::vector<int> order;
  for (int i = 0; i < 10'000; ++i) {
    const Instant now = kStart + microseconds(500) * i;
    Packet p{Buffer{static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i >> 8)}, 1000, 1};
    link.arrive(std::move(p), now);
    came.push_back(now);
  }
  std::uint64_t overtaken = 0;
  int highest = -1, late = 0;
  while (link.next_deadline() != kNever) {
    const Instant now = link.next_deadline();
    while (auto p = link.leave(now)) {
      const int i = p->bytes[0] | p->bytes[1] << 8;
      const Duration took = now - came[static_cast<std::size_t>(i)];
      ASSERT_TRUE(took == milliseconds(5) || took == milliseconds(8)) << took.count();
      if (took == milliseconds(8)) ++late;
      if (i < highest) {
        ++overtaken;
        EXPECT_EQ(took, milliseconds(8)) << "only who is late is overtaken";
      }
      highest = std::max(highest, i);
      order.push_back(i);
    }
  }
  EXPECT_EQ(order.size(), 10'000u) << "nothing is lost";
  EXPECT_EQ(link.counters().overtaken, overtaken);
  EXPECT_GT(late, 400);
  EXPECT_LT(late, 600);
  EXPECT_GT(overtaken, 380u);
}

TEST(Link, counts_a_super_packet_as_its_segments_and_gives_it_their_time) {
  Link link({.rate = 8'000'000, .queue = 1'000'000});
  link.arrive(packet(1, 3000, 2), kStart);
  link.arrive(packet(2, 1000, 1), kStart);
  const auto left = all(link);
  EXPECT_EQ(left[0].at, kStart + milliseconds(3));
  EXPECT_EQ(left[1].at, kStart + milliseconds(4));
  EXPECT_EQ(link.counters().packets, 3u);
  EXPECT_EQ(link.counters().super_packets, 1u);
  EXPECT_EQ(link.counters().delivered, 3u);
  EXPECT_EQ(link.counters().bytes, 4000u);
  EXPECT_EQ(link.counters().delivered_bytes, 4000u);
}

Buffer frame(const VnetHeader& header, std::size_t headers, std::size_t payload, std::uint8_t data_offset = 0) {
  const auto head = header.encode();
  Buffer out(head.begin(), head.end());
  out.resize(VnetHeader::kSize + headers + payload);
  if (data_offset != 0) out[VnetHeader::kSize + header.csum_start + 12u] = static_cast<std::uint8_t>(data_offset << 4);
  return out;
}

TEST(Piece, is_an_ordinary_frame_as_it_is) {
  const auto piece = piece_of(frame({}, 14 + 20 + 20, 1000));
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->size, 1054u);
  EXPECT_EQ(piece->segments, 1u);
}

TEST(Piece, of_a_super_packet_has_the_headers_of_each_segment) {
  VnetHeader tcp{.flags = VnetHeader::kNeedsCsum, .gso_type = VnetHeader::kGsoTcp4, .hdr_len = 300, .gso_size = 1448,
                 .csum_start = 34};
  auto piece = piece_of(frame(tcp, 66, 1448 * 3 + 1, 8));        // 32 bytes of TCP header; hdr_len is a hint, and a wrong one
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->segments, 4u);
  EXPECT_EQ(piece->size, 1448u * 3 + 1 + 4 * 66);

  VnetHeader udp{.flags = VnetHeader::kNeedsCsum, .gso_type = VnetHeader::kGsoUdpL4, .gso_size = 1000, .csum_start = 34};
  piece = piece_of(frame(udp, 42, 2000));
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->segments, 2u);
  EXPECT_EQ(piece->size, 2000u + 2 * 42);
}

TEST(Piece, is_none_of_what_is_too_short_for_its_headers) {
  EXPECT_FALSE(piece_of({}));
  EXPECT_FALSE(piece_of(Buffer(VnetHeader::kSize + 13)));
  VnetHeader tcp{.gso_type = VnetHeader::kGsoTcp4, .gso_size = 1448, .csum_start = 34};
  EXPECT_FALSE(piece_of(frame(tcp, 14 + 20 + 19, 0)));
  EXPECT_FALSE(piece_of(frame(tcp, 14 + 20 + 20, 0, 15)));       // a header longer than the frame
  tcp.csum_start = 60'000;
  EXPECT_FALSE(piece_of(frame(tcp, 54, 1448)));
}

CommandLine parsed(const std::vector<std::string_view>& words) {
  auto line = parse_command_line(words);
  EXPECT_TRUE(line) << line.error().text;
  return line ? *line : CommandLine{};
}

TEST(Options, say_what_both_directions_are_or_each_of_them) {
  const auto line = parsed({"a", "b", "--delay", "50ms", "--jitter", "200us", "--rate", "20mbit,1gbit", "--loss", "0.1%,0",
                            "--reorder", "0.02", "--late", "1.5ms", "--queue", "10ms,100kb", "--seed", "7,9"});
  EXPECT_EQ(line.interfaces[0], "a");
  EXPECT_EQ(line.interfaces[1], "b");
  LinkOptions there{.delay = milliseconds(50), .jitter = microseconds(200), .late = microseconds(1500), .rate = 20'000'000,
                    .queue = 25'000, .loss = 0.001, .reorder = 0.02, .seed = 7};
  EXPECT_EQ(line.ways[0], there);
  LinkOptions back = there;
  back.rate = 1'000'000'000;
  back.queue = 100'000;
  back.loss = 0;
  back.seed = 9;
  EXPECT_EQ(line.ways[1], back);
}

TEST(Options, have_a_queue_of_20_ms_of_each_directions_rate_wherever_the_rate_is_told) {
  auto line = parsed({"a", "b", "--rate", "8mbit,80mbit"});
  EXPECT_EQ(line.ways[0].queue, 20'000u);
  EXPECT_EQ(line.ways[1].queue, 200'000u);
  line = parsed({"--queue", "1s", "a", "--rate", "8mbit", "b"});
  EXPECT_EQ(line.ways[0].queue, 1'000'000u);
  EXPECT_EQ(parsed({"a", "b"}).ways[0].rate, 0u);
}

TEST(Options, give_the_two_directions_different_chance) {
  EXPECT_NE(parsed({"a", "b"}).ways[0].seed, parsed({"a", "b"}).ways[1].seed);
  EXPECT_NE(parsed({"a", "b", "--seed", "3"}).ways[0].seed, parsed({"a", "b", "--seed", "3"}).ways[1].seed);
}

TEST(Options, refuse_what_makes_no_sense) {
  const std::vector<std::vector<std::string_view>> wrong = {
      {}, {"a"}, {"a", "b", "c"}, {"a", "b", "--delay"}, {"a", "b", "--delay", "50"}, {"a", "b", "--delay", "-5ms"},
      {"a", "b", "--delay", "ms"}, {"a", "b", "--delay", "5ms,"}, {"a", "b", "--delay", "1ms,2ms,3ms"},
      {"a", "b", "--delay", "1e30s"}, {"a", "b", "--delay", "999999999999999999999s"}, {"a", "b", "--rate", "0mbit"},
      {"a", "b", "--rate", "20"},
      {"a", "b", "--loss", "101%"}, {"a", "b", "--loss", "-1%"}, {"a", "b", "--reorder", "2"}, {"a", "b", "--seed", "x"},
      {"a", "b", "--queue", "5"}, {"a", "b", "--delays", "5ms"}, {"a", "b", "--loss", "nan"}, {"a", "b", "--loss", "inf"}};
  for (const auto& words : wrong) {
    const auto line = parse_command_line(words);
    EXPECT_FALSE(line) << (words.empty() ? "nothing" : words.back());
  }
}

}  // namespace
}  // namespace tg::link
