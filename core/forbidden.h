// Addresses that a connector does not dial, whatever a name resolves to.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "core/ip.h"

namespace tg {

// forbidden_address says why `ip` must not be dialled ("loopback", "link-local", "cloud metadata", "unspecified",
// "multicast", "broadcast", "the connector itself"), or nothing when it may. IPv4 inside IPv6 (mapped, NAT64
// 64:ff9b::/96, 6to4) is judged by the IPv4 address. `own`: the connector's own addresses. A Resource that is this very
// address is exempt, one whose network contains it is not: that is the caller's to ask (Policy::names).
std::optional<std::string_view> forbidden_address(const IpAddress& ip, std::span<const IpAddress> own);

}  // namespace tg
