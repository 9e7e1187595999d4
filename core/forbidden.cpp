#include "core/forbidden.h"

#include <algorithm>
#include <array>

namespace tg {
namespace {

struct Row {
  std::string_view network;
  std::string_view why;
};

// The first row that fits says why; single addresses stand before the networks around them.
constexpr Row kV4[] = {
    {"169.254.169.254/32", "cloud metadata"},   // AWS, Azure, Google, Oracle and others
    {"169.254.170.2/32", "cloud metadata"},     // AWS: credentials of a container
    {"169.254.170.23/32", "cloud metadata"},
    {"100.100.100.200/32", "cloud metadata"},   // Alibaba
    {"168.63.129.16/32", "cloud metadata"},     // Azure's wire server
    {"192.0.0.192/32", "cloud metadata"},       // Oracle
    {"255.255.255.255/32", "broadcast"},        // RFC 919
    {"0.0.0.0/8", "unspecified"},               // RFC 1122: "this host"; Linux takes 0.0.0.0 for loopback
    {"127.0.0.0/8", "loopback"},
    {"169.254.0.0/16", "link-local"},           // RFC 3927
    {"224.0.0.0/4", "multicast"},
};
constexpr Row kV6[] = {
    {"fd00:ec2::254/128", "cloud metadata"},    // AWS
    {"fd00:ec2::23/128", "cloud metadata"},     // AWS: credentials of a pod
    {"fd20:ce::254/128", "cloud metadata"},     // Google
    {"::/128", "unspecified"},
    {"::1/128", "loopback"},
    {"fe80::/10", "link-local"},
    {"ff00::/8", "multicast"},
};

// Forms of IPv6 that carry an IPv4 address, and at which byte.
struct Embedding {
  std::string_view network;
  std::size_t offset;
};
constexpr Embedding kEmbeddings[] = {
    {"::ffff:0:0/96", 12},     // mapped, RFC 4291 section 2.5.5.2
    {"::/96", 12},             // compatible, deprecated, ibid.
    {"::ffff:0:0:0/96", 12},   // translated, RFC 2765
    {"64:ff9b::/96", 12},      // NAT64, RFC 6052
    {"2002::/16", 2},          // 6to4, RFC 3056
};

template <class Row, std::size_t N>
std::array<Cidr, N> networks(const Row (&rows)[N]) {
  std::array<Cidr, N> out;
  std::transform(std::begin(rows), std::end(rows), out.begin(),
                 [](const Row& r) { return Cidr::parse(r.network).value(); });
  return out;
}

template <std::size_t N>
std::optional<std::string_view> reason(const Row (&rows)[N], const std::array<Cidr, N>& nets, const IpAddress& ip) {
  for (std::size_t i = 0; i < N; ++i) {
    if (nets[i].contains(ip)) return rows[i].why;
  }
  return std::nullopt;
}

std::optional<Ipv4> embedded_v4(const IpAddress& ip) {
  static const auto nets = networks(kEmbeddings);
  for (std::size_t i = 0; i < nets.size(); ++i) {
    if (!nets[i].contains(ip)) continue;
    Reader r(ip.bytes().subspan(kEmbeddings[i].offset));
    return Ipv4{r.u32()};
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string_view> forbidden_address(const IpAddress& ip, std::span<const IpAddress> own) {
  static const auto v4 = networks(kV4);
  static const auto v6 = networks(kV6);
  const auto inner = ip.is_v6() ? embedded_v4(ip) : std::nullopt;
  if (ip.is_v6()) {
    if (const auto why = reason(kV6, v6, ip)) return why;
  }
  if (ip.is_v4() || inner) {
    if (const auto why = reason(kV4, v4, inner ? IpAddress(*inner) : ip)) return why;
  }
  for (const IpAddress& a : own) {
    if (a.unmapped() == ip || (inner && a.unmapped() == IpAddress(*inner))) return "the connector itself";
  }
  return std::nullopt;
}

}  // namespace tg
