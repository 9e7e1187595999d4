#include "core/access.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "core/text.h"

namespace tg {
namespace {

constexpr std::array<std::string_view, 7> kDays = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
constexpr std::array<std::string_view, 7> kNeeds = {"ready", "sign-in", "second-factor", "approval", "hours", "untrusted", "over"};
constexpr int kMinutes = 24 * 60;
constexpr std::chrono::seconds kHour(3600);

bool has(Weekdays days, int day) { return (days >> day & 1) != 0; }

std::optional<int> day_of(std::string_view text) {
  const auto found = std::find(kDays.begin(), kDays.end(), text);
  if (found == kDays.end()) return std::nullopt;
  return static_cast<int>(found - kDays.begin());
}

// Local is a moment by the clock on a wall.
struct Local {
  std::chrono::sys_days day;
  int weekday = 0;     // 0: Monday
  int minute = 0;      // of the day
};

Local local_at(UnixTime t, std::chrono::seconds offset) {
  const UnixTime wall = t + offset;
  const auto day = std::chrono::floor<std::chrono::days>(wall);
  return {day, static_cast<int>(std::chrono::weekday(day).iso_encoding()) - 1,
          static_cast<int>(std::chrono::floor<std::chrono::minutes>(wall - day).count())};
}

bool open_at(const PolicySpec& p, const Local& at) {
  const DayHours hours = p.hours.value_or(DayHours{0, kMinutes});
  if (hours.from < hours.to) return has(p.days, at.weekday) && at.minute >= hours.from && at.minute < hours.to;
  const int before = (at.weekday + 6) % 7;   // from an evening to the next morning
  return (has(p.days, at.weekday) && at.minute >= hours.from) || (has(p.days, before) && at.minute < hours.to);
}

// minute_of reads "08:00"; "24:00" is the end of a day.
std::optional<int> minute_of(std::string_view text) {
  if (text.size() != 5 || text[2] != ':') return std::nullopt;
  for (const std::size_t i : {0, 1, 3, 4}) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
  }
  const int hour = (text[0] - '0') * 10 + text[1] - '0';
  const int minute = (text[3] - '0') * 10 + text[4] - '0';
  if (minute > 59 || hour * 60 + minute > kMinutes) return std::nullopt;
  return hour * 60 + minute;
}

std::string clock_text(int minute) {
  const auto two = [](int n) { return std::string(1, static_cast<char>('0' + n / 10)) + static_cast<char>('0' + n % 10); };
  return two(minute / 60) + ":" + two(minute % 60);
}

// add has a sum of demands, all of which must be met, hold one more: the hardest that is missing is said.
void add(Access& sum, const Access& one) {
  sum.again = std::min(sum.again, one.again);
  if (one.need == sum.need && one.need == Need::nothing) sum.changes = std::min(sum.changes, one.changes);
  if (one.need <= sum.need) return;
  sum.need = one.need;
  sum.policy = one.policy;
  sum.changes = one.changes;
}

// better says which of two ways somebody would go.
bool better(const Access& a, const Access& b) {
  if (a.need != b.need) return a.need < b.need;
  return a.need == Need::nothing ? a.changes > b.changes : a.changes < b.changes;
}

}  // namespace

std::string_view to_string(Need n) noexcept { return kNeeds[static_cast<std::size_t>(n)]; }

std::optional<Need> need_from(std::string_view text) {
  const auto found = std::find(kNeeds.begin(), kNeeds.end(), text);
  if (found == kNeeds.end()) return std::nullopt;
  return static_cast<Need>(found - kNeeds.begin());
}

Access Judge::operator()(const Demands& demands, const Standing& standing, std::optional<Approval> approved) {
  Access out;
  if (demands.own != nullptr) out = (*this)(*demands.own, standing, approved);
  std::optional<Access> best;
  UnixTime again = UnixTime::max();
  for (const PolicySpec* way : demands.ways) {
    const Access one = (*this)(*way, standing, approved);
    again = std::min(again, one.again);
    if (!best || better(one, *best)) best = one;
  }
  if (best) add(out, *best);
  out.again = std::min(out.again, again);
  return out;
}

Access Judge::operator()(const PolicySpec& p, const Standing& standing, std::optional<Approval> approved) {
  Access out;
  const auto demand = [&](Need need, bool met, UnixTime changes) {
    add(out, {met ? Need::nothing : need, met ? nullptr : &p, changes, changes > now_ ? changes : UnixTime::max()});
  };
  if (p.until) demand(Need::over, now_ < *p.until, now_ < *p.until ? *p.until : UnixTime::max());
  if (p.trusted_device) demand(Need::trust, standing.trusted, UnixTime::max());
  if (p.days != kEveryDay || p.hours) {
    const Week& w = week(p);
    demand(Need::hours, w.open, w.changes);
  }
  if (p.approval) {
    const UnixTime until = approved ? std::min(approved->until, approved->given + *p.approval) : UnixTime::min();
    demand(Need::approval, now_ < until, now_ < until ? until : UnixTime::max());
  }
  const bool in_session = standing.signed_in && now_ < standing.session_ends;
  if (p.mfa) {
    const bool met = in_session && standing.second_factor;
    demand(Need::second_factor, met, met ? standing.session_ends : UnixTime::max());
  }
  if (p.session) {
    const UnixTime ends = in_session ? std::min(standing.session_ends, *standing.signed_in + *p.session) : UnixTime::min();
    demand(Need::sign_in, now_ < ends, now_ < ends ? ends : UnixTime::max());
  }
  return out;
}

// The moments at which the clock on the wall shows the beginning or the end of the hours, in this week and a day: where clocks
// are changed, an hour to either side. The first at which the answer is another, and from there back to the very second.
const Judge::Week& Judge::week(const PolicySpec& p) {
  const auto [at, fresh] = weeks_.try_emplace(&p);
  Week& out = at->second;
  if (!fresh) return out;
  const auto open = [&](UnixTime t) {
    const auto offset = offset_(p.time_zone, t);
    return offset && open_at(p, local_at(t, *offset));
  };
  out.open = open(now_);
  const auto offset = offset_(p.time_zone, now_);
  if (!offset) return out;   // shut, as long as nobody knows what time it is there
  std::set<UnixTime> moments;
  const Local here = local_at(now_, *offset);
  const DayHours hours = p.hours.value_or(DayHours{0, kMinutes});
  for (int day = -1; day <= 8; ++day) {
    for (const int minute : {hours.from, hours.to}) {
      const UnixTime wall = here.day + std::chrono::days(day) + std::chrono::minutes(minute);
      const UnixTime near = wall - *offset;
      const UnixTime there = wall - offset_(p.time_zone, near).value_or(*offset);
      for (const UnixTime t : {there - kHour, there, there + kHour}) {
        if (t > now_) moments.insert(t);
      }
    }
  }
  UnixTime before = now_;
  for (const UnixTime t : moments) {
    if (open(t) == out.open) {
      before = t;
      continue;
    }
    UnixTime after = t;
    while (after - before > std::chrono::seconds(1)) {
      const UnixTime middle = before + (after - before) / 2;
      (open(middle) == out.open ? before : after) = middle;
    }
    out.changes = after;
    break;
  }
  return out;
}

bool second_factor(const std::vector<std::string>& methods, const std::string& context, const std::vector<std::string>& contexts) {
  if (!context.empty() && std::find(contexts.begin(), contexts.end(), context) != contexts.end()) return true;
  static const std::map<std::string_view, int> kKinds = {
      {"pwd", 0}, {"pin", 0}, {"kba", 0},                                                         // what one knows
      {"otp", 1}, {"hwk", 1}, {"swk", 1}, {"sc", 1}, {"sms", 1}, {"tel", 1}, {"pop", 1},          // what one has
      {"face", 2}, {"fpt", 2}, {"iris", 2}, {"retina", 2}, {"vbm", 2}};                           // what one is
  std::set<int> kinds;
  for (const std::string& method : methods) {
    if (method == "mfa") return true;
    if (const auto kind = kKinds.find(method); kind != kKinds.end()) kinds.insert(kind->second);
  }
  return kinds.size() > 1;
}

Result<Weekdays> parse_days(const std::vector<std::string>& texts) {
  Weekdays out = 0;
  for (const std::string& text : texts) {
    const auto dash = text.find('-');
    const auto first = day_of(std::string_view(text).substr(0, dash));
    const auto last = dash == std::string::npos ? first : day_of(std::string_view(text).substr(dash + 1));
    if (!first || !last) {
      return fail(Errc::invalid_argument, "\"" + printable(text, 32) + "\" is no day such as mon, and no range such as mon-fri");
    }
    for (int day = *first;; day = (day + 1) % 7) {
      out = static_cast<Weekdays>(out | 1u << day);
      if (day == *last) break;
    }
  }
  if (out == 0) return fail(Errc::invalid_argument, "names no day; mon-sun are all of them");
  return out;
}

std::vector<std::string> days_text(Weekdays days) {
  std::vector<std::string> out;
  if (days == kEveryDay) return out;
  for (int day = 0; day < 7; ++day) {
    if (!has(days, day)) continue;
    int last = day;
    while (last < 6 && has(days, last + 1)) ++last;
    std::string text(kDays[static_cast<std::size_t>(day)]);
    if (last > day) text += "-" + std::string(kDays[static_cast<std::size_t>(last)]);
    out.push_back(std::move(text));
    day = last;
  }
  return out;
}

Result<DayHours> parse_hours(std::string_view text) {
  const auto dash = text.find('-');
  const auto from = dash == std::string_view::npos ? std::nullopt : minute_of(text.substr(0, dash));
  const auto to = dash == std::string_view::npos ? std::nullopt : minute_of(text.substr(dash + 1));
  if (!from || !to || *from == *to || *from == kMinutes) {
    return fail(Errc::invalid_argument, "\"" + printable(text, 32) + "\" are no hours such as 08:00-18:00");
  }
  return DayHours{*from, *to};
}

std::string to_string(const DayHours& h) { return clock_text(h.from) + "-" + clock_text(h.to); }

bool is_zone_name(std::string_view text) {
  const auto usable = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '+' || c == '/';
  };
  return !text.empty() && text.size() <= 64 && text.front() != '/' && text.back() != '/' && text.find("//") == std::string_view::npos &&
         std::all_of(text.begin(), text.end(), usable);
}

}  // namespace tg
