#include "dns/existence_cache.h"

#include <utility>

namespace tg::dns {

std::optional<Existence> ExistenceCache::find(std::string_view name, Instant now) const {
  for (const Map* map : {&young_, &old_}) {
    const auto at = map->find(name);
    if (at == map->end()) continue;
    if (at->second.until <= now) return std::nullopt;   // what is in the other half is older still
    return at->second.said;
  }
  return std::nullopt;
}

void ExistenceCache::put(std::string_view name, Existence said, Instant now) {
  const Duration life = said == Existence::exists ? kExists : said == Existence::absent ? kAbsent : kUnknown;
  if (const auto at = young_.find(name); at != young_.end()) {
    at->second = {said, now + life};
    return;
  }
  if (young_.size() >= half_) {
    old_ = std::move(young_);
    young_ = Map{};
  }
  young_.emplace(name, Entry{said, now + life});
}

void ExistenceCache::clear() noexcept {
  young_.clear();
  old_.clear();
}

}  // namespace tg::dns
