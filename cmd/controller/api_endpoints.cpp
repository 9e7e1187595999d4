#include "cmd/controller/api_endpoints.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "core/text.h"

namespace tg::controller {
namespace {

using Body = ApiEndpoint::Body;

constexpr const char* kStates = "active|blocked";
constexpr const char* kRoles = "member|auditor|admin|owner";

const ApiField kName = {"name", "text", "What it is called", true};
const ApiField kRename = {"rename", "text", "Another name; it stays what it is for agents. Goes alone"};
const ApiField kCreated = {"created", "time", "When it was made"};
const ApiField kLastSeen = {"last_seen", "time?", "When it was here last"};
const ApiField kOnline = {"online", "flag", "Whether it has a control stream now"};
const ApiField kFrom = {"from", "text?", "Where from"};
const ApiField kVersion = {"version", "text?", "The tg that it runs"};
const ApiField kEnrolled = {"enrolled", "flag", "Whether it was ever let in"};
const ApiField kChanges = {"changes", "changes", "What was changed", true};
const ApiField kExpires = {"expires", "text", "How long it is good for, as in 90d", true};
const ApiField kExpiry = {"expires", "time", "When it ends", true};

using ApiFields = std::vector<ApiField>;

ApiFields operator+(ApiFields a, const ApiFields& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

ApiFields required(ApiFields fields) {
  for (ApiField& f : fields) f.required = true;
  return fields;
}

const ApiFields kProvider = {
    {"scopes", "texts", "What is asked for"},
    {"email_claim", "text", "Where it tells the e-mail address"},
    {"trust_email", "flag", "Whether its addresses are taken without its word that they are verified"},
    {"groups_claim", "text", "Where it tells a person's groups; \"\": they are not asked for"},
    {"domains", "texts", "Whose addresses alone it may vouch for, and need not be listed as users"}};
const ApiFields kProviderSet = {{"session", "length", "How long a sign-in is good for, as in 12h"},
                             {"mfa_contexts", "texts", "Its words (acr) for a sign-in with a second factor"}};
const ApiFields kPolicyFlags = {{"mfa", "flag", "Whether the sign-in must have shown a second factor"},
                             {"trusted_device", "flag", "Whether an administrator must trust the device"},
                             {"days", "texts", "On these days only: mon, or mon-fri"},
                             {"hours", "text", "From one time to another, as in 08:00-18:00; \"\": any"},
                             {"time_zone", "text", "Of days and hours, as in Europe/Berlin"}};
const ApiFields kPolicySet = {{"session", "length", "The sign-in must be younger, as in 8h; \"\": any"},
                           {"until", "moment", "Only until then, as in 2026-12-31T18:00Z; \"\": for ever"},
                           {"approval", "length", "Only after a request was approved, and at most for so long; \"\": without"}};
const ApiFields kGroupSet = {{"members", "texts", "Exactly these: e-mail addresses, and names of services"},
                          {"claims", "claims", "Members are also those of whom a provider says one of these"},
                          {"policy", "text", "What it takes to reach something through it; \"\": nothing more"}};
const ApiFields kResourceSet = {{"alias", "text", "A second name; \"\": none"},
                             {"groups", "texts", "Who may reach it"},
                             {"tcp", "ports", "TCP ports"},
                             {"udp", "ports", "UDP ports"},
                             {"icmp", "flag", "Whether it may be pinged"},
                             {"policy", "text", "What it takes to reach it; \"\": nothing more"}};

std::vector<ApiKind> make_kinds() {
  const ApiField network = {"network", "text", "The network that it belongs to"};
  const ApiField address = {"address", "text", "Where agents find it: HOST[:PORT]"};
  const ApiField target = {"address", "text", "FQDN, wildcard (* and ?), IP or CIDR"};
  const ApiField issuer = {"issuer", "text", "Its https address, exactly as it calls itself"};
  const ApiField client = {"client_id", "text", "The name by which it knows tg"};
  const ApiField role = {"role", kRoles, "What he may do here"};
  const ApiField state = {"state", kStates, "Who is blocked reaches nothing, and nobody lets him in"};
  const ApiField id = {"id", "text", "What it is for tg"};
  return {
      {"network", "networks", "name", "", Role::admin,
       {kName, {"connectors", "number", "How many it has"}, {"connectors_online", "number", "How many of them are here"},
        {"resources", "number", "How many are in it"}},
       {kName}, {kRename}, true},
      {"connector", "connectors", "name", "", Role::admin, {id, kName, network, kEnrolled, kCreated, kLastSeen, kOnline, kFrom, kVersion},
       ApiFields{kName} + required({network}), {kRename, network}, true, {"id"}},
      {"relay", "relays", "name", "", Role::admin, {id, kName, address, kEnrolled, kCreated, kLastSeen, kOnline, kFrom, kVersion},
       ApiFields{kName} + required({address}), {kRename, address}, true, {"id"}},
      {"identity-provider", "identity-providers", "name", "", Role::owner,
       ApiFields{kName, issuer, client} + kProvider +
           ApiFields{{"session", "number", "How long a sign-in is good for, in seconds"}, {"lifetime", "text", "The same, as in 12h"},
                  {"mfa_contexts", "texts", "Missing where there are none"}, {"secret", "hidden|none", "Whether tg has its client secret"}},
       ApiFields{kName} + required({issuer, client}) + kProvider + kProviderSet, ApiFields{kRename, issuer, client} + kProvider + kProviderSet, true},
      {"policy", "policies", "name", "", Role::admin,
       ApiFields{kName} + kPolicyFlags +
           ApiFields{{"session", "number", "In seconds"}, {"until", "time", "When it ends"}, {"approval", "number", "In seconds"},
                  {"demands", "text", "All of it in a few words"}, {"groups", "texts", "Whose it is"}, {"resources", "texts", "Whose it is"}},
       ApiFields{kName} + kPolicyFlags + kPolicySet, ApiFields{kRename} + kPolicyFlags + kPolicySet, true},
      {"user", "users", "email", "email", Role::admin,
       {{"email", "text", "The e-mail address", true}, {"groups", "texts", "Of which he is a member now"}, {"devices", "number", "How many he has"},
        {"accounts", "texts", "The identity providers that know him"}, {"password", "flag", "Whether he may sign in with one"},
        {"totp", "flag", "Whether he must then show a code"}, state, {"made", "by sign-in|by an administrator", "How he came"}, role},
       {{"email", "text", "The e-mail address", true}, state, role},
       {kRename, state, role, {"forget_accounts", "flag", "Let the next sign-in go by the e-mail address again. Goes alone"}}, true},
      {"service", "services", "name", "", Role::admin,
       {kName, state, role, {"groups", "texts", "Of which it is a member"}, {"keys", "number", "How many it has"},
        {"devices", "number", "How many machines came in by them"}},
       {kName, state, role}, {kRename, state, role}, true},
      {"key", "keys", "id", "", Role::admin,
       {id, {"service", "text", "Whose key it is"}, {"name", "text", "What it is called; may be empty"}, {"state", "active|expired", "Whether it lets in"},
        kCreated, kExpiry, {"last_used", "time?", "When it let something in"}, {"devices", "number", "How many machines came in by it"}},
       {}, {{"rename", "text", "What it is called"}}, true, {"service", "created", "id"}},
      {"group", "groups", "name", "", Role::admin,
       {kName, {"members", "texts", "Who was named"}, {"claims", "claims", "Of whom a provider says one of these"},
        {"by_claim", "texts", "Who is a member by that now"}, {"resources", "texts", "What they reach"},
        {"policy", "text", "What it takes; \"\": nothing more"}},
       ApiFields{kName} + kGroupSet,
       ApiFields{kRename} + kGroupSet + ApiFields{{"add", "texts", "Members more"}, {"remove", "texts", "Members less"}}, true},
      {"resource", "resources", "name", "", Role::admin,
       {{"id", "number", "What it is for agents"}, kName, network, target, {"alias", "text", "A second name, or \"\""},
        {"groups", "texts", "Who may reach it"}, {"protocols", "object", "What is allowed"}, {"rules", "text", "The same for people"},
        {"policy", "text", "What it takes; \"\": nothing more"}},
       ApiFields{kName} + required({network, target}) + kResourceSet, ApiFields{kRename, network, target} + kResourceSet, true, {"id"}},
      {"device", "devices", "id", "user", Role::admin,
       {id, {"name", "text", "What the machine calls itself"}, {"user", "text", "Whose it is"},
        {"state", "pending|trusted|blocked", "What an administrator thinks of it"},
        {"access", "blocked|user blocked|signed out|let in", "Whether it may reach anything"}, kCreated, kLastSeen, kOnline, kFrom, kVersion},
       {}, {{"state", "pending|trusted|blocked", "A blocked one loses its flows at once", true}}, true},
      {"session", "sessions", "id", "user", Role::admin,
       {{"id", "text", "The device's"}, {"device", "text", "What that is called"}, {"user", "text", "Whose it is"},
        {"provider", "text", "Who vouched"}, {"methods", "texts", "How (amr)"}, {"context", "text", "How well (acr)"},
        {"started", "time", "When"}, kExpiry},
       {}, {}, true},
      {"request", "requests", "id", "user", Role::admin,
       {id, {"user", "text", "Who asks"}, {"device", "text", "On which"}, {"resource", "text", "For what"}, {"reason", "text", "Why"},
        {"state", "open|approved|denied|over", "What came of it"}, {"asked", "time", "When"}, {"wanted", "text", "For how long"},
        {"decided", "time?", "When"}, {"decided_by", "text", "By whom"}, {"until", "time?", "When it is over"}},
       {}, {}, false, {"asked", "id"}},
      {"api-token", "api-tokens", "id", "user", Role::admin,
       {id, {"user", "text", "For whom it speaks"}, {"name", "text", "What it is called; may be empty"}, {"scopes", "texts", "What it is for"},
        {"state", "active|expired", "Whether it is good"}, kCreated, kExpiry, {"last_used", "time?", "When it was shown last"}},
       {}, {}, true, {"user", "created", "id"}},
  };
}

// Capitals make "identity-provider" "IdentityProvider".
std::string camel(std::string_view kind) {
  std::string out;
  bool up = true;
  for (const char c : kind) {
    if (c == '-') up = true;
    else out += std::exchange(up, false) ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return out;
}

std::string words(std::string kind) {
  std::replace(kind.begin(), kind.end(), '-', ' ');
  return kind;
}

// add_kind adds what every kind has in the common way.
void add_kind(std::vector<ApiEndpoint>& all, const ApiKind& k) {
  const std::string base = std::string("/") + k.path;
  const std::string one = base + "/{name}";
  const std::string name = camel(k.kind);
  const bool owned = *k.owner != '\0';
  const auto question = [&](const char* type) { return Json{{"type", type}, {"kind", k.kind}}; };
  const ApiFields changed = {kChanges, {"item", "item", "As it is now; missing with Prefer: return=minimal"}};
  all.push_back({.method = "GET", .path = base, .operation = "list" + camel(k.path), .summary = fmt::format("List the {}", words(k.path)),
                 .question = question("list"), .area = k.path, .kind = &k, .own = owned,
                 .query = {{"limit", "number", "How many at most; 1000 when nothing is said"},
                           {"cursor", "text", "The \"next\" of the page before"}},
                 .gives = {{"items", "items", "A page of them", true},
                           {"next", "text?", "Where the next page begins; null: there is none", true}}});
  all.push_back({.method = "GET", .path = one, .operation = "get" + name, .summary = fmt::format("Show one {}", words(k.kind)),
                 .question = question("show"), .area = k.path, .kind = &k, .own = owned, .gives = {{"", "item", ""}}});
  if (!k.create.empty()) {
    all.push_back({.method = "POST", .path = base, .operation = "create" + name, .summary = fmt::format("Make one {}", words(k.kind)),
                   .question = question("create"), .area = k.path, .deed = Deed::write, .least = k.writer, .kind = &k,
                   .body = Body::fields, .takes = k.create, .gives = changed});
  }
  if (!k.update.empty()) {
    all.push_back({.method = "PATCH", .path = one, .operation = "update" + name,
                   .summary = fmt::format("Change one {}: what is not said stays as it is", words(k.kind)), .question = question("update"),
                   .area = k.path, .deed = Deed::write, .least = k.writer, .kind = &k, .body = Body::fields, .takes = k.update,
                   .gives = changed});
  }
  if (k.removable) {
    all.push_back({.method = "DELETE", .path = one, .operation = "delete" + name, .summary = fmt::format("Delete one {}", words(k.kind)),
                   .question = question("delete"), .area = k.path, .deed = Deed::write, .least = k.writer, .kind = &k,
                   .own = owned && std::string_view(k.kind) != "user", .gives = {kChanges}});
  }
}

const ApiKind* kind_named(std::string_view kind) {
  const auto& all = api_kinds();
  const auto found = std::find_if(all.begin(), all.end(), [&](const ApiKind& k) { return k.kind == kind; });
  return &*found;
}

const ApiField kWait = {"wait_ms", "number", "How long to wait for something to tell, in milliseconds; 60000 at most"};

// The controller, its whole state, and its records.
std::vector<ApiEndpoint> of_the_whole() {
  return {
      {.method = "GET", .path = "/me", .operation = "whoAmI", .summary = "Say who asks, and what he may do", .question = {{"type", "me"}},
       .least = Role::member,
       .gives = {{"who", "text", "As in the audit log", true}, {"user", "text", "\"\" on the controller's own machine", true},
                 {"role", kRoles, "", true}, {"scopes", "texts", "", true}}},
      {.method = "GET", .path = "/status", .operation = "getStatus", .summary = "Say how the controller is",
       .question = {{"type", "status"}}, .area = "status",
       .gives = {{"status", "object", "Where it listens, how many agents there are, and what is wrong", true}}},
      {.method = "GET", .path = "/state", .operation = "getState", .summary = "Export what is true now, as PUT takes it",
       .question = {{"type", "state"}}, .area = "state",
       .gives = {{"", "object", "Networks, connectors, users, groups, Resources and so on"}}},
      {.method = "PUT", .path = "/state", .operation = "applyState", .summary = "Make a desired state true, all or nothing",
       .question = {{"type", "apply"}}, .area = "state", .deed = Deed::write, .least = Role::admin, .body = Body::state,
       .query = {{"dry_run", "flag", "Only say what would be changed"}, {"prune", "flag", "Also remove what it does not name"}},
       .gives = {kChanges, {"problems", "objects", "What makes it impossible (409)", true},
                 {"failures", "objects", "Tests that would not hold (409)", true}}},
      {.method = "GET", .path = "/audit", .operation = "listAudit",
       .summary = "List what was changed, when and by whom: the oldest first", .question = {{"type", "audit"}}, .area = "audit",
       .query = {{"after", "number", "Only entries above this number"}, {"most", "number", "How many at most, up to 1000"},
                 {"newest", "number", "The newest so many, in the place of after and most"}, kWait},
       .gives = {{"entries", "objects", "", true}, {"last", "number", "The newest there is", true}}},
      {.method = "GET", .path = "/audit/verification", .operation = "verifyAudit",
       .summary = "Check that no entry was altered, taken out or put in", .question = {{"type", "verify_audit"}}, .area = "audit",
       .query = {{"number", "number", "Of an end that was noted earlier"}, {"hash", "text", "Of it: the log must go through it"}},
       .gives = {{"number", "number", "The log's end", true}, {"hash", "text", "", true},
                 {"problem", "text", "\"\": it is whole", true}}},
      {.method = "GET", .path = "/events", .operation = "listEvents",
       .summary = "List who used what: the newest first, or with \"after\" the oldest", .question = {{"type", "events"}}, .area = "events",
       .query = {{"most", "number", "How many at most, up to 1000"}, {"before", "number", "Only events below this number"},
                 {"after", "number", "Only events above it"}, {"user", "text", ""}, {"device", "text", "Its id or name"},
                 {"resource", "text", ""}, {"connector", "text", ""},
                 {"kinds", "texts", "Of established, closed, denied, failed, lost"}, {"since", "number", "Unix seconds"},
                 {"until", "number", "Unix seconds"}, kWait},
       .gives = {{"events", "objects", "", true}, {"reached", "number", "Where to go on", true}, {"done", "flag", "Nothing is left", true},
                 {"last", "number", "The newest there is", true}}},
  };
}

// What is made once and shown only then, and what people prove themselves with.
std::vector<ApiEndpoint> of_secrets() {
  const ApiField name = {"name", "text", "What it is called in lists"};
  return {
      {.method = "POST", .path = "/enrolment-tokens", .operation = "createEnrolmentToken",
       .summary = "Make a token that lets in one device, connector or relay, once", .question = {{"type", "token"}},
       .area = "enrolment-tokens", .deed = Deed::write, .least = Role::admin, .body = Body::members,
       .takes = {{"role", "device|connector|relay", "What it lets in", true},
                 {"subject", "text", "Whose device, or which connector or relay", true}, kExpires,
                 {"trusted", "flag", "The device is trusted from the beginning"}},
       .gives = {{"token", "text", "It is shown only now", true}, kExpiry}},
      {.method = "POST", .path = "/keys", .operation = "createKey",
       .summary = "Make a key that lets in machines of a service, as many as come", .question = {{"type", "key"}}, .area = "keys",
       .deed = Deed::write, .least = Role::admin, .body = Body::members, .takes = {{"service", "text", "Whose", true}, name, kExpires},
       .gives = {{"key", "text", "It is shown only now", true}, {"id", "text", "", true}, kExpiry}},
      {.method = "POST", .path = "/api-tokens", .operation = "createApiToken", .summary = "Make a token for this API",
       .question = {{"type", "api_token"}}, .area = "api-tokens", .deed = Deed::write, .least = Role::admin,
       .kind = kind_named("api-token"), .own = true, .body = Body::members,
       .takes = {{"user", "text", "The person or service for whom it speaks, with that role", true}, name,
                 {"scopes", "texts", "AREA:read or AREA:write", true}, kExpires},
       .gives = {{"token", "text", "It is shown only now", true}, {"id", "text", "", true}, kExpiry}},
      {.method = "PUT", .path = "/identity-providers/{name}/secret", .operation = "setProviderSecret", .summary = "Keep a client secret",
       .question = {{"type", "secret"}}, .area = "identity-providers", .deed = Deed::write, .least = Role::owner, .body = Body::members,
       .takes = {{"secret", "text", "Nobody is shown it again", true}}},
      {.method = "DELETE", .path = "/identity-providers/{name}/secret", .operation = "deleteProviderSecret",
       .summary = "Forget a client secret", .question = {{"type", "secret"}, {"remove", true}}, .area = "identity-providers",
       .deed = Deed::write, .least = Role::owner},
      {.method = "PUT", .path = "/users/{name}/password", .operation = "setPassword",
       .summary = "Set a password: only what it takes to check one is sent (scrypt, then SHA-256)", .question = {{"type", "password"}},
       .area = "users", .deed = Deed::write, .least = Role::admin, .body = Body::members,
       .takes = {{"salt", "text", "16 bytes in hexadecimal", true}, {"n", "number", "scrypt's N", true}, {"r", "number", "", true},
                 {"p", "number", "", true}, {"verifier", "text", "SHA-256 of scrypt's 32 bytes, in hexadecimal", true}}},
      {.method = "DELETE", .path = "/users/{name}/password", .operation = "deletePassword",
       .summary = "Take a password away, and the sessions by it", .question = {{"type", "password"}, {"remove", true}}, .area = "users",
       .deed = Deed::write, .least = Role::admin},
      {.method = "POST", .path = "/users/{name}/totp", .operation = "createTotp", .summary = "Give a second factor (RFC 6238)",
       .question = {{"type", "totp"}, {"remove", false}}, .area = "users", .deed = Deed::write, .least = Role::admin,
       .gives = {{"uri", "text", "otpauth://… for an authenticator app; it is shown only now", true}}},
      {.method = "DELETE", .path = "/users/{name}/totp", .operation = "deleteTotp",
       .summary = "Take the second factor away, and the sessions by it", .question = {{"type", "totp"}, {"remove", true}}, .area = "users",
       .deed = Deed::write, .least = Role::admin, .gives = {{"uri", "text", "", true}}},
      {.method = "POST", .path = "/requests/{id}/approve", .operation = "approveRequest",
       .summary = "Let the user reach the Resource for a while", .question = {{"type", "approve"}}, .area = "requests",
       .deed = Deed::write, .least = Role::admin, .body = Body::members,
       .takes = {{"for", "text", "For how long from now; what was asked for when nothing is said"}}, .gives = {kChanges}},
      {.method = "POST", .path = "/requests/{id}/deny", .operation = "denyRequest",
       .summary = "Refuse, or end at once what was approved", .question = {{"type", "deny"}}, .area = "requests", .deed = Deed::write,
       .least = Role::admin, .gives = {kChanges}},
  };
}

std::vector<ApiEndpoint> make_endpoints() {
  std::vector<ApiEndpoint> all = of_the_whole();
  for (const ApiKind& k : api_kinds()) add_kind(all, k);
  for (ApiEndpoint& e : of_secrets()) all.push_back(std::move(e));
  return all;
}

std::vector<std::string_view> segments_of(std::string_view path) {
  std::vector<std::string_view> out;
  while (!path.empty()) {
    path.remove_prefix(1);
    out.push_back(path.substr(0, path.find('/')));
    path.remove_prefix(out.back().size());
  }
  return out;
}

bool is_parameter(std::string_view part) { return part.starts_with('{'); }
std::string parameter(std::string_view part) { return std::string(part.substr(1, part.size() - 2)); }

// match_path returns the parts of `path` that the endpoint leaves open, or nothing when it is another one.
std::optional<std::vector<std::pair<std::string, std::string>>> match_path(const ApiEndpoint& e, const std::vector<std::string_view>& parts) {
  const auto own = segments_of(e.path);
  if (own.size() != parts.size()) return std::nullopt;
  std::vector<std::pair<std::string, std::string>> out;
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (!is_parameter(own[i])) {
      if (own[i] != parts[i]) return std::nullopt;
      continue;
    }
    auto value = percent_decoded(parts[i]);
    if (!value || value->empty()) return std::nullopt;
    out.emplace_back(parameter(own[i]), std::move(*value));
  }
  return out;
}

const ApiField* field_named(const ApiFields& fields, std::string_view name) {
  const auto found = std::find_if(fields.begin(), fields.end(), [&](const ApiField& f) { return f.name == name; });
  return found == fields.end() ? nullptr : &*found;
}

tl::unexpected<Error> bad(std::string_view name, std::string_view why) {
  return fail(Errc::malformed, fmt::format("{}: {}", printable(name, 64), why));
}

// read_query makes a value of a query's text.
Result<Json> read_query(const ApiField& f, const std::string& text) {
  const std::string_view type = f.type;
  if (type == "text") return Json(text);
  if (type == "flag") {
    if (text == "true" || text == "false") return Json(text == "true");
    return bad(f.name, "is not true or false");
  }
  if (type == "number") {
    const bool number = !text.empty() && text.size() < 19 && text.find_first_not_of("0123456789") == std::string::npos;
    if (!number) return bad(f.name, "is no number");
    return Json(std::stoull(text));
  }
  Json out = Json::array();
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    out.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return out;
}

std::string write_query(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return json_text(value);
  std::string out;
  for (const Json& one : value) out += (out.empty() ? "" : ",") + write_query(one);
  return out;
}

Result<> check_members(const ApiFields& known, const Json& body) {
  if (!body.is_object()) return fail(Errc::malformed, "the body is not a JSON object");
  for (const auto& [name, value] : body.items()) {
    if (field_named(known, name) != nullptr) continue;
    std::vector<std::string_view> names;
    for (const ApiField& f : known) names.push_back(f.name);
    return bad(name, fmt::format("there is no such member; there are {}", fmt::join(names, ", ")));
  }
  for (const ApiField& f : known) {
    if (f.required && !body.contains(f.name)) return bad(f.name, "is missing");
  }
  return {};
}

// Whether everything that an endpoint is, is in a question.
bool asks(const Json& question, const ApiEndpoint& e) {
  return std::all_of(e.question.items().begin(), e.question.items().end(), [&](const auto& part) {
    const auto found = question.find(part.key());
    return found != question.end() && *found == part.value();
  });
}

}  // namespace

const std::vector<ApiKind>& api_kinds() {
  static const std::vector<ApiKind> all = make_kinds();
  return all;
}

const std::vector<ApiEndpoint>& api_endpoints() {
  static const std::vector<ApiEndpoint> all = make_endpoints();
  return all;
}

ApiMatch find_endpoint(std::string_view method, std::string_view path) {
  ApiMatch out;
  if (!path.starts_with(kApiBase)) return out;
  path.remove_prefix(kApiBase.size());
  if (!path.starts_with('/')) return out;
  const auto parts = segments_of(path);
  for (const ApiEndpoint& e : api_endpoints()) {
    auto found = match_path(e, parts);
    if (!found) continue;
    out.methods.push_back(e.method);
    if (e.method != method) continue;
    out.endpoint = &e;
    out.parts = std::move(*found);
  }
  return out;
}

Result<Json> question_of(const ApiMatch& match, const QueryItems& query, const Json& body) {
  const ApiEndpoint& e = *match.endpoint;
  Json out = e.question;
  for (const auto& [name, value] : query) {
    const ApiField* f = field_named(e.query, name);
    if (f == nullptr) return bad(name, "there is no such parameter here");
    if (out.contains(name)) return bad(name, "is given twice");
    auto read = read_query(*f, value);
    if (!read) return pass_on(read);
    out[name] = std::move(*read);
  }
  for (const ApiField& f : e.query) {   // a flag that is not given
    if (std::string_view(f.type) == "flag" && !out.contains(f.name)) out[f.name] = false;
  }
  for (const auto& [name, value] : match.parts) out[name] = value;
  if (e.body == Body::none) return out;
  if (e.body == Body::state) {
    out["state"] = body;
    return out;
  }
  if (auto good = check_members(e.takes, body); !good) return pass_on(good);
  if (e.body == Body::members) {
    for (const auto& [name, value] : body.items()) out[name] = value;
    return out;
  }
  out["fields"] = body;
  if (e.question["type"] == "create") {
    out["name"] = body[e.kind->key];
    out["fields"].erase(e.kind->key);
  }
  return out;
}

Result<HttpRequest> request_of(const Json& question) {
  const ApiEndpoint* chosen = nullptr;
  for (const ApiEndpoint& e : api_endpoints()) {
    if (asks(question, e) && (chosen == nullptr || e.question.size() > chosen->question.size())) chosen = &e;
  }
  if (chosen == nullptr) return fail(Errc::unsupported, fmt::format("there is no question \"{}\"", printable(text_or(question, "type", ""), 64)));
  Json left = question;
  for (const auto& [name, value] : chosen->question.items()) left.erase(name);
  HttpRequest out;
  out.method = chosen->method;
  for (const std::string_view part : segments_of(chosen->path)) {
    out.url += "/" + (is_parameter(part) ? percent_encoded(text_or(left, parameter(part).c_str(), "")) : std::string(part));
    if (is_parameter(part)) left.erase(parameter(part));
  }
  char mark = '?';
  for (const ApiField& f : chosen->query) {
    const auto value = left.find(f.name);
    if (value == left.end()) continue;
    out.url += std::exchange(mark, '&') + fmt::format("{}={}", f.name, percent_encoded(write_query(*value)));
    left.erase(f.name);
  }
  if (chosen->body == Body::none) return out;
  Json body = left;
  if (chosen->body == Body::state) body = left.value("state", Json());
  if (chosen->body == Body::fields) {
    body = left.value("fields", Json::object());
    if (chosen->question["type"] == "create" && body.is_object()) body[chosen->kind->key] = left.value("name", Json());
  }
  out.headers.emplace_back("Content-Type", "application/json");
  out.body = json_text(body);
  return out;
}

}  // namespace tg::controller
