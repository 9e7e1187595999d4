// The one string with which a machine is let in for the first time.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/ip.h"
#include "core/time.h"

namespace tg {

// Token names the controller, pins its CA, and carries a secret that works once; that of a service, its key, until it expires.
// An API token lets no machine in: it names the API, and works there until it expires.
// Text form: "tg1_" and base64url of: u8 role, u32 expiry (Unix), 16 bytes id, 32 bytes secret, 32 bytes pin,
// "HOST:PORT", and the first 4 bytes of the SHA-256 of all that, so that a mistyped or cut token is seen before anybody
// is asked.
struct Token {
  enum class Role : std::uint8_t { device = 1, connector = 2, relay = 3, service = 4, api = 5 };

  Role role = Role::device;
  UnixTime expires{};
  Buffer id;               // 16 bytes; the controller's key for its record
  Buffer secret;           // 32 bytes; the controller keeps only its SHA-256
  Buffer ca_pin;           // SHA-256 of the root CA's SubjectPublicKeyInfo (as in RFC 7469)
  HostPort controller;

  std::string to_string() const;
  // parse errors: Errc::malformed when this is no token, or is cut short or mistyped; the text says so without the
  // secret.
  static Result<Token> parse(std::string_view text);
};
std::string_view to_string(Token::Role r) noexcept;   // "device", "connector", "relay", "service", "api"
std::optional<Token::Role> role_from(std::string_view text) noexcept;

}  // namespace tg
