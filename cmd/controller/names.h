// What the administrator's names may look like.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"
#include "core/rights.h"

namespace tg::controller {

// check_name takes names of networks, connectors, groups and Resources: 1 to 64 bytes of UTF-8 without control
// characters, '/' or spaces at the ends. Errors: invalid_argument, and the text fits behind a key: `"a/b" must not
// contain "/"`.
Result<> check_name(std::string_view name);

// device_name returns what a device that calls itself `said` is called: that, as far as it can be shown, or a name made of its id.
std::string device_name(const std::string& said, const std::string& id);

// canonical_email returns the address in lower case. Errors: invalid_argument unless it is "something@something"
// without spaces.
Result<std::string> canonical_email(std::string_view email);

// check_service_name takes check_name's, but for those with an '@': that is how people are told from services.
Result<> check_service_name(std::string_view name);

// canonical_subject takes the e-mail address of a user or the name of a service. Errors: invalid_argument.
Result<std::string> canonical_subject(std::string_view subject);

// parse_role errors: invalid_argument, and the text fits behind a key.
Result<Role> parse_role(std::string_view text);

// kByPassword is what a session is called that no identity provider vouched for; none can have this name.
inline constexpr const char* kByPassword = "password";

// canonical_alias returns a second name of a Resource. Errors: invalid_argument without a dot, for an address, or a bad
// name.
Result<std::string> canonical_alias(std::string_view alias);

// canonical_relay_address returns "HOST:PORT" at which agents find a relay; without a port it is kRelayPort. Errors:
// invalid_argument.
inline constexpr std::uint16_t kRelayPort = 8444;
Result<std::string> canonical_relay_address(std::string_view address);

}  // namespace tg::controller
