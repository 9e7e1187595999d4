// UDP flows and pings of applications to captured addresses.
#pragma once

#include <compare>
#include <map>
#include <memory>

#include "cmd/client/targets.h"
#include "cmd/client/tunnels.h"
#include "core/awaited_echoes.h"
#include "core/packet.h"
#include "net/tun.h"

namespace tg::client {

// DatagramCapture takes UDP and ICMP echo as packets from the TUN, and writes what comes back as packets of the address that
// was talked to. Flows end after a silence: see core/idle.h.
class DatagramCapture {
 public:
  static constexpr std::size_t kFlowsMax = 65536;

  DatagramCapture(net::Loop& loop, net::Tun& tun, Tunnels& tunnels, Targets& targets);
  ~DatagramCapture();

  // packet takes one IPv4 packet that is not TCP. What is neither UDP nor an ICMP echo request is dropped.
  void packet(Bytes packet, Instant now);

  std::size_t flows() const noexcept { return flows_.size(); }
  std::uint64_t begun() const noexcept { return begun_; }   // so many were there in all
  void resources_changed();

 private:
  // For UDP both ports; for ICMP the identifier as the source port, and 0.
  struct Key {
    Protocol protocol = Protocol::udp;
    Ipv4Port src, dst;
    auto operator<=>(const Key&) const = default;
  };
  class Flow;

  Flow* find_or_begin(const Key& key, const Ipv4Packet& ip);
  void unreachable(Bytes about, Unreachable code);
  void write(Bytes packet);
  void remove(const Key& key);
  void sweep();

  net::Loop& loop_;
  net::Tun& tun_;
  Tunnels& tunnels_;
  Targets& targets_;
  net::Timer sweep_;
  std::map<Key, std::unique_ptr<Flow>> flows_;
  std::uint64_t begun_ = 0;
  Buffer out_;
  std::uint16_t next_ip_id_ = 1;
};

}  // namespace tg::client
