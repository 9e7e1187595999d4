// API tokens: with which programs speak to the controller in somebody's name.
#include <fmt/format.h>

#include "cmd/controller/key_table.h"
#include "cmd/controller/store.h"
#include "cmd/controller/words.h"
#include "core/encoding.h"
#include "core/json.h"
#include "core/text.h"

namespace tg::controller {
namespace {

constexpr KeyTable kApiTokenTable = {"api_token", "api-token", "an API token", "API tokens", Store::kApiTokensMax};
constexpr std::chrono::seconds kUseNoted = std::chrono::minutes(1);   // each token writes no more often


struct Owner {
  std::int64_t id = 0;
  bool service = false;
};

// owner_of errors: not_found.
Result<Owner> owner_of(Database& db, const std::string& user) {
  std::optional<Owner> out;
  auto read = db.each("SELECT id, service FROM user WHERE email = ?", {user},
                      [&](const Row& row) { out = Owner{row.number(0), row.number(1) != 0}; });
  if (!read) return pass_on(read);
  if (out) return *out;
  return fail(Errc::not_found, fmt::format("there is no {0} \"{1}\"; see: tg controller {0} list",
                                           is_person(user) ? "user" : "service", printable(user, 64)));
}

// noted is what the audit log says of one.
std::string noted(const std::string& user, const std::string& name, const Scopes& scopes, std::int64_t expires) {
  return json_text(Json{{"user", user}, {"name", name}, {"scopes", scopes.words()}, {"expires", expires}});
}

}  // namespace

Role stored_role(std::int64_t number) {
  return number < 0 || number > static_cast<std::int64_t>(Role::owner) ? Role::member : static_cast<Role>(number);
}

Scopes stored_scopes(std::string_view text) { return Scopes::parse(split(text)).value_or(Scopes()); }

Result<FreshToken> Store::new_api_token(const std::string& user, const std::string& name, const Scopes& scopes, const Stamp& by,
                                        std::chrono::seconds lifetime) {
  auto out = fresh_key(db_, kApiTokenTable, by.time + lifetime);
  if (!out) return out;
  const std::string id = short_id(out->id);
  auto done = change(by, Effect::grows, [&](Database& db, Notes& notes) -> Result<> {
    auto owner = owner_of(db, user);
    if (!owner) return pass_on(owner);
    const std::string whose = fmt::format("{} \"{}\"", owner->service ? "service" : "user", user);
    if (auto may = check_room(db, kApiTokenTable, owner->id, whose, name); !may) return may;
    const std::string words = joined(scopes.words());
    auto made = db.run("INSERT INTO api_token (id, short, user, name, scopes, secret_hash, created, expires) "
                       "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                       {Bytes(out->id), id, owner->id, name, words, Bytes(sha256(out->secret)), number(by.time),
                        number(out->expires)});
    if (!made) return pass_on(made);
    notes.push_back({"create", kApiTokenTable.kind, id, "null", noted(user, name, scopes, number(out->expires))});
    return {};
  });
  if (!done) return pass_on(done);
  return out;
}

Result<> Store::remove_api_token(const std::string& id, const Stamp& by) {
  return change(by, Effect::grows, [&](Database& db, Notes& notes) -> Result<> {
    std::optional<std::string> before;
    auto read = db.each("SELECT u.email, t.name, t.scopes, t.expires FROM api_token t JOIN user u ON u.id = t.user "
                        "WHERE t.short = ?", {id}, [&](const Row& row) {
                          before = noted(row.text(0), row.text(1), stored_scopes(row.text(2)), row.number(3));
                        });
    if (!read) return read;
    if (!before) return no_such_key(kApiTokenTable, id);
    auto done = db.run("DELETE FROM api_token WHERE short = ?", {id});
    if (!done) return pass_on(done);
    notes.push_back({"remove", kApiTokenTable.kind, id, std::move(*before)});
    return {};
  });
}

Result<std::optional<ApiCaller>> Store::api_caller(Bytes id, Bytes secret, UnixTime now) {
  std::optional<ApiCaller> out;
  bool note = false;
  auto read = db_.each("SELECT t.short, u.email, u.role, t.scopes, t.secret_hash, t.expires, t.last_used FROM api_token t "
                       "JOIN user u ON u.id = t.user WHERE t.id = ? AND u.blocked = 0", {id}, [&](const Row& row) {
                         if (!same_secret(row.blob(4), sha256(secret)) || row.number(5) <= number(now)) return;
                         out = ApiCaller{row.text(0), row.text(1), stored_role(row.number(2)), stored_scopes(row.text(3)),
                                         UnixTime(std::chrono::seconds(row.number(5)))};
                         // Also when the clock was set back.
                         note = row.null(6) || std::abs(number(now) - row.number(6)) >= kUseNoted.count();
                       });
  if (!read) return pass_on(read);
  // Who may come in does so also where nothing can be written: it is a note for people.
  if (note) static_cast<void>(db_.run("UPDATE api_token SET last_used = ? WHERE id = ?", {number(now), id}));
  return out;
}

Result<> Store::note_once(const Stamp& by) {
  if (!by.once) return {};
  auto done = db_.run("INSERT OR IGNORE INTO once (key, asked, at) VALUES (?, ?, ?)",
                      {Bytes(by.once->key), Bytes(by.once->asked), number(by.time)});
  if (!done) return pass_on(done);
  return {};
}

Result<std::optional<DoneOnce>> Store::done_once(Bytes key) {
  std::optional<DoneOnce> out;
  auto read = db_.each("SELECT asked, answer FROM once WHERE key = ?", {key}, [&](const Row& row) {
    out = DoneOnce{row.blob(0), {}};
    if (!row.null(1)) out->answer = row.blob(1);
  });
  if (!read) return pass_on(read);
  return out;
}

Result<> Store::keep_answer(Bytes key, Bytes sealed_answer) {
  auto done = db_.run("UPDATE once SET answer = ? WHERE key = ?", {sealed_answer, key});
  if (!done) return pass_on(done);
  return {};
}

Result<> Store::forget_once(UnixTime before) {
  auto done = db_.run("DELETE FROM once WHERE at < ?", {number(before)});
  if (!done) return pass_on(done);
  return {};
}

}  // namespace tg::controller
