#include "cmd/controller/schema.h"

#include <fmt/format.h>

namespace tg::controller {
namespace {

// The number of steps in kSteps that a database has been through is its PRAGMA user_version. Never change a step that
// was released: add one.
constexpr const char* kSteps[] = {R"(
  CREATE TABLE value (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE revision (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL) STRICT;
  INSERT INTO revision VALUES (1, 1);
  CREATE TABLE network (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE connector (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, network INTEGER NOT NULL REFERENCES network (id),
    key TEXT NOT NULL DEFAULT '', next_key TEXT NOT NULL DEFAULT '', created INTEGER NOT NULL,
    last_seen INTEGER) STRICT;
  CREATE TABLE user (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE "group" (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE membership (
    user INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    "group" INTEGER NOT NULL REFERENCES "group" (id) ON DELETE CASCADE,
    PRIMARY KEY (user, "group")) STRICT, WITHOUT ROWID;
  CREATE INDEX membership_group ON membership ("group");
  CREATE TABLE resource (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, network INTEGER NOT NULL REFERENCES network (id),
    address TEXT NOT NULL, alias TEXT NOT NULL, tcp TEXT NOT NULL, udp TEXT NOT NULL, icmp INTEGER NOT NULL) STRICT;
  CREATE TABLE resource_group (
    resource INTEGER NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    "group" INTEGER NOT NULL REFERENCES "group" (id) ON DELETE CASCADE,
    PRIMARY KEY (resource, "group")) STRICT, WITHOUT ROWID;
  CREATE INDEX resource_group_group ON resource_group ("group");
  CREATE TABLE device (
    id TEXT PRIMARY KEY, user INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE, name TEXT NOT NULL,
    key TEXT NOT NULL, next_key TEXT NOT NULL DEFAULT '', blocked INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL,
    last_seen INTEGER) STRICT;
  CREATE INDEX device_user ON device (user);
  CREATE TABLE token (
    id BLOB PRIMARY KEY, secret_hash BLOB NOT NULL, role INTEGER NOT NULL, subject TEXT NOT NULL,
    expires INTEGER NOT NULL, spent INTEGER) STRICT, WITHOUT ROWID;
  CREATE TABLE revocation (device TEXT PRIMARY KEY, before INTEGER NOT NULL) STRICT, WITHOUT ROWID;
)",
                                  R"(
  CREATE TABLE relay (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, address TEXT NOT NULL,
    key TEXT NOT NULL DEFAULT '', next_key TEXT NOT NULL DEFAULT '', created INTEGER NOT NULL,
    last_seen INTEGER) STRICT;
)",
                                  R"(
  ALTER TABLE connector DROP COLUMN next_key;
  ALTER TABLE relay DROP COLUMN next_key;
  ALTER TABLE device DROP COLUMN next_key;
  CREATE TABLE audit (number INTEGER PRIMARY KEY, text TEXT NOT NULL, hash BLOB NOT NULL) STRICT;
  CREATE TABLE audit_head (
    one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, hash BLOB NOT NULL, signature BLOB NOT NULL) STRICT;
)",
                                  R"(
  CREATE TABLE grant_floor (one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL) STRICT;
  INSERT INTO grant_floor VALUES (1, 0);
  ALTER TABLE revocation RENAME TO revocation_by_time;
  CREATE TABLE revocation (device TEXT PRIMARY KEY, generation INTEGER NOT NULL, since INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO revocation SELECT device, 1, before FROM revocation_by_time;
  DROP TABLE revocation_by_time;
)",
                                  R"(
  CREATE TABLE "identity-provider" (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, issuer TEXT NOT NULL, client_id TEXT NOT NULL,
    scopes TEXT NOT NULL, email_claim TEXT NOT NULL, trust_email INTEGER NOT NULL, groups_claim TEXT NOT NULL,
    domains TEXT NOT NULL, session INTEGER NOT NULL, secret BLOB) STRICT;
  ALTER TABLE user ADD COLUMN by_sign_in INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE user ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE device ADD COLUMN signs_in INTEGER NOT NULL DEFAULT 0;
  CREATE TABLE account (
    provider INTEGER NOT NULL REFERENCES "identity-provider" (id) ON DELETE CASCADE, subject TEXT NOT NULL,
    user INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE, PRIMARY KEY (provider, subject),
    UNIQUE (user, provider)) STRICT, WITHOUT ROWID;
  CREATE TABLE told (
    user INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    provider INTEGER NOT NULL REFERENCES "identity-provider" (id) ON DELETE CASCADE, value TEXT NOT NULL,
    PRIMARY KEY (user, provider, value)) STRICT, WITHOUT ROWID;
  CREATE TABLE group_claim (
    "group" INTEGER NOT NULL REFERENCES "group" (id) ON DELETE CASCADE,
    provider INTEGER NOT NULL REFERENCES "identity-provider" (id) ON DELETE CASCADE, value TEXT NOT NULL,
    PRIMARY KEY (provider, value, "group")) STRICT, WITHOUT ROWID;
  CREATE INDEX group_claim_group ON group_claim ("group");
  CREATE VIEW member AS
    SELECT user, "group" FROM membership
    UNION SELECT t.user, c."group" FROM told_now t JOIN group_claim c ON c.provider = t.provider AND c.value = t.value;
  CREATE VIEW told_now AS SELECT * FROM told WHERE EXISTS (
    SELECT 1 FROM device d JOIN session s ON s.device = d.id WHERE d.user = told.user AND s.provider = told.provider);
  CREATE TABLE session (
    device TEXT PRIMARY KEY REFERENCES device (id) ON DELETE CASCADE,
    provider INTEGER REFERENCES "identity-provider" (id) ON DELETE CASCADE,
    methods TEXT NOT NULL, context TEXT NOT NULL, authenticated INTEGER, started INTEGER NOT NULL,
    expires INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX session_expires ON session (expires);
  CREATE TABLE password (
    user INTEGER PRIMARY KEY REFERENCES user (id) ON DELETE CASCADE, salt BLOB NOT NULL, n INTEGER NOT NULL, r INTEGER NOT NULL,
    p INTEGER NOT NULL, verifier BLOB NOT NULL) STRICT;
  CREATE TABLE totp (
    user INTEGER PRIMARY KEY REFERENCES user (id) ON DELETE CASCADE, secret BLOB NOT NULL, last INTEGER NOT NULL) STRICT;
)",
                                  R"(
  ALTER TABLE user ADD COLUMN service INTEGER NOT NULL DEFAULT 0;
  CREATE TABLE service_key (
    id BLOB PRIMARY KEY, short TEXT NOT NULL UNIQUE, user INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    name TEXT NOT NULL, secret_hash BLOB NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL, last_used INTEGER) STRICT;
  CREATE INDEX service_key_user ON service_key (user);
  ALTER TABLE device ADD COLUMN service_key BLOB REFERENCES service_key (id) ON DELETE CASCADE;
  CREATE INDEX device_service_key ON device (service_key);
  CREATE INDEX token_expires ON token (expires);
)",
                                  R"(
  CREATE TABLE policy (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, session INTEGER, mfa INTEGER NOT NULL,
    trusted_device INTEGER NOT NULL, days INTEGER NOT NULL, hours_from INTEGER, hours_to INTEGER, time_zone TEXT NOT NULL,
    until INTEGER, approval INTEGER) STRICT;
  ALTER TABLE "group" ADD COLUMN policy INTEGER REFERENCES policy (id);
  ALTER TABLE resource ADD COLUMN policy INTEGER REFERENCES policy (id);
  CREATE INDEX group_policy ON "group" (policy);
  CREATE INDEX resource_policy ON resource (policy);
  ALTER TABLE "identity-provider" ADD COLUMN mfa_contexts TEXT NOT NULL DEFAULT '';
  ALTER TABLE device ADD COLUMN trusted INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE token ADD COLUMN trusted INTEGER NOT NULL DEFAULT 0;
  CREATE TABLE request (
    id TEXT PRIMARY KEY, user INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE, device TEXT NOT NULL,
    resource INTEGER NOT NULL REFERENCES resource (id) ON DELETE CASCADE, reason TEXT NOT NULL, asked INTEGER NOT NULL,
    wanted INTEGER NOT NULL, state INTEGER NOT NULL DEFAULT 0, decided_by TEXT NOT NULL DEFAULT '', decided INTEGER,
    until INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
  CREATE INDEX request_user ON request (user);
  CREATE INDEX request_resource ON request (resource);
)",
                                  R"(
  ALTER TABLE user ADD COLUMN role INTEGER NOT NULL DEFAULT 0;
  CREATE TABLE api_token (
    id BLOB PRIMARY KEY, short TEXT NOT NULL UNIQUE, user INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    name TEXT NOT NULL, scopes TEXT NOT NULL, secret_hash BLOB NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,
    last_used INTEGER) STRICT;
  CREATE INDEX api_token_user ON api_token (user);
  CREATE TABLE once (key BLOB PRIMARY KEY, asked BLOB NOT NULL, at INTEGER NOT NULL, answer BLOB) STRICT, WITHOUT ROWID;
  CREATE INDEX once_at ON once (at);
  CREATE TABLE web_session (
    id BLOB PRIMARY KEY, user INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    provider INTEGER REFERENCES "identity-provider" (id) ON DELETE CASCADE, methods TEXT NOT NULL, started INTEGER NOT NULL,
    expires INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX web_session_expires ON web_session (expires);
  CREATE INDEX web_session_user ON web_session (user);
)"};
constexpr std::int64_t kSchemaSteps = std::size(kSteps);

}  // namespace

Result<> ensure_schema(Database& db) {
  auto transaction = Transaction::begin(db);
  if (!transaction) return pass_on(transaction);
  std::int64_t version = 0;
  if (auto asked = db.each("PRAGMA user_version", {}, [&](const Row& row) { version = row.number(0); }); !asked) {
    return asked;
  }
  if (version > kSchemaSteps) {
    return fail(Errc::unsupported,
                fmt::format("the state was written by a newer tg (its version is {}, this tg knows {}); "
                                               "install that one, or a newer one", version, kSchemaSteps));
  }
  if (version == kSchemaSteps) return {};
  for (std::int64_t i = version; i < kSchemaSteps; ++i) {
    if (auto done = db.script(kSteps[i]); !done) return done;
  }
  if (auto done = db.script(fmt::format("PRAGMA user_version = {}", kSchemaSteps).c_str()); !done) return done;
  return transaction->commit();
}

}  // namespace tg::controller
