// Where a controller is and how it is told from others: what a person who has no token is given, and is no secret.
#pragma once

#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/ip.h"
#include "core/result.h"

namespace tg {

// ControllerAddress in text is "HOST:PORT#PIN". The pin is the SHA-256 of the root CA's SubjectPublicKeyInfo, as in a Token
// and in RFC 7469, in 43 characters of base64url.
struct ControllerAddress {
  HostPort controller;
  Buffer ca_pin;           // 32 bytes

  std::string to_string() const;
  // parse errors: malformed, and the text says which part is wrong.
  static Result<ControllerAddress> parse(std::string_view text);
};

}  // namespace tg
