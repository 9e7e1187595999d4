// Sessions: people whom an identity provider has vouched for, on their devices.
#include <fmt/format.h>

#include "cmd/controller/limits.h"
#include "cmd/controller/names.h"
#include "cmd/controller/store.h"
#include "cmd/controller/vault.h"
#include "cmd/controller/web_session.h"
#include "cmd/controller/words.h"
#include "core/json.h"
#include "core/text.h"

namespace tg::controller {
namespace {



struct Provider {
  std::optional<std::int64_t> id;     // none: a password
  std::vector<std::string> domains;
  std::chrono::seconds session{};
};

// provider_of finds the provider that was asked, as it was then: a person may take half an hour, and an administrator may change
// meanwhile whom the controller believes.
Result<Provider> provider_of(Database& db, const SignIn& who) {
  const OidcProvider& asked = who.provider;
  if (asked.name.empty()) return Provider{std::nullopt, {}, who.lifetime};
  std::optional<Provider> out;
  bool same = false;
  auto read = db.each("SELECT id, domains, session, issuer, client_id, email_claim, trust_email, groups_claim FROM "
                      "\"identity-provider\" WHERE name = ?", {asked.name}, [&](const Row& row) {
                        out = Provider{row.number(0), split(row.text(1)), std::chrono::seconds(row.number(2))};
                        same = row.text(3) == asked.issuer && row.text(4) == asked.client_id &&
                               row.text(5) == asked.email_claim && (row.number(6) != 0) == asked.trust_email &&
                               row.text(7) == asked.groups_claim;
                      });
  if (!read) return pass_on(read);
  if (!out) return fail(Errc::denied, fmt::format("the identity provider {} has been removed here", printable(asked.name)));
  if (!same) {
    return fail(Errc::denied, fmt::format("the identity provider {} was changed here meanwhile; sign in again",
                                          printable(asked.name)));
  }
  return std::move(*out);
}

Result<std::optional<std::int64_t>> one_number(Database& db, const char* sql, std::initializer_list<Value> values) {
  std::optional<std::int64_t> out;
  auto read = db.each(sql, values, [&](const Row& row) { out = row.number(0); });
  if (!read) return pass_on(read);
  return out;
}

bool in_domains(const std::string& email, const std::vector<std::string>& domains) {
  const std::string domain = email.substr(email.find('@') + 1);
  return std::find(domains.begin(), domains.end(), domain) != domains.end();
}

struct User {
  std::int64_t id = 0;
  std::string email;
  bool blocked = false;
};

Result<std::optional<User>> one_user(Database& db, const char* where, std::initializer_list<Value> values) {
  std::optional<User> out;
  auto read = db.each((std::string("SELECT u.id, u.email, u.blocked FROM user u ") + where).c_str(), values,
                      [&](const Row& row) { out = User{row.number(0), row.text(1), row.number(2) != 0}; });
  if (!read) return pass_on(read);
  return out;
}

// bind makes an account of a provider that of a user: from then on its subject says who somebody is.
Result<> bind(Database& db, std::int64_t provider, const SignIn& who, const User& user) {
  auto other = one_number(db, "SELECT 1 FROM account WHERE provider = ? AND user = ?", {provider, user.id});
  if (!other) return pass_on(other);
  if (*other) {
    return fail(Errc::denied, fmt::format("{0} signed in with another account of {1} before; if this one is in its place, an "
                                          "administrator says so with: tg controller user update {0} --forget-accounts",
                                          printable(user.email), printable(who.provider.name)));
  }
  auto done = db.run("INSERT INTO account (provider, subject, user) VALUES (?, ?, ?)", {provider, who.person.subject, user.id});
  if (!done) return pass_on(done);
  return {};
}

// user_of returns the user whom the account of a provider stands for. The subject decides, once it is known here: an e-mail
// address may be given to somebody else. The first sign-in goes by the address, and binds the two; it makes a user of
// somebody who is of one of the provider's domains. A provider that has some vouches for nobody else.
Result<User> user_of(Database& db, const Provider& provider, const SignIn& who, const std::string& email, bool& made) {
  auto user = provider.id ? one_user(db, "JOIN account a ON a.user = u.id WHERE a.provider = ? AND a.subject = ?",
                                     {*provider.id, who.person.subject})
                          : one_user(db, "WHERE u.email = ? AND u.service = 0", {email});
  if (!user) return pass_on(user);
  const bool bound = user->has_value();
  if (!bound && provider.id) user = one_user(db, "WHERE u.email = ? AND u.service = 0", {email});
  if (!user) return pass_on(user);
  const std::string& address = *user ? (*user)->email : email;
  const bool vouched = !provider.domains.empty() && in_domains(address, provider.domains);
  if (*user && provider.id && !provider.domains.empty() && !vouched) {
    return fail(Errc::denied, fmt::format("{} is of none of the domains that {} vouches for here", printable(address),
                                          printable(who.provider.name)));
  }
  if (!*user && !vouched) {
    return fail(Errc::denied, fmt::format("{0} is no user here; an administrator adds one with: tg controller user create {0}",
                                          printable(email)));
  }
  if (!*user) {
    if (auto done = db.run("INSERT INTO user (email, by_sign_in) VALUES (?, 1)", {email}); !done) return pass_on(done);
    made = true;
    *user = User{db.last_id(), email};
  }
  if ((*user)->blocked) return fail(Errc::denied, fmt::format("{} is blocked; ask an administrator", printable(address)));
  if (provider.id && !bound) {
    if (auto done = bind(db, *provider.id, who, **user); !done) return pass_on(done);
  }
  return std::move(**user);
}

// take_claims keeps what some group is for; a provider may tell thousands of others.
Result<> take_claims(Database& db, const Provider& provider, std::int64_t user, const std::vector<std::string>& groups) {
  if (!provider.id) return {};
  auto done = db.run("DELETE FROM told WHERE user = ? AND provider = ?", {user, *provider.id});
  for (const std::string& group : groups) {
    if (!done) return pass_on(done);
    done = db.run("INSERT OR IGNORE INTO told (user, provider, value) SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM group_claim "
                  "WHERE provider = ?2 AND value = ?3)", {user, *provider.id, group});
  }
  if (!done) return pass_on(done);
  return {};
}

// check_reach does for one person, who has his session, what check_limits does where groups are made. Errors: exhausted.
Result<> check_reach(Database& db, std::int64_t user) {
  bool too_many = false;
  auto counted = db.each("SELECT count(DISTINCT r.id) FROM member m JOIN resource_group g ON g.\"group\" = m.\"group\" "
                         "JOIN resource r ON r.id = g.resource WHERE m.user = ? GROUP BY r.network",
                         {user}, [&](const Row& row) {
                           too_many = too_many || row.number(0) > static_cast<std::int64_t>(kGrantResourcesMax);
                         });
  if (!counted) return counted;
  if (too_many) {
    return fail(Errc::exhausted, fmt::format("with these groups you would reach more than {} Resources of one Network; ask an "
                                             "administrator for wildcards and CIDRs, or for several Networks",
                                             kGrantResourcesMax));
  }
  return {};
}

// device_of returns the id of the device that is signed in: a new one, or that which is there already and is the user's.
Result<std::string> device_of(Database& db, const SignIn& who, std::int64_t user, UnixTime now) {
  if (!who.device.empty()) {
    auto owner = one_number(db, "SELECT user FROM device WHERE id = ?", {who.device});
    if (!owner) return pass_on(owner);
    if (!*owner) return fail(Errc::denied, "this device has been removed; ask an administrator");
    if (**owner == user) return who.device;
    return fail(Errc::denied, "this device is somebody else's; to make it yours, run 'sudo tg client logout' on it first");
  }
  const std::string id = random_id();
  const std::string name = device_name(who.name, id);
  auto made = db.run("INSERT INTO device (id, user, name, key, created, signs_in) VALUES (?, ?, ?, ?, ?, 1)",
                     {id, user, name, who.key, number(now)});
  if (!made) return pass_on(made);
  return id;
}

// session_json returns what the audit log says of a device's session; "null" for none.
Result<std::string> session_json(Database& db, const std::string& device) {
  std::string out = "null";
  auto read = db.each("SELECT u.email, coalesce(p.name, 'password'), s.methods, s.started, s.expires, d.name "
                      "FROM session s JOIN device d ON d.id = s.device JOIN user u ON u.id = d.user "
                      "LEFT JOIN \"identity-provider\" p ON p.id = s.provider WHERE s.device = ?",
                      {device}, [&](const Row& row) {
                        out = json_text(Json{{"user", row.text(0)}, {"provider", row.text(1)}, {"methods", split(row.text(2))},
                                             {"started", row.number(3)}, {"expires", row.number(4)}, {"name", row.text(5)}});
                      });
  if (!read) return pass_on(read);
  return out;
}

// Words of a provider that go into one column.
std::vector<std::string> without_spaces(std::vector<std::string> words) {
  std::erase_if(words, [](const std::string& w) { return w.find(' ') != std::string::npos; });
  return words;
}

}  // namespace

struct Store::Admitted {
  Provider provider;
  User user;
};

Result<Store::Admitted> Store::admit(Database& db, const SignIn& who, Stamp& by, Notes& notes) {
  const std::string by_whom = who.provider.name.empty() ? kByPassword : who.provider.name;
  auto email = canonical_email(who.person.email);
  if (!email) {
    return fail(Errc::denied, fmt::format("what {} calls your e-mail address {}", printable(by_whom), email.error().text));
  }
  auto provider = provider_of(db, who);
  if (!provider) return pass_on(provider);
  bool made = false;
  auto user = user_of(db, *provider, who, *email, made);
  if (!user) return pass_on(user);
  by.who = fmt::format("{} by {}", user->email, by_whom);
  if (made) {
    const Json created{{"email", user->email}, {"by_sign_in", true}};
    notes.push_back({"create", "user", user->email, "null", json_text(created)});
  }
  if (auto taken = take_claims(db, *provider, user->id, who.person.groups); !taken) return pass_on(taken);
  return Admitted{std::move(*provider), std::move(*user)};
}

Result<SignedIn> Store::sign_in(const SignIn& who, UnixTime now, const std::string& from) {
  SignedIn out;
  Stamp by(now, {}, from);
  auto done = change(by, Effect::may_shrink, [&](Database& db, Notes& notes) -> Result<> {
    auto admitted = admit(db, who, by, notes);
    if (!admitted) return pass_on(admitted);
    const auto& [provider, user] = *admitted;
    out.user = user.email;
    if (who.device.empty()) {
      if (auto room = make_room(db, std::to_string(user.id), devices_most_, notes); !room) return room;
    }
    auto device = device_of(db, who, user.id, now);
    if (!device) return pass_on(device);
    auto before = session_json(db, *device);
    if (!before) return pass_on(before);
    const std::string methods = joined(without_spaces(who.person.methods));
    const Value authenticated = who.person.authenticated ? Value(number(*who.person.authenticated)) : Value(nullptr);
    const Value from_whom = provider.id ? Value(*provider.id) : Value(nullptr);
    auto put = db.run("INSERT OR REPLACE INTO session (device, provider, methods, context, authenticated, started, expires) "
                      "VALUES (?, ?, ?, ?, ?, ?, ?)",
                      {*device, from_whom, methods, who.person.context, authenticated, number(now),
                       number(now + provider.session)});
    if (!put) return pass_on(put);
    if (auto good = check_reach(db, user.id); !good) return good;
    auto after = session_json(db, *device);
    if (!after) return pass_on(after);
    out.device = *device;
    out.until = now + provider.session;
    notes.push_back({"sign-in", "device", *device, std::move(*before), std::move(*after)});
    return {};
  });
  if (!done) return pass_on(done);
  return out;
}

Result<WebCaller> Store::web_sign_in(const SignIn& who, Bytes id, UnixTime now, const std::string& from) {
  WebCaller out;
  Stamp by(now, {}, from);
  auto done = change(by, Effect::may_shrink, [&](Database& db, Notes& notes) -> Result<> {
    auto admitted = admit(db, who, by, notes);
    if (!admitted) return pass_on(admitted);
    const auto& [provider, user] = *admitted;
    auto room = db.run("DELETE FROM web_session WHERE id IN "
                       "(SELECT id FROM web_session WHERE user = ? ORDER BY started DESC LIMIT -1 OFFSET ?)",
                       {user.id, kWebSessionsMost - 1});
    if (!room) return pass_on(room);
    const std::string methods = joined(without_spaces(who.person.methods));
    const Value from_whom = provider.id ? Value(*provider.id) : Value(nullptr);
    out.until = now + std::min(provider.session, kWebSessionMost);
    auto put = db.run("INSERT INTO web_session (id, user, provider, methods, started, expires) VALUES (?, ?, ?, ?, ?, ?)",
                      {id, user.id, from_whom, methods, number(now), number(out.until)});
    if (!put) return pass_on(put);
    if (auto good = check_reach(db, user.id); !good) return good;
    auto made = web_session(db, id);
    if (!made) return pass_on(made);
    if (!*made) return fail(Errc::io, "the session is not there");
    out.user = user.email;
    out.role = (*made)->role;
    notes.push_back({"sign-in", kWebSession, web_session_name(id), "null", std::move((*made)->json)});
    return {};
  });
  if (!done) return pass_on(done);
  return out;
}

Result<> Store::end_session(const std::string& device, const Stamp& by) {
  return change(by, Effect::may_shrink, [&](Database& db, Notes& notes) -> Result<> {
    auto before = session_json(db, device);
    if (!before) return pass_on(before);
    auto done = db.run("DELETE FROM session WHERE device = ?", {device});
    if (!done) return pass_on(done);
    if (*done == 0) {
      return fail(Errc::not_found, fmt::format("the device {} has no session; see: tg controller session list", device));
    }
    notes.push_back({"end", "session", device, std::move(*before)});
    return {};
  });
}

Result<bool> Store::end_sessions(UnixTime now) {
  std::vector<std::string> over;
  auto read = db_.each("SELECT device FROM session WHERE expires <= ? ORDER BY device", {number(now)},
                       [&](const Row& row) { over.push_back(row.text(0)); });
  if (!read) return pass_on(read);
  if (over.empty()) return false;
  auto done = change(now, Effect::may_shrink, [&](Database& db, Notes& notes) -> Result<> {
    for (const std::string& device : over) {
      auto before = session_json(db, device);
      if (!before) return pass_on(before);
      auto ended = db.run("DELETE FROM session WHERE device = ? AND expires <= ?", {device, number(now)});
      if (!ended) return pass_on(ended);
      if (*ended > 0) notes.push_back({"end", "session", device, std::move(*before)});
    }
    return {};
  });
  if (!done) return pass_on(done);
  return true;
}

Result<> Store::forget_accounts(const std::string& email, const Stamp& by) {
  return change(by, Effect::may_shrink, [&](Database& db, Notes& notes) -> Result<> {
    auto user = one_user(db, "WHERE u.email = ?", {email});
    if (!user) return pass_on(user);
    if (!*user) {
      return fail(Errc::not_found, fmt::format("there is no user \"{}\"; see: tg controller user list", printable(email)));
    }
    auto done = db.run("DELETE FROM account WHERE user = ?", {(*user)->id});
    if (done) {
      done = db.run("DELETE FROM session WHERE provider IS NOT NULL AND device IN (SELECT id FROM device WHERE user = ?)",
                    {(*user)->id});
    }
    if (done) done = db.run("DELETE FROM web_session WHERE provider IS NOT NULL AND user = ?", {(*user)->id});
    if (!done) return pass_on(done);
    notes.push_back({"forget-accounts", "user", email});
    return {};
  });
}

Result<> Store::set_provider_secret(const std::string& name, Bytes sealed, const Stamp& by) {
  return change(by, Effect::grows, [&](Database& db, Notes& notes) -> Result<> {
    const Value secret = sealed.empty() ? Value(nullptr) : Value(sealed);
    auto done = db.run("UPDATE \"identity-provider\" SET secret = ? WHERE name = ?", {secret, name});
    if (!done) return pass_on(done);
    if (*done == 0) {
      return fail(Errc::not_found, fmt::format("there is no identity-provider \"{}\"; see: tg controller identity-provider list",
                                               printable(name)));
    }
    notes.push_back({"secret", "identity-provider", name, "null", sealed.empty() ? "null" : "\"hidden\""});
    return {};
  });
}

Result<std::optional<Buffer>> Store::provider_secret(const std::string& name) {
  std::optional<Buffer> out;
  auto read = db_.each("SELECT secret FROM \"identity-provider\" WHERE name = ?", {name}, [&](const Row& row) {
    if (!row.null(0)) out = row.blob(0);
  });
  if (!read) return pass_on(read);
  return out;
}

}  // namespace tg::controller
