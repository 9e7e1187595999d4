// Grants that are void, in the store.
#include "cmd/controller/store.h"

namespace tg::controller {
namespace {

// The revocation of a device that is gone outlives every grant that it could concern: an hour, and whatever grace an
// administrator may set. That of one that is there stays for good: its next grant counts on from it.
constexpr std::chrono::seconds kKeepRevocations = std::chrono::hours(24 * 7);
// More than a device can be revoked between a backup and its restoring.
constexpr std::int64_t kEra = std::int64_t{1} << 32;

}  // namespace

Result<> Store::revoke(const std::vector<std::string>& devices, UnixTime now) {
  for (const std::string& device : devices) {
    auto done = db_.run("INSERT INTO revocation SELECT ?1, generation + 1, ?2 FROM grant_floor WHERE true ON CONFLICT (device) DO "
                        "UPDATE SET generation = max(revocation.generation + 1, excluded.generation), since = excluded.since",
                        {device, now.time_since_epoch().count()});
    if (!done) return pass_on(done);
  }
  auto done = db_.run("DELETE FROM revocation WHERE since < ? AND device NOT IN (SELECT id FROM device)",
                      {(now - kKeepRevocations).time_since_epoch().count()});
  if (!done) return pass_on(done);
  return {};
}

Result<> Store::void_all_grants() {
  auto done = db_.run("UPDATE grant_floor SET generation = generation + ?", {kEra});
  if (done) done = db_.run("DELETE FROM session");
  if (done) done = db_.run("DELETE FROM web_session");
  if (done) done = db_.run("UPDATE request SET state = 2 WHERE state = 1");   // one may have been denied since
  if (!done) return pass_on(done);
  known_.reset();
  return {};
}

}  // namespace tg::controller
