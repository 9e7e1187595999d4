#include "core/vnet_header.h"

namespace tg {

std::optional<VnetHeader> VnetHeader::decode(Bytes b) noexcept {
  if (b.size() < kSize) return std::nullopt;
  const auto u16 = [&](std::size_t at) { return static_cast<std::uint16_t>(b[at] | b[at + 1] << 8); };
  VnetHeader h;
  h.flags = b[0];
  h.gso_type = static_cast<std::uint8_t>(b[1] & ~kGsoEcn);
  h.hdr_len = u16(2);
  h.gso_size = u16(4);
  h.csum_start = u16(6);
  h.csum_offset = u16(8);
  return h;
}

std::array<std::uint8_t, VnetHeader::kSize> VnetHeader::encode() const noexcept {
  const auto low = [](std::uint16_t v) { return static_cast<std::uint8_t>(v); };
  const auto high = [](std::uint16_t v) { return static_cast<std::uint8_t>(v >> 8); };
  return {flags,          gso_type,        low(hdr_len),    high(hdr_len),    low(gso_size),
          high(gso_size), low(csum_start), high(csum_start), low(csum_offset), high(csum_offset)};
}

}  // namespace tg
