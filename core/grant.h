// The first of the two checks of a flow: the controller's signed word on what a device may reach.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/resource.h"
#include "core/result.h"
#include "core/time.h"

namespace tg {

// Generation counts how often a device's grants were voided. It rises by no clock, so that none that is wrong can bring a
// void grant back.
using Generation = std::uint64_t;
inline constexpr Generation kGenerationMax = (1ull << 63) - 1;

// kGrantLifetime is how long a grant is good for that the controller issues.
inline constexpr std::chrono::seconds kGrantLifetime = std::chrono::hours(1);

// Ed25519Key is a private key that is ready to sign: making it of its seed takes as long as a signature.
class Ed25519Key {
 public:
  explicit Ed25519Key(Bytes seed);   // 32 bytes (RFC 8032)
  Bytes seed() const noexcept { return Bytes(pair_).first(32); }
  Buffer public_key() const { return {pair_.begin() + 32, pair_.end()}; }
  Buffer sign(Bytes message) const;

 private:
  std::array<std::uint8_t, 64> pair_{};   // the seed, and the public key
};


// Grant is a JWS in compact form (RFC 7515), alg EdDSA (RFC 8037), bound to the device's TLS key by cnf.jkt (RFC 7800,
// RFC 7638). Claims: iss, sub, device, network, resources, gen, iat, exp, cnf, and where policies want it withheld and ends.
struct Grant {
  std::string issuer;                 // the controller's instance name, as in the SAN URIs
  std::string user;                   // e-mail address
  std::string device;                 // device id
  std::string network;                // the Network whose connectors it is for
  std::vector<ResourceId> resources;  // sorted
  Generation generation = 0;          // void once its device's is higher
  UnixTime issued{};
  UnixTime expires{};
  std::string key_thumbprint;         // base64url SHA-256 JWK thumbprint of the device's public key
  std::map<UnixTime, std::vector<ResourceId>> ends{};   // others, sorted, each until that moment: whoever is away then, and whatever is late
  std::vector<ResourceId> withheld{};   // sorted: what the user's groups lead to and a policy keeps shut. It keeps its hosts from wider ones

  // kEndTolerance is how much later than told something ends, so that a device that may go on has its next grant by then.
  static constexpr std::chrono::seconds kEndTolerance{2};

  bool covers(ResourceId id) const noexcept;
  bool withholds(ResourceId id) const noexcept;
  // end withholds what is over by now, and returns whether anything is.
  bool end(UnixTime now);

  // sign returns the compact JWS. `seed`: the 32-byte Ed25519 private seed.
  std::string sign(const Ed25519Key& key) const;
  std::string sign(Bytes seed) const { return sign(Ed25519Key(seed)); }

  // verify checks form, algorithm (EdDSA only), signature, issuer, network, times (60 s leeway) and that the grant is
  // bound to `thumbprint`; what is over by now is withheld. Errors: malformed, denied (signature, issuer, network or binding), expired. `grace`: how
  // long past its expiry it is honoured, for while the controller is away.
  static Result<Grant> verify(std::string_view jws, Bytes public_key, std::string_view issuer, std::string_view network,
                              std::string_view thumbprint, UnixTime now, std::chrono::seconds grace = {});
};

// ed25519_public_key returns the 32-byte public key of a 32-byte seed (RFC 8032).
Buffer ed25519_public_key(Bytes seed);

// jwk_thumbprint returns the RFC 7638 thumbprint of a P-256 public key given as its 65-byte uncompressed point.
Result<std::string> jwk_thumbprint(Bytes point);

}  // namespace tg
