// How often somebody may guess.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "core/time.h"

namespace tg {

// GuessLimit lets a key have `burst` tries at once, and one more in each `every`. It remembers at most kKeys keys: with more, those
// that have guessed the least are forgotten. Pure.
class GuessLimit {
 public:
  static constexpr std::size_t kKeys = 65'536;
  GuessLimit(int burst, Duration every) : burst_(burst), every_(every) {}

  // wait returns how long `key` has to wait for its next try; nothing when it may try now.
  std::optional<Duration> wait(const std::string& key, Instant now) const;
  // count notes a try, before it is known what becomes of it; forgive takes one back that was right.
  void count(const std::string& key, Instant now);
  void forgive(const std::string& key);
  std::size_t size() const noexcept { return free_at_.size(); }

 private:
  void make_room(Instant now);
  int burst_;
  Duration every_;
  std::map<std::string, Instant> free_at_;   // when all tries of a key are there again
};

}  // namespace tg
