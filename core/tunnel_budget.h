// How often a peer may do what is cheap for it and dear for us.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/time.h"

namespace tg {

// Budget lets through `burst` events at once and `rate` a second in the long run. It keeps one instant: that at which
// the events so far would have been due at the steady rate (the generic cell rate algorithm of ITU-T I.371).
class Budget {
 public:
  constexpr Budget(std::int64_t rate, std::int64_t burst) noexcept
      : cost_(Duration(std::chrono::seconds(1)) / rate), slack_(cost_ * burst) {}

  // take spends one event, or returns false and spends nothing.
  bool take(Instant now) noexcept {
    const Instant due = std::max(due_, now) + cost_;
    if (due - now > slack_) return false;
    due_ = due;
    return true;
  }
  // left says whether take would succeed.
  bool left(Instant now) const noexcept { return std::max(due_, now) + cost_ - now <= slack_; }
  // whole says whether the burst is there again.
  bool whole(Instant now) const noexcept { return due_ <= now; }
  // earn gives back `events` that were spent.
  void earn(std::int64_t events) noexcept { due_ -= cost_ * events; }

 private:
  Duration cost_;
  Duration slack_;
  Instant due_{};
};

// Budgets of one tunnel, on the receiving side. Each leaves a busy honest peer, whose frames a stalled link may deliver
// all at once, an order of magnitude; see core/FRAME.md for the reasons.
struct Budgets {
  Budget resets{2'000, 150'000};     // streams that the client resets within kRapid of opening them; twice max_streams
  Budget pings{50, 500};             // PING that is no answer, and GOAWAY
  Budget grants{5, 100};
  Budget empties{100, 1'000};        // DATA without a byte
  Budget windows{2'000, 200'000};    // WINDOW; each DATA frame sent earns two
  Budget late{10'000, 200'000};      // frames other than DATA, DATAGRAM and ECHO on streams that are gone
};
inline constexpr Duration kRapid = std::chrono::seconds(1);

// own_resets is what a client allows itself of Budgets::resets: half the rate, so that a stall of seconds cannot make it
// a flood. The rest is for streams that it moves to another tunnel: all that it may have, with their OPENs in one piece.
inline constexpr Budget kOwnResets{1'000, 5'000};

}  // namespace tg
