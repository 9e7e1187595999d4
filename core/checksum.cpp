#include "core/checksum.h"

#include <bit>
#include <cstring>

namespace tg {

std::uint16_t sum_bytes(Bytes b, std::uint16_t start) noexcept {
  // Summed in the machine's own byte order, 32 bits at a time, and swapped once at the end: RFC 1071 section 2 (B),
  // (C).
  std::uint64_t sum = 0;
  std::size_t at = 0;
  for (; at + 4 <= b.size(); at += 4) {
    std::uint32_t word;
    std::memcpy(&word, b.data() + at, 4);
    sum += word;
  }
  if (at < b.size()) {
    std::uint32_t word = 0;
    std::memcpy(&word, b.data() + at, b.size() - at);
    sum += word;
  }
  while (sum >> 16 != 0) sum = (sum & 0xFFFF) + (sum >> 16);
  auto folded = static_cast<std::uint16_t>(sum);
  constexpr bool kSwap = std::endian::native == std::endian::little;
  if constexpr (kSwap) folded = static_cast<std::uint16_t>(folded << 8 | folded >> 8);
  return add_sums(folded, start);
}

std::uint16_t pseudo_sum(Ipv4 src, Ipv4 dst, std::uint8_t protocol, std::size_t length) noexcept {
  const std::uint16_t addresses = add_sums(sum_u32(src.value), sum_u32(dst.value));
  return add_sums(addresses, add_sums(protocol, sum_u32(static_cast<std::uint32_t>(length))));
}

}  // namespace tg
