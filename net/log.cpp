#include "net/log.h"

#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <ctime>

#include "core/text.h"

namespace tg::net {
namespace {

std::atomic<Level> threshold{Level::info};   // the process's one setting of what is said

constexpr std::string_view kNames[] = {"debug", "info", "warning", "error"};

}  // namespace

void set_log_level(Level level) noexcept { threshold = level; }
bool logs(Level level) noexcept { return level >= threshold.load(std::memory_order_relaxed); }

void log_line(Level level, std::string_view text) {
  if (!logs(level)) return;
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char time[32];
  std::strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%SZ", &utc);
  const std::string line = fmt::format("{} {} {}\n", time, kNames[static_cast<int>(level)], printable(text, 2000));
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;   // nowhere left to complain
}

}  // namespace tg::net
