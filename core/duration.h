// Lengths of time as people write them.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "core/result.h"

namespace tg {

// parse_duration reads a whole number and its unit: "90s", "15m", "8h", "2d"; "0" alone needs none.
// Errors: invalid_argument, also above 3650 days.
Result<std::chrono::seconds> parse_duration(std::string_view text);

// to_string writes the largest unit that divides it: "90s", "15m", "8h", "2d", "0s".
std::string to_string(std::chrono::seconds d);

}  // namespace tg
