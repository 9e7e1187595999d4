#include "cmd/controller/desired_json.h"

#include <algorithm>

#include "cmd/controller/names.h"
#include "core/access.h"
#include "core/json.h"
#include "core/text.h"
#include "core/view.h"

namespace tg::controller {
namespace {

constexpr std::int64_t kLineMax = 100'000'000;
constexpr std::size_t kListMax = 1'000'000;   // check_limits is stricter, and says why
constexpr std::size_t kUrlMax = 1024;
constexpr std::uint64_t kSessionMax = 3650ull * 86400;   // as parse_duration
constexpr std::uint64_t kLastSecond = 253'402'300'799;      // the last second of the year 9999

// each reads an array of objects with `read`, and stops at the first mistake.
template <class Spec, class Read>
Result<> each(const Json& j, const char* key, std::vector<Spec>& into, Read read) {
  const auto list = j.find(key);
  if (list == j.end()) return {};
  if (!list->is_array() || list->size() > kListMax) return fail(Errc::malformed, std::string(key) + " is not a list");
  for (const Json& one : *list) {
    auto spec = read(one);
    if (!spec) return pass_on(spec);
    into.push_back(std::move(*spec));
  }
  return {};
}

// place_of reads the line of an entry in its file, which only a command that read one tells.
Place place_of(const Json& j) { return {static_cast<int>(std::clamp<std::int64_t>(number_or(j, "line", 0), 0, kLineMax))}; }

std::string name_of(Fields& f, const char* key = "name") {
  std::string name = f.text(key);
  if (auto good = check_name(name); f.ok() && !good) f.refuse(key, good.error().text);
  return name;
}

std::string email(Fields& f, const char* key, const std::string& text) {
  auto out = canonical_email(text);
  if (f.ok() && !out) f.refuse(key, out.error().text);
  return out ? *out : std::string();
}

std::string subject(Fields& f, const char* key, const std::string& text) {
  auto out = canonical_subject(text);
  if (f.ok() && !out) f.refuse(key, out.error().text);
  return out ? *out : std::string();
}

Result<NetworkSpec> network(const Json& j) {
  Fields f(j, "network");
  NetworkSpec out{name_of(f), place_of(j)};
  if (!f.ok()) return f.error();
  return out;
}

Result<ConnectorSpec> connector(const Json& j) {
  Fields f(j, "connector");
  ConnectorSpec out{name_of(f), name_of(f, "network"), place_of(j)};
  if (!f.ok()) return f.error();
  return out;
}

Result<RelaySpec> relay(const Json& j) {
  Fields f(j, "relay");
  RelaySpec out{name_of(f), {}, place_of(j)};
  auto address = canonical_relay_address(f.text("address"));
  if (address) out.address = std::move(*address);
  else f.refuse("address", address.error().text);
  if (!f.ok()) return f.error();
  return out;
}

Result<IdentityProviderSpec> identity_provider(const Json& j) {
  Fields f(j, "identity-provider");
  IdentityProviderSpec out;
  out.name = name_of(f);
  out.place = place_of(j);
  out.issuer = f.text("issuer", kUrlMax);
  out.client_id = f.text("client_id");
  out.scopes = f.texts("scopes");
  out.email_claim = f.text("email_claim");
  out.trust_email = f.flag("trust_email");
  out.groups_claim = f.text_or_empty("groups_claim");
  out.domains = f.texts("domains");
  out.session = std::chrono::seconds(f.number("session", kSessionMax));
  if (f.has("mfa_contexts")) out.mfa_contexts = f.texts("mfa_contexts");
  if (!f.ok()) return f.error();
  return out;
}

Result<PolicySpec> policy(const Json& j) {
  Fields f(j, "policy");
  PolicySpec out;
  out.name = name_of(f);
  out.place = place_of(j);
  const auto length = [&](const char* key) -> std::optional<std::chrono::seconds> {
    if (!f.has(key)) return std::nullopt;
    return std::chrono::seconds(f.number(key, kSessionMax));
  };
  out.session = length("session");
  out.mfa = f.has("mfa") && f.flag("mfa");
  out.trusted_device = f.has("trusted_device") && f.flag("trusted_device");
  if (f.has("days")) {
    auto days = parse_days(f.texts("days"));
    if (days) out.days = *days;
    else f.refuse("days", days.error().text);
  }
  if (f.has("hours")) {
    auto hours = parse_hours(f.text("hours"));
    if (hours) out.hours = *hours;
    else f.refuse("hours", hours.error().text);
  }
  if (f.has("time_zone")) out.time_zone = f.text("time_zone");
  if (f.has("until")) out.until = UnixTime(std::chrono::seconds(f.number("until", kLastSecond)));
  out.approval = length("approval");
  if (!f.ok()) return f.error();
  return out;
}

Role role_of(Fields& f) {
  const auto role = f.has("role") ? parse_role(f.text("role")) : Role::member;
  if (!role) f.refuse("role", role.error().text);
  return role.value_or(Role::member);
}

Result<UserSpec> user(const Json& j) {
  Fields f(j, "user");
  UserSpec out{email(f, "email", f.text("email")), place_of(j), f.has("by_sign_in") && f.flag("by_sign_in"),
               f.has("blocked") && f.flag("blocked"), role_of(f)};
  if (!f.ok()) return f.error();
  out.by_sign_in = out.by_sign_in && out.role == Role::member;   // who has a role is listed
  return out;
}

Result<ServiceSpec> service(const Json& j) {
  Fields f(j, "service");
  ServiceSpec out{f.text("name"), place_of(j), f.has("blocked") && f.flag("blocked"), role_of(f)};
  if (auto good = check_service_name(out.name); f.ok() && !good) f.refuse("name", good.error().text);
  if (!f.ok()) return f.error();
  return out;
}

Result<GroupSpec> group(const Json& j) {
  Fields f(j, "group");
  GroupSpec out{name_of(f), {}, place_of(j), {}};
  for (const std::string& member : f.texts("members", kListMax)) out.members.push_back(subject(f, "members", member));
  out.policy = f.text_or_empty("policy");
  if (!f.ok()) return f.error();
  if (f.has("claims")) {
    auto claims = claims_from_json(*f.any("claims"));
    if (!claims) return pass_on(claims);
    out.claims = std::move(*claims);
  }
  return out;
}

Result<ResourceSpec> resource(const Json& j) {
  Fields f(j, "resource");
  ResourceSpec out;
  out.place = place_of(j);
  out.name = name_of(f);
  out.network = name_of(f, "network");
  auto address = Address::parse(f.text("address"));
  if (address) out.address = std::move(*address);
  else f.refuse("address", address.error().text);
  if (const std::string alias = f.text_or_empty("alias"); !alias.empty()) {
    auto name = canonical_alias(alias);
    if (name) out.alias = std::move(*name);
    else f.refuse("alias", name.error().text);
  }
  out.groups = f.texts("groups");
  if (const Json* protocols = f.any("protocols")) {
    auto read = protocols_from_json(*protocols);
    if (read) out.protocols = std::move(*read);
    else f.refuse("protocols", read.error().text);
  }
  out.policy = f.text_or_empty("policy");
  if (!f.ok()) return f.error();
  return out;
}

std::vector<ReachTarget> targets(Fields& f, const char* key) {
  std::vector<ReachTarget> out;
  if (!f.has(key)) return out;
  for (const std::string& text : f.texts(key, kListMax)) {
    auto target = parse_target(text);
    if (target) out.push_back(std::move(*target));
    else f.refuse(key, target.error().text);
  }
  return out;
}

Result<TestSpec> test(const Json& j) {
  Fields f(j, "test");
  TestSpec out{subject(f, "user", f.text("user")), targets(f, "can"), targets(f, "cannot"), place_of(j)};
  if (!f.ok()) return f.error();
  return out;
}

// placed adds the line of an entry that stands in a file.
Json placed(Json entry, const Place& place) {
  if (place.line > 0) entry["line"] = place.line;
  return entry;
}

Json texts(const std::vector<ReachTarget>& targets) {
  Json out = Json::array();
  for (const ReachTarget& t : targets) out.push_back(t.text);
  return out;
}

template <class Spec>
Json all(const std::vector<Spec>& specs) {
  Json out = Json::array();
  for (const Spec& s : specs) out.push_back(placed(to_json(s), s.place));
  return out;
}

}  // namespace

Json to_json(const NetworkSpec& n) { return {{"name", n.name}}; }
Json to_json(const ConnectorSpec& c) { return {{"name", c.name}, {"network", c.network}}; }
Json to_json(const RelaySpec& r) { return {{"name", r.name}, {"address", r.address}}; }
Json to_json(const IdentityProviderSpec& p) {
  Json out = {{"name", p.name}, {"issuer", p.issuer}, {"client_id", p.client_id}, {"scopes", p.scopes},
              {"email_claim", p.email_claim}, {"trust_email", p.trust_email}, {"groups_claim", p.groups_claim},
              {"domains", p.domains}, {"session", std::uint64_t(p.session.count())}};
  if (!p.mfa_contexts.empty()) out["mfa_contexts"] = p.mfa_contexts;
  return out;
}
Json to_json(const PolicySpec& p) {
  Json out = {{"name", p.name}};
  if (p.session) out["session"] = std::uint64_t(p.session->count());
  if (p.mfa) out["mfa"] = true;
  if (p.trusted_device) out["trusted_device"] = true;
  if (p.days != kEveryDay) out["days"] = days_text(p.days);
  if (p.hours) out["hours"] = to_string(*p.hours);
  if (p.days != kEveryDay || p.hours || p.time_zone != "UTC") out["time_zone"] = p.time_zone;
  if (p.until) out["until"] = std::uint64_t(p.until->time_since_epoch().count());
  if (p.approval) out["approval"] = std::uint64_t(p.approval->count());
  return out;
}
Json to_json(const UserSpec& u) {
  Json out = {{"email", u.email}};
  if (u.by_sign_in) out["by_sign_in"] = true;
  if (u.blocked) out["blocked"] = true;
  if (u.role != Role::member) out["role"] = to_string(u.role);
  return out;
}
Json to_json(const ServiceSpec& s) {
  Json out = {{"name", s.name}};
  if (s.blocked) out["blocked"] = true;
  if (s.role != Role::member) out["role"] = to_string(s.role);
  return out;
}
Json to_json(const GroupSpec& g) {
  Json out = {{"name", g.name}, {"members", g.members}};
  if (!g.claims.empty()) out["claims"] = to_json(g.claims);
  if (!g.policy.empty()) out["policy"] = g.policy;
  return out;
}

Json to_json(const std::vector<Claim>& claims) {
  Json out = Json::object();
  for (const Claim& c : claims) out[c.provider].push_back(c.value);
  return out;
}

Result<std::vector<Claim>> claims_from_json(const Json& j) {
  std::vector<Claim> out;
  if (!j.is_object() || j.size() > Fields::kListMax) return fail(Errc::malformed, "claims must be an object of lists");
  for (const auto& [provider, values] : j.items()) {
    Fields f(j, "claims");
    for (const std::string& value : f.texts(provider.c_str())) out.push_back({provider, value});
    if (!f.ok()) return f.error();
  }
  std::sort(out.begin(), out.end());
  return out;
}
Json to_json(const ResourceSpec& r) {
  Json out = {{"name", r.name}, {"network", r.network}, {"address", r.address.text()}, {"alias", r.alias},
              {"groups", r.groups}, {"protocols", to_json(r.protocols)}};
  if (!r.policy.empty()) out["policy"] = r.policy;
  return out;
}
Json to_json(const TestSpec& t) { return {{"user", t.user}, {"can", texts(t.can)}, {"cannot", texts(t.cannot)}}; }

Json to_json(const DesiredState& state) {
  return {{"networks", all(state.networks)}, {"connectors", all(state.connectors)}, {"relays", all(state.relays)},
          {"identity_providers", all(state.identity_providers)}, {"policies", all(state.policies)}, {"users", all(state.users)}, {"services", all(state.services)},
          {"groups", all(state.groups)}, {"resources", all(state.resources)},
          {"tests", all(state.tests)}};
}

Result<DesiredState> desired_from_json(const Json& j) {
  if (!j.is_object()) return fail(Errc::malformed, "the desired state is not an object");
  DesiredState out;
  auto read = each(j, "networks", out.networks, network);
  if (read) read = each(j, "connectors", out.connectors, connector);
  if (read) read = each(j, "relays", out.relays, relay);
  if (read) read = each(j, "identity_providers", out.identity_providers, identity_provider);
  if (read) read = each(j, "policies", out.policies, policy);
  if (read) read = each(j, "users", out.users, user);
  if (read) read = each(j, "services", out.services, service);
  if (read) read = each(j, "groups", out.groups, group);
  if (read) read = each(j, "resources", out.resources, resource);
  if (read) read = each(j, "tests", out.tests, test);
  if (!read) return pass_on(read);
  return out;
}

Result<Ports> ports_from_json(const Json& j) {
  if (j == "all") return Ports::all();
  if (j == "none") return Ports::none();
  if (!j.is_array()) {
    return fail(Errc::malformed, R"(ports must be "all", "none" or a list such as ["22", "8000-8100"])");
  }
  std::vector<PortRange> ranges;
  for (const Json& one : j) {
    auto range = one.is_string() ? Ports::parse(one.get_ref<const std::string&>())
        : Result<PortRange>(fail(Errc::malformed, "a port must be a text"));
    if (!range) return fail(Errc::malformed, range.error().text);
    ranges.push_back(*range);
  }
  return Ports(std::move(ranges));
}

Json to_json(const Problem& p) { return placed({{"key", p.key}, {"text", p.text}}, p.place); }

Result<std::vector<Problem>> problems_from_json(const Json& j) {
  std::vector<Problem> out;
  if (!j.is_array()) return fail(Errc::malformed, "the findings are not a list");
  for (const Json& one : j) out.push_back({place_of(one), text_or(one, "key", ""), text_or(one, "text", "")});
  return out;
}

Json to_json(const Change& c) {
  const char* verb = c.verb == Change::Verb::create ? "create" : c.verb == Change::Verb::update ? "update" : "remove";
  return {{"verb", verb}, {"kind", c.kind}, {"name", c.name}, {"detail", c.detail}};
}

Result<Change> change_from_json(const Json& j) {
  Fields f(j, "change");
  Change out;
  const std::string verb = f.text("verb");
  if (verb == "create") out.verb = Change::Verb::create;
  else if (verb == "update") out.verb = Change::Verb::update;
  else if (verb == "remove") out.verb = Change::Verb::remove;
  else f.refuse("verb", "is unknown");
  out.kind = f.text("kind");
  out.name = f.text("name");
  out.detail = f.text_or_empty("detail", 1u << 20);
  if (!f.ok()) return f.error();
  return out;
}

}  // namespace tg::controller
