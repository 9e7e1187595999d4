#include "core/log_quota.h"

#include <utility>

namespace tg {

std::optional<std::uint64_t> LogQuota::take(const std::string& device, Instant now) {
  Device& one = of(device, now);
  if (one.lines.take(now)) return std::exchange(one.left_out, 0);
  ++one.left_out;
  return std::nullopt;
}

// Who has been quiet until the whole burst was there again makes room; what was left out of his lines is not told then.
LogQuota::Device& LogQuota::of(const std::string& device, Instant now) {
  if (const auto known = devices_.find(device); known != devices_.end()) return known->second;
  if (devices_.size() >= kDevices && sweeps_.take(now)) {
    std::erase_if(devices_, [&](const auto& one) { return one.second.lines.whole(now); });
  }
  return devices_.size() < kDevices ? devices_[device] : others_;
}

}  // namespace tg
