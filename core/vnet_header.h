// The header in front of each packet of a TUN with IFF_VNET_HDR: what is left to do to it, checksum and segmentation.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "core/bytes.h"

namespace tg {

// VnetHeader is struct virtio_net_hdr (linux/virtio_net.h), 10 bytes, little-endian on the TUN (TUNSETVNETLE).
// The default is a packet that is complete.
struct VnetHeader {
  static constexpr std::size_t kSize = 10;
  static constexpr std::uint8_t kNeedsCsum = 1, kDataValid = 2;                       // flags
  static constexpr std::uint8_t kGsoNone = 0, kGsoTcp4 = 1, kGsoUdp = 3, kGsoTcp6 = 4, kGsoUdpL4 = 5, kGsoEcn = 0x80;

  std::uint8_t flags = 0;
  std::uint8_t gso_type = kGsoNone;
  std::uint16_t hdr_len = 0;       // a hint: bytes of all headers
  std::uint16_t gso_size = 0;      // payload bytes of each segment but the last
  std::uint16_t csum_start = 0;    // where the checksum begins, and its field behind that; only with needs_csum()
  std::uint16_t csum_offset = 0;

  // needs_csum: the field at csum_start + csum_offset holds the pseudo header's sum, not complemented, and nothing
  // else.
  bool needs_csum() const noexcept { return (flags & kNeedsCsum) != 0; }
  bool gso() const noexcept { return gso_type != kGsoNone; }

  // decode masks VIRTIO_NET_HDR_GSO_ECN: a kernel that was not told of TUN_F_TSO_ECN refuses to take it back.
  static std::optional<VnetHeader> decode(Bytes b) noexcept;
  std::array<std::uint8_t, kSize> encode() const noexcept;
  bool operator==(const VnetHeader&) const = default;
};

}  // namespace tg
