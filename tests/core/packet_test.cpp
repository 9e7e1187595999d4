#include "core/packet.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "core/checksum.h"
#include "core/offload.h"
#include "tests/support/packets.h"

namespace tg::packet_test {

using tg::test::Exact;
using tg::test::tcp_packet;

constexpr Ipv4 kApp{0xAC101E01}, kFar{0x64600007};

// slow_sum is RFC 1071 word by word: the second opinion.
std::uint16_t slow_sum(Bytes b) {
  std::uint32_t s = 0;
  for (std::size_t i = 0; i < b.size(); ++i) s += i % 2 ? b[i] : b[i] << 8;
  while (s >> 16) s = (s & 0xFFFF) + (s >> 16);
  return static_cast<std::uint16_t>(s);
}

bool same_sum(std::uint16_t a, std::uint16_t b) { return a == b || (a == 0 && b == 0xFFFF) || (a == 0xFFFF && b == 0); }

Buffer bytes_of(std::initializer_list<int> list) { return Buffer(list.begin(), list.end()); }

TEST(Checksum, of_rfc_1071s_example) {
  const Buffer b = bytes_of({0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7});
  EXPECT_EQ(sum_bytes(b), 0xddf2);
  EXPECT_EQ(checksum(b), 0x220d);
}

TEST(Checksum, update_of_rfc_1624s_example) {
  // Section 4: HC = 0xDD2F, m = 0x5555, m' = 0x3285 gives 0x0000, where equation 2 of RFC 1141 gave 0xFFFF.
  EXPECT_EQ(update_checksum(0xDD2F, sum_change(std::uint16_t{0x5555}, std::uint16_t{0x3285})), 0x0000);
}

TEST(Checksum, equals_the_slow_sum_at_any_length) {
  const bool holds = rc::check([](const std::vector<std::uint8_t>& b) { RC_ASSERT(same_sum(sum_bytes(b), slow_sum(b))); });
  EXPECT_TRUE(holds);
  const Buffer ones(65535, 0xFF);
  EXPECT_TRUE(same_sum(sum_bytes(ones), slow_sum(ones)));
}

TEST(Checksum, an_update_equals_a_full_recomputation) {
  const bool holds = rc::check([](std::vector<std::uint8_t> b, std::uint32_t to) {
    RC_PRE(b.size() >= 6u);
    const std::uint16_t before = checksum(b);
    Reader r(b);
    const std::uint32_t was = r.u32();
    Writer w(b);
    w.put_u16(0, static_cast<std::uint16_t>(to >> 16));
    w.put_u16(2, static_cast<std::uint16_t>(to));
    RC_ASSERT(same_sum(update_checksum(before, sum_change(was, to)), checksum(b)));
  });
  EXPECT_TRUE(holds);
}

TEST(Packet, every_cut_of_a_good_packet_is_refused_or_stays_inside) {
  const Buffer good = tcp_packet({kApp, 40000}, {kFar, 443}, 1, 2, tcp_flag::ack, as_bytes("hello"));
  ASSERT_TRUE(parse_ipv4(good));
  for (std::size_t n = 0; n < good.size(); ++n) {
    Exact cut(Bytes(good).first(n));
    EXPECT_FALSE(parse_ipv4(MutBytes(cut))) << n;
  }
  for (std::size_t n = 20; n < good.size(); ++n) {
    Exact cut(Bytes(good).first(n));
    Buffer fixed(cut.data.get(), cut.data.get() + n);
    Writer(fixed).put_u16(2, static_cast<std::uint16_t>(n));
    Exact exact(fixed);
    const auto ip = parse_ipv4(MutBytes(exact));
    ASSERT_TRUE(ip);
    EXPECT_EQ(parse_tcp(*ip).has_value(), n >= 40) << n;
  }
}

TEST(Packet, bytes_behind_the_total_length_are_no_part_of_it) {
  Buffer b = tcp_packet({kApp, 40000}, {kFar, 443}, 1, 2, tcp_flag::ack, as_bytes("hello"));
  b.insert(b.end(), 10, 0xEE);
  const auto t = parse_tcp(*parse_ipv4(b));
  ASSERT_TRUE(t);
  EXPECT_EQ(as_text(t->payload), "hello");
}

TEST(Packet, lying_lengths_are_refused) {
  const Buffer good = tcp_packet({kApp, 40000}, {kFar, 443}, 1, 2, tcp_flag::ack);
  const auto with = [&](std::size_t at, int value) {
    Buffer b = good;
    b[at] = static_cast<std::uint8_t>(value);
    return b;
  };
  EXPECT_FALSE(parse_ipv4(with(0, 0x65)));          // IPv6
  EXPECT_FALSE(parse_ipv4(with(0, 0x44)));          // header of 16 bytes
  EXPECT_FALSE(parse_ipv4(with(0, 0x4F)));          // header longer than the packet
  EXPECT_FALSE(parse_ipv4(with(3, 19)));            // total below the header
  EXPECT_FALSE(parse_tcp(*parse_ipv4(with(32, 0x40))));   // TCP header of 16 bytes
  EXPECT_FALSE(parse_tcp(*parse_ipv4(with(32, 0xF0))));   // longer than the segment
}

TEST(Packet, fragments_are_told) {
  Buffer b = tcp_packet({kApp, 1}, {kFar, 2}, 0, 0, 0);
  EXPECT_FALSE(parse_ipv4(b)->fragment);
  Writer(b).put_u16(6, 0x2000);
  EXPECT_TRUE(parse_ipv4(b)->fragment);
  EXPECT_EQ(parse_ipv4(b)->fragment_offset, 0);
  Writer(b).put_u16(6, 0x0002);
  EXPECT_TRUE(parse_ipv4(b)->fragment);
  EXPECT_EQ(parse_ipv4(b)->fragment_offset, 16);
}

TEST(Packet, udp_length_must_fit) {
  Buffer b;
  ASSERT_TRUE(build_udp(b, {kApp, 1000}, {kFar, 53}, as_bytes("query"), 7));
  ASSERT_TRUE(parse_udp(*parse_ipv4(b)));
  EXPECT_EQ(as_text(parse_udp(*parse_ipv4(b))->payload), "query");
  for (const int length : {0, 7, 14, 255}) {
    b[25] = static_cast<std::uint8_t>(length);
    EXPECT_FALSE(parse_udp(*parse_ipv4(b))) << length;
    EXPECT_FALSE(checksum_ok(*parse_ipv4(b))) << length;
  }
}

TEST(Reset, of_a_syn_acknowledges_it_from_sequence_zero) {
  Buffer out;
  const Buffer syn = tcp_packet({kApp, 40000}, {kFar, 443}, 1000, 0, tcp_flag::syn);
  ASSERT_TRUE(build_tcp_reset(out, *parse_ipv4(syn)));
  const auto ip = parse_ipv4(out);
  const auto t = parse_tcp(*ip);
  EXPECT_EQ(ip->src, kFar);
  EXPECT_EQ(ip->dst, kApp);
  EXPECT_EQ(t->src_port, 443);
  EXPECT_EQ(t->dst_port, 40000);
  EXPECT_EQ(t->seq, 0u);
  EXPECT_EQ(t->ack, 1001u);
  EXPECT_EQ(t->flags, tcp_flag::rst | tcp_flag::ack);
  EXPECT_TRUE(checksum_ok(*ip));
  EXPECT_EQ(checksum(Bytes(out).first(20)), 0);
}

TEST(Reset, of_a_segment_without_ack_counts_payload_and_fin) {
  Buffer out;
  const Buffer b = tcp_packet({kApp, 40000}, {kFar, 443}, 0xFFFFFFFE, 0, tcp_flag::fin, as_bytes("abc"));
  ASSERT_TRUE(build_tcp_reset(out, *parse_ipv4(b)));
  EXPECT_EQ(parse_tcp(*parse_ipv4(out))->ack, 2u);
}

TEST(Reset, of_a_segment_with_ack_stands_where_the_peer_expects_it) {
  Buffer out;
  const Buffer b = tcp_packet({kApp, 40000}, {kFar, 443}, 5, 777, tcp_flag::ack | tcp_flag::psh, as_bytes("abc"));
  ASSERT_TRUE(build_tcp_reset(out, *parse_ipv4(b)));
  const auto t = parse_tcp(*parse_ipv4(out));
  EXPECT_EQ(t->seq, 777u);
  EXPECT_EQ(t->flags, tcp_flag::rst);
}

TEST(Reset, is_never_answered_by_a_reset) {
  Buffer out;
  EXPECT_FALSE(build_tcp_reset(out, *parse_ipv4(tcp_packet({kApp, 1}, {kFar, 2}, 5, 7, tcp_flag::rst))));
  EXPECT_TRUE(out.empty());
}

TEST(IcmpUnreachable, quotes_the_datagram_up_to_576_bytes) {
  Buffer out;
  for (const std::size_t size : {0u, 8u, 500u, 520u, 521u, 1400u}) {
    Buffer udp;
    ASSERT_TRUE(build_udp(udp, {kApp, 1000}, {kFar, 53}, Buffer(size, 'x'), 1));
    for (const auto code : {Unreachable::host, Unreachable::port, Unreachable::prohibited}) {
      ASSERT_TRUE(build_unreachable(out, *parse_ipv4(udp), code, kFar));
      const auto ip = parse_ipv4(out);
      const auto m = parse_icmp(*ip);
      EXPECT_EQ(ip->src, kFar);
      EXPECT_EQ(ip->dst, kApp);
      EXPECT_EQ(m->type, 3);
      EXPECT_EQ(m->code, static_cast<int>(code));
      EXPECT_EQ(out.size(), std::min<std::size_t>(576, 28 + udp.size()));
      EXPECT_TRUE(std::equal(m->payload.begin(), m->payload.end(), udp.begin()));
      EXPECT_TRUE(checksum_ok(*ip));
    }
  }
}

TEST(IcmpUnreachable, is_not_sent_where_rfc_1122_forbids_it) {
  Buffer out, original, error;
  ASSERT_TRUE(build_udp(original, {kApp, 1}, {kFar, 2}, as_bytes("x"), 1));
  ASSERT_TRUE(build_unreachable(error, *parse_ipv4(original), Unreachable::port, kFar));
  EXPECT_FALSE(build_unreachable(out, *parse_ipv4(error), Unreachable::port, kFar));      // about an ICMP error
  EXPECT_TRUE(out.empty());
  ASSERT_TRUE(build_udp(original, {kApp, 1}, {Ipv4{0xE00000FB}, 5353}, as_bytes("x"), 1));
  EXPECT_FALSE(build_unreachable(out, *parse_ipv4(original), Unreachable::port, kFar));   // multicast
  ASSERT_TRUE(build_udp(original, {Ipv4{0}, 68}, {kFar, 67}, as_bytes("x"), 1));
  EXPECT_FALSE(build_unreachable(out, *parse_ipv4(original), Unreachable::port, kFar));   // from nobody
  ASSERT_TRUE(build_udp(original, {kApp, 1}, {kFar, 2}, as_bytes("x"), 1));
  Writer(original).put_u16(6, 0x0010);
  EXPECT_FALSE(build_unreachable(out, *parse_ipv4(original), Unreachable::port, kFar));   // a later fragment
}

TEST(EchoReply, carries_id_sequence_and_payload) {
  Buffer out;
  ASSERT_TRUE(build_echo_reply(out, kFar, kApp, 0x1234, 7, as_bytes("abcdefgh")));
  const auto ip = parse_ipv4(out);
  const auto m = parse_icmp(*ip);
  EXPECT_EQ(m->type, IcmpMessage::kEchoReply);
  EXPECT_EQ(m->id, 0x1234);
  EXPECT_EQ(m->sequence, 7);
  EXPECT_EQ(as_text(m->payload), "abcdefgh");
  EXPECT_TRUE(checksum_ok(*ip));
  out[30] ^= 1;
  EXPECT_FALSE(checksum_ok(*parse_ipv4(out)));
}

TEST(Udp, takes_what_fits_a_datagram_and_no_more) {
  Buffer out;
  EXPECT_TRUE(build_udp(out, {kApp, 1}, {kFar, 2}, Buffer(65507, 0xAB), 1));
  EXPECT_TRUE(checksum_ok(*parse_ipv4(out)));
  EXPECT_FALSE(build_udp(out, {kApp, 1}, {kFar, 2}, Buffer(65508, 0xAB), 1));
  EXPECT_TRUE(out.empty());
}

TEST(Udp, checksum_is_right_and_never_zero) {
  // Two bytes of payload can make the sum anything: among all of them one would give a checksum of zero.
  Buffer out;
  for (int v = 0; v < 65536; ++v) {
    const Buffer payload = bytes_of({v >> 8, v & 0xFF});
    ASSERT_TRUE(build_udp(out, {kApp, 1000}, {kFar, 53}, payload, 0));
    ASSERT_TRUE(checksum_ok(*parse_ipv4(out)));
    ASSERT_FALSE(out[26] == 0 && out[27] == 0);
  }
  out[26] = out[27] = 0;
  EXPECT_TRUE(checksum_ok(*parse_ipv4(out)));   // none was made
}

TEST(VnetHeader, is_ten_little_endian_bytes_and_forgets_ecn) {
  const Buffer wire = bytes_of({1, 0x81, 0x36, 0x00, 0xB4, 0x05, 0x14, 0x00, 0x10, 0x00});
  const auto h = VnetHeader::decode(wire);
  ASSERT_TRUE(h);
  EXPECT_TRUE(h->needs_csum());
  EXPECT_EQ(h->gso_type, VnetHeader::kGsoTcp4);
  EXPECT_EQ(h->hdr_len, 54);
  EXPECT_EQ(h->gso_size, 1460);
  EXPECT_EQ(h->csum_start, 20);
  EXPECT_EQ(h->csum_offset, 16);
  const auto again = h->encode();
  EXPECT_EQ(again[1], 1);
  EXPECT_TRUE(std::equal(again.begin() + 2, again.end(), wire.begin() + 2));
  EXPECT_FALSE(VnetHeader::decode(Bytes(wire).first(9)));
  EXPECT_EQ(VnetHeader::decode(h->encode()), h);
}

TEST(Offload, a_partial_checksum_is_completed) {
  Buffer b = tcp_packet({kApp, 40000}, {kFar, 443}, 1, 2, tcp_flag::ack, as_bytes("hello"));
  const Buffer whole = b;
  Writer(b).put_u16(36, pseudo_sum(kApp, kFar, 6, 25));
  EXPECT_FALSE(checksum_ok(*parse_ipv4(b)));
  VnetHeader h;
  h.flags = VnetHeader::kNeedsCsum;
  h.csum_start = 20;
  h.csum_offset = 16;
  Exact exact(b);
  ASSERT_TRUE(complete_checksum(exact, h));
  EXPECT_TRUE(std::equal(whole.begin(), whole.end(), exact.data.get()));
  h.csum_start = 44;
  h.csum_offset = 0;
  EXPECT_FALSE(complete_checksum(exact, h));
  h.csum_start = h.csum_offset = 65535;
  EXPECT_FALSE(complete_checksum(exact, h));
}

TEST(Offload, segments_carry_the_same_bytes_once_and_in_order) {
  const bool holds = rc::check([] {
    const auto length = *rc::gen::inRange<std::size_t>(0, 5000);
    const auto size = *rc::gen::inRange<std::uint16_t>(1, 1500);
    Buffer payload(length);
    for (std::size_t i = 0; i < length; ++i) payload[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
    const std::uint8_t flags = tcp_flag::ack | tcp_flag::psh | tcp_flag::fin | 0x80;
    const Buffer whole = tcp_packet({kApp, 40000}, {kFar, 443}, 0xFFFFFF00, 9, flags, payload);
    TcpSegments segments(whole, size);
    Buffer out, joined;
    std::size_t count = 0;
    std::uint8_t last = 0;
    while (segments.next(out)) {
      const auto ip = parse_ipv4(out);
      RC_ASSERT(ip && checksum_ok(*ip) && checksum(Bytes(out).first(20)) == 0);
      const auto t = parse_tcp(*ip);
      RC_ASSERT(t->payload.size() <= size);
      RC_ASSERT(t->seq == 0xFFFFFF00 + static_cast<std::uint32_t>(joined.size()));
      RC_ASSERT(t->has(0x80) == (count == 0));
      RC_ASSERT(Reader(Bytes(out).subspan(4)).u16() == 0x1234 + count);
      joined.insert(joined.end(), t->payload.begin(), t->payload.end());
      RC_ASSERT(t->has(tcp_flag::fin) == (joined.size() == length));
      last = t->flags;
      ++count;
    }
    RC_ASSERT(joined == payload);
    RC_ASSERT((last & tcp_flag::psh) != 0);
    RC_ASSERT(count == std::max<std::size_t>(1, (length + size - 1) / size));
  });
  EXPECT_TRUE(holds);
}

TEST(Offload, what_is_no_tcp_is_not_segmented) {
  Buffer udp, out;
  ASSERT_TRUE(build_udp(udp, {kApp, 1}, {kFar, 2}, as_bytes("x"), 1));
  EXPECT_FALSE(TcpSegments(udp, 100).next(out));
  EXPECT_FALSE(TcpSegments(tcp_packet({kApp, 1}, {kFar, 2}, 0, 0, 0, as_bytes("abc")), 0).next(out));
}

}  // namespace tg::packet_test
