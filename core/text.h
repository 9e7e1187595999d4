// Text from outside on its way to a terminal or a log.
#pragma once

#include <string>
#include <string_view>

#include "core/time.h"

namespace tg {

// printable returns `s` with every C0, DEL and C1 control, and every byte that is not UTF-8, written as \xNN, and cut
// with "…" at `max` bytes: nothing that a stranger sends may move a cursor or forge a log line.
std::string printable(std::string_view s, std::size_t max = 256);

// in_quotes is `printable` between quotation marks.
std::string in_quotes(std::string_view s);

// is_digit says whether `c` is 0 to 9 of ASCII.
constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

// utc_text writes a moment to the minute: "2026-11-24 19:30 UTC".
std::string utc_text(UnixTime t);

// rfc3339 writes it to the second: "2026-11-24T19:30:00Z". (core/moment.h reads both.)
std::string rfc3339(UnixTime t);

// lower returns `s` with A-Z in lower case; other bytes are left alone.
std::string lower(std::string_view s);

}  // namespace tg
