// Internet addresses as values: no sockaddr, no byte order surprises.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/result.h"

namespace tg {

// Ipv4 is an address in host order: 192.168.1.50 is 0xC0A80132.
struct Ipv4 {
  std::uint32_t value = 0;
  auto operator<=>(const Ipv4&) const = default;
};

// IpAddress is one IPv4 or IPv6 address. IPv4-mapped IPv6 (::ffff:a.b.c.d) stays IPv6 until unmapped() is asked for.
class IpAddress {
 public:
  IpAddress() = default;   // 0.0.0.0
  IpAddress(Ipv4 v4) noexcept;   // NOLINT: an IPv4 address is an address
  static IpAddress v6(const std::array<std::uint8_t, 16>& bytes) noexcept;

  // parse reads "192.168.1.50" (four decimal octets, no leading zeros) or RFC 4291 text. No zone, no port, no brackets.
  static Result<IpAddress> parse(std::string_view text);

  bool is_v4() const noexcept { return !v6_; }
  bool is_v6() const noexcept { return v6_; }
  Ipv4 v4() const noexcept;                          // only when is_v4()
  Bytes bytes() const noexcept;                      // 4 or 16 bytes, network order; lives as long as this
  int bits() const noexcept { return v6_ ? 128 : 32; }
  bool bit(int i) const noexcept;                    // bit 0 is the most significant

  // unmapped returns the IPv4 address inside ::ffff:0:0/96, and every other address unchanged.
  IpAddress unmapped() const noexcept;

  // to_string writes RFC 5952's canonical text.
  std::string to_string() const;

  auto operator<=>(const IpAddress&) const = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};   // IPv4 in the first four
  bool v6_ = false;
};

// Cidr is a network: an address whose bits behind `prefix` are zero.
class Cidr {
 public:
  Cidr() = default;   // 0.0.0.0/0
  // The bits of `base` behind `prefix` are cleared.
  Cidr(IpAddress base, int prefix) noexcept;

  // parse reads "10.128.0.0/16"; a bare address is a /32 or /128. Host bits set are Errc::invalid_argument, and the
  // text names the network that was probably meant.
  static Result<Cidr> parse(std::string_view text);

  const IpAddress& base() const noexcept { return base_; }
  int prefix() const noexcept { return prefix_; }
  bool contains(const IpAddress& a) const noexcept;
  bool overlaps(const Cidr& o) const noexcept { return contains(o.base_) || o.contains(base_); }
  bool single() const noexcept { return prefix_ == base_.bits(); }
  std::string to_string() const;   // always with /prefix

  auto operator<=>(const Cidr&) const = default;

 private:
  IpAddress base_;
  int prefix_ = 0;
};

// Endpoint is an address and a port in host order.
struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;

  // parse reads "1.2.3.4:53" and "[::1]:53"; with default_port also "1.2.3.4" and "::1".
  static Result<Endpoint> parse(std::string_view text, std::uint16_t default_port = 0);
  std::string to_string() const;
  auto operator<=>(const Endpoint&) const = default;
};

// HostPort is a name or an address in text, and a port: what a person types.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;

  // parse reads "host:443", "1.2.3.4:443", "[::1]:443"; without a port `default_port` is taken, or, when that is 0,
  // Errc::invalid_argument returned.
  static Result<HostPort> parse(std::string_view text, std::uint16_t default_port = 0);
  std::string to_string() const;
  auto operator<=>(const HostPort&) const = default;
};

}  // namespace tg

template <>
struct std::hash<tg::Ipv4> {
  std::size_t operator()(tg::Ipv4 a) const noexcept {
    return std::hash<std::uint64_t>{}(a.value * 0x9E3779B97F4A7C15ull);
  }
};
template <>
struct std::hash<tg::IpAddress> {
  std::size_t operator()(const tg::IpAddress& a) const noexcept {
    return std::hash<std::string_view>{}(tg::as_text(a.bytes()));
  }
};
