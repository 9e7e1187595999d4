// What users without an identity provider prove themselves with.
#include <fmt/format.h>

#include "cmd/controller/store.h"
#include "core/text.h"

namespace tg::controller {
namespace {

// user_id errors: not_found.
Result<std::int64_t> user_id(Database& db, const std::string& email) {
  std::optional<std::int64_t> id;
  auto read = db.each("SELECT id FROM user WHERE email = ? AND service = 0", {email}, [&](const Row& row) { id = row.number(0); });
  if (!read) return pass_on(read);
  if (!id) return fail(Errc::not_found, fmt::format("there is no user \"{}\"; see: tg controller user list", printable(email)));
  return *id;
}

// Whoever has the old password has no session by it any more.
Result<> end_password_sessions(Database& db, std::int64_t user) {
  auto done = db.run("DELETE FROM session WHERE provider IS NULL AND device IN (SELECT id FROM device WHERE user = ?)", {user});
  if (done) done = db.run("DELETE FROM web_session WHERE provider IS NULL AND user = ?", {user});
  if (!done) return pass_on(done);
  return {};
}

}  // namespace

Result<> Store::set_password(const std::string& email, const std::optional<PasswordRecord>& record, const Stamp& by) {
  return change(by, Effect::may_shrink, [&](Database& db, Notes& notes) -> Result<> {
    auto user = user_id(db, email);
    if (!user) return pass_on(user);
    auto done = db.run("DELETE FROM password WHERE user = ?", {*user});
    if (done && record) {
      const auto number = [](std::uint64_t n) { return static_cast<std::int64_t>(n); };
      done = db.run("INSERT INTO password (user, salt, n, r, p, verifier) VALUES (?, ?, ?, ?, ?, ?)",
                    {*user, Bytes(record->salt), number(record->cost.n), number(record->cost.r), number(record->cost.p),
                     Bytes(record->verifier)});
    }
    if (!done) return pass_on(done);
    notes.push_back({"password", "user", email, "null", record ? "\"hidden\"" : "null"});
    return end_password_sessions(db, *user);
  });
}

Result<> Store::set_totp(const std::string& email, const std::optional<TotpRecord>& record, const Stamp& by) {
  return change(by, Effect::may_shrink, [&](Database& db, Notes& notes) -> Result<> {
    auto user = user_id(db, email);
    if (!user) return pass_on(user);
    auto done = db.run("DELETE FROM totp WHERE user = ?", {*user});
    if (done && record) {
      done = db.run("INSERT INTO totp (user, secret, last) VALUES (?, ?, ?)",
                    {*user, Bytes(record->secret), static_cast<std::int64_t>(record->last)});
    }
    if (!done) return pass_on(done);
    notes.push_back({"totp", "user", email, "null", record ? "\"hidden\"" : "null"});
    return end_password_sessions(db, *user);
  });
}

Result<std::optional<PasswordRecord>> Store::password(const std::string& email) {
  std::optional<PasswordRecord> out;
  auto read = db_.each("SELECT w.salt, w.n, w.r, w.p, w.verifier, t.user IS NOT NULL FROM user u JOIN password w ON w.user = u.id "
                       "LEFT JOIN totp t ON t.user = u.id WHERE u.email = ?",
                       {email}, [&](const Row& row) {
                         const auto number = [&](int column) { return static_cast<std::uint64_t>(row.number(column)); };
                         out = {row.blob(0), {number(1), number(2), number(3)}, row.blob(4), row.number(5) != 0};
                       });
  if (!read) return pass_on(read);
  return out;
}

Result<std::optional<TotpRecord>> Store::totp(const std::string& email) {
  std::optional<TotpRecord> out;
  auto read = db_.each("SELECT t.secret, t.last FROM user u JOIN totp t ON t.user = u.id WHERE u.email = ?", {email},
                       [&](const Row& row) { out = {row.blob(0), static_cast<std::uint64_t>(row.number(1))}; });
  if (!read) return pass_on(read);
  return out;
}

Result<bool> Store::use_totp(const std::string& email, std::uint64_t step) {
  auto done = db_.run("UPDATE totp SET last = ?1 WHERE last < ?1 AND user = (SELECT id FROM user WHERE email = ?2)",
                      {static_cast<std::int64_t>(step), email});
  if (!done) return pass_on(done);
  return *done == 1;
}

}  // namespace tg::controller
