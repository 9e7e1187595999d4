// Which echo replies were asked for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>

namespace tg {

// AwaitedEchoes remembers the sequences of echo requests that nothing has come back for: the last kMost of them. A
// reply counts once for each request; any other was not asked for. Pure.
class AwaitedEchoes {
 public:
  static constexpr std::size_t kMost = 1024;   // a flood of 2,000 a second, half a second away

  void sent(std::uint16_t sequence) {
    if (awaited_.size() == kMost) awaited_.pop_front();
    awaited_.push_back(sequence);
  }

  // take says whether a reply with `sequence` was asked for, and waits for it no longer.
  bool take(std::uint16_t sequence) {
    const auto found = std::find(awaited_.begin(), awaited_.end(), sequence);
    if (found == awaited_.end()) return false;
    awaited_.erase(found);
    return true;
  }

 private:
  std::deque<std::uint16_t> awaited_;   // the oldest first
};

}  // namespace tg
