#include "core/lanes.h"

#include <algorithm>
#include <utility>

namespace tg {

void LastingFlows::began(std::uint32_t flow, Instant now) {
  flows_[flow] = false;
  young_.emplace_back(flow, now);
}

void LastingFlows::ended(std::uint32_t flow) noexcept {
  const auto it = flows_.find(flow);
  if (it == flows_.end()) return;
  if (it->second) --lasting_;
  flows_.erase(it);
}

std::size_t LastingFlows::count(Instant now) {
  while (!young_.empty() && young_.front().second + kLasting <= now) {
    if (const auto it = flows_.find(young_.front().first); it != flows_.end()) {
      it->second = true;
      ++lasting_;
    }
    young_.pop_front();
  }
  return lasting_;
}

Lanes::Lane* Lanes::find(Name name) noexcept {
  const auto it = std::find_if(lanes_.begin(), lanes_.end(), [&](const Lane& l) { return l.name == name; });
  return it == lanes_.end() ? nullptr : &*it;
}

std::size_t Lanes::open() const noexcept {
  return static_cast<std::size_t>(std::count_if(lanes_.begin(), lanes_.end(), [](const Lane& l) { return l.open(); }));
}

std::size_t Lanes::not_taken(const LoadOf& load) const {
  return static_cast<std::size_t>(
      std::count_if(lanes_.begin(), lanes_.end(), [&](const Lane& l) { return l.open() && !load(l.name).taken(); }));
}

void Lanes::stood(Name lane, Instant now) {
  if (!lanes_.empty()) dialling_ = false;
  lanes_.push_back({lane, false, false, now});
}

void Lanes::silent(Name lane, bool silent) noexcept {
  if (Lane* l = find(lane)) l->silent = silent;
}

void Lanes::goodbye(Name lane, Instant now) noexcept {
  if (Lane* l = find(lane)) l->leaving = true;
  not_before_ = now + kAgain;   // it may have no room for another
}

void Lanes::ended(Name lane) noexcept {
  std::erase_if(lanes_, [&](const Lane& l) { return l.name == lane; });
}

void Lanes::idle(Name lane, Instant now) noexcept {
  if (Lane* l = find(lane)) l->idle_since = now;
}

bool Lanes::look(Instant at) noexcept {
  at = std::max(at, not_before_);
  if (at >= look_ || dialling_ || lanes_.size() >= kMost) return false;
  look_ = at;
  return true;
}

std::optional<Lanes::Name> Lanes::choose(const LoadOf& load) const {
  std::optional<Name> best;
  std::pair<bool, std::size_t> least;
  for (const Lane& l : lanes_) {
    if (!l.open()) continue;
    const Load has = load(l.name);
    const std::pair rank{has.busy(), has.lasting};
    if (best && rank >= least) continue;
    best = l.name;
    least = rank;
  }
  return best;
}

bool Lanes::silent() const noexcept {
  return open() == 0 && std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& l) { return l.silent; });
}

bool Lanes::silent(Name lane) const noexcept {
  return std::any_of(lanes_.begin(), lanes_.end(), [&](const Lane& l) { return l.name == lane && l.silent; });
}

bool Lanes::next(const LoadOf& load, Instant now) {
  if (now < look_) return false;
  look_ = kNever;
  if (dialling_ || lanes_.size() >= kMost) return false;
  // One that is silent or goes away may be the sign that all will.
  dialling_ = open() == lanes_.size() && not_taken(load) == 0;
  if (dialling_) return true;
  const bool young = std::any_of(lanes_.begin(), lanes_.end(), [&](const Lane& l) {
    const Load has = load(l.name);
    return has.flows > has.lasting;
  });
  if (young) look(now + LastingFlows::kLasting);
  return false;
}

void Lanes::failed(Instant now) noexcept {
  dialling_ = false;
  not_before_ = now + kAgain;
}

std::optional<Lanes::Name> Lanes::spare(const LoadOf& load, Instant now) {
  for (Lane& l : lanes_) {
    if (lanes_.size() < 2 || l.idle_since == kNever || now < l.idle_since + kSpare) continue;
    if (load(l.name).streams > 0) {
      l.idle_since = kNever;
      continue;
    }
    // What is silent or leaves and has no streams is of no use while another lane is.
    if (l.open() ? not_taken(load) > 1 : open() > 0) return l.name;
    l.idle_since = now;
  }
  return std::nullopt;
}

Instant Lanes::next_deadline() const noexcept {
  Instant at = look_;
  if (lanes_.size() < 2) return at;
  for (const Lane& l : lanes_) {
    if (l.idle_since != kNever) at = std::min(at, l.idle_since + kSpare);
  }
  return at;
}

}  // namespace tg
