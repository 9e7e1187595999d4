#include "cmd/controller/api.h"

#include <algorithm>

#include <fmt/format.h>

#include "cmd/controller/desired_json.h"
#include "cmd/controller/edits.h"
#include "cmd/controller/web_request.h"
#include "core/authority.h"
#include "core/duration.h"
#include "core/encoding.h"
#include "core/text.h"

namespace tg::controller {
namespace {

constexpr std::size_t kBodyMax = 1u << 20;         // of what is no state
constexpr std::size_t kPageStandard = 1000;
constexpr std::size_t kPageMost = 10'000;
constexpr std::size_t kIdempotencyKeyMax = 255;
constexpr std::string_view kAnswerName = "answer";  // of what the vault seals

// No ETag: what is not of an administrator's saying.
constexpr const char* kVolatile[] = {"online", "from", "version", "last_seen", "last_used", "connectors", "connectors_online", "resources",
                                     "devices", "keys", "by_claim", "access", "accounts"};

HttpReply json_reply(int status, const Json& body) { return {status, "application/json", json_text(body) + "\n", {{"Cache-Control", "no-store"}}}; }

std::string header(const HttpAsked& asked, std::string_view name) {
  const std::string* found = asked.header(name);
  return found == nullptr ? std::string() : *found;
}

// Where in the order of a kind an entry stands.
Json place_of(const ApiKind& kind, const Json& item) {
  Json out = Json::array();
  if (kind.order.empty()) out.push_back(item.at(kind.key));
  for (const char* member : kind.order) out.push_back(item.at(member));
  return out;
}

std::string cursor_of(const Json& place) { return base64url(as_bytes(json_text(place))); }

std::optional<Json> place_at(const ApiKind& kind, const std::string& cursor) {
  const auto bytes = unbase64url(cursor);
  auto place = bytes ? parse_json(as_text(*bytes)) : std::nullopt;
  if (!place || !place->is_array() || place->size() != std::max<std::size_t>(kind.order.size(), 1)) return std::nullopt;
  return place;
}

// page takes the entries of one page out of all of them.
Result<Json> page(const ApiKind& kind, Json items, const Json& question) {
  const auto asked = number_or(question, "limit", kPageStandard);
  if (asked < 1 || asked > static_cast<std::int64_t>(kPageMost)) {
    return fail(Errc::malformed, fmt::format("limit: is not a number from 1 to {}", kPageMost));
  }
  const auto most = static_cast<std::size_t>(asked);
  const auto before = [&](const Json& a, const Json& b) { return place_of(kind, a) < place_of(kind, b); };
  auto& list = items.get_ref<Json::array_t&>();
  if (!std::is_sorted(list.begin(), list.end(), before)) std::stable_sort(list.begin(), list.end(), before);
  auto from = list.begin();
  if (question.contains("cursor")) {
    const auto place = place_at(kind, text_or(question, "cursor", ""));
    if (!place) return fail(Errc::malformed, "cursor: is none that a page before named as its \"next\"");
    from = std::partition_point(list.begin(), list.end(), [&](const Json& item) { return !(*place < place_of(kind, item)); });
  }
  const auto to = from + static_cast<std::ptrdiff_t>(std::min<std::size_t>(most, static_cast<std::size_t>(list.end() - from)));
  Json next;
  if (to != list.end()) next = cursor_of(place_of(kind, *(to - 1)));
  return Json{{"items", Json::array_t(std::make_move_iterator(from), std::make_move_iterator(to))}, {"next", next}};
}

// names says whether an If-Match header has this tag, or any. A weak one is none (RFC 9110 section 13.1.1).
bool names(std::string_view header, std::string_view tag) {
  while (!header.empty()) {
    std::string_view one = header.substr(0, header.find(','));
    header.remove_prefix(std::min(header.size(), one.size() + 1));
    while (one.starts_with(' ') || one.starts_with('\t')) one.remove_prefix(1);
    while (one.ends_with(' ') || one.ends_with('\t')) one.remove_suffix(1);
    if (one == "*" || one == tag) return true;
  }
  return false;
}

// subject_of writes an e-mail address as the store does.
std::string subject_of(const std::string& text) { return is_person(text) ? lower(text) : text; }

bool is_entry(const ApiEndpoint& e) { return e.kind != nullptr && e.path.ends_with("/{name}"); }

}  // namespace

// Asking is one request on its way.
struct Api::Asking {
  const ApiMatch& match;
  const ApiEndpoint& endpoint;
  const HttpAsked& asked;
  const Caller& caller;
  Stamp stamp;
  Json question{};
  std::string type() const { return text_or(question, "type", ""); }
  std::string text(const char* member) const { return text_or(question, member, ""); }
  bool only_own() const { return caller.role < endpoint.least; }
};

int status_of(Errc code) noexcept {
  switch (code) {
    case Errc::invalid_argument:
    case Errc::malformed: return 400;
    case Errc::login_needed:
    case Errc::expired: return 401;
    case Errc::denied:
    case Errc::removed: return 403;
    case Errc::not_found: return 404;
    case Errc::conflict:
    case Errc::failed: return 409;
    case Errc::exhausted: return 422;
    case Errc::unsupported: return 404;
    case Errc::timed_out: return 503;
    default: return 500;
  }
}

HttpReply problem(int status, const Error& error) {
  const std::string code(to_string(error.code));
  HttpReply out = json_reply(status, {{"type", "about:blank"}, {"title", http_reason(status)}, {"status", status},
                                      {"detail", printable(error.text, 64 * 1024)}, {"code", code}});
  out.content_type = "application/problem+json";
  if (status == 401) out.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"tg\"");
  return out;
}

std::optional<std::string> bearer_token(const HttpAsked& asked) {
  const std::string* value = asked.header("authorization");
  if (value == nullptr || lower(value->substr(0, 7)) != "bearer ") return std::nullopt;
  const auto first = value->find_first_not_of(' ', 7);
  return first == value->npos ? std::string() : value->substr(first, value->find_last_not_of(' ') + 1 - first);
}

std::string etag(const Json& whole) { return fmt::format("\"{}\"", hex(Bytes(sha256(as_bytes(json_text(whole)))).first(12))); }

std::string entry_etag(const Json& item) {
  Json said = item;
  for (const char* name : kVolatile) said.erase(name);
  return etag(said);
}

bool Api::is_public(std::string_view path) {
  if (!path.starts_with(kApiBase)) return false;
  path.remove_prefix(kApiBase.size());
  return path.empty() || path == "/" || path == "/openapi.json" || path == "/ca.pem";
}

std::optional<Error> Api::refusal(const ApiMatch& match, const Caller& caller) {
  const ApiEndpoint& e = *match.endpoint;
  if (!e.area.empty() && !caller.scopes.cover(e.area, e.deed)) {
    const char* deed = e.deed == Deed::write ? "write" : "read";
    return Error{Errc::denied, fmt::format("this API token is not for that: it lacks the scope {}:{}", e.area, deed)};
  }
  if (caller.role < e.least && !e.own) {
    return Error{Errc::denied, fmt::format("who is {} may not do this: it takes {}", to_string(caller.role), to_string(e.least))};
  }
  return std::nullopt;
}

tl::expected<std::size_t, HttpRefusal> Api::body_limit(const HttpAsked& head, const Caller& caller) {
  const ApiMatch match = find_endpoint(head.method, head.path);
  if (match.endpoint == nullptr) return kBodyMax;                                 // and the answer says what is wrong
  if (const auto no = refusal(match, caller)) return tl::unexpected(HttpRefusal{status_of(no->code), no->text});
  if (match.endpoint->body == ApiEndpoint::Body::none) return kBodyMax;           // likewise
  return match.endpoint->body == ApiEndpoint::Body::state ? kControlFrameMax : kBodyMax;
}

std::optional<Json> Api::waiting(const HttpAsked& asked, const Caller& caller) {
  if (asked.query.find("wait_ms=") == asked.query.npos) return std::nullopt;
  const ApiMatch match = find_endpoint(asked.method, asked.path);
  const auto query = parse_query(asked.query);
  if (match.endpoint == nullptr || !query || match.endpoint->body != ApiEndpoint::Body::none) return std::nullopt;
  if (refusal(match, caller)) return std::nullopt;
  auto out = question_of(match, *query, {});
  if (!out || number_or(*out, "wait_ms", 0) <= 0) return std::nullopt;
  return std::move(*out);
}

HttpReply Api::answer(const HttpAsked& asked, const std::optional<Caller>& caller, UnixTime now) const {
  const std::string method = asked.method == "HEAD" ? "GET" : asked.method;
  const ApiMatch match = find_endpoint(method, asked.path);
  if (!caller) return problem(401, {Errc::login_needed, std::string(kNeedsToken)});
  if (match.methods.empty()) {
    const std::string where = printable(asked.path, 200);
    return problem(404, {Errc::unsupported, fmt::format("there is nothing at {}; {}/openapi.json says what there is", where, kApiBase)});
  }
  if (match.endpoint == nullptr) {
    const std::string there = fmt::format("{}", fmt::join(match.methods, ", "));
    HttpReply out = problem(405, {Errc::unsupported, fmt::format("{} is not done here; there is {}", printable(asked.method, 16), there)});
    out.headers.emplace_back("Allow", there);
    return out;
  }
  return ask(match, asked, *caller, now);
}

HttpReply Api::ask(const ApiMatch& match, const HttpAsked& asked, const Caller& caller, UnixTime now) const {
  const ApiEndpoint& e = *match.endpoint;
  Asking a{match, e, asked, caller, {now, caller.who, caller.from}};
  if (const auto no = refusal(match, caller)) return problem(status_of(no->code), *no);
  const auto query = parse_query(asked.query);
  if (!query) return problem(400, {Errc::malformed, "the query has a % without its two digits"});
  Json body;
  if (e.body != ApiEndpoint::Body::none) {
    if (!asked.body.empty() && !says_json(header(asked, "content-type"))) {
      return problem(415, {Errc::malformed, "the body is not said to be JSON: Content-Type: application/json"});
    }
    auto read = asked.body.empty() ? std::optional<Json>(Json::object()) : parse_json(asked.body);
    if (!read) return problem(400, {Errc::malformed, "the body is not JSON in UTF-8"});
    body = std::move(*read);
  } else if (!asked.body.empty()) {
    return problem(400, {Errc::malformed, "no body is taken here"});
  }
  auto question = question_of(match, *query, body);
  if (!question) return problem(status_of(question.error().code), question.error());
  a.question = std::move(*question);
  if (const std::string* key = asked.header("idempotency-key"); key != nullptr && e.method == "POST") {
    if (key->empty() || key->size() > kIdempotencyKeyMax) {
      return problem(400, {Errc::malformed, fmt::format("Idempotency-Key: is empty, or longer than {} bytes", kIdempotencyKeyMax)});
    }
    const std::string whole = fmt::format("{} {}?{}\n{}", e.method, asked.path, asked.query, asked.body);
    a.stamp.once = Once{sha256(as_bytes(caller.who + '\n' + *key)), sha256(as_bytes(whole))};
  }
  if (auto allowed = may(a); !allowed) return problem(status_of(allowed.error().code), allowed.error());
  auto no = unmet(a);
  if (!no) return problem(status_of(no.error().code), no.error());
  if (*no) return std::move(**no);
  return carry_out(a);
}

// item is the entry that a question is about. Errors: not_found.
Result<Json> Api::item(const Asking& a) const {
  const Json found = admin_.answer({{"type", "show"}, {"kind", a.endpoint.kind->kind}, {"name", a.text("name")}}, a.stamp);
  if (found["type"] == "error") return fail(errc_named(text_or(found, "code", "")).value_or(Errc::io), text_or(found, "text", ""));
  return found["item"];
}

// own_item is the same among what is the caller's own, by its key or else its name. Whatever is another's is as if it were not there.
Result<Json> Api::own_item(const Asking& a) const {
  const ApiKind& kind = *a.endpoint.kind;
  const Json all = admin_.answer({{"type", "list"}, {"kind", kind.kind}}, a.stamp);
  const std::string name = subject_of(a.text("name"));
  const Json* found = nullptr;
  for (const char* member : {kind.key, "name"}) {
    if (found != nullptr || !all.contains("items")) break;
    for (const Json& one : all["items"]) {
      if (text_or(one, kind.owner, "") == a.caller.user && text_or(one, member, "") == name) found = &one;
    }
  }
  if (found != nullptr) return *found;
  return fail(Errc::not_found, fmt::format("there is no {0} \"{1}\" of {2}", kind.kind, printable(a.text("name"), 64), a.caller.user));
}

Result<> Api::may(Asking& a) const {
  if (a.only_own() && is_entry(a.endpoint)) {
    auto own = own_item(a);
    if (!own) return pass_on(own);
    if (a.endpoint.deed == Deed::write && text_or(*own, "state", "") == "blocked") {
      return fail(Errc::denied, "it was blocked, and only an administrator may delete it");
    }
    a.question["name"] = own->at(a.endpoint.kind->key);
  } else if (a.only_own() && a.endpoint.deed == Deed::write && subject_of(a.text("user")) != a.caller.user) {
    return fail(Errc::denied, fmt::format("who is {} may do this for himself alone", to_string(a.caller.role)));
  }
  if (a.type() == "api_token") {
    if (auto can = may_make(a); !can) return can;
  }
  if (a.caller.role == Role::owner || a.endpoint.deed == Deed::read) return {};
  return may_act(a);
}

// may_make says whether an API token makes another one. What makes no sense is left to be refused as that.
Result<> Api::may_make(const Asking& a) const {
  std::vector<std::string> wanted;
  for (const Json& one : a.question.value("scopes", Json::array())) wanted.push_back(one.is_string() ? one.get<std::string>() : "");
  if (const auto scopes = Scopes::parse(wanted); scopes && !a.caller.scopes.cover(*scopes)) {
    const std::string own = fmt::format("{}", fmt::join(a.caller.scopes.words(), ", "));
    return fail(Errc::denied, fmt::format("an API token makes none that is for more than itself: {}", own));
  }
  const auto length = parse_duration(a.text("expires"));
  if (length && a.caller.until != UnixTime::max() && a.stamp.time + *length > a.caller.until) {
    return fail(Errc::denied, fmt::format("no token is good for longer than what it is made with, until {}", utc_text(a.caller.until)));
  }
  return {};
}

// may_act keeps those who are no owners from becoming one, by way of somebody else. What makes no sense is left to be refused as that.
Result<> Api::may_act(const Asking& a) const {
  const std::string type = a.type(), kind = a.text("kind");
  const bool person = kind == "user" || kind == "service";
  const Json fields = a.question.value("fields", Json::object());
  std::string subject;
  if (type == "password" || type == "totp") subject = a.text("name");
  if (type == "token" && a.text("role") == "device") subject = a.text("subject");
  if (type == "key") subject = a.text("service");
  if (type == "api_token") subject = a.text("user");
  const bool other_way = person && type == "update" && (fields.contains("rename") || fields.contains("forget_accounts"));
  if (other_way) subject = a.text("name");
  const bool edits = person && !other_way && (type == "create" || type == "update" || type == "delete");
  if (is_entry(a.endpoint) && !person) {       // whose device, session, key or API token is it?
    const bool key = kind == "key";
    if (!key && *a.endpoint.kind->owner == '\0') return {};
    auto it = item(a);
    if (!it) return {};
    subject = text_or(*it, key ? "service" : a.endpoint.kind->owner, "");
    if (subject == a.caller.user) return {};
  }
  if (subject.empty() && !edits && type != "apply") return {};
  auto directory = store_.directory();
  if (!directory) return pass_on(directory);
  const DesiredState before = desired((*directory)->model());
  if (!subject.empty()) {
    subject = subject_of(subject);
    const bool himself = subject == a.caller.user && type != "password" && type != "totp" && !other_way;
    return himself ? Result<>() : may_act_for(a.caller.role, before, subject);
  }
  if (type == "apply") {
    auto wanted = desired_from_json(a.question.value("state", Json()));
    if (!wanted) return {};
    return may_change(a.caller.role, before, outcome(before, with_guests(std::move(*wanted), before), a.question.value("prune", false)));
  }
  DesiredState after = before;
  Result<> done;
  if (type == "create") done = create_entry(after, kind, a.text("name"), fields);
  if (type == "update") done = update_entry(after, kind, a.text("name"), fields);
  if (type == "delete") done = delete_entry(after, kind, a.text("name"));
  return done ? may_change(a.caller.role, before, after) : Result<>();
}

// unmet returns the answer to a request that is not to be carried out: things have changed, or it was carried out before.
Result<std::optional<HttpReply>> Api::unmet(const Asking& a) const {
  if (const std::string wanted = header(a.asked, "if-match"); !wanted.empty() && a.endpoint.deed == Deed::write) {
    std::string now;
    if (is_entry(a.endpoint)) {
      auto it = item(a);
      if (!it) return pass_on(it);
      now = entry_etag(*it);
    } else if (a.type() == "apply") {
      const Json state = admin_.answer({{"type", "state"}}, a.stamp);
      if (state.contains("state")) now = etag(state["state"]);
    }
    const bool met = !now.empty() && names(wanted, now);
    if (!met) {
      const std::string why = now.empty() ? "nothing here has an ETag" : "it was changed since that ETag; get it anew";
      return std::optional(problem(412, {Errc::conflict, "If-Match: " + why}));
    }
  }
  if (!a.stamp.once) return std::nullopt;
  auto done = store_.done_once(a.stamp.once->key);
  if (!done) return pass_on(done);
  if (!*done) return std::nullopt;
  if ((*done)->asked != a.stamp.once->asked) {
    return std::optional(problem(422, {Errc::conflict, "Idempotency-Key: was used for something else; take a new one"}));
  }
  const auto sealed = (*done)->answer;
  auto text = sealed ? vault_.unseal(kAnswerName, *sealed) : Result<Buffer>(Buffer());
  const auto kept = text ? parse_json(as_text(*text)) : std::nullopt;
  if (!kept) return std::optional(problem(409, {Errc::conflict, "Idempotency-Key: this was done already, and the answer is lost"}));
  HttpReply out = json_reply(static_cast<int>(number_or(*kept, "status", 200)), Json::object());
  out.body = text_or(*kept, "body", "");
  if (kept->contains("location")) out.headers.emplace_back("Location", text_or(*kept, "location", ""));
  out.headers.emplace_back("Idempotency-Replayed", "true");
  return std::optional(std::move(out));
}

HttpReply Api::carry_out(Asking& a) const {
  if (a.type() == "me") {
    return json_reply(200, {{"who", a.caller.who}, {"user", a.caller.user}, {"role", to_string(a.caller.role)},
                            {"scopes", a.caller.scopes.words()}});
  }
  Json answer = admin_.answer(a.question, a.stamp);
  if (answer["type"] == "error") {
    const Errc code = errc_named(text_or(answer, "code", "")).value_or(Errc::io);
    return problem(status_of(code), {code, text_or(answer, "text", "")});
  }
  HttpReply out = shaped(a, std::move(answer));
  if (a.stamp.once) {
    Json kept = {{"status", out.status}, {"body", out.body}};
    for (const auto& [name, value] : out.headers) {
      if (name == "Location") kept["location"] = value;
    }
    if (auto done = store_.keep_answer(a.stamp.once->key, vault_.seal(kAnswerName, as_bytes(json_text(kept)))); !done) {
      out.headers.emplace_back("Idempotency-Kept", "false");
    }
  }
  return out;
}

// shaped makes HTTP's answer of AdminApi's.
HttpReply Api::shaped(const Asking& a, Json answer) const {
  const std::string type = a.type();
  answer.erase("type");
  if (type == "list") {
    Json items = std::move(answer["items"]);
    if (a.only_own()) {
      Json::array_t& all = items.get_ref<Json::array_t&>();
      std::erase_if(all, [&](const Json& item) { return text_or(item, a.endpoint.kind->owner, "") != a.caller.user; });
    }
    auto some = page(*a.endpoint.kind, std::move(items), a.question);
    return some ? json_reply(200, *some) : problem(status_of(some.error().code), some.error());
  }
  if (type == "show" || type == "state") {
    const Json body = std::move(answer[type == "show" ? "item" : "state"]);
    HttpReply out = json_reply(200, body);
    out.headers.emplace_back("ETag", type == "show" ? entry_etag(body) : etag(body));
    return out;
  }
  if (type == "apply" && (!answer["problems"].empty() || !answer["failures"].empty())) {
    const bool problems = !answer["problems"].empty();
    Json body = {{"type", "about:blank"}, {"title", http_reason(409)}, {"status", 409}, {"code", problems ? "conflict" : "failed"},
                 {"detail", problems ? "this state is impossible; nothing was changed" : "a test would not hold; nothing was changed"}};
    body.update(answer);
    HttpReply out = json_reply(409, body);
    out.content_type = "application/problem+json";
    return out;
  }
  const bool second_factor = type == "totp" && a.endpoint.method == "POST";
  const bool made = type == "create" || type == "token" || type == "key" || type == "api_token" || second_factor;
  HttpReply out = json_reply(made ? 201 : 200, answer);
  if (type == "key" || type == "api_token") {
    out.headers.emplace_back("Location", fmt::format("{}/{}/{}", kApiBase, a.endpoint.area, percent_encoded(text_or(answer, "id", ""))));
  }
  if (type != "create" && type != "update") return out;
  const Json fields = a.question.value("fields", Json::object());
  Json about = a.question;
  if (fields.contains("rename") && a.endpoint.kind->kind != std::string_view("key")) about["name"] = fields["rename"];
  const Asking after{a.match, a.endpoint, a.asked, a.caller, a.stamp, about};
  if (type == "create") {
    out.headers.emplace_back("Location", fmt::format("{}/{}/{}", kApiBase, a.endpoint.kind->path, percent_encoded(after.text("name"))));
  }
  if (lower(header(a.asked, "prefer")).find("return=minimal") != std::string::npos) return out;
  if (auto it = item(after)) {
    answer["item"] = *it;
    out.body = json_text(answer) + "\n";
    out.headers.emplace_back("ETag", entry_etag(*it));
  }
  return out;
}

}  // namespace tg::controller
