// The first of the two checks of a flow: the controller's signed word on what a device may reach.
#pragma once

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

// Grant is a JWS in compact form (RFC 7515), alg EdDSA (RFC 8037), bound to the device's TLS key by cnf.jkt (RFC 7800,
// RFC 7638). Claims: iss, sub, device, network, resources, gen, iat, exp,
// cnf.
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

  bool covers(ResourceId id) const noexcept;

  // sign returns the compact JWS. `seed`: the 32-byte Ed25519 private seed.
  std::string sign(Bytes seed) const;

  // verify checks form, algorithm (EdDSA only), signature, issuer, network, times (60 s leeway) and that the grant is
  // bound to `thumbprint`. Errors: malformed, denied (signature, issuer, network or binding), expired. `grace`: how
  // long past its expiry it is honoured, for while the controller is away.
  static Result<Grant> verify(std::string_view jws, Bytes public_key, std::string_view issuer, std::string_view network,
                              std::string_view thumbprint, UnixTime now, std::chrono::seconds grace = {});
};

// ed25519_public_key returns the 32-byte public key of a 32-byte seed (RFC 8032).
Buffer ed25519_public_key(Bytes seed);

// jwk_thumbprint returns the RFC 7638 thumbprint of a P-256 public key given as its 65-byte uncompressed point.
Result<std::string> jwk_thumbprint(Bytes point);

}  // namespace tg
