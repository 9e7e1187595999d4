#include "core/packet.h"

#include "core/checksum.h"
#include "core/resource.h"

namespace tg {

std::optional<Ipv4Packet> parse_ipv4(Bytes b) noexcept {
  Reader r(b);
  const std::uint8_t version_ihl = r.u8();
  r.skip(1);
  const std::size_t total = r.u16();
  r.skip(2);
  const std::uint16_t fragment = r.u16();
  r.skip(1);
  Ipv4Packet p;
  p.protocol = r.u8();
  r.skip(2);
  p.src.value = r.u32();
  p.dst.value = r.u32();
  p.header = (version_ihl & 0x0Fu) * 4;
  if (!r.ok() || version_ihl >> 4 != 4 || p.header < 20 || total < p.header || total > b.size()) return std::nullopt;
  p.fragment = (fragment & 0x3FFF) != 0;   // more fragments, or not the first
  p.fragment_offset = static_cast<std::uint16_t>(fragment << 3);
  p.bytes = b.first(total);
  return p;
}

std::optional<TcpSegment> parse_tcp(const Ipv4Packet& ip) noexcept {
  Reader r(ip.payload());
  TcpSegment t;
  t.src_port = r.u16();
  t.dst_port = r.u16();
  t.seq = r.u32();
  t.ack = r.u32();
  t.header = (r.u8() >> 4) * std::size_t{4};
  t.flags = r.u8();
  r.skip(6);
  if (!r.ok() || t.header < 20 || t.header > ip.payload().size()) return std::nullopt;
  t.payload = ip.payload().subspan(t.header);
  return t;
}

std::optional<UdpDatagram> parse_udp(const Ipv4Packet& ip) noexcept {
  Reader r(ip.payload());
  UdpDatagram u;
  u.src_port = r.u16();
  u.dst_port = r.u16();
  const std::size_t length = r.u16();
  r.skip(2);
  if (!r.ok() || length < 8 || length > ip.payload().size()) return std::nullopt;
  u.payload = ip.payload().subspan(8, length - 8);
  return u;
}

std::optional<IcmpMessage> parse_icmp(const Ipv4Packet& ip) noexcept {
  Reader r(ip.payload());
  IcmpMessage m;
  m.type = r.u8();
  m.code = r.u8();
  r.skip(2);
  m.id = r.u16();
  m.sequence = r.u16();
  if (!r.ok()) return std::nullopt;
  m.payload = r.rest();
  return m;
}

bool checksum_ok(const Ipv4Packet& ip) noexcept {
  const Bytes p = ip.payload();
  switch (static_cast<Protocol>(ip.protocol)) {
    case Protocol::icmp: return checksum(p) == 0;
    case Protocol::tcp: return checksum(p, pseudo_sum(ip.src, ip.dst, ip.protocol, p.size())) == 0;
    case Protocol::udp: {
      Reader r(p);
      r.skip(4);
      const std::size_t length = r.u16();
      const std::uint16_t field = r.u16();
      if (!r.ok() || length < 8 || length > p.size()) return false;
      return field == 0 || checksum(p.first(length), pseudo_sum(ip.src, ip.dst, ip.protocol, length)) == 0;
    }
  }
  return true;
}

}  // namespace tg
