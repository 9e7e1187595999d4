// How often to put back what somebody else takes away.
#pragma once

#include <algorithm>

#include "core/time.h"

namespace tg {

// MendPace lets the first repairs happen at once and later ones with pauses that double, so that two programs that want
// different things do not fight at full speed. When nothing had to be put back for kCalm, all is forgotten.
class MendPace {
 public:
  static constexpr Duration kFirst = std::chrono::milliseconds(500);
  static constexpr Duration kLongest = std::chrono::seconds(5);
  static constexpr Duration kCalm = std::chrono::seconds(20);
  static constexpr int kQuarrel = 5;

  // due returns when the next repair may happen: `now`, or later.
  Instant due(Instant now) noexcept {
    if (times_ > 0 && now >= calm_at()) times_ = 0, pause_ = Duration::zero();
    return times_ == 0 ? now : std::max(now, last_ + pause_);
  }
  // mended says that something had to be put back, or could not be.
  void mended(Instant now) noexcept {
    ++times_;
    last_ = now;
    if (times_ >= 2) pause_ = std::clamp(pause_ * 2, kFirst, kLongest);
  }

  int times() const noexcept { return times_; }                     // since it was calm
  bool quarrel() const noexcept { return times_ >= kQuarrel; }      // somebody insists
  Instant calm_at() const noexcept { return times_ == 0 ? kNever : last_ + kCalm; }

 private:
  int times_ = 0;
  Duration pause_{};
  Instant last_{};
};

}  // namespace tg
