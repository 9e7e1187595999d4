// What somebody may ask of the controller: the role of a person or service, and the scopes of an API token. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace tg {

// Role is what a person or service is to the controller. Each may do what those before it may.
enum class Role : std::uint8_t {
  member,    // sees what is his own
  auditor,   // sees everything
  admin,     // changes everything but who administers, and at which providers people sign in
  owner,     // changes everything
};
const char* to_string(Role role) noexcept;
std::optional<Role> role_named(std::string_view text) noexcept;

// Deed is what a scope allows with its area.
enum class Deed : std::uint8_t { read, write };

// kAreas are what scopes speak of: each is the first part of a path of the API.
inline constexpr std::array<std::string_view, 19> kAreas = {
    "api-tokens", "audit",    "connectors", "devices",   "enrolment-tokens", "events", "groups",   "identity-providers", "keys", "networks",
    "policies",   "relays",   "requests",   "resources", "services",         "sessions", "state",  "status",             "users"};

// Scopes are "AREA:read" and "AREA:write", where write includes read; AREA may be "*".
class Scopes {
 public:
  Scopes() = default;                              // none
  static Scopes everything();
  // parse sorts the words and drops what others include. Errors: invalid_argument, also for no word at all.
  static Result<Scopes> parse(const std::vector<std::string>& words);

  bool cover(std::string_view area, Deed deed) const;
  bool cover(const Scopes& other) const;
  const std::vector<std::string>& words() const noexcept { return words_; }
  bool operator==(const Scopes&) const = default;

 private:
  std::vector<std::string> words_;
};

}  // namespace tg
