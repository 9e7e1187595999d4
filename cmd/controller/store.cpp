#include "cmd/controller/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cmd/controller/limits.h"
#include "cmd/controller/schema.h"
#include "cmd/controller/words.h"
#include "net/time_zone.h"
#include "core/json.h"
#include "core/text.h"

namespace tg::controller {
namespace {

UnixTime time_at(const Row& row, int column) { return UnixTime(std::chrono::seconds(row.number(column))); }
std::optional<UnixTime> maybe_time_at(const Row& row, int column) {
  if (row.null(column)) return std::nullopt;
  return time_at(row, column);
}

Result<Resource> resource_at(const Row& row) {
  auto address = Address::parse(row.text(3));
  auto tcp = ports_from_text(row.text(5));
  auto udp = ports_from_text(row.text(6));
  if (!address || !tcp || !udp) return fail(Errc::io, fmt::format("the stored resource {} can't be read", row.text(1)));
  return Resource{static_cast<ResourceId>(row.number(0)), row.text(1), row.text(2), std::move(*address), row.text(4),
                  {std::move(*tcp), std::move(*udp), row.number(7) != 0}};
}

Result<> read_resources(Database& db, Model& model) {
  Result<> bad;
  auto read = db.each(
      "SELECT r.id, r.name, n.name, r.address, r.alias, r.tcp, r.udp, r.icmp, p.name FROM resource r JOIN network n ON n.id = "
      "r.network LEFT JOIN policy p ON p.id = r.policy ORDER BY r.id",
      {}, [&](const Row& row) {
        auto resource = resource_at(row);
        if (resource) model.resources.push_back({std::move(*resource), {}, row.null(8) ? "" : row.text(8)});
        else bad = pass_on(resource);
      });
  if (!read) return read;
  if (!bad) return bad;
  std::size_t at = 0;
  return db.each(
      "SELECT rg.resource, g.name FROM resource_group rg JOIN \"group\" g ON g.id = rg.\"group\" "
      "ORDER BY rg.resource, g.name",
      {}, [&](const Row& row) {
        const auto id = static_cast<ResourceId>(row.number(0));
        while (at < model.resources.size() && model.resources[at].resource.id < id) ++at;
        // What leads nowhere grants nothing.
        if (at == model.resources.size() || model.resources[at].resource.id != id) return;
        model.resources[at].groups.push_back(row.text(1));
      });
}

Result<> read_identity_providers(Database& db, Model& model) {
  return db.each("SELECT name, issuer, client_id, scopes, email_claim, trust_email, groups_claim, domains, session, "
                 "secret IS NOT NULL, mfa_contexts FROM \"identity-provider\" ORDER BY name", {}, [&](const Row& row) {
                   model.identity_providers.push_back(
                       {{row.text(0), row.text(1), row.text(2), split(row.text(3)), row.text(4), row.number(5) != 0,
                         row.text(6), split(row.text(7)), std::chrono::seconds(row.number(8)), {}, split(row.text(10))},
                        row.number(9) != 0});
                 });
}

Result<> read_policies(Database& db, Model& model) {
  const auto length = [](const Row& row, int column) -> std::optional<std::chrono::seconds> {
    if (row.null(column)) return std::nullopt;
    return std::chrono::seconds(row.number(column));
  };
  return db.each("SELECT name, session, mfa, trusted_device, days, hours_from, hours_to, time_zone, until, approval FROM policy "
                 "ORDER BY name", {}, [&](const Row& row) {
                   PolicySpec p;
                   p.name = row.text(0);
                   p.session = length(row, 1);
                   p.mfa = row.number(2) != 0;
                   p.trusted_device = row.number(3) != 0;
                   p.days = static_cast<Weekdays>(row.number(4));
                   if (!row.null(5)) p.hours = DayHours{static_cast<int>(row.number(5)), static_cast<int>(row.number(6))};
                   p.time_zone = row.text(7);
                   p.until = maybe_time_at(row, 8);
                   p.approval = length(row, 9);
                   model.policies.push_back(std::move(p));
                 });
}

Result<> read_requests(Database& db, Model& model) {
  return db.each("SELECT q.id, u.email, q.device, q.resource, r.name, q.reason, q.asked, q.wanted, q.state, q.decided_by, q.decided, "
                 "q.until FROM request q JOIN user u ON u.id = q.user JOIN resource r ON r.id = q.resource ORDER BY q.asked, q.id", {},
                 [&](const Row& row) {
                   model.requests.push_back({row.text(0), row.text(1), row.text(2), static_cast<ResourceId>(row.number(3)), row.text(4),
                                             row.text(5), time_at(row, 6), std::chrono::seconds(row.number(7)),
                                             static_cast<RequestRecord::State>(row.number(8)), row.text(9), maybe_time_at(row, 10),
                                             time_at(row, 11)});
                 });
}

// group_named returns null for an unknown group.
GroupRecord* group_named(Model& model, const std::string& name) {
  const auto found = std::lower_bound(model.groups.begin(), model.groups.end(), name,
                                      [](const GroupRecord& g, const std::string& n) { return g.name < n; });
  return found == model.groups.end() || found->name != name ? nullptr : &*found;
}

Result<> read_claims(Database& db, Model& model) {
  auto claims = db.each("SELECT g.name, p.name, c.value FROM group_claim c JOIN \"group\" g ON g.id = c.\"group\" "
                        "JOIN \"identity-provider\" p ON p.id = c.provider ORDER BY g.name, p.name, c.value",
                        {}, [&](const Row& row) {
                          if (auto* g = group_named(model, row.text(0))) g->claims.push_back({row.text(1), row.text(2)});
                        });
  if (!claims) return claims;
  auto told = db.each("SELECT u.email, p.name, t.value FROM told_now t JOIN user u ON u.id = t.user "
                      "JOIN \"identity-provider\" p ON p.id = t.provider",
                      {}, [&](const Row& row) { model.told[row.text(0)].insert({row.text(1), row.text(2)}); });
  if (!told) return told;
  const auto members = [&](const char* table, std::vector<std::string> GroupRecord::*list) {
    const std::string sql = fmt::format(
        "SELECT DISTINCT g.name, u.email FROM {} t JOIN group_claim c ON c.provider = t.provider AND c.value = t.value "
        "JOIN \"group\" g ON g.id = c.\"group\" JOIN user u ON u.id = t.user ORDER BY g.name, u.email", table);
    return db.each(sql.c_str(), {}, [&](const Row& row) {
      if (auto* g = group_named(model, row.text(0))) (g->*list).push_back(row.text(1));
    });
  };
  if (auto done = members("told_now", &GroupRecord::by_claim); !done) return done;
  return members("told", &GroupRecord::once_by_claim);
}

Result<> read_people(Database& db, Model& model) {
  auto users = db.each("SELECT u.email, u.by_sign_in, p.name, w.user IS NOT NULL, t.user IS NOT NULL, u.blocked, u.role "
                       "FROM user u LEFT JOIN password w ON w.user = u.id LEFT JOIN totp t ON t.user = u.id "
                       "LEFT JOIN account a ON a.user = u.id LEFT JOIN \"identity-provider\" p ON p.id = a.provider "
                       "WHERE u.service = 0 ORDER BY u.email, p.name", {},
                       [&](const Row& row) {
                         if (model.users.empty() || model.users.back().email != row.text(0)) {
                           model.users.push_back({row.text(0), row.number(1) != 0, row.number(5) != 0, {}, row.number(3) != 0,
                                                row.number(4) != 0, stored_role(row.number(6))});
                         }
                         if (!row.null(2)) model.users.back().accounts.push_back(row.text(2));
                       });
  if (!users) return users;
  auto services = db.each("SELECT email, blocked, role FROM user WHERE service = 1 ORDER BY email", {},
                          [&](const Row& row) {
                            model.services.push_back({row.text(0), {}, row.number(1) != 0, stored_role(row.number(2))});
                          });
  if (!services) return services;
  auto keys = db.each("SELECT k.short, u.email, k.name, k.created, k.expires, k.last_used FROM service_key k JOIN user u ON u.id = k.user "
                      "ORDER BY u.email, k.created, k.short", {}, [&](const Row& row) {
                        model.service_keys.push_back(
                            {row.text(0), row.text(1), row.text(2), time_at(row, 3), time_at(row, 4), maybe_time_at(row, 5)});
                      });
  if (!keys) return keys;
  auto tokens = db.each("SELECT t.short, u.email, t.name, t.scopes, t.created, t.expires, t.last_used FROM api_token t "
                        "JOIN user u ON u.id = t.user ORDER BY u.email, t.created, t.short", {}, [&](const Row& row) {
                          model.api_tokens.push_back({row.text(0), row.text(1), row.text(2), stored_scopes(row.text(3)),
                                                      time_at(row, 4), time_at(row, 5), maybe_time_at(row, 6)});
                        });
  if (!tokens) return tokens;
  auto groups = db.each("SELECT g.name, u.email, p.name FROM \"group\" g LEFT JOIN membership m ON m.\"group\" = g.id "
                        "LEFT JOIN user u ON u.id = m.user LEFT JOIN policy p ON p.id = g.policy ORDER BY g.name, u.email",
                        {}, [&](const Row& row) {
                          if (model.groups.empty() || model.groups.back().name != row.text(0)) {
                            model.groups.push_back({row.text(0), {}});
                            if (!row.null(2)) model.groups.back().policy = row.text(2);
                          }
                          if (!row.null(1)) model.groups.back().members.push_back(row.text(1));
                        });
  if (!groups) return groups;
  if (auto claims = read_claims(db, model); !claims) return claims;
  return db.each("SELECT d.id, u.email, d.name, d.key, d.blocked, d.created, d.last_seen, d.signs_in, s.device, "
                 "coalesce(p.name, 'password'), s.methods, s.context, s.started, s.expires, u.blocked, "
                 "k.short, k.expires, s.authenticated, d.trusted FROM device d JOIN user u ON u.id = d.user LEFT JOIN service_key k ON k.id = d.service_key "
                 "LEFT JOIN session s ON s.device = d.id LEFT JOIN \"identity-provider\" p ON p.id = s.provider ORDER BY d.id",
                 {}, [&](const Row& row) {
                   DeviceRecord device{row.text(0), row.text(1), row.text(2), row.text(3), row.number(4) != 0,
                                       time_at(row, 5), maybe_time_at(row, 6), row.number(14) != 0, row.number(7) != 0, {}};
                   if (!row.null(8)) {
                     device.session = {row.text(9), split(row.text(10)), row.text(11), time_at(row, 12), time_at(row, 13),
                                       maybe_time_at(row, 17)};
                   }
                   device.trusted = row.number(18) != 0;
                   if (!row.null(15)) {
                     device.service_key = row.text(15);
                     device.key_expires = time_at(row, 16);
                   }
                   model.devices.push_back(std::move(device));
                 });
}

Result<> read_networks(Database& db, Model& model) {
  auto networks = db.each("SELECT name FROM network ORDER BY name", {},
                          [&](const Row& row) { model.networks.push_back(row.text(0)); });
  if (!networks) return networks;
  auto connectors =
      db.each("SELECT c.id, c.name, n.name, c.key, c.created, c.last_seen FROM connector c "
              "JOIN network n ON n.id = c.network ORDER BY c.id",
              {}, [&](const Row& row) {
                model.connectors.push_back({row.text(0), row.text(1), row.text(2), row.text(3),
                                            time_at(row, 4), maybe_time_at(row, 5)});
              });
  if (!connectors) return connectors;
  return db.each("SELECT id, name, address, key, created, last_seen FROM relay ORDER BY id", {},
                 [&](const Row& row) {
                   model.relays.push_back({row.text(0), row.text(1), row.text(2), row.text(3),
                                           time_at(row, 4), maybe_time_at(row, 5)});
                 });
}

Result<> read_revocations(Database& db, std::vector<Revocation>& out) {
  return db.each("SELECT device, generation FROM revocation ORDER BY device", {}, [&](const Row& row) {
    out.push_back({row.text(0), static_cast<Generation>(row.number(1))});
  });
}

// Who comes back to a group has to ask anew. (Whose session is over, and with it what a provider said of him, is not gone.)
Result<> drop_idle_approvals(Database& db) {
  auto done = db.run("UPDATE request SET state = 2 WHERE state = 1 AND NOT EXISTS (SELECT 1 FROM resource_group rg WHERE rg.resource = "
                     "request.resource AND (rg.\"group\" IN (SELECT m.\"group\" FROM membership m WHERE m.user = request.user) OR "
                     "rg.\"group\" IN (SELECT c.\"group\" FROM told t JOIN group_claim c ON c.provider = t.provider AND c.value = t.value "
                     "WHERE t.user = request.user)))");
  if (!done) return pass_on(done);
  return {};
}

// device_json returns what the audit log says of a device. Errors: not_found.
Result<std::string> device_json(Database& db, std::string_view id) {
  std::optional<Json> out;
  auto read = db.each("SELECT u.email, d.name, d.blocked, d.trusted FROM device d JOIN user u ON u.id = d.user WHERE d.id = ?", {id},
                      [&](const Row& row) {
                        const char* state = row.number(2) != 0 ? "blocked" : row.number(3) != 0 ? "trusted" : "pending";
                        out = Json{{"user", row.text(0)}, {"name", row.text(1)}, {"state", state}};
                      });
  if (!read) return pass_on(read);
  if (!out) return fail(Errc::not_found, fmt::format("there is no device {}", id));
  return json_text(*out);
}

// impossible is problems(), and what only this machine knows.
std::vector<Problem> impossible(const DesiredState& state) {
  std::vector<Problem> out = problems(state);
  for (const PolicySpec& p : state.policies) {
    if (!is_zone_name(p.time_zone) || net::utc_offset(p.time_zone, UnixTime())) continue;
    out.push_back({p.place, "policy " + p.name + ": time_zone",
                   fmt::format("this controller's machine does not know \"{}\", as in Europe/Berlin; is tzdata installed there?",
                               printable(p.time_zone, 64))});
  }
  return out;
}

Result<> check_possible(const DesiredState& state) {
  std::vector<Problem> found = impossible(state);
  if (found.empty()) found = failures(state, state.tests);
  if (found.empty()) return check_limits(state);
  return fail(Errc::conflict, found.front().key + ": " + found.front().text);
}

}  // namespace

Result<Ports> ports_from_text(std::string_view text) {
  if (text == "all") return Ports::all();
  if (text == "none") return Ports::none();
  std::vector<PortRange> ranges;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(", "), text.size());
    auto range = Ports::parse(text.substr(0, comma));
    if (!range) return fail(Errc::malformed, range.error().text);
    ranges.push_back(*range);
    text.remove_prefix(std::min(comma + 2, text.size()));
  }
  return Ports(std::move(ranges));
}

Result<Store> Store::open(const std::string& path) {
  auto db = Database::open(path);
  if (!db) return pass_on(db);
  Store store(std::move(*db));
  if (auto ready = ensure_schema(store.db_); !ready) return pass_on(ready);
  auto model = store.model();
  if (!model) return pass_on(model);
  auto head = store.read_audit_head();
  if (!head) return pass_on(head);
  store.audit_head_ = std::move(head->first);
  return store;
}

Result<Model> Store::model() {
  // A deferred transaction: one snapshot for all the queries.
  if (auto begun = db_.script("BEGIN"); !begun) return pass_on(begun);
  auto out = read_model();
  static_cast<void>(db_.script("ROLLBACK"));
  if (out) revision_ = out->revision;
  return out;
}

Result<std::shared_ptr<const Directory>> Store::directory() {
  if (auto begun = db_.script("BEGIN"); !begun) return pass_on(begun);
  auto out = read_directory();
  static_cast<void>(db_.script("ROLLBACK"));
  if (out) revision_ = (*out)->model().revision;
  return out;
}

Result<std::shared_ptr<const Directory>> Store::read_directory() {
  std::uint64_t revision = 0;
  auto read = db_.each("SELECT number FROM revision", {},
                       [&](const Row& row) { revision = static_cast<std::uint64_t>(row.number(0)); });
  if (!read) return pass_on(read);
  if (known_ && known_->model().revision == revision) return known_;
  auto model = read_model();
  if (!model) return pass_on(model);
  known_ = std::make_shared<Directory>(std::move(*model), known_.get());
  return known_;
}

Result<Model> Store::read_model() {
  Model out;
  auto read = db_.each("SELECT number FROM revision", {},
                       [&](const Row& row) { out.revision = static_cast<std::uint64_t>(row.number(0)); });
  if (read) read = read_networks(db_, out);
  if (read) read = read_identity_providers(db_, out);
  if (read) read = read_policies(db_, out);
  if (read) read = read_people(db_, out);
  if (read) read = read_resources(db_, out);
  if (read) read = read_requests(db_, out);
  if (read) read = read_revocations(db_, out.revocations);
  if (read) {
    read = db_.each("SELECT generation FROM grant_floor", {},
                    [&](const Row& row) { out.grant_floor = static_cast<Generation>(row.number(0)); });
  }
  if (!read) return pass_on(read);
  return out;
}

Result<std::optional<Buffer>> Store::value(std::string_view name) {
  std::optional<Buffer> out;
  auto read = db_.each("SELECT value FROM value WHERE name = ?", {name}, [&](const Row& row) { out = row.blob(0); });
  if (!read) return pass_on(read);
  return out;
}

Result<> Store::set_value(std::string_view name, Bytes value) {
  auto done = db_.run("INSERT INTO value VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                      {name, value});
  if (!done) return pass_on(done);
  return {};
}

Result<> Store::change(const Stamp& by, Effect effect, const Work& work) {
  auto transaction = Transaction::begin(db_);
  if (!transaction) return pass_on(transaction);
  const bool shrinks = effect == Effect::may_shrink;
  auto before = shrinks ? read_directory() : Result<std::shared_ptr<const Directory>>();
  if (!before) return pass_on(before);
  Notes notes;
  if (auto done = work(db_, notes); !done) return done;
  if (auto done = shrinks ? drop_idle_approvals(db_) : Result<>(); !done) return done;
  auto head = write_audit(by, notes);
  if (!head) return pass_on(head);
  if (auto done = db_.run("UPDATE revision SET number = number + 1"); !done) return pass_on(done);
  std::shared_ptr<Directory> after;
  std::uint64_t revision = 0;
  if (shrinks) {
    auto model = read_model();
    if (!model) return pass_on(model);
    revision = model->revision;
    after = std::make_shared<Directory>(std::move(*model), before->get());
    if (auto done = void_lost(**before, *after, by.time); !done) return done;
  } else {
    auto read = db_.each("SELECT number FROM revision", {},
                         [&](const Row& row) { revision = static_cast<std::uint64_t>(row.number(0)); });
    if (!read) return read;
  }
  if (auto done = transaction->commit(); !done) return done;
  if (after) known_ = std::move(after);
  revision_ = revision;
  audit_head_ = std::move(*head);
  return {};
}

Result<> Store::void_lost(const Directory& before, Directory& after, UnixTime now) {
  Judge judge(now, net::utc_offset);
  const std::vector<std::string> devices = lost(before, after, judge);
  if (auto done = revoke(devices, now); !done) return done;
  if (devices.empty()) return {};
  std::vector<Revocation> revocations;
  if (auto done = read_revocations(db_, revocations); !done) return done;
  after.set_revocations(std::move(revocations));
  return {};
}

Result<std::vector<Change>> Store::plan(const DesiredState& file, bool prune) {
  auto here = directory();
  if (!here) return pass_on(here);
  const DesiredState now = desired((*here)->model());
  const DesiredState wanted = with_guests(file, now);
  if (auto possible = check_possible(outcome(now, wanted, prune)); !possible) return pass_on(possible);
  return tg::plan(now, wanted, prune);
}

Result<Findings> Store::examine(const DesiredState& file, bool prune) {
  auto here = directory();
  if (!here) return pass_on(here);
  const DesiredState now = desired((*here)->model());
  const DesiredState wanted = with_guests(file, now);
  const DesiredState after = outcome(now, wanted, prune);
  Findings out;
  out.problems = impossible(after);
  if (!out.problems.empty()) return out;
  out.failures = failures(after, wanted.tests);
  return out;
}

Result<std::vector<Change>> Store::apply(const DesiredState& file, bool prune, const Stamp& by) {
  auto here = directory();
  if (!here) return pass_on(here);
  const DesiredState now = desired((*here)->model());
  return replace(now, with_guests(file, now), prune, by);
}

Result<std::vector<Change>> Store::edit(const std::function<Result<>(DesiredState&)>& change, const Stamp& by) {
  auto here = directory();
  if (!here) return pass_on(here);
  const DesiredState before = desired((*here)->model());
  DesiredState after = before;
  if (auto done = change(after); !done) return pass_on(done);
  return replace(before, after, true, by);
}

Result<std::vector<Change>> Store::replace(const DesiredState& now_state, const DesiredState& wanted, bool prune,
                                           const Stamp& by) {
  if (auto possible = check_possible(outcome(now_state, wanted, prune)); !possible) return pass_on(possible);
  std::vector<Change> changes = tg::plan(now_state, wanted, prune);
  if (changes.empty()) return changes;
  auto done = change(by, Effect::may_shrink, [&](Database& db, Notes& notes) {
    notes = notes_of(now_state, wanted, changes);
    return carry_out(db, wanted, changes, by.time);
  });
  if (!done) return pass_on(done);
  return changes;
}

Result<> Store::rename(const std::string& kind, std::string_view from, std::string_view to, const Stamp& by) {
  static const std::set<std::string> kinds = {"network", "connector", "relay", "identity-provider", "policy", "user", "service",
                                              "group", "resource"};
  if (!kinds.contains(kind)) return fail(Errc::invalid_argument, "there is no kind \"" + printable(kind, 64) + "\"");
  const bool is_user = kind == "user" || kind == "service";
  const std::string table = is_user ? "user" : kind;
  const std::string column = is_user ? "email" : "name";
  const std::string also = kind == "user" ? " AND service = 0" : kind == "service" ? " AND service = 1" : "";
  const auto quoted = [&](std::string_view name) { return fmt::format("{} \"{}\"", kind, printable(name, 64)); };
  return change(by, Effect::grows, [&](Database& db, Notes& notes) -> Result<> {
    notes.push_back({"rename", kind, std::string(to), json_text(Json{{column, from}}), json_text(Json{{column, to}})});
    bool taken = false;
    auto read = db.each(fmt::format("SELECT 1 FROM \"{}\" WHERE {} = ?", table, column).c_str(), {to},
                        [&](const Row&) { taken = true; });
    if (!read) return read;
    if (taken) return fail(Errc::conflict, fmt::format("the {} exists already", quoted(to)));
    auto done = db.run(fmt::format("UPDATE \"{0}\" SET {1} = ? WHERE {1} = ?{2}", table, column, also).c_str(), {to, from});
    if (!done) return pass_on(done);
    if (*done == 0) {
      return fail(Errc::not_found, fmt::format("there is no {}; see: tg controller {} list", quoted(from), kind));
    }
    return {};
  });
}

Result<> Store::set_device_state(std::string_view id, DeviceState state, const Stamp& by) {
  return change(by, Effect::may_shrink, [&](Database& db, Notes& notes) -> Result<> {
    auto before = device_json(db, id);
    if (!before) return pass_on(before);
    auto done = db.run("UPDATE device SET blocked = ?, trusted = ? WHERE id = ?",
                       {std::int64_t{state == DeviceState::blocked}, std::int64_t{state == DeviceState::trusted}, id});
    if (!done) return pass_on(done);
    auto after = device_json(db, id);
    if (!after) return pass_on(after);
    notes.push_back({"update", "device", std::string(id), std::move(*before), std::move(*after)});
    return {};
  });
}

Result<> Store::remove_device(std::string_view id, const Stamp& by) {
  return change(by, Effect::may_shrink, [&](Database& db, Notes& notes) -> Result<> {
    auto before = device_json(db, id);
    if (!before) return pass_on(before);
    auto done = db.run("DELETE FROM device WHERE id = ?", {id});
    if (!done) return pass_on(done);
    notes.push_back({"remove", "device", std::string(id), std::move(*before)});
    return {};
  });
}

}  // namespace tg::controller
