#include "cmd/controller/edits.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_set>

#include "cmd/controller/desired_json.h"
#include "cmd/controller/names.h"
#include "core/access.h"
#include "core/duration.h"
#include "core/moment.h"
#include "core/json.h"
#include "core/text.h"

namespace tg::controller {
namespace {

constexpr std::size_t kMembersMax = 1'000'000;   // check_limits is stricter, and says why

template <class Spec>
auto& name_of(Spec& s) {
  if constexpr (std::is_same_v<std::remove_const_t<Spec>, UserSpec>) return s.email;
  else return s.name;
}

template <class Spec>
auto find(std::vector<Spec>& all, const std::string& name) {
  return std::find_if(all.begin(), all.end(), [&](const Spec& s) { return name_of(s) == name; });
}

Result<> missing(const std::string& kind, const std::string& name) {
  return fail(Errc::not_found, fmt::format("there is no {0} \"{1}\"; see: tg controller {0} list", kind,
                                           printable(name, 64)));
}

Result<std::vector<std::string>> subjects(Fields& f, const char* key) {
  std::vector<std::string> out;
  std::unordered_set<std::string> known;
  if (!f.has(key)) return out;
  for (const std::string& text : f.texts(key, kMembersMax)) {
    auto subject = canonical_subject(text);
    if (!subject) return fail(Errc::invalid_argument, subject.error().text);
    if (known.insert(*subject).second) out.push_back(*subject);
  }
  return out;
}

// A program may say a number of seconds where a person says 8h, or a moment since 1970.
constexpr std::uint64_t kSecondsMax = 253'402'300'799;   // the last of the year 9999
std::optional<std::chrono::seconds> seconds_of(Fields& f, const char* key) {
  const Json* value = f.ok() && f.has(key) ? f.any(key) : nullptr;
  if (value == nullptr || !value->is_number()) return std::nullopt;
  return std::chrono::seconds(f.number(key, kSecondsMax));
}

// change_text reads a field that `parse` makes something of, where it is there.
template <class Parse, class Set>
Result<> change_text(Fields& f, const char* key, Parse parse, Set set) {
  if (!f.has(key)) return {};
  const auto seconds = seconds_of(f, key);
  auto value = parse(seconds ? fmt::format("{}s", seconds->count()) : f.text(key));
  if (f.ok() && !value) return fail(Errc::invalid_argument, fmt::format("{}: {}", key, value.error().text));
  if (value) set(*value);
  return {};
}

Result<> change(NetworkSpec&, const Json&) { return {}; }

Result<> change_standing(bool& blocked, Role& role, const Json& fields) {
  Fields f(fields, "fields");
  if (!f.has("state") && !f.has("role")) return {};
  const std::string state = f.has("state") ? f.text("state") : blocked ? "blocked" : "active";
  const auto wanted = f.has("role") ? parse_role(f.text("role")) : role;
  if (!f.ok()) return f.error();
  if (state != "active" && state != "blocked") return fail(Errc::invalid_argument, "state must be active or blocked");
  if (!wanted) return fail(Errc::invalid_argument, "role " + wanted.error().text);
  blocked = state == "blocked";
  role = *wanted;
  return {};
}

Result<> change(UserSpec& u, const Json& fields) { return change_standing(u.blocked, u.role, fields); }
Result<> change(ServiceSpec& s, const Json& fields) { return change_standing(s.blocked, s.role, fields); }

Result<> change(ConnectorSpec& c, const Json& fields) {
  Fields f(fields, "connector");
  if (f.has("network")) c.network = f.text("network");
  if (!f.ok()) return f.error();
  if (c.network.empty()) return fail(Errc::invalid_argument, "network is needed: where is the connector?");
  return {};
}

Result<> change(RelaySpec& r, const Json& fields) {
  Fields f(fields, "relay");
  if (!f.has("address")) return {};
  auto address = canonical_relay_address(f.text("address"));
  if (!f.ok()) return f.error();
  if (!address) return fail(Errc::invalid_argument, "address: " + address.error().text);
  r.address = std::move(*address);
  return {};
}

Result<> change(IdentityProviderSpec& p, const Json& fields) {
  Fields f(fields, "identity-provider");
  if (f.has("issuer")) p.issuer = f.text("issuer", 1024);
  if (f.has("client_id")) p.client_id = f.text("client_id");
  if (f.has("scopes")) p.scopes = f.texts("scopes");
  if (f.has("email_claim")) p.email_claim = f.text("email_claim");
  if (f.has("trust_email")) p.trust_email = f.flag("trust_email");
  if (f.has("groups_claim")) p.groups_claim = f.text_or_empty("groups_claim");
  if (f.has("domains")) {
    p.domains.clear();
    for (const std::string& domain : f.texts("domains")) p.domains.push_back(lower(domain));
  }
  if (auto done = change_text(f, "session", parse_duration, [&](auto session) { p.session = session; }); !done) return done;
  if (f.has("mfa_contexts")) p.mfa_contexts = f.texts("mfa_contexts");
  if (!f.ok()) return f.error();
  if (p.issuer.empty()) return fail(Errc::invalid_argument, "issuer is needed: where is the provider?");
  return {};
}

bool is_empty(Fields& f, const char* key) { return f.ok() && f.has(key) && *f.any(key) == ""; }

// With "" a demand is taken back.
Result<> change(PolicySpec& p, const Json& fields) {
  Fields f(fields, "policy");
  const auto set = [](auto& into) {
    return [&into](auto value) { into = value; };
  };
  for (const auto& [key, into] : {std::pair{"session", &p.session}, {"approval", &p.approval}}) {
    if (is_empty(f, key)) into->reset();
    else if (auto done = change_text(f, key, parse_duration, set(*into)); !done) return done;
  }
  if (is_empty(f, "hours")) p.hours.reset();
  else if (auto done = change_text(f, "hours", parse_hours, set(p.hours)); !done) return done;
  if (is_empty(f, "until")) p.until.reset();
  else if (const auto seconds = seconds_of(f, "until")) p.until = UnixTime(*seconds);
  else if (auto done = change_text(f, "until", parse_utc, set(p.until)); !done) return done;
  if (f.has("mfa")) p.mfa = f.flag("mfa");
  if (f.has("trusted_device")) p.trusted_device = f.flag("trusted_device");
  if (f.has("days")) {
    auto days = parse_days(f.texts("days"));
    if (f.ok() && !days) return fail(Errc::invalid_argument, "days: " + days.error().text);
    if (days) p.days = *days;
  }
  if (f.has("time_zone")) p.time_zone = f.text("time_zone");
  if (!f.ok()) return f.error();
  return {};
}

Result<> change(GroupSpec& g, const Json& fields) {
  Fields f(fields, "group");
  auto members = subjects(f, "members");
  auto add = subjects(f, "add");
  auto remove = subjects(f, "remove");
  for (auto* list : {&members, &add, &remove}) {
    if (!*list) return pass_on(*list);
  }
  if (f.has("members")) g.members = *members;
  std::unordered_set<std::string> known(g.members.begin(), g.members.end());
  for (const std::string& one : *add) {
    if (known.insert(one).second) g.members.push_back(one);
  }
  const std::unordered_set<std::string> gone(remove->begin(), remove->end());
  std::erase_if(g.members, [&](const std::string& one) { return gone.contains(one); });
  if (f.ok() && f.has("claims")) {
    auto claims = claims_from_json(*f.any("claims"));
    if (!claims) return fail(Errc::invalid_argument, "claims: " + claims.error().text);
    g.claims = std::move(*claims);
  }
  if (f.has("policy")) g.policy = f.text_or_empty("policy");
  if (!f.ok()) return f.error();
  return {};
}

Result<> change_ports(Ports& ports, const Json& fields, const char* key) {
  const auto found = fields.find(key);
  if (found == fields.end()) return {};
  auto read = ports_from_json(*found);
  if (!read) return fail(Errc::invalid_argument, fmt::format("{}: {}", key, read.error().text));
  ports = std::move(*read);
  return {};
}

Result<> change(ResourceSpec& r, const Json& fields) {
  Fields f(fields, "resource");
  if (f.has("network")) r.network = f.text("network");
  if (f.has("address")) {
    auto address = Address::parse(f.text("address"));
    if (!address) return fail(Errc::invalid_argument, "address: " + address.error().text);
    r.address = std::move(*address);
  }
  if (f.has("alias")) {
    const std::string text = f.text_or_empty("alias");
    auto alias = text.empty() ? Result<std::string>("") : canonical_alias(text);
    if (!alias) return fail(Errc::invalid_argument, "alias: " + alias.error().text);
    r.alias = std::move(*alias);
  }
  if (f.has("groups")) r.groups = f.texts("groups");
  if (f.has("policy")) r.policy = f.text_or_empty("policy");
  if (f.has("icmp")) r.protocols.icmp = f.flag("icmp");
  if (!f.ok()) return f.error();
  if (auto done = change_ports(r.protocols.tcp, fields, "tcp"); !done) return done;
  if (auto done = change_ports(r.protocols.udp, fields, "udp"); !done) return done;
  if (r.network.empty()) {
    return fail(Errc::invalid_argument, "network is needed: which network's connectors reach it?");
  }
  if (r.address.text().empty()) {
    return fail(Errc::invalid_argument, "address is needed: a name, a wildcard, an IP or a CIDR");
  }
  return {};
}

// with calls `work` with the list of the entries of a kind.
template <class Work>
Result<> with(DesiredState& state, const std::string& kind, Work work) {
  if (kind == "network") return work(state.networks);
  if (kind == "connector") return work(state.connectors);
  if (kind == "relay") return work(state.relays);
  if (kind == "identity-provider") return work(state.identity_providers);
  if (kind == "policy") return work(state.policies);
  if (kind == "user") return work(state.users);
  if (kind == "service") return work(state.services);
  if (kind == "group") return work(state.groups);
  if (kind == "resource") return work(state.resources);
  return fail(Errc::invalid_argument, fmt::format("there is no kind \"{}\"", printable(kind, 64)));
}

Result<> must_be_empty(const DesiredState& state, const std::string& network) {
  const auto in_use = [&](const char* kind, const std::string& name) {
    return fail(Errc::conflict, fmt::format("network \"{}\" still has the {} \"{}\"; delete that first", network, kind,
                                            name));
  };
  for (const ConnectorSpec& c : state.connectors) {
    if (c.network == network) return in_use("connector", c.name);
  }
  for (const ResourceSpec& r : state.resources) {
    if (r.network == network) return in_use("resource", r.name);
  }
  return {};
}

// A policy that is in use is not taken away in passing: whatever it kept shut would be open.
Result<> must_be_unused(const DesiredState& state, const std::string& policy) {
  const auto in_use = [&](const char* kind, const std::string& name) {
    return fail(Errc::conflict, fmt::format("policy \"{0}\" is that of the {1} \"{2}\"; give it another first: tg controller {1} update "
                                            "\"{2}\" --policy OTHER, or --policy \"\"", policy, kind, name));
  };
  for (const GroupSpec& g : state.groups) {
    if (g.policy == policy) return in_use("group", g.name);
  }
  for (const ResourceSpec& r : state.resources) {
    if (r.policy == policy) return in_use("resource", r.name);
  }
  return {};
}

// A member is somebody whom an administrator names, and so is who has a role: from then on he is listed, however he came.
void list_members(DesiredState& state) {
  std::set<std::string_view> members;
  for (const GroupSpec& g : state.groups) members.insert(g.members.begin(), g.members.end());
  for (UserSpec& u : state.users) u.by_sign_in = u.by_sign_in && u.role == Role::member && !members.contains(u.email);
}

Result<> check_references(DesiredState& state) {
  list_members(state);
  const std::vector<Problem> found = problems(state);
  if (found.empty()) return {};
  const bool nothing_there = found.front().text.starts_with("there is no ");
  // Its advice is for a file.
  std::string text = found.front().text;
  if (const auto advice = text.find("; add a [["); advice != std::string::npos) text.resize(advice);
  return fail(nothing_there ? Errc::not_found : Errc::conflict, found.front().key + ": " + text);
}

}  // namespace

Result<std::string> canonical(const std::string& kind, const std::string& name) {
  if (kind == "user") return canonical_email(name);
  if (auto good = kind == "service" ? check_service_name(name) : check_name(name); !good) {
    return fail(Errc::invalid_argument, fmt::format("the name {}", good.error().text));
  }
  if (kind == "identity-provider" && name == kByPassword) {
    return fail(Errc::invalid_argument, fmt::format("\"{}\" is what signing in without a provider is called; choose another name", name));
  }
  return name;
}

Result<> create_entry(DesiredState& state, const std::string& kind, const std::string& name, const Json& fields) {
  auto good = canonical(kind, name);
  if (!good) return pass_on(good);
  auto done = with(state, kind, [&](auto& all) -> Result<> {
    if (find(all, *good) != all.end()) {
      return fail(Errc::conflict, fmt::format("the {} \"{}\" exists already", kind, *good));
    }
    auto& fresh = all.emplace_back();
    name_of(fresh) = *good;
    return change(fresh, fields);
  });
  if (!done) return done;
  return check_references(state);
}

Result<> update_entry(DesiredState& state, const std::string& kind, const std::string& name, const Json& fields) {
  const std::string wanted = kind == "user" ? lower(name) : name;
  auto done = with(state, kind, [&](auto& all) -> Result<> {
    const auto found = find(all, wanted);
    return found == all.end() ? missing(kind, name) : change(*found, fields);
  });
  if (!done) return done;
  return check_references(state);
}

Result<> delete_entry(DesiredState& state, const std::string& kind, const std::string& name) {
  const std::string wanted = kind == "user" ? lower(name) : name;
  if (kind == "network") {
    if (auto empty = must_be_empty(state, wanted); !empty) return empty;
  }
  if (kind == "policy") {
    if (auto unused = must_be_unused(state, wanted); !unused) return unused;
  }
  if (kind == "user" || kind == "service") {
    for (GroupSpec& g : state.groups) std::erase(g.members, wanted);
  }
  if (kind == "group") {
    for (ResourceSpec& r : state.resources) std::erase(r.groups, wanted);
  }
  if (kind == "identity-provider") {
    for (GroupSpec& g : state.groups) std::erase_if(g.claims, [&](const Claim& c) { return c.provider == wanted; });
  }
  return with(state, kind, [&](auto& all) -> Result<> {
    const auto found = find(all, wanted);
    if (found == all.end()) return missing(kind, name);
    all.erase(found);
    return {};
  });
}

}  // namespace tg::controller
