#include "net/time_zone.h"

#include <cstdlib>
#include <ctime>
#include <map>
#include <utility>

#include "core/access.h"
#include "net/files.h"

namespace tg::net {
namespace {

constexpr std::size_t kKnownMost = 4096;
constexpr const char* kZones = "/usr/share/zoneinfo/";

// The C library takes a zone that it cannot read for UTC, and says nothing.
bool is_known(const std::string& zone) {
  if (!is_zone_name(zone)) return false;
  const auto file = read_file(kZones + zone);
  return file && file->starts_with("TZif");
}

// Zone makes the process live in a zone for a moment.
class Zone {
 public:
  explicit Zone(const std::string& name) {
    if (const char* before = std::getenv("TZ")) before_ = before;
    ::setenv("TZ", (":" + name).c_str(), 1);
    ::tzset();
  }
  ~Zone() {
    if (before_) ::setenv("TZ", before_->c_str(), 1);
    else ::unsetenv("TZ");
    ::tzset();
  }
  Zone(const Zone&) = delete;
  Zone& operator=(const Zone&) = delete;

 private:
  std::optional<std::string> before_;
};

std::optional<std::chrono::seconds> ask(const std::string& zone, UnixTime t) {
  if (!is_known(zone)) return std::nullopt;
  const Zone there(zone);
  const std::time_t when = t.time_since_epoch().count();
  std::tm wall{};
  if (::localtime_r(&when, &wall) == nullptr) return std::nullopt;
  return std::chrono::seconds(wall.tm_gmtoff);
}

}  // namespace

// Asking reads a file. Clocks are changed on a quarter of an hour, so that one answer is good for as long.
std::optional<std::chrono::seconds> utc_offset(const std::string& zone, UnixTime t) {
  if (zone == "UTC") return std::chrono::seconds(0);
  static std::map<std::pair<std::string, std::int64_t>, std::chrono::seconds> known;
  const std::int64_t quarter = std::chrono::floor<std::chrono::minutes>(t).time_since_epoch().count() / 15;
  const auto found = known.find({zone, quarter});
  if (found != known.end()) return found->second;
  const auto offset = ask(zone, t);
  if (!offset) return offset;
  if (known.size() >= kKnownMost) known.clear();
  known.emplace(std::pair(zone, quarter), *offset);
  return offset;
}

}  // namespace tg::net
