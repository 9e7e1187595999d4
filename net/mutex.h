// What keeps threads apart that share a DeviceQuota.
#pragma once

#include <memory>
#include <mutex>

#include "core/device_quota.h"

namespace tg::net {

class Mutex final : public DeviceQuota::Lock {
 public:
  void lock() override { mutex_.lock(); }
  void unlock() override { mutex_.unlock(); }
  static std::unique_ptr<DeviceQuota::Lock> make() { return std::make_unique<Mutex>(); }

 private:
  std::mutex mutex_;
};

}  // namespace tg::net
