// This machine's clock beside the controller's.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "core/json_fwd.h"
#include "core/time.h"

namespace tg::cmd {

// kClockTolerance is how far the two may differ before it is said: what certificates and grants forgive.
inline constexpr std::chrono::seconds kClockTolerance{60};
inline constexpr std::string_view kSetTheClock = "set it (timedatectl set-ntp true)";

// told_time reads a message's "time", in seconds; nothing when there is none, or none that a clock could show.
std::optional<UnixTime> told_time(const Json& message);

// clock_problem returns one line that says how far `own` is ahead of or behind `theirs` and what to do, or "" within
// kClockTolerance.
std::string clock_problem(UnixTime own, UnixTime theirs);

}  // namespace tg::cmd
