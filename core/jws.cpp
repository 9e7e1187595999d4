#include "core/jws.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string>
#include <variant>

#include <openssl/bn.h>
#include <openssl/curve25519.h>
#include <openssl/digest.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/rsa.h>

#include "core/encoding.h"
#include "core/json.h"
#include "core/text.h"

namespace tg {

// Jwk is one usable key.
struct Jwk {
  using Rsa = bssl::UniquePtr<RSA>;
  using P256 = bssl::UniquePtr<EC_KEY>;
  using Ed25519 = std::array<std::uint8_t, ED25519_PUBLIC_KEY_LEN>;

  std::optional<std::string> kid;
  std::string alg;   // "": any that its type is good for
  std::variant<Rsa, P256, Ed25519> key;
};

namespace {

constexpr std::size_t kJwsMax = 64u << 10;
constexpr unsigned kRsaBitsMin = 2048, kRsaBitsMax = 8192;
constexpr std::size_t kP256Bytes = 32;

using Bignum = bssl::UniquePtr<BIGNUM>;

Bignum bignum(Bytes b) { return Bignum(BN_bin2bn(b.data(), b.size(), nullptr)); }

// The algorithms: RFC 7518 sections 3.3 (RS256), 3.5 (PS256: the salt is as long as the digest) and 3.4 (ES256: r and s, 32
// bytes each), RFC 8037 section 3.1 (EdDSA).
bool rs256(const Jwk& jwk, Bytes message, Bytes signature) {
  const Buffer digest = sha256(message);
  return RSA_verify(NID_sha256, digest.data(), digest.size(), signature.data(), signature.size(),
                    std::get<Jwk::Rsa>(jwk.key).get()) == 1;
}

bool ps256(const Jwk& jwk, Bytes message, Bytes signature) {
  const Buffer digest = sha256(message);
  return RSA_verify_pss_mgf1(std::get<Jwk::Rsa>(jwk.key).get(), digest.data(), digest.size(), EVP_sha256(), EVP_sha256(),
                             static_cast<int>(digest.size()), signature.data(), signature.size()) == 1;
}

bool es256(const Jwk& jwk, Bytes message, Bytes signature) {
  if (signature.size() != 2 * kP256Bytes) return false;
  Bignum r = bignum(signature.first(kP256Bytes)), s = bignum(signature.subspan(kP256Bytes));
  const bssl::UniquePtr<ECDSA_SIG> pair(ECDSA_SIG_new());
  TG_CHECK(r && s && pair && ECDSA_SIG_set0(pair.get(), r.get(), s.get()) == 1);
  static_cast<void>(r.release());   // pair owns both
  static_cast<void>(s.release());
  const Buffer digest = sha256(message);
  return ECDSA_do_verify(digest.data(), digest.size(), pair.get(), std::get<Jwk::P256>(jwk.key).get()) == 1;
}

bool eddsa(const Jwk& jwk, Bytes message, Bytes signature) {
  return signature.size() == ED25519_SIGNATURE_LEN &&
         ED25519_verify(message.data(), message.size(), signature.data(), std::get<Jwk::Ed25519>(jwk.key).data()) == 1;
}

// Algorithm is one that we take. The list is ours and not the token's: "none" is not on it, and nothing that signs with a
// secret, for which a public key could be taken (RFC 8725 sections 2.1 and 3.1).
struct Algorithm {
  std::string_view name;
  bool (*fits)(const Jwk& jwk);
  bool (*verifies)(const Jwk& jwk, Bytes message, Bytes signature);

  bool may_use(const Jwk& jwk) const { return fits(jwk) && (jwk.alg.empty() || jwk.alg == name); }
};

template <class Key>
bool is(const Jwk& jwk) { return std::holds_alternative<Key>(jwk.key); }

constexpr Algorithm kAlgorithms[] = {
    {"RS256", is<Jwk::Rsa>, rs256},
    {"PS256", is<Jwk::Rsa>, ps256},
    {"ES256", is<Jwk::P256>, es256},
    {"EdDSA", is<Jwk::Ed25519>, eddsa},
};

const Algorithm* algorithm_named(std::string_view name) {
  const auto at = std::find_if(std::begin(kAlgorithms), std::end(kAlgorithms),
                               [&](const Algorithm& a) { return a.name == name; });
  return at != std::end(kAlgorithms) ? at : nullptr;
}

// bytes_of returns a member in base64url; none when it is missing or not well written.
Buffer bytes_of(const Json& jwk, const char* name) { return unbase64url(text_or(jwk, name, "")).value_or(Buffer()); }

// rsa_key reads RFC 7518 section 6.3.1. Some put a zero before the modulus; what counts is its bits.
Jwk::Rsa rsa_key(const Json& jwk) {
  const Buffer n = bytes_of(jwk, "n"), e = bytes_of(jwk, "e");
  if (n.size() > kRsaBitsMax / 8 + 1 || e.size() > sizeof(std::uint64_t)) return nullptr;
  Bignum modulus = bignum(n), exponent = bignum(e);
  Jwk::Rsa key(RSA_new());
  TG_CHECK(modulus && exponent && key);
  const unsigned bits = BN_num_bits(modulus.get());
  if (bits < kRsaBitsMin || bits > kRsaBitsMax) return nullptr;
  if (!BN_is_odd(exponent.get()) || BN_is_one(exponent.get())) return nullptr;
  TG_CHECK(RSA_set0_key(key.get(), modulus.get(), exponent.get(), nullptr) == 1);
  static_cast<void>(modulus.release());   // key owns both
  static_cast<void>(exponent.release());
  if (RSA_check_key(key.get()) != 1) return nullptr;
  return key;
}

// p256_key reads RFC 7518 section 6.2.1. The point must be on the curve.
Jwk::P256 p256_key(const Json& jwk) {
  const Buffer x = bytes_of(jwk, "x"), y = bytes_of(jwk, "y");
  if (text_or(jwk, "crv", "") != "P-256" || x.size() != kP256Bytes || y.size() != kP256Bytes) return nullptr;
  Jwk::P256 key(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  const Bignum bx = bignum(x), by = bignum(y);
  TG_CHECK(key && bx && by);
  if (EC_KEY_set_public_key_affine_coordinates(key.get(), bx.get(), by.get()) != 1) return nullptr;
  return key;
}

// may_verify reads "use" and "key_ops" (RFC 7517 sections 4.2 and 4.3).
bool may_verify(const Json& jwk) {
  if (jwk.contains("use") && jwk["use"] != "sig") return false;
  const auto ops = jwk.find("key_ops");
  return ops == jwk.end() || (ops->is_array() && std::find(ops->begin(), ops->end(), "verify") != ops->end());
}

// read_key returns nothing for a key that we cannot use.
std::optional<Jwk> read_key(const Json& jwk) {
  Jwk out;
  if (!may_verify(jwk)) return std::nullopt;
  if (const auto kid = jwk.find("kid"); kid != jwk.end()) {
    if (!kid->is_string()) return std::nullopt;
    out.kid = kid->get<std::string>();
  }
  const std::string type = text_or(jwk, "kty", "");
  if (type == "RSA") {
    auto key = rsa_key(jwk);
    if (!key) return std::nullopt;
    out.key = std::move(key);
  } else if (type == "EC") {
    auto key = p256_key(jwk);
    if (!key) return std::nullopt;
    out.key = std::move(key);
  } else if (type == "OKP") {   // RFC 8037 section 2
    const Buffer x = bytes_of(jwk, "x");
    Jwk::Ed25519 key{};
    if (text_or(jwk, "crv", "") != "Ed25519" || x.size() != key.size()) return std::nullopt;
    std::copy(x.begin(), x.end(), key.begin());
    out.key = key;
  } else {
    return std::nullopt;
  }
  if (const auto alg = jwk.find("alg"); alg != jwk.end()) {
    const Algorithm* known = alg->is_string() ? algorithm_named(alg->get_ref<const std::string&>()) : nullptr;
    if (known == nullptr || !known->fits(out)) return std::nullopt;
    out.alg = known->name;
  }
  return out;
}

// CutJws is the compact form cut at its dots and decoded.
struct CutJws {
  Bytes signed_part;   // header.payload, as it came
  Buffer header, payload, signature;
};

Result<CutJws> cut(std::string_view compact) {
  if (compact.size() > kJwsMax) return fail(Errc::malformed, "the ID token is longer than 64 KiB");
  const auto dots = std::count(compact.begin(), compact.end(), '.');
  if (dots == 4) return fail(Errc::malformed, "the ID token is encrypted; the provider must only sign it");
  if (dots != 2) return fail(Errc::malformed, "the ID token is not three parts with dots between them");
  const auto first = compact.find('.'), second = compact.rfind('.');
  auto header = unbase64url(compact.substr(0, first));
  auto payload = unbase64url(compact.substr(first + 1, second - first - 1));
  auto signature = unbase64url(compact.substr(second + 1));
  if (!header || !payload || !signature) return fail(Errc::malformed, "the ID token is not base64url");
  return CutJws{as_bytes(compact.substr(0, second)), std::move(*header), std::move(*payload), std::move(*signature)};
}

// unique_names says whether no object has a member twice (RFC 7515 section 4, RFC 7519 section 4): two readers could take
// different ones. `text` is JSON.
bool unique_names(std::string_view text) {
  std::vector<std::set<std::string>> open;
  bool unique = true;
  const auto event = [&](int, Json::parse_event_t what, Json& value) {
    if (what == Json::parse_event_t::object_start) open.emplace_back();
    else if (what == Json::parse_event_t::object_end) open.pop_back();
    else if (what == Json::parse_event_t::key) unique &= open.back().insert(value.get<std::string>()).second;
    return true;
  };
  return !Json::parse(text.begin(), text.end(), event, false).is_discarded() && unique;
}

Result<Json> object_in(const Buffer& part, const std::string& what) {
  auto object = parse_json(as_text(part));
  if (!object || !object->is_object()) return fail(Errc::malformed, "the ID token's " + what + " is not a JSON object");
  if (!unique_names(as_text(part))) return fail(Errc::malformed, "the ID token's " + what + " has a member twice");
  return std::move(*object);
}

// check_header returns the algorithm. What has to be understood (RFC 7515 section 4.1.11, RFC 7797) we do not understand;
// a "typ" of another kind of token is refused (RFC 8725 section 3.11).
Result<const Algorithm*> check_header(const Json& header) {
  const auto alg = header.find("alg");
  if (alg == header.end() || !alg->is_string()) return fail(Errc::denied, "the ID token names no algorithm (alg)");
  const auto& name = alg->get_ref<const std::string&>();
  const Algorithm* algorithm = algorithm_named(name);
  if (algorithm == nullptr) {
    return fail(Errc::denied, "the ID token is signed with \"" + printable(name, 64) +
                                  "\", which is none of RS256, PS256, ES256 and EdDSA");
  }
  if (header.contains("crit")) return fail(Errc::denied, "the ID token has critical extensions (crit)");
  if (header.contains("b64") && header["b64"] != true)
    return fail(Errc::denied, "the ID token's payload is not encoded (b64)");
  if (header.contains("typ")) {
    const std::string type = text_or(header, "typ", "");
    if (lower(type) != "jwt" && lower(type) != "application/jwt")
      return fail(Errc::denied, "the ID token's type (typ) is \"" + printable(type, 64) + "\", not \"JWT\"");
  }
  return algorithm;
}

// candidates returns the keys that may have signed: with "kid" those of that name, without it the only one there is.
Result<std::vector<const Jwk*>> candidates(const Json& header, const Algorithm& algorithm, const std::vector<Jwk>& keys) {
  const auto kid = header.find("kid");
  const bool named = kid != header.end();
  if (named && !kid->is_string()) return fail(Errc::malformed, "the ID token's key id (kid) is not a text");
  std::vector<const Jwk*> out;
  for (const Jwk& jwk : keys) {
    if (algorithm.may_use(jwk) && (!named || jwk.kid == kid->get_ref<const std::string&>())) out.push_back(&jwk);
  }
  std::string which(algorithm.name);
  if (named) which += ", kid \"" + printable(kid->get_ref<const std::string&>(), 64) + "\"";
  if (out.empty())
    return fail(Errc::not_found, "the ID token is signed with a key that the provider does not publish (" + which + ")");
  if (!named && out.size() > 1) {
    return fail(Errc::denied, "the ID token does not say (kid) which of the provider's " + std::to_string(out.size()) +
                                  " keys for " + which + " it is signed with");
  }
  return out;
}

}  // namespace

JwkSet::JwkSet() : keys_(std::make_shared<const std::vector<Jwk>>()) {}

std::size_t JwkSet::size() const noexcept { return keys_->size(); }

Result<JwkSet> JwkSet::parse(std::string_view json) {
  if (json.size() > kTextMax) return fail(Errc::malformed, "the provider's keys are longer than 256 KiB");
  const auto set = parse_json(json);
  if (!set || !set->is_object()) return fail(Errc::malformed, "the provider's keys are not a JSON object");
  const auto list = set->find("keys");
  if (list == set->end() || !list->is_array()) return fail(Errc::malformed, "the provider's keys have no list \"keys\"");
  if (list->size() > kKeysMax)
    return fail(Errc::malformed, "the provider publishes more than " + std::to_string(kKeysMax) + " keys");
  auto keys = std::make_shared<std::vector<Jwk>>();
  for (const Json& jwk : *list) {
    if (!jwk.is_object()) return fail(Errc::malformed, "one of the provider's keys is not a JSON object");
    if (auto key = read_key(jwk)) keys->push_back(std::move(*key));
  }
  ERR_clear_error();   // of keys that were skipped
  JwkSet out;
  out.keys_ = std::move(keys);
  return out;
}

Result<Json> verify_jws(std::string_view compact, const JwkSet& keys) {
  auto parts = cut(compact);
  if (!parts) return pass_on(parts);
  auto header = object_in(parts->header, "header");
  if (!header) return pass_on(header);
  auto algorithm = check_header(*header);
  if (!algorithm) return pass_on(algorithm);
  auto signers = candidates(*header, **algorithm, *keys.keys_);
  if (!signers) return pass_on(signers);
  const bool good = std::any_of(signers->begin(), signers->end(), [&](const Jwk* jwk) {
    return (*algorithm)->verifies(*jwk, parts->signed_part, parts->signature);
  });
  ERR_clear_error();   // a wrong signature must not be found by who next asks about TLS
  if (!good) return fail(Errc::denied, "the ID token's signature does not fit the provider's key");
  return object_in(parts->payload, "payload");
}

}  // namespace tg
