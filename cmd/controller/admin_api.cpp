#include "cmd/controller/admin_api.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include <fmt/format.h>

#include "cmd/controller/desired_json.h"
#include "cmd/controller/edits.h"
#include "cmd/controller/limits.h"
#include "cmd/controller/names.h"
#include "cmd/controller/secrets.h"
#include "core/controller_address.h"
#include "core/duration.h"
#include "core/encoding.h"
#include "core/json.h"
#include "core/text.h"
#include "core/totp.h"
#include "net/local_socket.h"

namespace tg::controller {
namespace {

constexpr std::uint64_t kEntriesMax = 1000;   // of the audit log in one answer
constexpr std::chrono::hours kTokenMost(7 * 24);

template <class T>
Json list_json(const std::vector<T>& all) {
  Json out = Json::array();
  for (const T& one : all) out.push_back(to_json(one));
  return out;
}

// id_among finds an entry by its id, or by its name when only one has that.
template <class Record>
Result<std::string> id_among(const std::vector<Record>& all, const std::string& name, const std::string& kind) {
  std::string found;
  for (const Record& one : all) {
    if (one.id == name) return one.id;
  }
  for (const Record& one : all) {
    if (one.name.empty() || one.name != name) continue;
    if (!found.empty()) {
      return fail(Errc::conflict, fmt::format("several {0}s are called \"{1}\"; use the id, see: tg controller {0} list", kind, name));
    }
    found = one.id;
  }
  if (!found.empty()) return found;
  return fail(Errc::not_found, fmt::format("there is no {0} \"{1}\"; see: tg controller {0} list", kind, printable(name, 64)));
}

Result<std::string> device_id(const Model& model, const std::string& name) { return id_among(model.devices, name, "device"); }
Result<std::string> key_id(const Model& model, const std::string& name) { return id_among(model.service_keys, name, "key"); }
Result<std::string> api_token_id(const Model& model, const std::string& name) {
  return id_among(model.api_tokens, name, "api-token");
}

// token_lifetime reads a length of time; a number alone is minutes.
Result<std::chrono::seconds> token_lifetime(const std::string& text) {
  const bool minutes = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  auto out = parse_duration(minutes ? text + "m" : text);
  if (!out) return fail(Errc::invalid_argument, "expires: " + out.error().text);
  if (out->count() > 0 && *out <= kTokenMost) return out;
  return fail(Errc::invalid_argument, "expires: a token is good for 1s to 7d");
}

// key_lifetime reads that of what is used until it expires.
Result<std::chrono::seconds> key_lifetime(const std::string& text) {
  auto out = parse_duration(text);
  if (!out) return fail(Errc::invalid_argument, "expires: " + out.error().text);
  if (out->count() > 0) return out;
  return fail(Errc::invalid_argument, "expires: 0s is no time; a day is 1d");
}

// check_key_name takes "" for none.
Result<> check_key_name(const std::string& name) {
  if (auto good = check_name(name); !name.empty() && !good) return fail(Errc::invalid_argument, "name: " + good.error().text);
  return {};
}

// shown_once is the answer with a key or an API token.
Json shown_once(const char* as, Token::Role role, const FreshToken& fresh, const Buffer& pin, const HostPort& address) {
  const Token out{role, fresh.expires, fresh.id, fresh.secret, pin, address};
  return {{as, out.to_string()}, {"id", hex(Bytes(fresh.id).first(4))}, {"expires", fresh.expires.time_since_epoch().count()}};
}

const char* name_key(const std::string& kind) { return kind == "user" ? "email" : "name"; }

}  // namespace

Json AdminApi::answer(const Json& request, const Stamp& by) const {
  const std::string type = request.value("type", "");
  Result<Json> out = fail(Errc::unsupported,
                          fmt::format("the running controller does not know \"{}\"; is it older than this tg?",
                                      printable(type, 64)));
  if (type == "status") out = status();
  if (type == "apply") out = apply(request, by);
  if (type == "state") out = state();
  if (type == "audit") out = audit(request);
  if (type == "events" && events) out = events(request);
  if (type == "verify_audit") out = verify_audit(request);
  if (type == "token") out = token(request, by);
  if (type == "key") out = key(request, by);
  if (type == "api_token") out = api_token(request, by);
  if (type == "secret") out = secret(request, by);
  if (type == "password") out = password(request, by);
  if (type == "totp") out = totp(request, by);
  if (type == "list") out = list(request, by.time);
  if (type == "show") out = show(request, by.time);
  if (type == "approve" || type == "deny") out = decide(type, request, by);
  if (type == "create" || type == "update" || type == "delete") out = edit(type, request, by);
  if (!out) return net::local_error(out.error());
  (*out)["type"] = "ok";
  return std::move(*out);
}

Result<Json> AdminApi::status() const {
  auto model = store.model();
  if (!model) return pass_on(model);
  Json status = about();
  std::map<std::string, std::size_t> here;
  for (const OnlineAgent& a : online()) ++here[a.role];
  status["instance"] = pki.instance();
  status["address"] = ControllerAddress{public_address, pki.pin()}.to_string();
  status["identity_providers"] = Json::array();
  for (const IdentityProviderRecord& p : model->identity_providers) status["identity_providers"].push_back(p.spec.name);
  status["revision"] = model->revision;
  status["problem"] = store.broken() ? store.broken()->text : "";
  status["networks"] = model->networks.size();
  status["resources"] = model->resources.size();
  status["users"] = model->users.size();
  status["connectors"] = {{"total", model->connectors.size()}, {"online", here["connector"]}};
  status["relays"] = {{"total", model->relays.size()}, {"online", here["relay"]}};
  status["devices"] = {{"total", model->devices.size()}, {"online", here["device"]}};
  return Json{{"status", std::move(status)}};
}

Result<Json> AdminApi::apply(const Json& request, const Stamp& by) const {
  Fields f(request, "apply");
  const bool dry_run = f.flag("dry_run");
  const bool prune = f.flag("prune");
  const Json* state = f.any("state");
  if (!f.ok()) return f.error();
  auto wanted = desired_from_json(*state);
  if (!wanted) return pass_on(wanted);
  if (prune && !dry_run && names_nothing(*wanted)) {   // what is removed so does not come back by itself
    return fail(Errc::invalid_argument, "this state names nothing, and to prune would remove everything; delete entries one by one if that is "
                                        "meant");
  }
  auto found = store.examine(*wanted, prune);
  if (!found) return pass_on(found);
  Json answer = {{"changes", Json::array()}, {"problems", list_json(found->problems)},
                 {"failures", list_json(found->failures)}};
  if (!found->problems.empty() || !found->failures.empty()) return answer;
  auto changes = dry_run ? store.plan(*wanted, prune) : store.apply(*wanted, prune, by);
  if (!changes) return pass_on(changes);
  if (!dry_run && !changes->empty()) changed();
  answer["changes"] = list_json(*changes);
  return answer;
}

Result<Json> AdminApi::state() const {
  auto here = store.directory();
  if (!here) return pass_on(here);
  return Json{{"state", to_json(desired((*here)->model()))}};
}

Result<Json> AdminApi::audit(const Json& request) const {
  Fields f(request, "audit");
  const std::uint64_t last = store.audit_last();
  const bool newest = f.has("newest");
  const char* how_many = newest ? "newest" : "most";
  const std::uint64_t most = f.has(how_many) ? f.number(how_many, kEntriesMax) : kEntriesMax;
  const std::uint64_t after = newest ? last - std::min(last, most) : f.has("after") ? f.number("after") : 0;
  if (!f.ok()) return f.error();
  auto texts = store.audit(after, most);
  if (!texts) return pass_on(texts);
  Json entries = Json::array();
  for (const std::string& text : *texts) {
    auto entry = parse_json(text);
    entries.push_back(entry ? std::move(*entry) : Json(text));   // altered; see verify_audit
  }
  return Json{{"entries", std::move(entries)}, {"last", last}};
}

Result<Json> AdminApi::verify_audit(const Json& request) const {
  std::optional<AuditHead> noted;
  if (request.contains("number") || request.contains("hash")) {
    Fields f(request, "verify_audit");
    noted = AuditHead{f.number("number"), {}};
    auto hash = unhex(f.text("hash", 64));
    if (hash && hash->size() == 32) noted->hash = std::move(*hash);
    else f.refuse("hash", "is not 64 hexadecimal digits");
    if (!f.ok()) return f.error();
  }
  auto state = store.audit_state(noted);
  if (!state) return pass_on(state);
  return Json{{"number", state->head.number}, {"hash", hex(state->head.hash)}, {"problem", state->problem}};
}

Result<Json> AdminApi::token(const Json& request, const Stamp& by) const {
  Fields f(request, "token");
  const std::string role_name = f.text("role");
  const std::string subject = f.text("subject");
  const std::string expires = f.text("expires");
  const auto role = role_from(role_name);
  if (!role || *role == Token::Role::service || *role == Token::Role::api) f.refuse("role", "is not device, connector or relay");
  if (!f.ok()) return f.error();
  const bool trusted = f.has("trusted") && f.flag("trusted");
  if (trusted && *role != Token::Role::device) f.refuse("trusted", "is for devices");
  if (!f.ok()) return f.error();
  const auto lifetime = token_lifetime(expires);
  if (!lifetime) return tl::unexpected(lifetime.error());
  auto fresh = store.new_token(*role, *role == Token::Role::device ? lower(subject) : subject, by, *lifetime, trusted);
  if (!fresh) return pass_on(fresh);
  const Token out{*role, fresh->expires, fresh->id, fresh->secret, pki.pin(), public_address};
  return Json{{"token", out.to_string()}, {"expires", fresh->expires.time_since_epoch().count()}};
}

Result<Json> AdminApi::key(const Json& request, const Stamp& by) const {
  Fields f(request, "key");
  const std::string service = f.text("service");
  const std::string name = f.text_or_empty("name");
  const auto lifetime = key_lifetime(f.text("expires"));
  if (!f.ok()) return f.error();
  if (!lifetime) return tl::unexpected(lifetime.error());
  if (auto good = check_key_name(name); !good) return pass_on(good);
  auto fresh = store.new_key(service, name, by, *lifetime);   // which no agent is told of
  if (!fresh) return pass_on(fresh);
  return shown_once("key", Token::Role::service, *fresh, pki.pin(), public_address);
}

Result<Json> AdminApi::api_token(const Json& request, const Stamp& by) const {
  Fields f(request, "api_token");
  const std::string user = f.text("user");
  const std::string name = f.text_or_empty("name");
  const auto scopes = Scopes::parse(f.texts("scopes"));
  const auto lifetime = key_lifetime(f.text("expires"));
  if (!f.ok()) return f.error();
  if (!scopes) return fail(Errc::invalid_argument, "scopes: " + scopes.error().text);
  if (!lifetime) return tl::unexpected(lifetime.error());
  if (auto good = check_key_name(name); !good) return pass_on(good);
  auto fresh = store.new_api_token(is_person(user) ? lower(user) : user, name, *scopes, by, *lifetime);
  if (!fresh) return pass_on(fresh);
  return shown_once("token", Token::Role::api, *fresh, pki.pin(), api_address.value_or(public_address));
}

Result<Json> AdminApi::delete_api_token(const std::string& name, const Stamp& by) const {
  auto model = store.model();
  if (!model) return pass_on(model);
  auto id = api_token_id(*model, name);
  if (!id) return pass_on(id);
  const auto of_id = [&](const ApiTokenRecord& t) { return t.id == *id; };
  const std::string user = std::find_if(model->api_tokens.begin(), model->api_tokens.end(), of_id)->user;
  if (auto done = store.remove_api_token(*id, by); !done) return pass_on(done);
  return Json{{"changes", list_json<Change>({{Change::Verb::remove, "api-token", *id, "of " + user}})}};
}

Result<Json> AdminApi::edit_key(const std::string& verb, const std::string& name, const Json& fields, const Stamp& by) const {
  if (verb == "create") return fail(Errc::invalid_argument, "a key is made for a service; see: tg controller key create --help");
  auto model = store.model();
  if (!model) return pass_on(model);
  auto id = key_id(*model, name);
  if (!id) return pass_on(id);
  const auto of_id = [&](const ServiceKeyRecord& k) { return k.id == *id; };
  const ServiceKeyRecord& key = *std::find_if(model->service_keys.begin(), model->service_keys.end(), of_id);
  Change change{Change::Verb::remove, "key", *id, "of service " + key.service};
  Result<> done;
  if (verb == "delete") {
    done = store.remove_key(*id, by);
  } else {
    const std::string fresh = text_or(fields, "rename", "");
    if (auto good = check_name(fresh); !good) return fail(Errc::invalid_argument, "rename: " + good.error().text);
    if (fresh == key.name) return Json{{"changes", Json::array()}};
    change = {Change::Verb::update, "key", *id, "name " + (key.name.empty() ? "none" : key.name) + " -> " + fresh};
    done = store.rename_key(*id, fresh, by);
  }
  if (!done) return pass_on(done);
  if (verb == "delete") changed();
  return Json{{"changes", list_json<Change>({change})}};
}

Result<Json> AdminApi::secret(const Json& request, const Stamp& by) const {
  Fields f(request, "secret");
  const std::string name = f.text("name");
  const bool remove = f.has("remove") && f.flag("remove");
  const std::string secret = remove ? "" : f.text("secret", kProviderSecretMax);
  if (!f.ok()) return f.error();
  const Buffer sealed = secret.empty() ? Buffer() : vault.seal(kProviderSecret, as_bytes(secret));
  if (auto done = store.set_provider_secret(name, sealed, by); !done) return pass_on(done);
  changed();
  return Json::object();
}

Result<Json> AdminApi::password(const Json& request, const Stamp& by) const {
  Fields f(request, "password");
  const std::string email = lower(f.text("name"));
  std::optional<PasswordRecord> record;
  const bool remove = f.has("remove") && f.flag("remove");
  if (!remove) {
    auto salt = unhex(f.text("salt", 64));
    auto verifier = unhex(f.text("verifier", 64));
    if (!salt || salt->size() != kPasswordSalt) f.refuse("salt", "is not 32 hexadecimal digits");
    if (!verifier || verifier->size() != 32) f.refuse("verifier", "is not 64 hexadecimal digits");
    const PasswordCost cost{f.number("n", 1u << 24), f.number("r", 32), f.number("p", 16)};
    if (f.ok()) record = {std::move(*salt), cost, std::move(*verifier)};
  }
  if (!f.ok()) return f.error();
  if (auto done = store.set_password(email, record, by); !done) return pass_on(done);
  changed();
  return Json::object();
}

Result<Json> AdminApi::totp(const Json& request, const Stamp& by) const {
  Fields f(request, "totp");
  const std::string email = lower(f.text("name"));
  const bool remove = f.flag("remove");
  if (!f.ok()) return f.error();
  const Buffer secret = random_bytes(kTotpSecret);
  std::optional<TotpRecord> record;
  if (!remove) record = {vault.seal(kTotpSecretName, secret), 0};
  if (auto done = store.set_totp(email, record, by); !done) return pass_on(done);
  changed();
  return Json{{"uri", remove ? "" : totp_uri(secret, email, "tg " + pki.instance())}};
}

Result<Json> AdminApi::decide(const std::string& verb, const Json& request, const Stamp& by) const {
  Fields f(request, verb);
  const std::string id = f.text("id");
  const std::string length = f.text_or_empty("for");
  if (!f.ok()) return f.error();
  std::optional<std::chrono::seconds> for_how_long;
  if (verb == "approve") {
    auto read = length.empty() ? Result<std::chrono::seconds>(0) : parse_duration(length);   // 0: what was asked for
    if (!read) return fail(Errc::invalid_argument, "for: " + read.error().text);
    if (!length.empty() && read->count() == 0) return fail(Errc::invalid_argument, "for: 0s is no time; to refuse: tg controller request deny");
    for_how_long = *read;
  }
  if (auto done = store.decide(id, for_how_long, by); !done) return pass_on(done);
  changed();
  return Json{{"changes", list_json<Change>({{Change::Verb::update, "request", id, verb == "approve" ? "approved" : "denied"}})}};
}

Result<Json> AdminApi::end_session(const std::string& name, const Stamp& by) const {
  auto model = store.model();
  if (!model) return pass_on(model);
  auto id = device_id(*model, name);
  if (!id) return pass_on(id);
  const std::string user = model->device(*id)->user;
  if (auto done = store.end_session(*id, by); !done) return pass_on(done);
  changed();
  return Json{{"changes", list_json<Change>({{Change::Verb::remove, "session", *id, user}})}};
}

Result<Json> AdminApi::forget_accounts(const std::string& name, const Stamp& by) const {
  const std::string email = lower(name);
  if (auto done = store.forget_accounts(email, by); !done) return pass_on(done);
  changed();
  return Json{{"changes", list_json<Change>({{Change::Verb::update, "user", email, "accounts forgotten"}})}};
}

// model_for reads what is kept in memory, unless the entries of the kind tell when they were seen last: that is no change, and only on
// the disk.
Result<std::shared_ptr<const Model>> AdminApi::model_for(const std::string& kind) const {
  static const std::set<std::string_view> kSeen = {"connector", "relay", "device", "key", "api-token"};
  if (kSeen.contains(kind)) {
    auto fresh = store.model();
    if (!fresh) return pass_on(fresh);
    return std::make_shared<const Model>(std::move(*fresh));
  }
  auto directory = store.directory();
  if (!directory) return pass_on(directory);
  return std::shared_ptr<const Model>(*directory, &(*directory)->model());
}

Result<Json> AdminApi::list(const Json& request, UnixTime now) const {
  Fields f(request, "list");
  const std::string kind = f.text("kind");
  if (!f.ok()) return f.error();
  auto model = model_for(kind);
  if (!model) return pass_on(model);
  auto all = items(**model, online(), kind, now);
  if (!all) return pass_on(all);
  return Json{{"items", std::move(*all)}};
}

Result<Json> AdminApi::show(const Json& request, UnixTime now) const {
  Fields f(request, "show");
  const std::string kind = f.text("kind");
  std::string name = f.text("name");
  if (!f.ok()) return f.error();
  auto model = model_for(kind);
  if (!model) return pass_on(model);
  auto all = items(**model, online(), kind, now);
  if (!all) return pass_on(all);
  if (kind == "user") name = lower(name);
  const bool by_id = kind == "device" || kind == "session" || kind == "key" || kind == "api-token" || kind == "request";
  if (by_id && kind != "request") {
    auto id = kind == "key" ? key_id(**model, name) : kind == "api-token" ? api_token_id(**model, name) : device_id(**model, name);
    if (!id) return pass_on(id);
    name = *id;
  }
  for (Json& item : *all) {
    if (item.value(by_id ? "id" : name_key(kind), "") == name) return Json{{"item", std::move(item)}};
  }
  return fail(Errc::not_found, fmt::format("there is no {0} \"{1}\"; see: tg controller {0} list", kind,
                                           printable(name, 64)));
}

Result<Json> AdminApi::edit(const std::string& verb, const Json& request, const Stamp& by) const {
  Fields f(request, "request");
  const std::string kind = f.text("kind");
  const std::string name = f.text("name");
  const Json none = Json::object();
  const Json* fields = f.has("fields") ? f.any("fields") : &none;
  if (f.ok() && !fields->is_object()) f.refuse("fields", "is not an object");
  if (!f.ok()) return f.error();
  if (kind == "device") return edit_device(verb, name, *fields, by);
  if (kind == "key") return edit_key(verb, name, *fields, by);
  if (kind == "api-token" && verb == "delete") return delete_api_token(name, by);
  if (kind == "api-token") {
    return fail(Errc::invalid_argument, "an API token is made for somebody, and not changed: tg controller api-token create");
  }
  if (kind == "session" && verb == "delete") return end_session(name, by);
  if (kind == "user" && verb == "update" && fields->contains("forget_accounts")) {
    if (fields->size() > 1) return fail(Errc::invalid_argument, "forget_accounts goes alone; change the rest in another step");
    if ((*fields)["forget_accounts"] != true) return fail(Errc::invalid_argument, "forget_accounts must be true, or not there");
    return forget_accounts(name, by);
  }
  if (verb == "update" && fields->contains("rename")) return rename(kind, name, *fields, by);
  auto changes = store.edit(
      [&](DesiredState& state) {
        if (verb == "create") return create_entry(state, kind, name, *fields);
        if (verb == "update") return update_entry(state, kind, name, *fields);
        return delete_entry(state, kind, name);
      },
      by);
  if (!changes) return pass_on(changes);
  if (!changes->empty()) changed();
  return Json{{"changes", list_json(*changes)}};
}

Result<Json> AdminApi::rename(const std::string& kind, const std::string& name, const Json& fields,
                              const Stamp& by) const {
  if (fields.size() > 1) return fail(Errc::invalid_argument, "rename goes alone; change the rest in another step");
  auto fresh = canonical(kind, text_or(fields, "rename", ""));
  if (!fresh) return fail(fresh.error().code, "rename: " + fresh.error().text);
  const std::string old = kind == "user" ? lower(name) : name;
  if (old == *fresh) return Json{{"changes", Json::array()}};
  if (auto done = store.rename(kind, old, *fresh, by); !done) return pass_on(done);
  changed();
  return Json{{"changes", list_json<Change>({{Change::Verb::update, kind, old, "name " + old + " -> " + *fresh}})}};
}

Result<Json> AdminApi::edit_device(const std::string& verb, const std::string& name, const Json& fields,
                                   const Stamp& by) const {
  if (verb == "create") {
    return fail(Errc::invalid_argument, "a device makes itself with a token; see: tg controller device token");
  }
  auto model = store.model();
  if (!model) return pass_on(model);
  auto id = device_id(*model, name);
  if (!id) return pass_on(id);
  const DeviceRecord& device = *model->device(*id);
  Change change{Change::Verb::remove, "device", device.name, device.id};
  Result<> done;
  if (verb == "delete") {
    done = store.remove_device(*id, by);
  } else {
    const std::string state = fields.value("state", Json()).is_string() ? fields["state"].get<std::string>() : "";
    static const std::map<std::string, Store::DeviceState> kStates = {{"pending", Store::DeviceState::pending},
                                                                      {"trusted", Store::DeviceState::trusted},
                                                                      {"blocked", Store::DeviceState::blocked}};
    const auto wanted = kStates.find(state);
    if (wanted == kStates.end()) return fail(Errc::invalid_argument, "state must be pending, trusted or blocked");
    const std::string before = device.blocked ? "blocked" : device.trusted ? "trusted" : "pending";
    if (before == state) return Json{{"changes", Json::array()}};
    change.verb = Change::Verb::update;
    change.detail = "state " + before + " -> " + state;
    done = store.set_device_state(*id, wanted->second, by);
  }
  if (!done) return pass_on(done);
  changed();
  return Json{{"changes", list_json<Change>({change})}};
}

}  // namespace tg::controller
