#include "core/id_token.h"

#include <algorithm>
#include <cmath>

#include "core/encoding.h"
#include "core/text.h"

namespace tg {
namespace {

constexpr std::chrono::seconds kLeeway(60);
constexpr std::uint64_t kSecondsMax = 1ull << 40;
constexpr std::size_t kSubjectMax = 255;   // OpenID Connect Core 1.0 section 2
constexpr std::size_t kMethodsMax = 32, kMethodMax = 64;
constexpr std::size_t kTextMax = 256, kListMax = 1000;

std::string shown(const Json& j) {
  return j.is_string() ? in_quotes(j.get_ref<const std::string&>()) : printable(json_text(j), 200);
}

// A minute is too coarse for who compares two clocks, and four digits of a year are too few for some claims.
std::string shown(UnixTime t) {
  const std::string seconds = std::to_string(t.time_since_epoch().count());
  constexpr UnixTime kYear10000(std::chrono::seconds(253'402'300'800));
  return t < kYear10000 ? utc_text(t) + " (" + seconds + ")" : seconds;
}

bool plain(const Json& j, std::size_t max) {
  return j.is_string() && printable(j.get_ref<const std::string&>(), max) == j.get_ref<const std::string&>();
}

const Json* claim(const Json& claims, std::string_view name) {
  const auto at = claims.find(name);
  return at != claims.end() ? &*at : nullptr;
}

tl::unexpected<Error> missing(const std::string& name) { return fail(Errc::malformed, "the ID token has no " + name); }

tl::unexpected<Error> misshapen(const std::string& name, const Json& is, const std::string& must) {
  return fail(Errc::malformed, "the ID token's " + name + " is " + shown(is) + ", not " + must);
}

Result<> check_issuer(const Json& claims, const std::string& issuer) {
  const Json* iss = claim(claims, "iss");
  if (iss == nullptr) return missing("issuer (iss)");
  if (!iss->is_string()) return misshapen("issuer (iss)", *iss, "a text");
  if (*iss == issuer) return {};
  return fail(Errc::denied, "the ID token's issuer (iss) is " + shown(*iss) + ", not " + in_quotes(issuer));
}

// check_audience takes a token for others too only with their word that it was us who asked (azp).
Result<> check_audience(const Json& claims, const std::string& client) {
  const Json* aud = claim(claims, "aud");
  if (aud == nullptr) return missing("audience (aud)");
  const Json list = aud->is_array() ? *aud : Json::array({*aud});
  const auto is_us = [&](const Json& j) { return j == client; };
  if (!std::all_of(list.begin(), list.end(), [](const Json& j) { return j.is_string(); }))
    return misshapen("audience (aud)", *aud, "a text or a list of texts");
  if (std::none_of(list.begin(), list.end(), is_us))
    return fail(Errc::denied, "the ID token's audience (aud) is " + shown(*aud) + ", not " + in_quotes(client));
  const Json* azp = claim(claims, "azp");
  if (azp != nullptr && !azp->is_string()) return misshapen("authorized party (azp)", *azp, "a text");
  if (azp != nullptr && *azp != client)
    return fail(Errc::denied, "the ID token's authorized party (azp) is " + shown(*azp) + ", not " + in_quotes(client));
  if (azp == nullptr && !std::all_of(list.begin(), list.end(), is_us)) {
    return fail(Errc::denied, "the ID token's audience (aud) is " + shown(*aud) +
                                  ", and no authorized party (azp) says that it is for " + in_quotes(client));
  }
  return {};
}

Result<std::string> subject(const Json& claims) {
  const Json* sub = claim(claims, "sub");
  if (sub == nullptr) return missing("subject (sub)");
  if (!plain(*sub, kSubjectMax) || *sub == "") return misshapen("subject (sub)", *sub, "a text of 1 to 255 printable bytes");
  return sub->get<std::string>();
}

// time_claim reads a NumericDate (RFC 7519 section 2), which may have a fraction.
Result<std::optional<UnixTime>> time_claim(const Json& claims, const char* name) {
  const Json* j = claim(claims, name);
  if (j == nullptr) return std::nullopt;
  const auto at = [](auto seconds) { return UnixTime(std::chrono::seconds(static_cast<std::int64_t>(seconds))); };
  if (j->is_number_unsigned() && j->get<std::uint64_t>() <= kSecondsMax) return at(j->get<std::uint64_t>());
  if (j->is_number_float()) {
    const double seconds = std::floor(j->get<double>());
    if (seconds >= 0 && seconds <= static_cast<double>(kSecondsMax)) return at(seconds);   // never so for NaN
  }
  return misshapen(std::string("time (") + name + ")", *j, "a number of seconds since 1970");
}

// check_times returns when it expires.
Result<UnixTime> check_times(const Json& claims, const IdTokenRules& rules) {
  const auto expires = time_claim(claims, "exp"), issued = time_claim(claims, "iat"), begins = time_claim(claims, "nbf");
  for (const auto* time : {&expires, &issued, &begins})
    if (!*time) return tl::unexpected<Error>(time->error());
  if (!*expires) return missing("end (exp)");
  if (!*issued) return missing("time of issue (iat)");
  const std::string clocks = "; are the clocks of the controller and the provider right?";
  const std::string now = ", and now it is " + shown(rules.now) + clocks;
  if (**expires < rules.now - kLeeway) return fail(Errc::expired, "the ID token expired (exp) at " + shown(**expires) + now);
  if (**issued > rules.now + kLeeway)
    return fail(Errc::denied, "the ID token will be issued (iat) only at " + shown(**issued) + now);
  if (*begins && **begins > rules.now + kLeeway)
    return fail(Errc::denied, "the ID token is good (nbf) only from " + shown(**begins) + now);
  if (**issued < rules.asked - kLeeway) {
    return fail(Errc::denied, "the ID token is of an earlier sign-in: it was issued (iat) at " + shown(**issued) +
                                  ", and this one began at " + shown(rules.asked) + clocks);
  }
  return **expires;
}

// check_nonce does not tell the nonce that would be right.
Result<> check_nonce(const Json& claims, const std::string& nonce) {
  if (nonce.empty()) return {};
  const Json* j = claim(claims, "nonce");
  if (j == nullptr) return fail(Errc::denied, "the ID token has no nonce, and one was sent");
  if (j->is_string() && same_secret(as_bytes(j->get_ref<const std::string&>()), as_bytes(nonce))) return {};
  return fail(Errc::denied, "the ID token's nonce is " + shown(*j) + ", not the one of this sign-in");
}

// check_access_token holds the one that came with the ID token against what that says of it, if it says something (at_hash,
// section 3.1.3.6): the left half of its hash, by the hash of the signature.
Result<> check_access_token(const Json& claims, std::string_view compact, const std::string& token) {
  const Json* j = claim(claims, "at_hash");
  if (j == nullptr || token.empty()) return {};
  const auto header = unbase64url(compact.substr(0, compact.find('.')));
  const auto said = header ? parse_json(as_text(*header)) : std::nullopt;
  const bool long_one = said && text_or(*said, "alg", "") == "EdDSA";   // Ed25519 hashes with SHA-512
  const Buffer hash = long_one ? sha512(as_bytes(token)) : sha256(as_bytes(token));
  if (*j == base64url(Bytes(hash).first(hash.size() / 2))) return {};
  return fail(Errc::denied, "the ID token is about another access token (at_hash) than the one that came with it");
}

Result<std::vector<std::string>> methods(const Json& claims) {
  const Json* amr = claim(claims, "amr");
  if (amr == nullptr) return std::vector<std::string>();
  const bool good = amr->is_array() && amr->size() <= kMethodsMax &&
                    std::all_of(amr->begin(), amr->end(), [](const Json& j) { return plain(j, kMethodMax); });
  if (!good) return misshapen("methods (amr)", *amr, "a list of at most 32 texts of at most 64 printable bytes");
  return amr->get<std::vector<std::string>>();
}

Result<std::string> context(const Json& claims) {
  const Json* acr = claim(claims, "acr");
  if (acr == nullptr) return std::string();
  if (!plain(*acr, kTextMax)) return misshapen("context (acr)", *acr, "a text of at most 256 printable bytes");
  return acr->get<std::string>();
}

// found takes the name whole where there is such a member, otherwise up to its first dot, and goes on in there.
const Json* found(const Json& claims, std::string_view name) {
  const Json* in = &claims;
  while (in->is_object()) {
    if (const Json* whole = claim(*in, name)) return whole;
    const auto dot = name.find('.');
    if (dot == std::string_view::npos) return nullptr;
    in = claim(*in, name.substr(0, dot));
    if (in == nullptr) return nullptr;
    name.remove_prefix(dot + 1);
  }
  return nullptr;
}

bool says_something(const Json& j) { return plain(j, kTextMax) && j != ""; }

}  // namespace

Result<IdToken> check_id_token(std::string_view compact, const JwkSet& keys, const IdTokenRules& rules) {
  TG_CHECK(!rules.issuer.empty() && !rules.client_id.empty());
  auto claims = verify_jws(compact, keys);
  if (!claims) return pass_on(claims);
  if (auto ok = check_issuer(*claims, rules.issuer); !ok) return pass_on(ok);
  if (auto ok = check_audience(*claims, rules.client_id); !ok) return pass_on(ok);
  if (auto ok = check_nonce(*claims, rules.nonce); !ok) return pass_on(ok);
  if (auto ok = check_access_token(*claims, compact, rules.access_token); !ok) return pass_on(ok);
  auto expires = check_times(*claims, rules);
  if (!expires) return pass_on(expires);
  auto authenticated = time_claim(*claims, "auth_time");
  if (!authenticated) return pass_on(authenticated);
  auto sub = subject(*claims);
  if (!sub) return pass_on(sub);
  auto amr = methods(*claims);
  if (!amr) return pass_on(amr);
  auto acr = context(*claims);
  if (!acr) return pass_on(acr);
  return IdToken{std::move(*sub), *expires, *authenticated, std::move(*amr), std::move(*acr), std::move(*claims)};
}

std::optional<std::string> text_claim(const Json& claims, std::string_view name) {
  const Json* j = found(claims, name);
  if (j == nullptr || !says_something(*j)) return std::nullopt;
  return j->get<std::string>();
}

std::vector<std::string> list_claim(const Json& claims, std::string_view name) {
  std::vector<std::string> out;
  const Json* j = found(claims, name);
  if (j == nullptr) return out;
  if (!j->is_array()) {
    if (says_something(*j)) out.push_back(j->get<std::string>());
    return out;
  }
  for (const Json& entry : *j) {
    if (out.size() == kListMax) break;
    if (says_something(entry)) out.push_back(entry.get<std::string>());
  }
  return out;
}

}  // namespace tg
