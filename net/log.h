// Words for people who run tg: one line each, on stderr.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace tg::net {

enum class Level : unsigned char { debug, info, warning, error };

enum class LogFormat : unsigned char { text, json };

// log_line writes "LEVEL TEXT" with the time before it, with every control character escaped, or {"time":…,"level":…,"text":…}. Lines
// below the level of set_log_level (info at first) are dropped. A line is written in one call, so that processes may share a file.
void log_line(Level level, std::string_view text);
void set_log_level(Level level) noexcept;
void set_log_format(LogFormat format) noexcept;   // text at first
LogFormat log_format() noexcept;
bool logs(Level level) noexcept;

template <class... Args>
void log(Level level, fmt::format_string<Args...> format, Args&&... args) {
  if (logs(level)) log_line(level, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace tg::net
