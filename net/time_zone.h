// The time zones that this machine knows.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "core/time.h"

namespace tg::net {

// utc_offset returns how far the clocks of a zone ("Europe/Berlin") are ahead of UTC at a moment; nothing for one that is not in the
// system's database. "UTC" needs none. It is the C library that knows; what it said is remembered for as long as this process lives. Like
// everything with TZ, not thread-safe.
std::optional<std::chrono::seconds> utc_offset(const std::string& zone, UnixTime t);

}  // namespace tg::net
