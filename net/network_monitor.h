// News of the system's network: interfaces, addresses and routes that come and go.
#pragma once

#include <algorithm>
#include <vector>

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

  // own says which interface and tables are ours.
  void own(int index, std::vector<std::uint32_t> tables) noexcept { index_ = index; tables_ = std::move(tables); }

  // drain reads all news and returns what they were about. When the kernel had no room for some of them, everything is
  // said to have changed.
  Changes drain();

 private:
  NetworkMonitor() = default;
  Fd fd_;
  int index_ = 0;
  bool is_own(std::uint32_t table) const noexcept { return std::find(tables_.begin(), tables_.end(), table) != tables_.end(); }
  std::vector<std::uint32_t> tables_;
};

// time_asleep returns how long this machine has been suspended since it was started: CLOCK_BOOTTIME goes on meanwhile,
// CLOCK_MONOTONIC and all timers do not.
Duration time_asleep() noexcept;

}  // namespace tg::net
