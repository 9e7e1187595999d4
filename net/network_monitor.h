// News of the system's network: interfaces, addresses and routes that come and go.
#pragma once

#include "core/result.h"
#include "core/time.h"
#include "net/netlink.h"

namespace tg::net {

// NetworkMonitor is a descriptor that becomes readable when the network changes.
class NetworkMonitor {
 public:
  struct Changes {
    bool links = false;        // an interface came, went, or changed its state
    bool addresses = false;    // IPv4 or IPv6
    bool routes = false;       // IPv4 or IPv6; or rules, IPv4
    bool own = false;          // something of ours (see own()); the others leave it out
    bool any() const noexcept { return links || addresses || routes; }
  };

  static Result<NetworkMonitor> open();
  int fd() const noexcept { return fd_.get(); }   // non-blocking

  // own says which interface and table are ours.
  void own(int index, std::uint32_t table) noexcept { index_ = index; table_ = table; }

  // drain reads all news and returns what they were about. When the kernel had no room for some of them, everything is
  // said to have changed.
  Changes drain();

 private:
  NetworkMonitor() = default;
  Fd fd_;
  int index_ = 0;
  std::uint32_t table_ = 0;
};

// time_asleep returns how long this machine has been suspended since it was started: CLOCK_BOOTTIME goes on meanwhile,
// CLOCK_MONOTONIC and all timers do not.
Duration time_asleep() noexcept;

}  // namespace tg::net
