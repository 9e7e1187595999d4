// The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
#pragma once

#include <cstdint>

#include "core/bytes.h"
#include "core/ip.h"

namespace tg {

// A sum is a 16-bit ones' complement sum that is not yet complemented; a checksum is its complement. Both are numbers
// in host order, as a Reader returns them. 0 and 0xFFFF are the same sum.

inline std::uint16_t add_sums(std::uint16_t a, std::uint16_t b) noexcept {
  const std::uint32_t s = std::uint32_t{a} + b;
  return static_cast<std::uint16_t>(s + (s >> 16));
}

// sum_bytes sums `b` as 16-bit words; an odd last byte counts as if a zero followed.
std::uint16_t sum_bytes(Bytes b, std::uint16_t start = 0) noexcept;

inline std::uint16_t sum_u32(std::uint32_t v) noexcept {
  return add_sums(static_cast<std::uint16_t>(v >> 16), static_cast<std::uint16_t>(v));
}

// pseudo_sum is the sum of the pseudo header of TCP and UDP over IPv4 (RFC 9293 section 3.1, RFC 768).
// `length`: bytes of header and payload behind the IP header.
std::uint16_t pseudo_sum(Ipv4 src, Ipv4 dst, std::uint8_t protocol, std::size_t length) noexcept;

inline std::uint16_t checksum(Bytes b, std::uint16_t start = 0) noexcept {
  return static_cast<std::uint16_t>(~sum_bytes(b, start));
}

// sum_change is what a sum grows by when a word of it changes from `was` to `is`: ~m + m' of RFC 1624.
inline std::uint16_t sum_change(std::uint16_t was, std::uint16_t is) noexcept {
  return add_sums(static_cast<std::uint16_t>(~was), is);
}
inline std::uint16_t sum_change(std::uint32_t was, std::uint32_t is) noexcept {
  return add_sums(sum_u32(~was), sum_u32(is));
}

// update_checksum is RFC 1624's equation 3: HC' = ~(~HC + ~m + m'), where `change` is ~m + m'.
inline std::uint16_t update_checksum(std::uint16_t checksum, std::uint16_t change) noexcept {
  return static_cast<std::uint16_t>(~add_sums(static_cast<std::uint16_t>(~checksum), change));
}

}  // namespace tg
