// How much of the log one device may fill.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "core/tunnel_budget.h"

namespace tg {

// LogQuota lets kBurst lines of a device through at once, and kRate more a second: refusals cost a device nothing and come by
// the thousand. It knows kDevices at most; those for whom there is no room share one quota, so that many devices are no way
// around it. Pure.
class LogQuota {
 public:
  static constexpr std::int64_t kBurst = 20;
  static constexpr std::int64_t kRate = 1;
  static constexpr std::size_t kDevices = 4096;

  // take returns, for a line of `device` that goes through, how many were left out since the last that did; nothing when this
  // one is left out, too.
  std::optional<std::uint64_t> take(const std::string& device, Instant now);
  std::size_t size() const noexcept { return devices_.size(); }

 private:
  struct Device {
    Budget lines{kRate, kBurst};
    std::uint64_t left_out = 0;
  };
  Device& of(const std::string& device, Instant now);

  std::unordered_map<std::string, Device> devices_;
  Device others_;
  Budget sweeps_{1, 1};   // looking at all devices takes time
};

}  // namespace tg
