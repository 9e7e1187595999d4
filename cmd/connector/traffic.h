// What a connector's flows are and carry, counted by all its workers.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/tunnel.h"

namespace tg::connector {

// Traffic is counted on any thread and read on any. Bytes are added once a second, and when a flow ends.
struct Traffic {
  std::atomic<std::uint64_t> tcp{0}, udp{0}, icmp{0};   // flows that are open, or being opened
  std::atomic<std::uint64_t> up{0}, down{0};            // bytes of payload since the start: to the private network, and from it

  std::atomic<std::uint64_t>& flows(Protocol p) noexcept { return p == Protocol::tcp ? tcp : p == Protocol::udp ? udp : icmp; }
  std::uint64_t flows() const noexcept { return tcp + udp + icmp; }
};

}  // namespace tg::connector
