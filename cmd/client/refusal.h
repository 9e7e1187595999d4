// How an application learns that its flow came to nothing.
#pragma once

#include <optional>

#include "core/packet.h"
#include "core/tunnel.h"

namespace tg::client {

// unreachable_for returns the ICMP code that stands for `code`, or nothing where there is none to send: refused and reset are
// RST for TCP (and port unreachable for UDP, see there), timed_out is silence, none is no error.
inline std::optional<Unreachable> unreachable_for(Code code) {
  switch (code) {
    case Code::none: case Code::refused: case Code::reset: case Code::timed_out: return std::nullopt;
    case Code::network_unreachable: return Unreachable::net;
    case Code::denied: case Code::port_not_allowed: case Code::address_forbidden: case Code::grant_expired: case Code::revoked:
      return Unreachable::prohibited;
    default: return Unreachable::host;
  }
}

}  // namespace tg::client
