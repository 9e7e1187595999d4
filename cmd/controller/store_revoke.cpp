// Grants that are void, in the store.
#include <algorithm>

#include "cmd/controller/store.h"

namespace tg::controller {
namespace {

// Revocations outlive every grant that they could concern: an hour, and whatever grace an administrator may set.
constexpr std::chrono::seconds kKeepRevocations = std::chrono::hours(24 * 7);
constexpr std::chrono::seconds kAhead(60);   // as Grant::verify forgives

std::int64_t number(UnixTime t) { return t.time_since_epoch().count(); }

// may_get_grants says whether a device is there and not blocked.
Result<bool> may_get_grants(Database& db, std::string_view id) {
  bool out = false;
  auto read = db.each("SELECT 1 FROM device WHERE id = ? AND blocked = 0", {id}, [&](const Row&) { out = true; });
  if (!read) return pass_on(read);
  return out;
}

}  // namespace

// Grants carry whole seconds. One issued in this very second must be void and the next one must not, so `before` is
// later than every grant issued so far, and the next one is issued no earlier than `before`. Grants further ahead than
// kAhead are from a clock that was wrong; verifiers refuse them for now. Who still reaches something must have a grant
// that they accept, so for him they do not count; for who reaches nothing any more they do.
Result<> Store::revoke(const std::vector<std::string>& devices, UnixTime now) {
  for (const std::string& device : devices) {
    const auto known = last_grant_.find(device);
    auto stays = may_get_grants(db_, device);
    if (!stays) return pass_on(stays);
    const bool counts = known != last_grant_.end() && (!*stays || known->second <= now + kAhead);
    const std::int64_t floor = std::max(number(now), counts ? number(known->second) : 0) + 1;
    // Of a grant issued before this process started nothing is known but that it could have been issued at `before`.
    const std::int64_t step = known == last_grant_.end() ? 1 : 0;
    auto done = db_.run("INSERT INTO revocation VALUES (?1, ?2) ON CONFLICT (device) DO UPDATE SET "
                        "before = CASE WHEN before > ?4 AND ?5 THEN ?2 ELSE max(?2, before + ?3) END",
                        {device, floor, step, number(now + kAhead), std::int64_t{*stays}});
    if (!done) return pass_on(done);
  }
  auto done = db_.run("DELETE FROM revocation WHERE before < ?", {number(now - kKeepRevocations)});
  if (!done) return pass_on(done);
  return {};
}

Result<> Store::settle_revocations(UnixTime now) {
  auto done = db_.run("UPDATE revocation SET before = ? WHERE before > ? AND device IN (SELECT id FROM device WHERE blocked = 0)",
                      {number(now) + 1, number(now + kAhead)});
  if (!done) return pass_on(done);
  std::erase_if(last_grant_, [&](const auto& one) { return one.second > now + kAhead; });
  return {};
}

void Store::grant_issued(const std::string& device, UnixTime issued) {
  UnixTime& last = last_grant_[device];
  last = std::max(last, issued);
}

}  // namespace tg::controller
