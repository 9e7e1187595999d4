// Whether an ID token is one, and is for us, and now; and what it says of a person.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/jws.h"
#include "core/result.h"
#include "core/time.h"

namespace tg {

// IdTokenRules is what an ID token must say (OpenID Connect Core 1.0 section 3.1.3.7).
struct IdTokenRules {
  std::string issuer;      // not empty
  std::string client_id;   // not empty
  std::string nonce;       // "": none was sent
  UnixTime now{};
  UnixTime asked{};        // when the sign-in began
  std::string access_token{};   // that came with it; "": none
};

struct IdToken {
  std::string subject;                     // 1 to 255 printable bytes
  UnixTime expires{};
  std::optional<UnixTime> authenticated;   // auth_time
  std::vector<std::string> methods;        // amr (RFC 8176)
  std::string context;                     // acr
  Json claims;                             // all of them
};

// check_id_token takes a token that one of `keys` signed and that keeps `rules`, with a leeway of a minute for clocks.
// Errors: those of verify_jws; malformed (a claim that is missing or no claim of its kind), denied (one that says what it
// must not) and expired.
Result<IdToken> check_id_token(std::string_view compact, const JwkSet& keys, const IdTokenRules& rules);

// text_claim and list_claim return a claim by its name or, where there is none of that name, by a path with dots through
// objects: "realm_access.roles". text_claim returns nothing for what is not a text of 1 to 256 printable bytes. list_claim
// takes a list or one text, leaves such entries out, and those after the first 1000.
std::optional<std::string> text_claim(const Json& claims, std::string_view name);
std::vector<std::string> list_claim(const Json& claims, std::string_view name);

}  // namespace tg
