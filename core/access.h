// What a policy demands before somebody reaches what his groups give him, and whether that is so now.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/desired_state.h"

namespace tg {

// UtcOffset tells how far the clocks of a time zone are ahead of UTC at a moment; nothing for a zone that nobody knows.
using UtcOffset = std::function<std::optional<std::chrono::seconds>(const std::string& zone, UnixTime)>;

// Need is what is missing, the easiest first.
enum class Need : std::uint8_t {
  nothing,
  sign_in,         // a sign-in, or a younger one
  second_factor,   // a sign-in with one
  approval,        // somebody who approves a request
  hours,           // another time of the week
  trust,           // an administrator who trusts the device
  over,            // nothing helps: its time has passed
};
std::string_view to_string(Need n) noexcept;   // "ready", "sign-in", "second-factor", "approval", "hours", "untrusted", "over"
std::optional<Need> need_from(std::string_view text);

// Standing is what is known of a device, and of who uses it.
struct Standing {
  std::optional<UnixTime> signed_in;                 // when whoever uses it proved who he is
  UnixTime session_ends = UnixTime::max();           // and how long that is believed
  bool second_factor = false;                        // he showed one then
  bool trusted = false;
};

// Approval is what became of a request. A policy looks at when it was given: one that was made stricter since means that, too.
struct Approval {
  UnixTime given{};
  UnixTime until{};
};

// Access is one answer. UnixTime::max(): never.
struct Access {
  Need need = Need::nothing;
  const PolicySpec* policy = nullptr;                // which wants that; null when nothing is missing
  UnixTime changes = UnixTime::max();                // when time alone ends what is there, or brings what is missing
  UnixTime again = UnixTime::max();                  // when to ask again, since time may have changed the answer
};

// Demands is what stands between somebody and a Resource. Policies live as long as whoever made it says.
struct Demands {
  const PolicySpec* own = nullptr;                   // the Resource's
  std::vector<const PolicySpec*> ways;               // of the groups that lead to it, when all of them have one
  bool any() const noexcept { return own != nullptr || !ways.empty(); }
};

// Judge says at one moment who reaches what. `approved`: a request for that Resource was. Pure.
class Judge {
 public:
  Judge(UnixTime now, UtcOffset offset) : now_(now), offset_(std::move(offset)) {}

  // The Resource's policy must be content, and that of one group at least.
  Access operator()(const Demands& demands, const Standing& standing, std::optional<Approval> approved);
  Access operator()(const PolicySpec& policy, const Standing& standing, std::optional<Approval> approved);
  UnixTime now() const noexcept { return now_; }

 private:
  // Week is whether a policy's days and hours are now, and when that changes.
  struct Week {
    bool open = true;
    UnixTime changes = UnixTime::max();
  };
  const Week& week(const PolicySpec& policy);

  UnixTime now_;
  UtcOffset offset_;
  std::map<const PolicySpec*, Week> weeks_;
};

// second_factor says whether a sign-in showed more than one kind of proof: RFC 8176's "mfa", two methods of different kinds, or a
// context (acr) that is one of `contexts`.
bool second_factor(const std::vector<std::string>& methods, const std::string& context, const std::vector<std::string>& contexts);

// Days are read from "mon", "sat" and ranges such as "mon-fri", hours from "08:00-18:00" (or "22:00-06:00", which begins on the
// day before), both in the policy's time zone. Errors: invalid_argument.
Result<Weekdays> parse_days(const std::vector<std::string>& texts);
std::vector<std::string> days_text(Weekdays days);   // as short as it can be; nothing for every day
Result<DayHours> parse_hours(std::string_view text);
std::string to_string(const DayHours& hours);

// is_zone_name says whether a text may name a time zone, as in "UTC" or "Europe/Berlin": it becomes the name of a file.
bool is_zone_name(std::string_view text);

}  // namespace tg
