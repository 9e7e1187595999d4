// The keys of service accounts, and the devices that came in by them.
#include <fmt/format.h>

#include "cmd/controller/key_table.h"
#include "cmd/controller/store.h"
#include "core/encoding.h"
#include "core/json.h"
#include "core/text.h"

namespace tg::controller {
namespace {

constexpr KeyTable kKeyTable = {"service_key", "key", "a key", "keys", Store::kServiceKeysMax};


struct Key {
  std::string service;
  std::string name;
  std::int64_t expires = 0;
  std::string text() const { return json_text(Json{{"service", service}, {"name", name}, {"expires", expires}}); }
};

Result<Key> key_of(Database& db, const std::string& id) {
  std::optional<Key> out;
  auto read = db.each("SELECT u.email, k.name, k.expires FROM service_key k JOIN user u ON u.id = k.user WHERE k.short = ?", {id},
                      [&](const Row& row) { out = Key{row.text(0), row.text(1), row.number(2)}; });
  if (!read) return pass_on(read);
  if (out) return std::move(*out);
  return no_such_key(kKeyTable, id);
}

// room says whether a service may have one more key, of that name. Errors: not_found, and check_room's.
Result<> room(Database& db, const std::string& service, const std::string& name) {
  std::optional<std::int64_t> user;
  auto read = db.each("SELECT id FROM user WHERE email = ? AND service = 1", {service},
                      [&](const Row& row) { user = row.number(0); });
  if (!read) return read;
  if (user) return check_room(db, kKeyTable, *user, fmt::format("service \"{}\"", service), name);
  return fail(Errc::not_found,
              fmt::format("there is no service \"{}\"; see: tg controller service list", printable(service, 64)));
}

}  // namespace

Result<FreshToken> Store::new_key(const std::string& service, const std::string& name, const Stamp& by, std::chrono::seconds lifetime) {
  auto out = fresh_key(db_, kKeyTable, by.time + lifetime);
  if (!out) return out;
  const std::string id = short_id(out->id);
  auto done = change(by, Effect::grows, [&](Database& db, Notes& notes) -> Result<> {
    if (auto may = room(db, service, name); !may) return may;
    auto made = db.run("INSERT INTO service_key (id, short, user, name, secret_hash, created, expires) SELECT ?, ?, u.id, ?, ?, ?, ? "
                       "FROM user u WHERE u.email = ?",
                       {Bytes(out->id), id, name, Bytes(sha256(out->secret)), number(by.time), number(out->expires), service});
    if (!made) return pass_on(made);
    notes.push_back({"create", "key", id, "null", Key{service, name, number(out->expires)}.text()});
    return {};
  });
  if (!done) return pass_on(done);
  return out;
}

Result<> Store::rename_key(const std::string& id, const std::string& name, const Stamp& by) {
  return change(by, Effect::grows, [&](Database& db, Notes& notes) -> Result<> {
    auto key = key_of(db, id);
    if (!key) return pass_on(key);
    if (key->name == name) return {};
    if (auto may = room(db, key->service, name); !may && may.error().code != Errc::exhausted) return may;
    auto done = db.run("UPDATE service_key SET name = ? WHERE short = ?", {name, id});
    if (!done) return pass_on(done);
    notes.push_back({"rename", "key", id, json_text(Json{{"name", key->name}}), json_text(Json{{"name", name}})});
    return {};
  });
}

Result<> Store::remove_key(const std::string& id, const Stamp& by) {
  return change(by, Effect::may_shrink, [&](Database& db, Notes& notes) -> Result<> {
    auto key = key_of(db, id);
    if (!key) return pass_on(key);
    auto done = db.run("DELETE FROM service_key WHERE short = ?", {id});   // and its devices
    if (!done) return pass_on(done);
    notes.push_back({"remove", "key", id, key->text()});
    return {};
  });
}

Result<bool> Store::end_keys(UnixTime now) {
  std::vector<std::string> over;
  auto read = db_.each("SELECT DISTINCT k.short FROM service_key k JOIN device d ON d.service_key = k.id WHERE k.expires <= ? ORDER BY 1",
                       {number(now)}, [&](const Row& row) { over.push_back(row.text(0)); });
  if (!read) return pass_on(read);
  if (over.empty()) return false;
  auto done = change(now, Effect::may_shrink, [&](Database& db, Notes& notes) -> Result<> {
    for (const std::string& id : over) {
      auto key = key_of(db, id);
      if (!key) return pass_on(key);
      auto gone = db.run("DELETE FROM device WHERE service_key = (SELECT id FROM service_key WHERE short = ?)", {id});
      if (!gone) return pass_on(gone);
      notes.push_back({"end", "key", id, key->text()});
    }
    return {};
  });
  if (!done) return pass_on(done);
  return true;
}

Result<bool> Store::forget_idle(UnixTime since, UnixTime now) {
  std::vector<std::pair<std::string, std::string>> idle;
  auto read = db_.each("SELECT d.id, u.email FROM device d JOIN user u ON u.id = d.user WHERE d.service_key IS NOT NULL AND d.blocked = 0 AND "
                       "coalesce(d.last_seen, d.created) < ? ORDER BY d.id", {number(since)},
                       [&](const Row& row) { idle.emplace_back(row.text(0), row.text(1)); });
  if (!read) return pass_on(read);
  if (idle.empty()) return false;   // and no grant lives for so long: there is nothing to revoke
  auto done = change(now, Effect::grows, [&](Database& db, Notes& notes) -> Result<> {
    for (const auto& [device, service] : idle) {
      auto gone = db.run("DELETE FROM device WHERE id = ?", {device});
      if (!gone) return pass_on(gone);
      notes.push_back({"remove", "device", device, json_text(Json{{"service", service}})});
    }
    return {};
  });
  if (!done) return pass_on(done);
  return true;
}

}  // namespace tg::controller
