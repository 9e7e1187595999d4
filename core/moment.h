// Points in time as people write them.
#pragma once

#include <string_view>

#include "core/result.h"
#include "core/time.h"

namespace tg {

// parse_utc reads what utc_text and rfc3339 write, "2026-11-24 19:30 UTC" and "2026-11-24T19:30:00Z", with seconds or without: what an
// administrator sets says of which zone it is. Errors: invalid_argument.
Result<UnixTime> parse_utc(std::string_view text);

// parse_moment reads how long ago ("90s", "1h", "2d"), a day ("2026-11-24"), or a day and a time ("2026-11-24 19:30",
// "2026-11-24T19:30:05Z"), all of UTC. Errors: invalid_argument.
Result<UnixTime> parse_moment(std::string_view text, UnixTime now);

}  // namespace tg
