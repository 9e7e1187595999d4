#include "core/oidc.h"

#include <algorithm>
#include <cstdlib>

#include <openssl/base64.h>

#include "core/bytes.h"
#include "core/encoding.h"
#include "core/id_token.h"
#include "core/json.h"
#include "core/jws.h"
#include "core/text.h"
#include "core/uri.h"

namespace tg {
namespace {

using Form = std::vector<std::pair<std::string, std::string>>;

constexpr std::string_view kDeviceGrant = "urn:ietf:params:oauth:grant-type:device_code";
constexpr std::size_t kUrlMax = 2048;
constexpr std::size_t kSecretMax = 16 * 1024;        // device codes and access tokens
constexpr std::chrono::seconds kStandardInterval(5);      // RFC 8628 section 3.2
constexpr std::chrono::seconds kLongestInterval(60);
constexpr Duration kSlowDown = std::chrono::seconds(5);   // section 3.5
constexpr Duration kAgain = std::chrono::seconds(1);

// form_encoded writes application/x-www-form-urlencoded (RFC 6749 appendix B).
std::string form_encoded(const Form& form) {
  std::string out;
  for (const auto& [key, value] : form) {
    out += (out.empty() ? "" : "&") + percent_encoded(key) + "=" + percent_encoded(value);
  }
  return out;
}

std::string base64(std::string_view text) {
  std::string out(4 * ((text.size() + 2) / 3) + 1, '\0');
  out.resize(EVP_EncodeBlock(reinterpret_cast<std::uint8_t*>(out.data()), as_bytes(text).data(), text.size()));
  return out;
}

HttpRequest get(const std::string& url) { return {"GET", url, {{"Accept", "application/json"}}, ""}; }

bool success(const HttpResponse& r) { return r.status >= 200 && r.status < 300; }

// object_of returns the answer's JSON object; null for everything else.
Json object_of(const HttpResponse& r) {
  auto parsed = parse_json(r.body);
  return parsed && parsed->is_object() ? std::move(*parsed) : Json();
}

// endpoint returns a URL of the provider's own description; "" unless it is an https one.
std::string endpoint(const Json& about, const char* key) {
  std::string url = text_or(about, key, "");
  const bool good = url.starts_with("https://") && url.size() <= kUrlMax && printable(url, kUrlMax) == url;
  return good ? url : "";
}

// seconds_of reads a length of time as providers write it: a number, now and then with a fraction, or in quotes.
std::optional<std::chrono::seconds> seconds_of(const Json& body, const char* key) {
  const auto found = body.find(key);
  if (found == body.end()) return std::nullopt;
  double value = -1;
  if (found->is_number()) value = found->get<double>();
  if (found->is_string()) {
    const std::string& text = found->get_ref<const std::string&>();
    char* end = nullptr;
    value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0') return std::nullopt;
  }
  if (!(value >= 0)) return std::nullopt;
  return std::chrono::seconds(static_cast<std::int64_t>(std::min(value, 1e9)));
}

bool offers(const Json& about, const char* key, const char* what) {
  const auto list = about.find(key);
  return list != about.end() && list->is_array() && std::find(list->begin(), list->end(), Json(what)) != list->end();
}

// told returns what an OAuth error answer says (RFC 6749 section 5.2).
std::string told(const HttpResponse& r, const Json& body) {
  const std::string error = printable(text_or(body, "error", ""), 64);
  const std::string more = printable(text_or(body, "error_description", ""), 200);
  if (error.empty()) return "it answers with status " + std::to_string(r.status);
  return "it says " + error + (more.empty() ? "" : ": " + more);
}

// once returns the only item of that name; nothing where there is none, or more than one (RFC 6749 section 3.1).
std::optional<std::string> once(const QueryItems& query, std::string_view name) {
  std::optional<std::string> out;
  for (const auto& [key, value] : query) {
    if (key != name) continue;
    if (out) return std::nullopt;
    out = value;
  }
  return out;
}

}  // namespace

OidcSignIn::OidcSignIn(OidcProvider provider, std::string nonce, Instant now, UnixTime wall)
    : provider_(std::move(provider)), nonce_(std::move(nonce)), began_(wall), next_at_(now) {}

void OidcSignIn::fail_with(Errc code, const std::string& what) {
  state_ = State::failed;
  next_at_ = kNever;
  error_ = {code, "the identity provider " + printable(provider_.name) + ": " + what};
}

// post authenticates the client as the provider takes it: by HTTP Basic unless it says otherwise (RFC 6749 section 2.3.1); a
// public client only names itself.
HttpRequest OidcSignIn::post(const std::string& url, Form form) const {
  HttpRequest out{"POST", url,
                  {{"Accept", "application/json"}, {"Content-Type", "application/x-www-form-urlencoded"}}, ""};
  const bool basic = !provider_.client_secret.empty() && !secret_in_body_;
  if (basic) {
    const std::string who = percent_encoded(provider_.client_id) + ":" + percent_encoded(provider_.client_secret);
    out.headers.emplace_back("Authorization", "Basic " + base64(who));
  } else {
    form.emplace_back("client_id", provider_.client_id);
    if (!provider_.client_secret.empty()) form.emplace_back("client_secret", provider_.client_secret);
  }
  out.body = form_encoded(form);
  return out;
}

std::string OidcSignIn::scopes() const {
  std::string out;
  for (const std::string& scope : provider_.scopes) out += (out.empty() ? "" : " ") + scope;
  return out;
}

std::optional<HttpRequest> OidcSignIn::next(Instant now) {
  if (under_way_ || over() || now < next_at_) return std::nullopt;
  std::optional<HttpRequest> out;
  switch (state_) {
    case State::discovering: {
      const bool slash = provider_.issuer.ends_with('/');   // OpenID Connect Discovery 1.0 section 4
      out = get(provider_.issuer + (slash ? "" : "/") + ".well-known/openid-configuration");
      break;
    }
    case State::fetching_keys: out = get(jwks_uri_); break;
    case State::fetching_claims:
      out = get(userinfo_endpoint_);
      out->headers.emplace_back("Authorization", "Bearer " + access_token_);
      break;
    default: out = own_request(now);
  }
  if (!out) return out;
  under_way_ = true;
  next_at_ = kNever;
  return out;
}

void OidcSignIn::answer(const Result<HttpResponse>& got, Instant now, UnixTime wall) {
  TG_CHECK(under_way_);
  under_way_ = false;
  const bool down = !got || got->status >= 500 || got->status == 408 || got->status == 429;   // it may be another time later
  const std::string why = !got ? got.error().text : "it answers with status " + std::to_string(got->status);
  if (down && own_trouble(why, now)) return;
  const bool late = state_ == State::fetching_keys || state_ == State::fetching_claims;
  if (down && late && ++attempts_ < kAttempts) {   // the person has signed in already
    next_at_ = now + kAgain;
    return;
  }
  if (down) return fail_with(Errc::unreachable, why);
  attempts_ = 0;
  next_at_ = now;
  switch (state_) {
    case State::discovering: return discovered(*got, now);
    case State::fetching_keys: return got_keys(*got, wall);
    case State::fetching_claims: return got_claims(*got);
    default: return own_answer(*got, now);
  }
}

void OidcSignIn::discovered(const HttpResponse& r, Instant now) {
  const Json about = object_of(r);
  if (!success(r) || about.is_null()) {
    return fail_with(Errc::protocol, printable(provider_.issuer) + " does not describe itself as an issuer of OpenID Connect does: "
                                     + (success(r) ? "no JSON object" : told(r, about)));
  }
  if (const std::string issuer = text_or(about, "issuer", ""); issuer != provider_.issuer) {
    return fail_with(Errc::protocol, "it calls itself \"" + printable(issuer) + "\", and not \"" + printable(provider_.issuer) +
                                     "\"; set issuer to exactly what it says");
  }
  token_endpoint_ = endpoint(about, "token_endpoint");
  jwks_uri_ = endpoint(about, "jwks_uri");
  userinfo_endpoint_ = endpoint(about, "userinfo_endpoint");
  const char* kMethods = "token_endpoint_auth_methods_supported";
  secret_in_body_ = !offers(about, kMethods, "client_secret_basic") && offers(about, kMethods, "client_secret_post");
  described(about, now);
  if (state_ != State::failed && (token_endpoint_.empty() || jwks_uri_.empty())) {
    fail_with(Errc::protocol, "it names no https address of its token endpoint, or of its keys");
  }
}

void OidcSignIn::took_tokens(const Json& body) {
  raw_token_ = text_or(body, "id_token", "");
  access_token_ = text_or(body, "access_token", "");
  if (raw_token_.empty()) return fail_with(Errc::protocol, "its answer has no ID token; is the scope openid allowed there?");
  state_ = State::fetching_keys;
}

void OidcSignIn::got_keys(const HttpResponse& r, UnixTime wall) {
  if (!success(r)) return fail_with(Errc::protocol, "it does not publish its keys: " + told(r, object_of(r)));
  const auto keys = JwkSet::parse(r.body);
  if (!keys) return fail_with(Errc::protocol, keys.error().text);
  auto token = check_id_token(raw_token_, *keys, {provider_.issuer, provider_.client_id, nonce_, wall, began_, access_token_});
  raw_token_.clear();
  if (!token) {
    // A program must not take a token of the past for a sign-in that came too late.
    const Errc code = token.error().code == Errc::expired || token.error().code == Errc::not_found ? Errc::denied : token.error().code;
    return fail_with(code, token.error().text);
  }
  token_ = std::make_shared<const IdToken>(std::move(*token));
  if (!lacks_claims(token_->claims) || userinfo_endpoint_.empty() || access_token_.empty()) return finish(Json::object());
  state_ = State::fetching_claims;
}

// vouched says whether a document tells the address and that it was verified: both, or neither counts.
bool OidcSignIn::vouched(const Json& claims) const {
  const auto verified = claims.find("email_verified");   // some write it as a text
  const bool sure = verified != claims.end() && (*verified == true || *verified == "true");
  return text_claim(claims, provider_.email_claim).has_value() && (sure || provider_.trust_email);
}

bool OidcSignIn::lacks_claims(const Json& claims) const {
  return !vouched(claims) || (!provider_.groups_claim.empty() && list_claim(claims, provider_.groups_claim).empty());
}

// The user info is of the same person, or worth nothing (OpenID Connect Core 1.0 section 5.3.2). What the ID token says goes
// first: it is signed.
void OidcSignIn::got_claims(const HttpResponse& r) {
  const Json claims = object_of(r);
  access_token_.clear();
  if (!success(r) || claims.is_null()) {
    return fail_with(Errc::protocol, "it does not tell about the person: " + (success(r) ? "no JSON object" : told(r, claims)));
  }
  if (text_or(claims, "sub", "") != token_->subject) {
    return fail_with(Errc::denied, "what it tells about the person is about somebody else than the ID token");
  }
  finish(claims);
}

// finish makes a person of the ID token and, where that lacks something, of the user info.
void OidcSignIn::finish(const Json& info) {
  const Json& signed_claims = token_->claims;
  const Json& source = vouched(signed_claims) || !text_claim(info, provider_.email_claim) ? signed_claims : info;
  const auto email = text_claim(source, provider_.email_claim);
  if (!email) {
    return fail_with(Errc::denied, "it tells no e-mail address (claim \"" + printable(provider_.email_claim) +
                                   "\"); allow the scope email there, or set email_claim");
  }
  if (!vouched(source)) {
    return fail_with(Errc::denied, "it does not say that " + printable(*email) + " was verified; if its users cannot choose "
                                   "their addresses, set trust_email = true");
  }
  person_ = {token_->subject, *email, {}, token_->methods, token_->context, token_->authenticated};
  if (!provider_.groups_claim.empty()) {
    person_.groups = list_claim(signed_claims, provider_.groups_claim);
    if (person_.groups.empty()) person_.groups = list_claim(info, provider_.groups_claim);
  }
  state_ = State::done;
  next_at_ = kNever;
}

DeviceSignIn::DeviceSignIn(OidcProvider provider, Instant now, UnixTime wall) : OidcSignIn(std::move(provider), "", now, wall) {}

void DeviceSignIn::described(const Json& about, Instant) {
  device_endpoint_ = endpoint(about, "device_authorization_endpoint");
  if (device_endpoint_.empty()) {
    return fail_with(Errc::unsupported, "it offers no device authorization grant (RFC 8628); enable that there");
  }
  ask_in(State::asking);
}

std::optional<HttpRequest> DeviceSignIn::own_request(Instant now) {
  if (state() == State::asking) return post(device_endpoint_, {{"scope", scopes()}});
  if (now >= code_->expires) {
    fail_with(Errc::expired, "nobody signed in there in time" + (trouble_.empty() ? "" : "; lately, " + trouble_));
    return std::nullopt;
  }
  ask_in(State::polling);
  return post(token_endpoint(), {{"grant_type", std::string(kDeviceGrant)}, {"device_code", device_code_}});
}

// A poll that fails costs nothing but time (RFC 8628 section 3.5).
bool DeviceSignIn::own_trouble(const std::string& why, Instant now) {
  if (state() != State::polling) return false;
  trouble_ = why;
  interval_ = std::min<Duration>(interval_ * 2, kLongestInterval);
  wait_until(std::min(now + interval_, code_->expires));
  return true;
}

void DeviceSignIn::own_answer(const HttpResponse& r, Instant now) {
  if (state() == State::asking) return asked(r, now);
  polled(r, now);
}

void DeviceSignIn::asked(const HttpResponse& r, Instant now) {
  const Json body = object_of(r);
  if (!success(r)) return fail_with(Errc::denied, "it does not let tg ask: " + told(r, body) + "; see client_id and its secret");
  Fields f(body, "the answer to the device authorization");
  DeviceCode code{endpoint(body, "verification_uri"), endpoint(body, "verification_uri_complete"), f.text("user_code", 64), {}};
  if (f.ok() && code.url.empty()) f.refuse("verification_uri", "is no https address");
  device_code_ = f.text("device_code", kSecretMax);
  const auto life = seconds_of(body, "expires_in");
  if (f.ok() && !life) f.refuse("expires_in", "is no number of seconds");
  if (!f.ok()) return fail_with(Errc::protocol, f.error().value().text);
  code.expires = now + std::min<Duration>(*life, kLongest);
  interval_ = std::clamp<std::chrono::seconds>(seconds_of(body, "interval").value_or(kStandardInterval), std::chrono::seconds(1),
                                               kLongestInterval);
  code_ = std::move(code);
  wait_until(std::min(now + interval_, code_->expires));
}

void DeviceSignIn::polled(const HttpResponse& r, Instant now) {
  const Json body = object_of(r);
  trouble_.clear();
  if (success(r)) return took_tokens(body);
  const std::string error = text_or(body, "error", "");
  if (error == "authorization_pending" || error == "slow_down") {
    if (error == "slow_down") interval_ = std::min<Duration>(interval_ + kSlowDown, kLongestInterval);
    return wait_until(std::min(now + interval_, code_->expires));
  }
  if (error == "access_denied") return fail_with(Errc::denied, "the sign-in was refused there");
  if (error == "expired_token") return fail_with(Errc::expired, "nobody signed in there in time");
  fail_with(Errc::denied, told(r, body));
}

std::string code_challenge(std::string_view verifier) { return base64url(sha256(as_bytes(verifier))); }

CodeSignIn::CodeSignIn(OidcProvider provider, CodeSecrets secrets, std::string redirect_uri, Instant now, UnixTime wall)
    : OidcSignIn(std::move(provider), secrets.nonce, now, wall), secrets_(std::move(secrets)),
      redirect_uri_(std::move(redirect_uri)), expires_(now + kLongest) {
  TG_CHECK(!secrets_.state.empty() && !secrets_.nonce.empty() && secrets_.verifier.size() >= 43);
}

void CodeSignIn::described(const Json& about, Instant) {
  const std::string at = endpoint(about, "authorization_endpoint");
  if (at.empty() || at.find('#') != at.npos) {
    return fail_with(Errc::protocol, "it names no https address at which people sign in (authorization_endpoint)");
  }
  const char* kMethods = "code_challenge_methods_supported";      // who says nothing may take it nevertheless
  if (about.contains(kMethods) && !offers(about, kMethods, "S256")) {
    return fail_with(Errc::unsupported, "it offers no PKCE with S256 (RFC 7636); enable that there");
  }
  const auto promise = about.find("authorization_response_iss_parameter_supported");
  names_itself_ = promise != about.end() && *promise == true;
  url_ = at + (at.find('?') == at.npos ? "?" : "&") +
         form_encoded({{"response_type", "code"}, {"client_id", provider().client_id}, {"redirect_uri", redirect_uri_},
                       {"scope", scopes()}, {"state", secrets_.state}, {"nonce", secrets_.nonce},
                       {"code_challenge", code_challenge(secrets_.verifier)}, {"code_challenge_method", "S256"}});
  wait_until(expires_);
}

Result<> CodeSignIn::returned(const QueryItems& query, Instant now) {
  if (state() != State::waiting) return fail(Errc::conflict, "no answer is waited for, or it has come already");
  const auto state = once(query, "state");
  if (!state || !same_secret(as_bytes(*state), as_bytes(secrets_.state))) {
    return fail(Errc::denied, "this is the answer to another sign-in");
  }
  if (now >= expires_) {
    fail_with(Errc::expired, "nobody signed in there in time");
    return {};
  }
  const auto issuer = once(query, "iss");
  const bool named = std::any_of(query.begin(), query.end(), [](const auto& item) { return item.first == "iss"; });
  if ((named || names_itself_) && issuer != provider().issuer) {
    fail_with(Errc::denied, named ? "the answer is from \"" + printable(issuer.value_or("several")) + "\""
                                  : "the answer does not say whose it is (iss)");
    return {};
  }
  const auto error = std::find_if(query.begin(), query.end(), [](const auto& item) { return item.first == "error"; });
  if (error != query.end() && error->second == "access_denied") {
    fail_with(Errc::denied, "the sign-in was refused there");
    return {};
  }
  if (error != query.end()) {
    const std::string more = printable(once(query, "error_description").value_or(""), 200);
    fail_with(Errc::denied, "it says " + printable(error->second, 64) + (more.empty() ? "" : ": " + more));
    return {};
  }
  const auto code = once(query, "code");
  if (!code || code->empty() || code->size() > kSecretMax) {
    fail_with(Errc::protocol, "its answer has no code, or more than one");
    return {};
  }
  code_ = *code;
  wait_until(now);
  ask_in(State::redeeming);
  return {};
}

std::optional<HttpRequest> CodeSignIn::own_request(Instant now) {
  if (state() == State::redeeming) {
    return post(token_endpoint(), {{"grant_type", "authorization_code"}, {"code", std::exchange(code_, {})},
                                   {"redirect_uri", redirect_uri_}, {"code_verifier", secrets_.verifier}});
  }
  if (now >= expires_) fail_with(Errc::expired, "nobody signed in there in time");
  return std::nullopt;
}

// A code is shown once: whoever shows it again may have stolen it, as far as the provider knows (RFC 6749 section 4.1.2).
bool CodeSignIn::own_trouble(const std::string&, Instant) { return false; }

void CodeSignIn::own_answer(const HttpResponse& r, Instant) {
  const Json body = object_of(r);
  if (success(r)) return took_tokens(body);
  fail_with(Errc::denied, "it does not take the code: " + told(r, body) + "; see client_id, its secret and its redirect URIs");
}

}  // namespace tg
