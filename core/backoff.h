// When to try again.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/time.h"

namespace tg {

// Backoff gives the delays between attempts: doubling from `first` up to `longest`, each cut by a random part of up to
// one half, so that many machines that lost the same peer do not come back in step. It never gives up. With `first` as
// long as `longest`, delays only differ by chance.
class Backoff {
 public:
  Backoff(Duration first, Duration longest, std::uint64_t seed)
      : first_(first), longest_(longest), base_(first), state_(seed | 1) {}

  Duration next() {
    state_ ^= state_ << 13;   // xorshift64 (Marsaglia 2003): spreads, guards nothing
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    const auto cut = Duration(static_cast<Duration::rep>(state_ % 1024) * (base_.count() / 2) / 1024);
    const Duration delay = base_ - cut;
    base_ = std::min(base_ * 2, longest_);
    return delay;
  }
  // reset is for after a success that lasted.
  void reset() { base_ = first_; }

 private:
  Duration first_, longest_, base_;
  std::uint64_t state_;
};

}  // namespace tg
