// When a flow of datagrams, which nobody ends, counts as over.
#pragma once

#include <cstdint>

#include "core/resource.h"
#include "core/time.h"

namespace tg {

// kIdle is how long the client keeps a UDP flow, or a series of pings, in which nothing moves either way. A DNS resolver takes
// a new port for each question and is done with its answer.
inline constexpr Duration kIdle = std::chrono::seconds(30);
inline constexpr Duration kDnsIdle = std::chrono::seconds(5);
// kIdleAtConnector is a safety net behind these, for a client that does not end its flows.
inline constexpr Duration kIdleAtConnector = std::chrono::seconds(60);

// idle_limit returns what holds for a client's flow to `port`; Duration::max() for TCP, which no idle timer ends.
constexpr Duration idle_limit(Protocol protocol, std::uint16_t port) noexcept {
  if (protocol == Protocol::tcp) return Duration::max();
  return protocol == Protocol::udp && port == 53 ? kDnsIdle : kIdle;
}

// idle says whether more than `limit` has gone by since something `moved`.
constexpr bool idle(Instant moved, Instant now, Duration limit) noexcept { return moved < now && now - moved > limit; }

}  // namespace tg
