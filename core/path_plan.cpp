#include "core/path_plan.h"

#include <algorithm>

#include "core/result.h"

namespace tg {

PathPlan::PathPlan(Duration first_retry, Duration longest_retry, std::uint64_t seed)
    : retry_(first_retry, longest_retry, seed), direct_retry_(kDirectAgain, kDirectAgainMost, seed) {}

void PathPlan::set_ways(std::size_t direct, std::size_t relays, Instant now) {
  direct_ = direct;
  relays_ = relays;
  retry_.reset();
  direct_retry_.reset();
  (chosen_ ? direct_at_ : race_at_) = now;
}

void PathPlan::network_changed(Instant now) {
  under_way_ = {};
  relay_at_ = kNever;
  retry_.reset();
  direct_retry_.reset();
  (chosen_ ? direct_at_ : race_at_) = now;
}

std::optional<PathPlan::Step> PathPlan::next(Instant now) {
  if (chosen_) {
    if (direct_at_ > now) return std::nullopt;
    direct_at_ = kNever;
    if (!wanted(Kind::direct) || direct_ == 0 || under_way(Kind::direct) > 0) return std::nullopt;
    return Step::dial_direct;
  }
  if (race_at_ <= now) {
    race_at_ = kNever;
    relay_at_ = direct_ > 0 ? now + kRelayAfter : now;
    if (direct_ > 0 && under_way(Kind::direct) == 0) return Step::dial_direct;
  }
  if (relay_at_ <= now) {
    relay_at_ = kNever;
    if (relays_ > 0 && under_way(Kind::relayed) == 0) return Step::dial_relays;
  }
  if (!under_way() && relay_at_ == kNever && race_at_ == kNever) race_at_ = now + retry_.next();
  return std::nullopt;
}

Instant PathPlan::next_deadline() const noexcept { return chosen_ ? direct_at_ : std::min(race_at_, relay_at_); }

void PathPlan::began(Kind kind) noexcept { ++under_way(kind); }

void PathPlan::failed(Kind kind, Instant now) {
  TG_CHECK(under_way(kind) > 0);
  --under_way(kind);
  if (kind != Kind::direct || under_way(kind) > 0) return;
  if (chosen_) direct_at_ = now + direct_retry_.next();
  else if (relay_at_ != kNever) relay_at_ = now;   // nothing direct: no reason to wait
}

PathPlan::Name PathPlan::stood(Kind kind, Instant now) {
  TG_CHECK(under_way(kind) > 0);
  --under_way(kind);
  tunnels_.push_back({++last_, kind, State::good, now});
  choose(now);
  return last_;
}

void PathPlan::silent(Name name, Instant now) {
  Tunnel* t = find(name);
  if (t == nullptr || t->state != State::good) return;
  t->state = State::suspect;
  lasted(*t, now);
  if (chosen_ == name) race_at_ = now;
  choose(now);
}

void PathPlan::heard(Name name, Instant now) {
  Tunnel* t = find(name);
  if (t == nullptr || t->state != State::suspect) return;
  t->state = State::good;
  choose(now);
}

void PathPlan::goodbye(Name name, Instant now) {
  Tunnel* t = find(name);
  if (t == nullptr || t->state == State::leaving) return;
  t->state = State::leaving;
  if (chosen_ == name) {
    lasted(*t, now);
    race_at_ = now - t->since > kStood ? now : now + retry_.next();
  }
  choose(now);
}

void PathPlan::ended(Name name, Instant now) {
  goodbye(name, now);
  std::erase_if(tunnels_, [&](const Tunnel& t) { return t.name == name; });
}

// A tunnel that lasted shows that its way is worth being dialled soon.
void PathPlan::lasted(const Tunnel& t, Instant now) {
  const Duration age = now - t.since;
  if (age > kStood) retry_.reset();
  if (t.kind == Kind::direct && age > kProven) direct_retry_.reset();
}

void PathPlan::choose(Instant now) {
  const Tunnel* best = nullptr;
  for (const Tunnel& t : tunnels_) {
    if (t.state != State::good) continue;
    const bool better = best == nullptr || (t.kind != best->kind ? t.kind == Kind::direct : chosen_ == t.name);
    if (better) best = &t;
  }
  const std::optional<Name> before = chosen_;
  chosen_ = best != nullptr ? std::optional(best->name) : std::nullopt;
  if (best == nullptr) return;
  race_at_ = relay_at_ = kNever;
  for (const Kind kind : {Kind::direct, Kind::relayed}) {
    if (!wanted(kind)) under_way(kind) = 0;
  }
  if (best->kind == Kind::direct) direct_at_ = kNever;
  else if (chosen_ != before) direct_at_ = direct_ > 0 ? now + direct_retry_.next() : kNever;
}

std::optional<PathPlan::State> PathPlan::state(Name name) const noexcept {
  const Tunnel* t = find(name);
  return t != nullptr ? std::optional(t->state) : std::nullopt;
}

bool PathPlan::wanted(Kind kind) const noexcept {
  return !chosen_ || (kind == Kind::direct && find(*chosen_)->kind == Kind::relayed);
}

bool PathPlan::needed(Name name, std::size_t streams) const noexcept {
  const Tunnel* t = find(name);
  if (t == nullptr) return false;
  return chosen_ == name || streams > 0 || (t->state == State::suspect && wanted(t->kind));
}

bool PathPlan::hopeful() const noexcept {
  return under_way() || relay_at_ != kNever || std::any_of(tunnels_.begin(), tunnels_.end(), [](const Tunnel& t) { return t.state != State::leaving; });
}

PathPlan::Tunnel* PathPlan::find(Name name) noexcept {
  const auto it = std::find_if(tunnels_.begin(), tunnels_.end(), [&](const Tunnel& t) { return t.name == name; });
  return it == tunnels_.end() ? nullptr : &*it;
}
const PathPlan::Tunnel* PathPlan::find(Name name) const noexcept { return const_cast<PathPlan*>(this)->find(name); }

}  // namespace tg
