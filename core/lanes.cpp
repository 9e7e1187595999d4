#include "core/lanes.h"

#include <algorithm>
#include <tuple>

namespace tg {

Lanes::Lane* Lanes::find(Name name) noexcept {
  const auto it = std::find_if(lanes_.begin(), lanes_.end(), [&](const Lane& l) { return l.name == name; });
  return it == lanes_.end() ? nullptr : &*it;
}

std::size_t Lanes::open() const noexcept {
  return static_cast<std::size_t>(std::count_if(lanes_.begin(), lanes_.end(), [](const Lane& l) { return l.open(); }));
}

void Lanes::stood(Name lane, Instant now) {
  if (!lanes_.empty() && dialling_ > 0) --dialling_;
  lanes_.push_back({lane, false, false, now});
}

void Lanes::silent(Name lane, bool silent) noexcept {
  if (Lane* l = find(lane)) l->silent = silent;
}

void Lanes::goodbye(Name lane) noexcept {
  if (Lane* l = find(lane)) l->leaving = true;
}

void Lanes::ended(Name lane) noexcept {
  std::erase_if(lanes_, [&](const Lane& l) { return l.name == lane; });
}

void Lanes::idle(Name lane, Instant now) noexcept {
  if (Lane* l = find(lane)) l->idle_since = now;
}

bool Lanes::began(Instant now) noexcept {
  if (look_ != kNever || open() + dialling_ >= kMost) return false;
  look_ = std::max(now + kLook, not_before_);
  return true;
}

std::optional<Lanes::Name> Lanes::choose(const LoadOf& load) const {
  std::optional<Name> best;
  std::tuple<bool, std::size_t, std::uint64_t> least;
  for (const Lane& l : lanes_) {
    if (!l.open()) continue;
    const Load has = load(l.name);
    const std::tuple rank{has.recent >= kBusy, has.streams, has.recent};
    if (best && rank >= least) continue;
    best = l.name;
    least = rank;
  }
  return best;
}

bool Lanes::silent() const noexcept {
  return open() == 0 && std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& l) { return l.silent; });
}

std::size_t Lanes::next(std::size_t flows, Instant now) noexcept {
  if (now < look_) return 0;
  look_ = kNever;
  const std::size_t has = open() + dialling_;
  // One that goes away may be the sign that all will.
  if (flows == 0 || open() < lanes_.size() || has >= wanted(flows)) return 0;
  const std::size_t more = wanted(flows) - has;
  dialling_ += more;
  return more;
}

void Lanes::failed(Instant now) noexcept {
  if (dialling_ > 0) --dialling_;
  not_before_ = now + kAgain;
}

std::optional<Lanes::Name> Lanes::spare(const LoadOf& load, std::size_t flows, Instant now) {
  for (Lane& l : lanes_) {
    if (lanes_.size() < 2 || l.idle_since == kNever || now < l.idle_since + kSpare) continue;
    if (load(l.name).streams > 0) {
      l.idle_since = kNever;
      continue;
    }
    // What is silent or leaves and has no streams is of no use while another lane is.
    if (l.open() ? open() > wanted(flows) : open() > 0) return l.name;
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
