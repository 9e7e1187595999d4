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

DeviceQuota::Limits DeviceQuota::byte_limits(std::uint64_t memory) noexcept {
  const auto total = static_cast<std::size_t>(std::min<std::uint64_t>(memory / 8, kBytes));
  return {total, std::min(total / 2, kBytesOfOne)};
}

std::optional<DeviceQuota::Hold> DeviceQuota::take(const std::string& device) {
  const Held held(*this);
  if (open_ >= limits_.total || open_of_locked(device) >= limits_.of_one) return std::nullopt;
  Hold one = hold_locked(device);
  one.add_locked(1);
  return one;
}

DeviceQuota::Hold DeviceQuota::hold(const std::string& device) {
  const Held held(*this);
  return hold_locked(device);
}

DeviceQuota::Hold DeviceQuota::hold_locked(const std::string& device) {
  const auto it = devices_.try_emplace(device).first;
  ++it->second.holds;
  return Hold(*this, it);
}

std::size_t DeviceQuota::open() const {
  const Held held(*this);
  return open_;
}

std::size_t DeviceQuota::open_of(const std::string& device) const {
  const Held held(*this);
  return open_of_locked(device);
}

std::size_t DeviceQuota::open_of_locked(const std::string& device) const {
  const auto it = devices_.find(device);
  return it == devices_.end() ? 0 : it->second.count;
}

bool DeviceQuota::worth_saying(Instant now) noexcept {
  const Held held(*this);
  if (said_ && now - *said_ < kQuiet) return false;
  said_ = now;
  return true;
}

DeviceQuota::Hold& DeviceQuota::Hold::operator=(Hold&& o) noexcept {
  if (this != &o) {
    release();
    quota_ = std::exchange(o.quota_, nullptr);
    device_ = o.device_;
    count_ = std::exchange(o.count_, 0);
  }
  return *this;
}

bool DeviceQuota::Hold::add(std::size_t more) noexcept {
  if (quota_ == nullptr) return true;
  const Held held(*quota_);
  return add_locked(more);
}

bool DeviceQuota::Hold::add_locked(std::size_t more) noexcept {
  const Limits& limits = quota_->limits_;
  std::size_t& of_one = device_->second.count;
  const std::size_t room = limits.total - std::min(quota_->open_, limits.total);
  if (more > std::min(room, limits.of_one - std::min(of_one, limits.of_one))) return false;
  quota_->open_ += more;
  of_one += more;
  count_ += more;
  return true;
}

void DeviceQuota::Hold::remove(std::size_t less) noexcept {
  if (quota_ == nullptr) return;
  const Held held(*quota_);
  remove_locked(less);
}

void DeviceQuota::Hold::remove_locked(std::size_t less) noexcept {
  less = std::min(less, count_);
  quota_->open_ -= less;
  device_->second.count -= less;
  count_ -= less;
}

void DeviceQuota::Hold::release() noexcept {
  if (quota_ == nullptr) return;
  const Held held(*quota_);
  remove_locked(count_);
  if (--device_->second.holds == 0) quota_->devices_.erase(device_);
  quota_ = nullptr;
}

}  // namespace tg
