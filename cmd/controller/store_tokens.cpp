// Tokens, and the keys of those who came in with one.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include "cmd/controller/store.h"
#include "cmd/controller/vault.h"
#include "core/encoding.h"
#include "core/text.h"

namespace tg::controller {
namespace {

constexpr std::chrono::seconds kKeepTokens = std::chrono::hours(24 * 7);   // so that an old one is told what it is
constexpr std::size_t kMaxName = 64;

std::int64_t number(UnixTime t) { return t.time_since_epoch().count(); }
std::string utc(UnixTime t) {
  return fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(std::chrono::system_clock::to_time_t(t)));
}

// The subject of a token is the id of the user or connector, so that one made for somebody who was deleted is no good
// for a namesake.
Result<std::string> subject_id(Database& db, Token::Role role, std::string_view subject) {
  std::optional<std::string> id;
  const bool device = role == Token::Role::device;
  auto read = db.each(device ? "SELECT id FROM user WHERE email = ?" : "SELECT id FROM connector WHERE name = ?",
                      {subject},
                      [&](const Row& row) { id = row.text(0); });
  if (!read) return pass_on(read);
  if (id) return std::move(*id);
  return fail(Errc::not_found, fmt::format("there is no {0} \"{1}\"; see: tg controller {0} list", device ? "user"
                                           : "connector",
                                           printable(subject)));
}

struct Record {
  Buffer secret_hash;
  Token::Role role{};
  std::string subject;
  UnixTime expires{};
  bool spent = false;
};

Result<> check(const std::optional<Record>& record, const Enrolment& who, UnixTime now) {
  // A wrong secret is told the same as an unknown token: nothing about a token is said to somebody who does not hold
  // it.
  if (!record || !same_secret(record->secret_hash, sha256(who.secret))) {
    return fail(Errc::denied,
                "the token is not known here: it may be mistyped, or from another controller; ask for a new one");
  }
  if (record->role != who.role) {
    return fail(Errc::denied, fmt::format("the token is for a {}, not for a {}", to_string(record->role),
                                          to_string(who.role)));
  }
  if (record->spent) {
    return fail(Errc::denied, "the token has been used already: each lets in one machine, once; ask for a new one");
  }
  if (record->expires <= now) {
    return fail(Errc::expired, fmt::format("the token expired at {}; ask for a new one", utc(record->expires)));
  }
  return {};
}

Result<std::string> let_in_device(Database& db, const Record& record, const Enrolment& who, UnixTime now) {
  const std::string id = random_id();
  const std::string name = who.name.empty() ? "device-" + id.substr(0, 4) : printable(who.name, kMaxName);
  auto made = db.run("INSERT INTO device (id, user, name, key, created) SELECT ?, u.id, ?, ?, ? FROM user u "
                     "WHERE u.id = CAST(? AS INTEGER)",
                     {id, name, who.key, number(now), record.subject});
  if (!made) return pass_on(made);
  if (*made == 0) return fail(Errc::denied, "the user that the token was made for has been deleted; ask for a new one");
  return id;
}

Result<std::string> let_in_connector(Database& db, const Record& record, const Enrolment& who) {
  auto done = db.run("UPDATE connector SET key = ?, next_key = '' WHERE id = ?", {who.key, record.subject});
  if (!done) return pass_on(done);
  if (*done == 0) {
    return fail(Errc::denied, "the connector that the token was made for has been deleted; ask for a new one");
  }
  return record.subject;
}

const char* table_sql(std::string_view role, const char* device, const char* connector) {
  return role == "device" ? device : connector;
}

}  // namespace

Result<FreshToken> Store::new_token(Token::Role role, std::string_view subject, UnixTime now,
                                    std::chrono::seconds lifetime) {
  FreshToken out{random_bytes(16), random_bytes(32), now + lifetime};
  auto transaction = Transaction::begin(db_);
  if (!transaction) return pass_on(transaction);
  auto id = subject_id(db_, role, subject);
  if (!id) return pass_on(id);
  if (auto done = db_.run("DELETE FROM token WHERE expires < ?", {number(now - kKeepTokens)}); !done) {
    return pass_on(done);
  }
  auto done = db_.run("INSERT INTO token (id, secret_hash, role, subject, expires) VALUES (?, ?, ?, ?, ?)",
                      {Bytes(out.id), Bytes(sha256(out.secret)), static_cast<std::int64_t>(role), *id,
                       number(out.expires)});
  if (!done) return pass_on(done);
  if (auto committed = transaction->commit(); !committed) return pass_on(committed);
  return out;
}

Result<std::string> Store::enroll(const Enrolment& who, UnixTime now) {
  std::string id;
  auto done = change(now, Effect::grows, [&](Database& db) -> Result<> {
    std::optional<Record> record;
    auto read = db.each("SELECT secret_hash, role, subject, expires, spent FROM token WHERE id = ?",
                        {Bytes(who.token_id)},
                        [&](const Row& row) {
                          record = Record{row.blob(0), static_cast<Token::Role>(row.number(1)), row.text(2),
                                          UnixTime(std::chrono::seconds(row.number(3))), !row.null(4)};
                        });
    if (!read) return read;
    if (auto good = check(record, who, now); !good) return good;
    auto spent = db.run("UPDATE token SET spent = ? WHERE id = ? AND spent IS NULL",
                        {number(now), Bytes(who.token_id)});
    if (!spent) return pass_on(spent);
    TG_CHECK(*spent == 1);
    const bool device = who.role == Token::Role::device;
    auto in = device ? let_in_device(db, *record, who, now) : let_in_connector(db, *record, who);
    if (!in) return pass_on(in);
    id = std::move(*in);
    return {};
  });
  if (!done) return pass_on(done);
  return id;
}

Result<> Store::expect_key(std::string_view role, std::string_view id, std::string_view key) {
  auto done = db_.run(table_sql(role, "UPDATE device SET next_key = ?1 WHERE id = ?2 AND key <> ?1",
                                "UPDATE connector SET next_key = ?1 WHERE id = ?2 AND key <> ?1"), {key, id});
  if (!done) return pass_on(done);
  return {};
}

Result<> Store::key_used(std::string_view role, std::string_view id, std::string_view key) {
  auto done = db_.run(table_sql(role, "UPDATE device SET key = ?1, next_key = '' WHERE id = ?2 AND next_key = ?1",
                                "UPDATE connector SET key = ?1, next_key = '' WHERE id = ?2 AND next_key = ?1"),
                                    {key, id});
  if (!done) return pass_on(done);
  return {};
}

Result<> Store::seen(const std::map<std::string, UnixTime>& agents) {
  auto transaction = Transaction::begin(db_);
  if (!transaction) return pass_on(transaction);
  for (const auto& [agent, when] : agents) {
    const std::string_view role = std::string_view(agent).substr(0, agent.find('/'));
    const std::string_view id = std::string_view(agent).substr(std::min(agent.size(), role.size() + 1));
    auto done = db_.run(table_sql(role, "UPDATE device SET last_seen = ? WHERE id = ?",
                                  "UPDATE connector SET last_seen = ? WHERE id = ?"), {number(when), id});
    if (!done) return pass_on(done);
  }
  return transaction->commit();
}

}  // namespace tg::controller
