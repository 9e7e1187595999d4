#include "core/device_quota.h"

#include <algorithm>

namespace tg {

DeviceQuota::Limits DeviceQuota::flow_limits(std::size_t descriptors) noexcept {
  const std::size_t total = descriptors - descriptors / 4;
  return {total, std::min(total / 2, kFlowsOfOne)};
}

DeviceQuota::Limits DeviceQuota::tunnel_limits(std::size_t descriptors) noexcept {
  const std::size_t total = descriptors / 8;
  return {total, std::min(total / 2, kTunnelsOfOne)};
}

std::optional<DeviceQuota::Hold> DeviceQuota::take(const std::string& device) {
  if (open_ >= limits_.total || open_of(device) >= limits_.of_one) return std::nullopt;
  const auto it = devices_.try_emplace(device).first;
  ++it->second;
  ++open_;
  return Hold(*this, it);
}

std::size_t DeviceQuota::open_of(const std::string& device) const {
  const auto it = devices_.find(device);
  return it == devices_.end() ? 0 : it->second;
}

bool DeviceQuota::worth_saying(Instant now) noexcept {
  if (said_ && now - *said_ < kQuiet) return false;
  said_ = now;
  return true;
}

DeviceQuota::Hold& DeviceQuota::Hold::operator=(Hold&& o) noexcept {
  if (this != &o) {
    release();
    quota_ = std::exchange(o.quota_, nullptr);
    device_ = o.device_;
  }
  return *this;
}

void DeviceQuota::Hold::release() noexcept {
  if (quota_ == nullptr) return;
  --quota_->open_;
  if (--device_->second == 0) quota_->devices_.erase(device_);
  quota_ = nullptr;
}

}  // namespace tg
