#include "net/log.h"

#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <ctime>

#include "core/json.h"
#include "core/text.h"

namespace tg::net {
namespace {

std::atomic<Level> threshold{Level::info};          // the process's settings of what is said, and how
std::atomic<LogFormat> shape{LogFormat::text};

constexpr std::string_view kNames[] = {"debug", "info", "warning", "error"};

}  // namespace

void set_log_level(Level level) noexcept { threshold = level; }
void set_log_format(LogFormat format) noexcept { shape = format; }
LogFormat log_format() noexcept { return shape.load(std::memory_order_relaxed); }
bool logs(Level level) noexcept { return level >= threshold.load(std::memory_order_relaxed); }

void log_line(Level level, std::string_view text) {
  if (!logs(level)) return;
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char time[32];
  std::strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%SZ", &utc);
  const std::string_view name = kNames[static_cast<int>(level)];
  const std::string words = printable(text, 2000);
  const std::string line = log_format() == LogFormat::json
                               ? json_text(Json{{"time", time}, {"level", name}, {"text", words}}) + "\n"
                               : fmt::format("{} {} {}\n", time, name, words);
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;   // nowhere left to complain
}

}  // namespace tg::net
