// How much is made ready before the line takes it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/time.h"

namespace tg {

// SendAhead limits what is sealed and not yet taken by a socket to what the socket took in kTime lately. What overtakes bulk
// data, a keystroke, has to wait behind what is sealed already: some milliseconds, or what kLeast and a record take on a slow line,
// while a fast one is given much at once. Pure.
class SendAhead {
 public:
  static constexpr std::size_t kLeast = 32 * 1024, kMost = 256 * 1024;    // bytes
  static constexpr Duration kTime = std::chrono::milliseconds(4);

  // taken says how many bytes the socket has taken since its beginning.
  void taken(std::uint64_t total, Instant now) noexcept {
    const Duration elapsed = now - since_;
    if (elapsed < kTime) return;
    const auto within = static_cast<double>(total - before_) * std::chrono::duration<double>(kTime) / elapsed;
    limit_ = static_cast<std::size_t>(std::clamp(within, double{kLeast}, double{kMost}));
    since_ = now;
    before_ = total;
  }
  std::size_t limit() const noexcept { return limit_; }

 private:
  Instant since_{};
  std::uint64_t before_ = 0;
  std::size_t limit_ = kLeast;
};

}  // namespace tg
