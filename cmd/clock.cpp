#include "cmd/clock.h"

#include <fmt/format.h>

#include "core/json.h"

namespace tg::cmd {
namespace {

// about rounds down to the largest unit of which there are at least two.
std::string about(std::chrono::seconds d) {
  using std::chrono::duration_cast;
  const auto days = duration_cast<std::chrono::duration<std::int64_t, std::ratio<86400>>>(d).count();
  if (days >= 2) return fmt::format("{} days", days);
  const auto hours = duration_cast<std::chrono::hours>(d).count();
  if (hours >= 2) return fmt::format("{} hours", hours);
  const auto minutes = duration_cast<std::chrono::minutes>(d).count();
  if (minutes >= 2) return fmt::format("{} minutes", minutes);
  return fmt::format("{} seconds", d.count());
}

}  // namespace

std::optional<UnixTime> told_time(const Json& message) {
  constexpr std::int64_t kBeyondAllDates = std::int64_t{1} << 40;
  const std::int64_t seconds = number_or(message, "time", 0);
  if (seconds <= 0 || seconds > kBeyondAllDates) return std::nullopt;
  return UnixTime(std::chrono::seconds(seconds));
}

std::string clock_problem(UnixTime own, UnixTime theirs) {
  const auto off = own - theirs;
  const auto size = off < off.zero() ? -off : off;
  if (size <= kClockTolerance) return {};
  return fmt::format("this machine's clock is {} {} the controller's; {}", about(size),
                     off > off.zero() ? "ahead of" : "behind", kSetTheClock);
}

}  // namespace tg::cmd
