// Fields of IPv4 and TCP headers that are changed in place: where they are (RFC 791, RFC 9293), and how they are written.
#pragma once

#include <cstdint>

#include "core/bytes.h"

namespace tg {

inline constexpr std::size_t kIpLengthAt = 2, kIpTtlAt = 8, kIpChecksumAt = 10, kIpSourceAt = 12, kIpDestinationAt = 16;
inline constexpr std::size_t kTcpSourceAt = 0, kTcpDestinationAt = 2, kTcpAckAt = 8, kTcpFlagsAt = 12, kTcpChecksumAt = 16;

inline std::uint16_t get_u16(Bytes b, std::size_t at) noexcept { return static_cast<std::uint16_t>(b[at] << 8 | b[at + 1]); }
inline void put_u16(MutBytes b, std::size_t at, std::uint16_t v) noexcept {
  b[at] = static_cast<std::uint8_t>(v >> 8);
  b[at + 1] = static_cast<std::uint8_t>(v);
}
inline void put_u32(MutBytes b, std::size_t at, std::uint32_t v) noexcept {
  put_u16(b, at, static_cast<std::uint16_t>(v >> 16));
  put_u16(b, at + 2, static_cast<std::uint16_t>(v));
}

}  // namespace tg
