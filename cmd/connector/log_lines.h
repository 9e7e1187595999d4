// How much of the log a device may fill, over all its tunnels.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "core/log_quota.h"

namespace tg::connector {

// LogLines is a LogQuota that threads share.
class LogLines {
 public:
  // take: as LogQuota's.
  std::optional<std::uint64_t> take(const std::string& device, Instant now) {
    const std::lock_guard lock(mutex_);
    return quota_.take(device, now);
  }

 private:
  std::mutex mutex_;
  LogQuota quota_;
};

}  // namespace tg::connector
