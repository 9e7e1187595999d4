// The steps of a plan as SQL.
#include <fmt/format.h>

#include <set>
#include <string_view>
#include <unordered_map>

#include "cmd/controller/store.h"
#include "cmd/controller/vault.h"
#include "cmd/controller/words.h"

namespace tg::controller {
namespace {

using Verb = Change::Verb;

template <class T>
class ByName {
 public:
  explicit ByName(const std::vector<T>& all) {
    for (const T& one : all) {
      if constexpr (std::is_same_v<T, UserSpec>) entries_.emplace(one.email, &one);
      else entries_.emplace(one.name, &one);
    }
  }
  const T& operator[](const std::string& name) const {
    const auto found = entries_.find(name);
    TG_CHECK(found != entries_.end());
    return *found->second;
  }

 private:
  std::unordered_map<std::string_view, const T*> entries_;
};

struct Wanted {
  explicit Wanted(const DesiredState& s)
      : connectors(s.connectors), relays(s.relays), identity_providers(s.identity_providers), policies(s.policies), groups(s.groups),
        users(s.users), services(s.services), resources(s.resources) {}
  ByName<ConnectorSpec> connectors;
  ByName<RelaySpec> relays;
  ByName<IdentityProviderSpec> identity_providers;
  ByName<PolicySpec> policies;
  ByName<GroupSpec> groups;
  ByName<UserSpec> users;
  ByName<ServiceSpec> services;
  ByName<ResourceSpec> resources;
};

Result<> done(Result<int> r) {
  if (!r) return pass_on(r);
  return {};
}

Result<> set_members(Database& db, const GroupSpec& group) {
  auto r = done(db.run("DELETE FROM membership WHERE \"group\" = (SELECT id FROM \"group\" WHERE name = ?)",
                       {group.name}));
  for (const std::string& member : group.members) {
    if (!r) return r;
    r = done(db.run("INSERT INTO membership VALUES ((SELECT id FROM user WHERE email = ?), "
                    "(SELECT id FROM \"group\" WHERE name = ?))", {member, group.name}));
  }
  return r;
}

Result<> set_claims(Database& db, const GroupSpec& group) {
  auto r = done(db.run("DELETE FROM group_claim WHERE \"group\" = (SELECT id FROM \"group\" WHERE name = ?)", {group.name}));
  for (const Claim& claim : group.claims) {
    if (!r) return r;
    r = done(db.run("INSERT INTO group_claim VALUES ((SELECT id FROM \"group\" WHERE name = ?), "
                    "(SELECT id FROM \"identity-provider\" WHERE name = ?), ?)", {group.name, claim.provider, claim.value}));
  }
  return r;
}

Result<> set_groups(Database& db, const ResourceSpec& resource) {
  auto r = done(db.run("DELETE FROM resource_group WHERE resource = (SELECT id FROM resource WHERE name = ?)",
                       {resource.name}));
  for (const std::string& group : resource.groups) {
    if (!r) return r;
    r = done(db.run("INSERT INTO resource_group VALUES ((SELECT id FROM resource WHERE name = ?), "
                    "(SELECT id FROM \"group\" WHERE name = ?))", {resource.name, group}));
  }
  return r;
}

Result<> put_connector(Database& db, const ConnectorSpec& c, Verb verb, UnixTime now) {
  if (verb == Verb::update) {
    return done(db.run("UPDATE connector SET network = (SELECT id FROM network WHERE name = ?) WHERE name = ?",
                       {c.network, c.name}));
  }
  const std::string id = random_id();
  return done(db.run("INSERT INTO connector (id, name, network, created) "
                     "VALUES (?, ?, (SELECT id FROM network WHERE name = ?), ?)",
                     {id, c.name, c.network, std::int64_t{now.time_since_epoch().count()}}));
}

Result<> put_relay(Database& db, const RelaySpec& r, Verb verb, UnixTime now) {
  if (verb == Verb::update) return done(db.run("UPDATE relay SET address = ? WHERE name = ?", {r.address, r.name}));
  const std::string id = random_id();
  return done(db.run("INSERT INTO relay (id, name, address, created) VALUES (?, ?, ?, ?)",
                     {id, r.name, r.address, std::int64_t{now.time_since_epoch().count()}}));
}

// What a change of a provider takes away: accounts (other_people), sessions (ends_sessions), and time, where these are shorter.
Result<> shorten(Database& db, const IdentityProviderSpec& p) {
  std::optional<IdentityProviderSpec> before;
  std::int64_t id = 0;
  auto read = db.each("SELECT issuer, client_id, email_claim, trust_email, groups_claim, domains, id FROM \"identity-provider\" "
                      "WHERE name = ?", {p.name}, [&](const Row& row) {
                        before = {p.name, row.text(0), row.text(1), {}, row.text(2), row.number(3) != 0, row.text(4), split(row.text(5))};
                        id = row.number(6);
                      });
  if (!read || !before) return read;
  Result<int> r = 0;
  if (other_people(*before, p)) r = db.run("DELETE FROM account WHERE provider = ?", {id});
  for (const char* sql : {"DELETE FROM session WHERE provider = ?", "DELETE FROM web_session WHERE provider = ?",
                          "DELETE FROM told WHERE provider = ?"}) {
    if (r && ends_sessions(*before, p)) r = db.run(sql, {id});
  }
  for (const char* sql : {"UPDATE session SET expires = min(expires, started + ?) WHERE provider = ?",
                          "UPDATE web_session SET expires = min(expires, started + ?) WHERE provider = ?"}) {
    if (r) r = db.run(sql, {std::int64_t{p.session.count()}, id});
  }
  return done(std::move(r));
}

Result<> put_identity_provider(Database& db, const IdentityProviderSpec& p, Verb verb) {
  if (verb == Verb::update) {
    if (auto r = shorten(db, p); !r) return r;
  }
  const char* sql =
      verb == Verb::create
          ? "INSERT INTO \"identity-provider\" (issuer, client_id, scopes, email_claim, trust_email, groups_claim, domains, "
            "session, mfa_contexts, name) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
          : "UPDATE \"identity-provider\" SET issuer = ?, client_id = ?, scopes = ?, email_claim = ?, trust_email = ?, "
            "groups_claim = ?, domains = ?, session = ?, mfa_contexts = ? WHERE name = ?";
  const std::string scopes = joined(p.scopes);
  const std::string domains = joined(p.domains);
  const std::string contexts = joined(p.mfa_contexts);
  return done(db.run(sql, {p.issuer, p.client_id, scopes, p.email_claim, std::int64_t{p.trust_email}, p.groups_claim, domains,
                           std::int64_t{p.session.count()}, contexts, p.name}));
}

Result<> put_policy(Database& db, const PolicySpec& p) {
  const auto length = [](const std::optional<std::chrono::seconds>& s) { return s ? Value(std::int64_t{s->count()}) : Value(nullptr); };
  const Value from = p.hours ? Value(std::int64_t{p.hours->from}) : Value(nullptr);
  const Value to = p.hours ? Value(std::int64_t{p.hours->to}) : Value(nullptr);
  const Value until = p.until ? Value(std::int64_t{p.until->time_since_epoch().count()}) : Value(nullptr);
  return done(db.run("INSERT INTO policy (name, session, mfa, trusted_device, days, hours_from, hours_to, time_zone, until, approval) "
                     "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET session = excluded.session, mfa = "
                     "excluded.mfa, trusted_device = excluded.trusted_device, days = excluded.days, hours_from = excluded.hours_from, "
                     "hours_to = excluded.hours_to, time_zone = excluded.time_zone, until = excluded.until, approval = "
                     "excluded.approval",
                     {p.name, length(p.session), std::int64_t{p.mfa}, std::int64_t{p.trusted_device}, std::int64_t{p.days}, from, to,
                      p.time_zone, until, length(p.approval)}));
}

// set_policy gives a group or a Resource the policy that it is to have. Errors: conflict for one that is not there.
Result<> set_policy(Database& db, const char* table, const std::string& name, const std::string& policy) {
  const std::string sql = fmt::format("UPDATE \"{}\" SET policy = {} WHERE name = ?2", table,
                                      policy.empty() ? "nullif(?1, '')" : "(SELECT id FROM policy WHERE name = ?1)");
  auto r = db.run(sql.c_str(), {policy, name});
  if (!r || policy.empty()) return done(std::move(r));
  bool there = false;
  auto read = db.each("SELECT 1 FROM policy WHERE name = ?", {policy}, [&](const Row&) { there = true; });
  if (!read) return read;
  if (!there) return fail(Errc::conflict, "there is no policy " + policy);   // and not: none, which would open it
  return {};
}

Result<> put_user(Database& db, const UserSpec& u) {
  auto put = db.run("INSERT INTO user (email, by_sign_in, blocked, role) VALUES (?, ?, ?, ?) ON CONFLICT (email) DO UPDATE SET "
                    "by_sign_in = excluded.by_sign_in, blocked = excluded.blocked, role = excluded.role",
                    {u.email, std::int64_t{u.by_sign_in}, std::int64_t{u.blocked}, static_cast<std::int64_t>(u.role)});
  if (!put || !u.blocked) return done(std::move(put));
  return done(db.run("DELETE FROM web_session WHERE user = (SELECT id FROM user WHERE email = ?)", {u.email}));
}

// A service is a user without a person: what it may reach, and its devices, are the same.
Result<> put_service(Database& db, const ServiceSpec& s) {
  return done(db.run("INSERT INTO user (email, service, blocked, role) VALUES (?, 1, ?, ?) ON CONFLICT (email) DO UPDATE SET "
                     "blocked = excluded.blocked, role = excluded.role",
                     {s.name, std::int64_t{s.blocked}, static_cast<std::int64_t>(s.role)}));
}

Result<> put_group(Database& db, const GroupSpec& g, Verb verb) {
  if (verb == Verb::create) {
    if (auto r = done(db.run("INSERT INTO \"group\" (name) VALUES (?)", {g.name})); !r) return r;
  }
  if (auto r = set_members(db, g); !r) return r;
  if (auto r = set_policy(db, "group", g.name, g.policy); !r) return r;
  return set_claims(db, g);
}

Result<> put_resource(Database& db, const ResourceSpec& r, Verb verb) {
  const char* sql =
      verb == Verb::create
          ? "INSERT INTO resource (network, address, alias, tcp, udp, icmp, name) "
            "VALUES ((SELECT id FROM network WHERE name = ?), ?, ?, ?, ?, ?, ?)"
          : "UPDATE resource SET network = (SELECT id FROM network WHERE name = ?), address = ?, alias = ?, tcp = ?, "
            "udp = ?, icmp = ? WHERE name = ?";
  const std::string tcp = r.protocols.tcp.to_string();
  const std::string udp = r.protocols.udp.to_string();
  auto put = done(db.run(sql, {r.network, r.address.text(), r.alias, tcp, udp, std::int64_t{r.protocols.icmp},
                               r.name}));
  if (!put) return put;
  if (auto set = set_policy(db, "resource", r.name, r.policy); !set) return set;
  return set_groups(db, r);
}

Result<> remove(Database& db, const Change& c) {
  if (c.kind == "network") return done(db.run("DELETE FROM network WHERE name = ?", {c.name}));
  if (c.kind == "connector") return done(db.run("DELETE FROM connector WHERE name = ?", {c.name}));
  if (c.kind == "relay") return done(db.run("DELETE FROM relay WHERE name = ?", {c.name}));
  if (c.kind == "identity-provider") return done(db.run("DELETE FROM \"identity-provider\" WHERE name = ?", {c.name}));
  if (c.kind == "policy") return done(db.run("DELETE FROM policy WHERE name = ?", {c.name}));
  if (c.kind == "user") return done(db.run("DELETE FROM user WHERE email = ? AND service = 0", {c.name}));
  if (c.kind == "service") return done(db.run("DELETE FROM user WHERE email = ? AND service = 1", {c.name}));
  if (c.kind == "group") return done(db.run("DELETE FROM \"group\" WHERE name = ?", {c.name}));
  if (c.kind == "resource") return done(db.run("DELETE FROM resource WHERE name = ?", {c.name}));
  return fail(Errc::unsupported, "unknown kind " + c.kind);
}

Result<> put(Database& db, const Wanted& wanted, const Change& c, UnixTime now) {
  if (c.kind == "network") return done(db.run("INSERT INTO network (name) VALUES (?)", {c.name}));
  if (c.kind == "connector") return put_connector(db, wanted.connectors[c.name], c.verb, now);
  if (c.kind == "relay") return put_relay(db, wanted.relays[c.name], c.verb, now);
  if (c.kind == "identity-provider") return put_identity_provider(db, wanted.identity_providers[c.name], c.verb);
  if (c.kind == "policy") return put_policy(db, wanted.policies[c.name]);
  if (c.kind == "user") return put_user(db, wanted.users[c.name]);
  if (c.kind == "service") return put_service(db, wanted.services[c.name]);
  if (c.kind == "group") return put_group(db, wanted.groups[c.name], c.verb);
  if (c.kind == "resource") return put_resource(db, wanted.resources[c.name], c.verb);
  return fail(Errc::unsupported, "unknown kind " + c.kind);
}

}  // namespace

Result<> carry_out(Database& db, const DesiredState& state, const std::vector<Change>& changes, UnixTime now) {
  const Wanted wanted(state);
  for (const Change& c : changes) {
    auto r = c.verb == Verb::remove ? remove(db, c) : put(db, wanted, c, now);
    if (!r) return fail(r.error().code, fmt::format("{} {}: {}", c.kind, c.name, r.error().text));
  }
  return {};
}

}  // namespace tg::controller
