// What an OpenID Connect provider signs: its keys (RFC 7517), and tokens that carry its signature (RFC 7515).
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "core/json_fwd.h"
#include "core/result.h"

namespace tg {

struct Jwk;

// JwkSet is the keys that an issuer publishes. A copy costs no more than a shared_ptr's.
class JwkSet {
 public:
  static constexpr std::size_t kTextMax = 256u << 10;
  static constexpr std::size_t kKeysMax = 100;

  JwkSet();   // no keys

  // parse reads {"keys": [{"kty": …}, …]}. Usable are RSA keys of 2048 to 8192 bits, EC keys on P-256 and OKP keys on
  // Ed25519 whose "use", "key_ops" and "alg" allow to verify one of our algorithms with them. Others are skipped, as are
  // those that lack something or are out of range (RFC 7517 section 5). Error: malformed.
  static Result<JwkSet> parse(std::string_view json);

  std::size_t size() const noexcept;   // how many are usable

 private:
  friend Result<Json> verify_jws(std::string_view compact, const JwkSet& keys);

  std::shared_ptr<const std::vector<Jwk>> keys_;   // never null
};

// verify_jws returns the payload, a JSON object, of a JWS in compact form (RFC 7515 section 7.1) that is signed with one of
// `keys` and RS256, PS256, ES256 (RFC 7518) or EdDSA (RFC 8037). Key material in its header is never used. Errors, which
// speak of an ID token: malformed; denied (algorithm, type, extensions, signature; no "kid" where several keys would do);
// not_found (the key is not among `keys`: they may have been rotated).
Result<Json> verify_jws(std::string_view compact, const JwkSet& keys);

}  // namespace tg
