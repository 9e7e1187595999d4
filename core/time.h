// Time as a parameter. core and dns own no clock: whoever calls them says what time it is.
#pragma once

#include <chrono>

namespace tg {

// Monotonic is the clock of deadlines: never set back, meaningless outside this process. It has no now(): net::Loop has.
struct Monotonic {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<Monotonic, duration>;
  static constexpr bool is_steady = true;
};
using Instant = Monotonic::time_point;
using Duration = Monotonic::duration;

// kNever is a deadline that does not come.
inline constexpr Instant kNever = Instant::max();

// UnixTime is the wall clock of certificates, grants, tokens and records.
using UnixTime = std::chrono::sys_seconds;

}  // namespace tg
