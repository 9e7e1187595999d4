#include <algorithm>

#include "core/checksum.h"
#include "core/packet.h"
#include "core/resource.h"

namespace tg {
namespace {

constexpr std::size_t kIpHeader = 20;
constexpr std::size_t kPacketMax = 65535;
constexpr std::uint8_t kTtl = 64;
constexpr std::uint8_t kTosOfErrors = 0xC0;      // RFC 1812 section 4.3.2.5: precedence 6
constexpr std::uint16_t kDontFragment = 0x4000;

// begin writes the IP header of a packet with `payload` bytes behind it.
bool begin(Buffer& out, Ipv4 src, Ipv4 dst, Protocol protocol, std::size_t payload, std::uint8_t tos, std::uint16_t id,
           std::uint16_t fragment) {
  out.clear();
  if (kIpHeader + payload > kPacketMax) return false;
  Writer w(out);
  w.u8(0x45);
  w.u8(tos);
  w.u16(static_cast<std::uint16_t>(kIpHeader + payload));
  w.u16(id);
  w.u16(fragment);
  w.u8(kTtl);
  w.u8(static_cast<std::uint8_t>(protocol));
  w.u16(0);
  w.u32(src.value);
  w.u32(dst.value);
  w.put_u16(10, checksum(out));
  return true;
}

// end fills in the checksum `offset` bytes into the payload.
void end(Buffer& out, std::size_t offset, std::uint16_t start = 0) {
  Writer(out).put_u16(kIpHeader + offset, checksum(Bytes(out).subspan(kIpHeader), start));
}

bool single_host(Ipv4 a) noexcept { return a.value >> 24 != 0 && a.value >> 28 < 0xE; }

}  // namespace

bool build_tcp_reset(Buffer& out, const Ipv4Packet& to) {
  out.clear();
  const auto t = to.fragment ? std::nullopt : parse_tcp(to);
  if (!t || t->has(tcp_flag::rst)) return false;
  begin(out, to.dst, to.src, Protocol::tcp, 20, 0, 0, kDontFragment);
  Writer w(out);
  w.u16(t->dst_port);
  w.u16(t->src_port);
  if (t->has(tcp_flag::ack)) {
    w.u32(t->ack);
    w.u32(0);
    w.u16(0x5000 | tcp_flag::rst);
  } else {
    w.u32(0);
    w.u32(t->seq + t->length());
    w.u16(0x5000 | tcp_flag::rst | tcp_flag::ack);
  }
  w.u32(0);   // window, checksum
  w.u16(0);
  end(out, 16, pseudo_sum(to.dst, to.src, static_cast<std::uint8_t>(Protocol::tcp), 20));
  return true;
}

bool build_unreachable(Buffer& out, const Ipv4Packet& about, Unreachable code, Ipv4 from) {
  out.clear();
  if (about.fragment_offset != 0 || !single_host(about.src) || !single_host(about.dst)) return false;
  if (about.protocol == static_cast<std::uint8_t>(Protocol::icmp)) {
    const auto m = parse_icmp(about);
    if (!m || (m->type != IcmpMessage::kEcho && m->type != IcmpMessage::kEchoReply)) return false;
  }
  const Bytes quote = about.bytes.first(std::min(about.bytes.size(), kIcmpErrorMax - kIpHeader - 8));
  begin(out, from, about.src, Protocol::icmp, 8 + quote.size(), kTosOfErrors, 0, 0);
  Writer w(out);
  w.u8(IcmpMessage::kUnreachable);
  w.u8(static_cast<std::uint8_t>(code));
  w.u16(0);
  w.u32(0);
  w.bytes(quote);
  end(out, 2);
  return true;
}

bool build_echo_reply(Buffer& out, Ipv4 src, Ipv4 dst, std::uint16_t id, std::uint16_t sequence, Bytes payload) {
  if (!begin(out, src, dst, Protocol::icmp, 8 + payload.size(), 0, sequence, 0)) return false;
  Writer w(out);
  w.u8(IcmpMessage::kEchoReply);
  w.u8(0);
  w.u16(0);
  w.u16(id);
  w.u16(sequence);
  w.bytes(payload);
  end(out, 2);
  return true;
}

bool build_udp(Buffer& out, Ipv4Port src, Ipv4Port dst, Bytes payload, std::uint16_t ip_id) {
  const std::size_t length = 8 + payload.size();
  if (!begin(out, src.address, dst.address, Protocol::udp, length, 0, ip_id, 0)) return false;
  Writer w(out);
  w.u16(src.port);
  w.u16(dst.port);
  w.u16(static_cast<std::uint16_t>(length));
  w.u16(0);
  w.bytes(payload);
  end(out, 6, pseudo_sum(src.address, dst.address, static_cast<std::uint8_t>(Protocol::udp), length));
  // RFC 768: a checksum of zero is sent as all ones.
  if (out[kIpHeader + 6] == 0 && out[kIpHeader + 7] == 0) w.put_u16(kIpHeader + 6, 0xFFFF);
  return true;
}

}  // namespace tg
