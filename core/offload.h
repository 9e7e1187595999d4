// What a VnetHeader leaves to the next one to do, done here: for a kernel that does not take it.
#pragma once

#include "core/bytes.h"
#include "core/packet.h"
#include "core/vnet_header.h"

namespace tg {

// complete_checksum turns a partial checksum (needs_csum()) into a complete one, in place. False, and nothing changed,
// when the header's offsets do not lie inside the packet.
bool complete_checksum(MutBytes packet, const VnetHeader& header) noexcept;

// TcpSegments cuts a packet of kGsoTcp4 into what it stands for: packets of at most gso_size payload bytes with
// complete checksums, FIN and PSH on the last only, CWR on the first only (RFC 3168 section 6.1.2), and IP ids that
// count up. The packet must outlive it.
class TcpSegments {
 public:
  TcpSegments(Bytes packet, std::uint16_t gso_size) noexcept;

  // next replaces `out` by the next segment, or returns false when there is no more, or the packet is no TCP over IPv4.
  bool next(Buffer& out);

 private:
  std::optional<Ipv4Packet> ip_;
  std::optional<TcpSegment> tcp_;
  std::size_t size_;
  std::size_t at_ = 0;
  std::uint16_t count_ = 0;
  bool done_ = false;
};

}  // namespace tg
