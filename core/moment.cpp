#include "core/moment.h"

#include <charconv>
#include <optional>

#include "core/duration.h"
#include "core/text.h"

namespace tg {
namespace {

// Digits takes numbers of a fixed width, and what stands between them, from the front of a text.
class Digits {
 public:
  explicit Digits(std::string_view text) : left_(text) {}
  int number(std::size_t width) {
    int out = 0;
    const std::string_view digits = left_.substr(0, width);
    for (const char c : digits) good_ = good_ && c >= '0' && c <= '9';
    if (!good_ || digits.size() != width) return static_cast<int>(good_ = false);
    std::from_chars(digits.data(), digits.data() + width, out);
    left_.remove_prefix(width);
    return out;
  }
  bool take(std::string_view any_of) {
    if (left_.empty() || any_of.find(left_.front()) == std::string_view::npos) return false;
    left_.remove_prefix(1);
    return true;
  }
  void expect(std::string_view any_of) { good_ = take(any_of) && good_; }
  bool done() const { return good_ && left_.empty(); }
  bool empty() const { return left_.empty(); }

 private:
  std::string_view left_;
  bool good_ = true;
};

std::optional<UnixTime> date_and_time(std::string_view text) {
  Digits d(text);
  const std::chrono::year year(d.number(4));
  d.expect("-");
  const std::chrono::month month(static_cast<unsigned>(d.number(2)));
  d.expect("-");
  const std::chrono::day day(static_cast<unsigned>(d.number(2)));
  int hours = 0, minutes = 0, seconds = 0;
  if (!d.empty()) {
    d.expect("T ");
    hours = d.number(2);
    d.expect(":");
    minutes = d.number(2);
    if (d.take(":")) seconds = d.number(2);
    d.take("Z");
  }
  const std::chrono::year_month_day date(year, month, day);
  if (!d.done() || !date.ok() || hours > 23 || minutes > 59 || seconds > 59) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::hours(hours) + std::chrono::minutes(minutes) + std::chrono::seconds(seconds);
}

}  // namespace

Result<UnixTime> parse_utc(std::string_view text) {
  const bool words = text.ends_with(" UTC"), zulu = text.ends_with('Z');
  const auto at = text.find(':') != text.npos ? date_and_time(words ? text.substr(0, text.size() - 4) : text) : std::nullopt;
  if (at && words != zulu) return *at;
  return fail(Errc::invalid_argument, "\"" + printable(text, 40) + "\" is no moment such as 2026-12-31T18:00Z, in UTC");
}

Result<UnixTime> parse_moment(std::string_view text, UnixTime now) {
  if (const auto ago = parse_duration(text)) return now - *ago;
  if (const auto at = date_and_time(text)) return *at;
  return fail(Errc::invalid_argument, "\"" + printable(text, 32) + "\" is neither how long ago (90s, 15m, 8h, 2d) nor a time of "
                                          "UTC (2026-11-24, 2026-11-24T19:30)");
}

}  // namespace tg
