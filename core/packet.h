// IPv4 packets as they come from and go to a TUN interface: read, checked and built. IPv4: RFC 791; TCP: RFC 9293;
// UDP: RFC 768; ICMP: RFC 792.
#pragma once

#include <cstdint>
#include <optional>

#include "core/bytes.h"
#include "core/ip.h"
#include "core/vnet_header.h"

namespace tg {

struct Ipv4Port {
  Ipv4 address;
  std::uint16_t port = 0;
  auto operator<=>(const Ipv4Port&) const = default;
};

// The parsers return nothing when a length does not fit, and never look at a checksum. What they return refers to the
// bytes given.

struct Ipv4Packet {
  Bytes bytes;                   // the whole datagram, cut to its total length
  std::size_t header = 0;        // bytes of the IP header: 20 to 60
  Ipv4 src;
  Ipv4 dst;
  std::uint8_t protocol = 0;     // IANA number: see core/resource.h
  bool fragment = false;         // one of several
  std::uint16_t fragment_offset = 0;   // bytes

  Bytes payload() const noexcept { return bytes.subspan(header); }
};
std::optional<Ipv4Packet> parse_ipv4(Bytes b) noexcept;

namespace tcp_flag {
inline constexpr std::uint8_t fin = 1, syn = 2, rst = 4, psh = 8, ack = 16;
}

struct TcpSegment {
  std::uint16_t src_port = 0;
  std::uint16_t dst_port = 0;
  std::uint32_t seq = 0;
  std::uint32_t ack = 0;
  std::uint8_t flags = 0;
  std::size_t header = 0;        // bytes of the TCP header: 20 to 60
  Bytes payload;

  bool has(std::uint8_t flag) const noexcept { return (flags & flag) != 0; }
  // length is SEG.LEN of RFC 9293: payload, SYN and FIN.
  std::uint32_t length() const noexcept {
    return static_cast<std::uint32_t>(payload.size()) + (has(tcp_flag::syn) ? 1u : 0u) + (has(tcp_flag::fin) ? 1u : 0u);
  }
};
std::optional<TcpSegment> parse_tcp(const Ipv4Packet& ip) noexcept;

struct UdpDatagram {
  std::uint16_t src_port = 0;
  std::uint16_t dst_port = 0;
  Bytes payload;
};
std::optional<UdpDatagram> parse_udp(const Ipv4Packet& ip) noexcept;

struct IcmpMessage {
  static constexpr std::uint8_t kEchoReply = 0, kUnreachable = 3, kEcho = 8;
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  std::uint16_t id = 0;          // of Echo and Echo Reply
  std::uint16_t sequence = 0;
  Bytes payload;                 // behind the 8 bytes of header
};
std::optional<IcmpMessage> parse_icmp(const Ipv4Packet& ip) noexcept;

// checksum_ok verifies the checksum of a whole TCP, UDP (0: none, RFC 768) or ICMP packet. One whose VnetHeader says
// needs_csum() has a partial checksum and must not be asked. Other protocols: true.
bool checksum_ok(const Ipv4Packet& ip) noexcept;

// The builders replace the content of `out` by a packet with complete checksums (its VnetHeader is the default one),
// and return false, with `out` empty, where the RFCs forbid an answer or it does not fit 65,535 bytes.

// build_tcp_reset answers a segment that belongs to no connection: RFC 9293 section 3.10.7.1. Never for a RST.
bool build_tcp_reset(Buffer& out, const Ipv4Packet& to);

// The codes of ICMP destination unreachable (RFC 792, RFC 1812 section 5.2.7.1) that a refused flow may end with.
enum class Unreachable : std::uint8_t { net = 0, host = 1, protocol = 2, port = 3, prohibited = 13 };

// build_unreachable tells the sender of `about` that it did not arrive, in the name of `from`. It quotes as much as
// makes 576 bytes (RFC 1812 section 4.3.2.3). Never about an ICMP error, a later fragment, or to or from an address
// that is no single host's (RFC 1122 section 3.2.2).
bool build_unreachable(Buffer& out, const Ipv4Packet& about, Unreachable code, Ipv4 from);
inline constexpr std::size_t kIcmpErrorMax = 576;

bool build_echo_reply(Buffer& out, Ipv4 src, Ipv4 dst, std::uint16_t id, std::uint16_t sequence, Bytes payload);

// build_udp leaves fragmentation allowed; `ip_id` must differ among packets of the same pair (RFC 6864).
bool build_udp(Buffer& out, Ipv4Port src, Ipv4Port dst, Bytes payload, std::uint16_t ip_id);

}  // namespace tg
