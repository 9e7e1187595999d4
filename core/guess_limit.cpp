#include "core/guess_limit.h"

#include <algorithm>

namespace tg {

std::optional<Duration> GuessLimit::wait(const std::string& key, Instant now) const {
  const auto found = free_at_.find(key);
  if (found == free_at_.end()) return std::nullopt;
  const Instant next = found->second - every_ * (burst_ - 1);
  if (next <= now) return std::nullopt;
  return next - now;
}

void GuessLimit::count(const std::string& key, Instant now) {
  if (free_at_.size() >= kKeys && !free_at_.contains(key)) make_room(now);
  Instant& at = free_at_.try_emplace(key, now).first->second;
  at = std::max(at, now) + every_;
}

void GuessLimit::forgive(const std::string& key) {
  const auto found = free_at_.find(key);
  if (found != free_at_.end()) found->second -= every_;
}

void GuessLimit::make_room(Instant now) {
  std::erase_if(free_at_, [&](const auto& one) { return one.second <= now; });
  if (free_at_.size() < kKeys) return;
  free_at_.erase(std::min_element(free_at_.begin(), free_at_.end(), [](const auto& a, const auto& b) { return a.second < b.second; }));
}

}  // namespace tg
