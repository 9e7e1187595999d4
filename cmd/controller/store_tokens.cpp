// Tokens, and the keys of those who came in with one.
#include <fmt/format.h>

#include "cmd/controller/names.h"
#include "cmd/controller/store.h"
#include "cmd/controller/vault.h"
#include "core/encoding.h"
#include "core/json.h"
#include "core/text.h"

namespace tg::controller {
namespace {

constexpr std::chrono::seconds kKeepTokens = std::chrono::hours(24 * 7);   // so that an old one is told what it is


// Each role's agents have a table of their own, with the role's name. (What comes in by a service's key is a device.)
const std::string& table_of(Token::Role role) {
  static const std::string kDevice = "device", kConnector = "connector", kRelay = "relay";
  return role == Token::Role::connector ? kConnector : role == Token::Role::relay ? kRelay : kDevice;
}

bool is_device(Token::Role role) { return role == Token::Role::device || role == Token::Role::service; }

bool is_table(std::string_view role) { return role == "device" || role == "connector" || role == "relay"; }

// The subject of a token is the id of the user, connector or relay, so that one made for somebody who was deleted is no good
// for a namesake.
Result<std::string> subject_id(Database& db, Token::Role role, std::string_view subject) {
  std::optional<std::string> id;
  const bool device = role == Token::Role::device;
  const std::string sql = device ? "SELECT id FROM user WHERE email = ? AND service = 0"
                                 : fmt::format("SELECT id FROM {} WHERE name = ?", table_of(role));
  auto read = db.each(sql.c_str(), {subject}, [&](const Row& row) { id = row.text(0); });
  if (!read) return pass_on(read);
  if (id) return std::move(*id);
  return fail(Errc::not_found, fmt::format("there is no {0} \"{1}\"; see: tg controller {0} list", device ? "user" : table_of(role),
                                           printable(subject)));
}

// token_name is how the audit log calls a token: enough of its id to find it again, and nothing of its secret.
std::string token_name(Bytes id) { return hex(id.first(std::min<std::size_t>(id.size(), 4))); }

// Machine is what the audit log says of one that has a place: its name there, and the rest as JSON.
struct Machine {
  std::string name;
  std::string text = "null";
};

Result<Machine> machine_of(Database& db, Token::Role role, const std::string& id) {
  const bool device = is_device(role);
  const char* sql = device
                        ? "SELECT d.name, u.email, d.key FROM device d JOIN user u ON u.id = d.user WHERE d.id = ?"
                    : role == Token::Role::connector
                        ? "SELECT c.name, n.name, c.key FROM connector c JOIN network n ON n.id = c.network WHERE c.id = ?"
                        : "SELECT name, address, key FROM relay WHERE id = ?";
  const char* of = device ? "user" : role == Token::Role::connector ? "network" : "address";
  Machine out;
  auto read = db.each(sql, {id}, [&](const Row& row) {
    out.name = device ? id : row.text(0);
    if (row.text(2).empty()) return;   // a place where no machine has been
    out.text = json_text(Json{{"id", id}, {"name", row.text(0)}, {of, row.text(1)}, {"key", row.text(2)}});
  });
  if (!read) return pass_on(read);
  return out;
}

// Record is a token, or the key of a service: that is never spent.
struct Record {
  Buffer secret_hash;
  Token::Role role{};
  std::string subject;
  UnixTime expires{};
  bool spent = false;
  bool trusted = false;
};

Result<> check(const std::optional<Record>& record, const Enrolment& who, UnixTime now) {
  // A wrong secret is told the same as an unknown token: nothing about a token is said to somebody who does not hold
  // it.
  const char* what = who.role == Token::Role::service ? "key" : "token";
  if (!record || !same_secret(record->secret_hash, sha256(who.secret))) {
    const char* why = who.role == Token::Role::service ? "revoked" : "mistyped";
    return fail(Errc::denied, fmt::format("the {} is not known here: it may be {}, or from another controller; ask for a new one", what, why));
  }
  if (record->role != who.role) {
    return fail(Errc::denied, fmt::format("the token is for a {}, not for a {}", to_string(record->role),
                                          to_string(who.role)));
  }
  if (record->spent) {
    return fail(Errc::denied, "the token has been used already: each lets in one machine, once; ask for a new one");
  }
  if (record->expires <= now) {
    return fail(Errc::expired, fmt::format("the {} expired at {}; ask for a new one", what, utc_text(record->expires)));
  }
  return {};
}

Result<std::string> let_in_device(Database& db, const Record& record, const Enrolment& who, UnixTime now) {
  const std::string id = random_id();
  const std::string name = device_name(who.name, id);
  const bool by_key = who.role == Token::Role::service;
  if (by_key) {
    std::int64_t there = 0;
    auto read = db.each("SELECT count(*) FROM device WHERE service_key = ?", {Bytes(who.token_id)}, [&](const Row& row) { there = row.number(0); });
    if (!read) return pass_on(read);
    if (there >= static_cast<std::int64_t>(Store::kKeyDevicesMax)) {
      return fail(Errc::exhausted, fmt::format("{} machines came in by this key, and no more may; ask an administrator for another key", there));
    }
  }
  const Value key = by_key ? Value(Bytes(who.token_id)) : Value(nullptr);
  auto made = db.run("INSERT INTO device (id, user, name, key, created, service_key, trusted) SELECT ?, u.id, ?, ?, ?, ?, ? FROM user u "
                     "WHERE u.id = CAST(? AS INTEGER) AND u.blocked = 0",
                     {id, name, who.key, number(now), key, std::int64_t{record.trusted}, record.subject});
  if (!made) return pass_on(made);
  if (*made > 0) return id;
  return fail(Errc::denied, by_key ? "the service account is blocked; ask an administrator"
                                   : "the user that the token was made for is blocked or has been deleted; ask an administrator");
}

// spend takes what a token is good for, and notes the use of a key.
Result<> spend(Database& db, const Enrolment& who, UnixTime now) {
  const char* sql = who.role == Token::Role::service ? "UPDATE service_key SET last_used = ? WHERE id = ?"
                                                     : "UPDATE token SET spent = ? WHERE id = ? AND spent IS NULL";
  auto spent = db.run(sql, {number(now), Bytes(who.token_id)});
  if (!spent) return pass_on(spent);
  TG_CHECK(*spent == 1);
  return {};
}

Result<std::optional<Record>> record_of(Database& db, const Enrolment& who) {
  const char* sql = who.role == Token::Role::service
                        ? "SELECT secret_hash, 4, user, expires, NULL, 0 FROM service_key WHERE id = ?"
                        : "SELECT secret_hash, role, subject, expires, spent, trusted FROM token WHERE id = ?";
  std::optional<Record> out;
  auto read = db.each(sql, {Bytes(who.token_id)}, [&](const Row& row) {
    out = Record{row.blob(0), static_cast<Token::Role>(row.number(1)), row.text(2), UnixTime(std::chrono::seconds(row.number(3))),
                 !row.null(4), row.number(5) != 0};
  });
  if (!read) return pass_on(read);
  return out;
}

// A machine that takes the place of another gets a new id, and the other tokens for that place with it: what was stolen
// of the former one, its leaf above all, is worth nothing from now on, also to those who cannot ask the controller.
Result<std::string> let_in_place(Database& db, const Record& record, const Enrolment& who) {
  const std::string& table = table_of(record.role);
  const std::string fresh = random_id();
  std::string id;
  auto read = db.each(fmt::format("SELECT key FROM {} WHERE id = ?", table).c_str(), {record.subject},
                      [&](const Row& row) { id = row.text(0).empty() ? record.subject : fresh; });
  if (!read) return pass_on(read);
  if (id.empty()) {
    return fail(Errc::denied, fmt::format("the {} that the token was made for has been deleted; ask for a new one", table));
  }
  auto done = db.run(fmt::format("UPDATE {} SET id = ?, key = ? WHERE id = ?", table).c_str(),
                     {id, who.key, record.subject});
  if (!done) return pass_on(done);
  auto moved = db.run("UPDATE token SET subject = ? WHERE role = ? AND subject = ?",
                      {id, static_cast<std::int64_t>(record.role), record.subject});
  if (!moved) return pass_on(moved);
  return id;
}

}  // namespace

Result<> Store::make_room(Database& db, std::string_view user, std::size_t most, Notes& notes) {
  std::int64_t there = 0;
  std::string email;
  auto read = db.each("SELECT count(*), u.email FROM device d JOIN user u ON u.id = d.user WHERE d.user = CAST(? AS INTEGER)", {user},
                      [&](const Row& row) {
                        there = row.number(0);
                        if (there > 0) email = row.text(1);
                      });
  if (!read || there < static_cast<std::int64_t>(most)) return read;
  std::optional<std::string> signed_out;
  read = db.each("SELECT d.id FROM device d WHERE d.user = CAST(? AS INTEGER) AND d.signs_in = 1 AND d.blocked = 0 AND NOT EXISTS "
                 "(SELECT 1 FROM session s WHERE s.device = d.id) ORDER BY coalesce(d.last_seen, d.created), d.id LIMIT 1", {user},
                 [&](const Row& row) { signed_out = row.text(0); });
  if (!read) return read;
  if (signed_out) {
    auto done = db.run("DELETE FROM device WHERE id = ?", {*signed_out});
    if (!done) return pass_on(done);
    notes.push_back({"remove", "device", *signed_out, json_text(Json{{"user", email}, {"state", "signed out"}})});
    return {};
  }
  return fail(Errc::exhausted, fmt::format("{} has {} devices, and no more may be; an administrator removes one with: tg controller device "
                                           "delete, after: tg controller device list", printable(email), there));
}

Result<FreshToken> Store::new_token(Token::Role role, std::string_view subject, const Stamp& by,
                                    std::chrono::seconds lifetime, bool trusted) {
  FreshToken out{random_bytes(16), random_bytes(32), by.time + lifetime};
  auto transaction = Transaction::begin(db_);
  if (!transaction) return pass_on(transaction);
  auto id = subject_id(db_, role, subject);
  if (!id) return pass_on(id);
  if (auto done = db_.run("DELETE FROM token WHERE expires < ?", {number(by.time - kKeepTokens)}); !done) {
    return pass_on(done);
  }
  auto done = db_.run("INSERT INTO token (id, secret_hash, role, subject, expires, trusted) VALUES (?, ?, ?, ?, ?, ?)",
                      {Bytes(out.id), Bytes(sha256(out.secret)), static_cast<std::int64_t>(role), *id,
                       number(out.expires), std::int64_t{trusted}});
  if (!done) return pass_on(done);
  Json made = {{"token", token_name(out.id)}, {"expires", number(out.expires)}};
  if (trusted) made["trusted"] = true;
  auto head = write_audit(by, {{"token", std::string(to_string(role)), std::string(subject), "null", json_text(made)}});
  if (!head) return pass_on(head);
  if (auto committed = transaction->commit(); !committed) return pass_on(committed);
  audit_head_ = std::move(*head);
  return out;
}

Result<std::string> Store::enroll(const Enrolment& who, UnixTime now, const std::string& from) {
  if (who.role == Token::Role::api) return fail(Errc::denied, "this is an API token, which lets no machine in");
  std::string id;
  const Stamp by(now, (who.role == Token::Role::service ? "key " : "token ") + token_name(who.token_id), from);
  auto done = change(by, Effect::grows, [&](Database& db, Notes& notes) -> Result<> {
    auto record = record_of(db, who);
    if (!record) return pass_on(record);
    if (auto good = check(*record, who, now); !good) return good;
    if (auto spent = spend(db, who, now); !spent) return spent;
    const bool device = is_device(who.role);
    if (who.role == Token::Role::device) {
      if (auto room = make_room(db, (*record)->subject, devices_most_, notes); !room) return room;
    }
    auto before = device ? Result<Machine>() : machine_of(db, who.role, (*record)->subject);
    if (!before) return pass_on(before);
    auto in = device ? let_in_device(db, **record, who, now) : let_in_place(db, **record, who);
    if (!in) return pass_on(in);
    id = std::move(*in);
    auto after = machine_of(db, who.role, id);
    if (!after) return pass_on(after);
    notes.push_back({"enroll", table_of(who.role), after->name, std::move(before->text), std::move(after->text)});
    return {};
  });
  if (!done) return pass_on(done);
  return id;
}

Result<> Store::seen(const std::map<std::string, UnixTime>& agents) {
  auto transaction = Transaction::begin(db_);
  if (!transaction) return pass_on(transaction);
  for (const auto& [agent, when] : agents) {
    const std::string_view role = std::string_view(agent).substr(0, agent.find('/'));
    TG_CHECK(is_table(role) && role.size() < agent.size());
    const std::string sql = fmt::format("UPDATE {} SET last_seen = ? WHERE id = ?", role);
    auto done = db_.run(sql.c_str(), {number(when), std::string_view(agent).substr(role.size() + 1)});
    if (!done) return pass_on(done);
  }
  return transaction->commit();
}

}  // namespace tg::controller
