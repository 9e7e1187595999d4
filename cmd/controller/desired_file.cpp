#include "cmd/controller/desired_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "cmd/controller/names.h"
#include "cmd/controller/toml_reader.h"
#include "core/access.h"
#include "core/duration.h"
#include "core/moment.h"
#include "core/text.h"

namespace tg::controller {
namespace {

std::string titled(std::string_view kind, const std::string& name) {
  return fmt::format("{} \"{}\"", kind, printable(name, 64));
}

// read_name reads the key that names an entry, and from then on messages carry it.
std::string read_name(TableReader& reader, std::string_view kind, std::string_view key = "name") {
  auto name = reader.text(key, true);
  if (!name) return {};
  if (key == "email") {
    auto email = canonical_email(*name);
    if (!email) reader.error(key, email.error().text);
    else *name = *email;
  } else if (auto good = kind == "service" ? check_service_name(*name) : check_name(*name); !good) {
    reader.error(key, good.error().text);
  }
  if (!name->empty()) reader.set_entry(titled(kind, *name));
  return *name;
}

std::optional<PortRange> read_port(TableReader& reader, const toml::node& node, const std::string& key) {
  std::string text;
  if (const auto* number = node.as_integer()) text = std::to_string(number->get());
  else if (const auto* value = node.as_string()) text = value->get();
  else {
    reader.error_at(node, key, fmt::format("must be a port or a range in quotes, not {}", kind_of(node)));
    return std::nullopt;
  }
  auto range = Ports::parse(text);
  if (range) return *range;
  reader.error_at(node, key, fmt::format("\"{}\" is not a port or a range", printable(text, 64)));
  return std::nullopt;
}

Ports read_ports(TableReader& reader, std::string_view key) {
  const toml::node* node = reader.node(key);
  if (node == nullptr) return Ports::all();
  if (const auto* word = node->as_string()) {
    if (word->get() == "all") return Ports::all();
    if (word->get() == "none") return Ports::none();
    reader.error(key, fmt::format("\"{0}\" is neither \"all\" nor \"none\"; ports are a list: [\"{0}\"]",
                                  printable(word->get(), 64)));
    return {};
  }
  const toml::array* list = node->as_array();
  if (list == nullptr) {
    reader.error(key, fmt::format("must be \"all\", \"none\" or a list of ports, not {}", kind_of(*node)));
    return {};
  }
  std::vector<PortRange> ranges;
  for (std::size_t i = 0; i < list->size(); ++i) {
    if (auto range = read_port(reader, (*list)[i], fmt::format("{}[{}]", key, i))) ranges.push_back(*range);
  }
  return Ports(std::move(ranges));
}

Protocols read_protocols(TableReader& entry, Notes& notes) {
  Protocols out;
  const toml::table* table = entry.table("protocols");
  if (table == nullptr) return out;
  TableReader reader(*table, entry.entry(), notes, "protocols.");
  reader.only({"tcp", "udp", "icmp"});
  out.tcp = read_ports(reader, "tcp");
  out.udp = read_ports(reader, "udp");
  out.icmp = reader.boolean("icmp").value_or(true);
  std::string open;
  std::string shut;
  for (const auto& [key, value] : {std::pair{"tcp", "tcp = \"none\""}, {"udp", "udp = \"none\""},
                                   {"icmp", "icmp = false"}}) {
    if (reader.node(key) != nullptr) continue;
    open += (open.empty() ? "" : " and ") + std::string(key);
    shut += (shut.empty() ? "" : ", ") + std::string(value);
  }
  if (!open.empty()) {
    entry.warning("protocols", fmt::format("{} not named and so allowed; to refuse, write {}",
                                           open + (open.find(' ') == std::string::npos ? " is" : " are"), shut));
  }
  return out;
}

// read_with reads a text that stands for something else: nothing where the key is missing, or wrong.
template <class Parse>
auto read_with(TableReader& reader, std::string_view key, Parse parse) -> std::optional<typename decltype(parse(""))::value_type> {
  const auto text = reader.text(key, false);
  if (!text) return std::nullopt;
  auto value = parse(*text);
  if (value) return *value;
  reader.error(key, value.error().text);
  return std::nullopt;
}

NetworkSpec read_network(TableReader& reader) {
  NetworkSpec out;
  out.name = read_name(reader, "network");
  out.place = reader.place();
  reader.only({"name"});
  return out;
}

ConnectorSpec read_connector(TableReader& reader) {
  ConnectorSpec out;
  out.name = read_name(reader, "connector");
  out.place = reader.place();
  reader.only({"name", "network"});
  out.network = reader.text("network", true).value_or("");
  return out;
}

RelaySpec read_relay(TableReader& reader) {
  RelaySpec out;
  out.name = read_name(reader, "relay");
  out.place = reader.place();
  reader.only({"name", "address"});
  if (const auto text = reader.text("address", true)) {
    auto address = canonical_relay_address(*text);
    if (address) out.address = *address;
    else reader.error("address", address.error().text);
  }
  return out;
}

IdentityProviderSpec read_identity_provider(TableReader& reader) {
  IdentityProviderSpec out;
  out.name = read_name(reader, "identity-provider");
  out.place = reader.place();
  reader.only({"name", "issuer", "client_id", "scopes", "email_claim", "trust_email", "groups_claim", "domains", "session",
               "mfa_contexts"});
  out.issuer = reader.text("issuer", true).value_or("");
  out.client_id = reader.text("client_id", true).value_or("");
  if (reader.node("scopes") != nullptr) out.scopes = reader.texts("scopes");
  if (const auto claim = reader.text("email_claim", false)) out.email_claim = *claim;
  out.trust_email = reader.boolean("trust_email").value_or(false);
  out.groups_claim = reader.text("groups_claim", false).value_or("");
  for (const std::string& domain : reader.texts("domains")) out.domains.push_back(lower(domain));
  if (const auto session = read_with(reader, "session", parse_duration)) out.session = *session;
  out.mfa_contexts = reader.texts("mfa_contexts");
  return out;
}

PolicySpec read_policy(TableReader& reader) {
  PolicySpec out;
  out.name = read_name(reader, "policy");
  out.place = reader.place();
  reader.only({"name", "session", "mfa", "trusted_device", "days", "hours", "time_zone", "until", "approval"});
  out.session = read_with(reader, "session", parse_duration);
  out.mfa = reader.boolean("mfa").value_or(false);
  out.trusted_device = reader.boolean("trusted_device").value_or(false);
  if (reader.node("days") != nullptr) {
    auto days = parse_days(reader.texts("days"));
    if (days) out.days = *days;
    else reader.error("days", days.error().text);
  }
  out.hours = read_with(reader, "hours", parse_hours);
  if (auto zone = reader.text("time_zone", false)) out.time_zone = std::move(*zone);
  out.until = read_with(reader, "until", parse_utc);
  out.approval = read_with(reader, "approval", parse_duration);
  return out;
}

UserSpec read_user(TableReader& reader) {
  UserSpec out;
  out.email = read_name(reader, "user", "email");
  out.place = reader.place();
  reader.only({"email", "blocked", "role"});
  out.blocked = reader.boolean("blocked").value_or(false);
  out.role = read_with(reader, "role", parse_role).value_or(Role::member);
  return out;
}

ServiceSpec read_service(TableReader& reader) {
  ServiceSpec out;
  out.name = read_name(reader, "service");
  out.place = reader.place();
  reader.only({"name", "blocked", "role"});
  out.blocked = reader.boolean("blocked").value_or(false);
  out.role = read_with(reader, "role", parse_role).value_or(Role::member);
  return out;
}

// read_claims reads claims = { PROVIDER = ["value", …], … }.
std::vector<Claim> read_claims(TableReader& entry, Notes& notes) {
  std::vector<Claim> out;
  const toml::table* table = entry.table("claims");
  if (table == nullptr) return out;
  TableReader reader(*table, entry.entry(), notes, "claims.");
  for (const auto& [provider, values] : *table) {
    for (const std::string& value : reader.texts(provider.str())) out.push_back({std::string(provider.str()), value});
  }
  std::sort(out.begin(), out.end());
  return out;
}

GroupSpec read_group(TableReader& reader, Notes& notes) {
  GroupSpec out;
  out.name = read_name(reader, "group");
  out.place = reader.place();
  reader.only({"name", "members", "claims", "policy"});
  for (const std::string& member : reader.texts("members")) {
    auto subject = canonical_subject(member);
    if (subject) out.members.push_back(*subject);
    else reader.error("members", subject.error().text);
  }
  out.claims = read_claims(reader, notes);
  out.policy = reader.text("policy", false).value_or("");
  return out;
}

ResourceSpec read_resource(TableReader& reader, Notes& notes) {
  ResourceSpec out;
  out.name = read_name(reader, "resource");
  out.place = reader.place();
  reader.only({"name", "network", "address", "alias", "groups", "protocols", "policy"});
  out.network = reader.text("network", true).value_or("");
  if (const auto text = reader.text("address", true)) {
    auto address = Address::parse(*text);
    if (address) out.address = *address;
    else reader.error("address", address.error().text);
  }
  if (const auto text = reader.text("alias", false)) {
    auto alias = canonical_alias(*text);
    if (alias) out.alias = *alias;
    else reader.error("alias", alias.error().text);
  }
  out.groups = reader.texts("groups");
  out.protocols = read_protocols(reader, notes);
  out.policy = reader.text("policy", false).value_or("");
  return out;
}

// read_targets reads the targets of a test. Each test has at least one, in either list.
std::vector<ReachTarget> read_targets(TableReader& reader, std::string_view key) {
  std::vector<ReachTarget> out;
  for (const std::string& text : reader.texts(key)) {
    auto target = parse_target(text);
    if (target) out.push_back(std::move(*target));
    else reader.error(key, target.error().text);
  }
  return out;
}

TestSpec read_test(TableReader& reader) {
  TestSpec out;
  out.place = reader.place();
  reader.only({"user", "can", "cannot"});
  if (const auto user = reader.text("user", true)) {
    auto subject = canonical_subject(*user);
    if (subject) out.user = *subject;
    else reader.error("user", subject.error().text);
    reader.set_entry("test of " + printable(*user, 64));
  }
  out.can = read_targets(reader, "can");
  out.cannot = read_targets(reader, "cannot");
  if (reader.node("can") == nullptr && reader.node("cannot") == nullptr) {
    reader.error("", "says neither what the user can reach nor what he cannot: can = [\"nas.home.int:22\"]");
  }
  return out;
}

const std::string& name_of(const UserSpec& u) { return u.email; }
template <class Spec>
const std::string& name_of(const Spec& s) { return s.name; }

DesiredState read_state(const toml::table& root, Notes& notes, Places& places) {
  DesiredState out;
  TableReader file(root, "", notes);
  file.only({"network", "connector", "relay", "identity-provider", "policy", "user", "service", "group", "resource", "test"});
  const auto each = [&](std::string_view kind, auto& into, auto read) {
    for (const toml::table* table : file.tables(kind)) {
      TableReader reader(*table, std::string(kind), notes);
      into.push_back(read(reader));
      places.note(fmt::format("{} {}", kind, name_of(into.back())), reader.entry(), *table);
    }
  };
  each("network", out.networks, read_network);
  each("connector", out.connectors, read_connector);
  each("relay", out.relays, read_relay);
  each("identity-provider", out.identity_providers, read_identity_provider);
  each("policy", out.policies, read_policy);
  each("user", out.users, read_user);
  each("service", out.services, read_service);
  each("group", out.groups, [&](TableReader& reader) { return read_group(reader, notes); });
  each("resource", out.resources, [&](TableReader& reader) { return read_resource(reader, notes); });
  for (const toml::table* table : file.tables("test")) {
    TableReader reader(*table, "test", notes);
    out.tests.push_back(read_test(reader));
  }
  return out;
}

void by_line(std::vector<Problem>& found) {
  std::stable_sort(found.begin(), found.end(),
                   [](const Problem& a, const Problem& b) { return a.place.line < b.place.line; });
}

}  // namespace

void Places::note(const std::string& plain, const std::string& entry, const toml::table& table) {
  known_[plain].key = entry;
  for (const auto& [key, value] : table) {
    const std::string name(key.str());
    known_[plain + ": " + name] = {{static_cast<int>(value.source().begin.line)}, entry + ": " + name, {}};
  }
}

std::vector<Problem> Places::in_file(std::vector<Problem> found) const {
  for (Problem& p : found) {
    const auto known = known_.find(p.key);
    if (known == known_.end()) continue;
    p.key = known->second.key;
    if (known->second.place.line > 0) p.place = known->second.place;
  }
  by_line(found);
  return found;
}

std::string line_of(const Problem& found, const std::string& path) {
  const std::string place = found.place.line > 0 ? fmt::format("{}:{}: ", path, found.place.line) : path + ": ";
  return fmt::format("{}{}{}{}", place, found.key, found.key.empty() ? "" : ": ", found.text);
}

DesiredFile parse_desired(std::string_view text, const std::string& path) {
  DesiredFile out;
  if (text.size() > kDesiredFileMax) {
    out.errors.push_back(fmt::format("{}: larger than {} MiB", path, kDesiredFileMax >> 20));
    return out;
  }
  const auto root = cmd::parse_toml(text, path);
  if (!root) {
    out.errors.push_back(root.error().text);
    return out;
  }
  Notes notes;
  out.state = read_state(*root, notes, out.places);
  if (notes.errors.empty()) notes.errors = out.places.in_file(problems(out.state));
  by_line(notes.errors);
  by_line(notes.warnings);
  for (const Problem& p : notes.errors) out.errors.push_back(line_of(p, path));
  for (const Problem& p : notes.warnings) out.warnings.push_back(line_of(p, path));
  return out;
}

}  // namespace tg::controller
