#include "core/duration.h"

#include <charconv>

#include "core/text.h"

namespace tg {
namespace {

constexpr std::int64_t kMax = 3650LL * 86400;

struct Unit {
  char letter;
  std::int64_t seconds;
};
constexpr Unit kUnits[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};

}  // namespace

Result<std::chrono::seconds> parse_duration(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  if (error == std::errc() && number == 0 && unit.empty()) return std::chrono::seconds(0);
  for (const Unit& u : kUnits) {
    const bool fits = error == std::errc() && number >= 0 && number <= kMax / u.seconds;
    if (fits && unit == std::string_view(&u.letter, 1)) return std::chrono::seconds(number * u.seconds);
  }
  return fail(Errc::invalid_argument,
              "\"" + printable(text, 32) + "\" is no length of time such as 90s, 15m, 8h or 2d");
}

std::string to_string(std::chrono::seconds d) {
  for (const Unit& u : kUnits) {
    if (d.count() != 0 && d.count() % u.seconds == 0) return std::to_string(d.count() / u.seconds) + u.letter;
  }
  return "0s";
}

}  // namespace tg
