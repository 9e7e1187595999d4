#include "cmd/controller/names.h"

#include <fmt/format.h>

#include "core/desired_state.h"
#include "core/resource.h"
#include "core/text.h"

namespace tg::controller {
namespace {

constexpr std::size_t kMaxName = 64;
constexpr std::size_t kMaxEmail = 254;   // RFC 5321 section 4.5.3.1.3, without the angle brackets

}  // namespace

Result<> check_name(std::string_view name) {
  if (name.empty()) return fail(Errc::invalid_argument, "must not be empty");
  if (name.size() > kMaxName) {
    return fail(Errc::invalid_argument, fmt::format("must not be longer than {} bytes", kMaxName));
  }
  if (printable(name, kMaxName * 8) != name) {
    return fail(Errc::invalid_argument, fmt::format("\"{}\" must be UTF-8 without control characters",
                                                    printable(name)));
  }
  if (name.find('/') != std::string_view::npos) {
    return fail(Errc::invalid_argument, fmt::format("\"{}\" must not contain \"/\"", name));
  }
  if (name.front() == ' ' || name.back() == ' ') {
    return fail(Errc::invalid_argument, fmt::format("\"{}\" must not begin or end with a space", name));
  }
  return {};
}

Result<std::string> canonical_email(std::string_view email) {
  const std::size_t at = email.find('@');
  bool good = at != std::string_view::npos && at > 0 && at + 1 < email.size() &&
      email.find('@', at + 1) == std::string_view::npos &&
              email.size() <= kMaxEmail && printable(email, kMaxEmail) == email;
  for (const char c : email) good = good && c != ' ' && c != '"' && c != ',' && c != ';' && c != '<' && c != '>';
  if (!good) return fail(Errc::invalid_argument, fmt::format("\"{}\" is not an e-mail address", printable(email, 64)));
  return lower(email);
}

std::string device_name(const std::string& said, const std::string& id) {
  return said.empty() ? "device-" + id.substr(0, 4) : printable(said, kMaxName);
}

Result<> check_service_name(std::string_view name) {
  if (auto good = check_name(name); !good) return good;
  if (!is_person(name)) return {};
  return fail(Errc::invalid_argument, fmt::format("\"{}\" must not contain \"@\": that is how people are told from services", name));
}

Result<std::string> canonical_subject(std::string_view subject) {
  if (is_person(subject)) return canonical_email(subject);
  if (auto good = check_name(subject); !good) return pass_on(good);
  return std::string(subject);
}

Result<Role> parse_role(std::string_view text) {
  if (const auto role = role_named(text)) return *role;
  return fail(Errc::invalid_argument, "must be member, auditor, admin or owner");
}

Result<std::string> canonical_alias(std::string_view alias) {
  if (IpAddress::parse(alias)) {
    return fail(Errc::invalid_argument, fmt::format("\"{}\" is an address; an alias is a name", alias));
  }
  auto name = canonical_name(alias);
  if (!name) return fail(Errc::invalid_argument, fmt::format("\"{}\": {}", printable(alias, 64), name.error().text));
  if (name->find('.') == std::string::npos) {
    return fail(Errc::invalid_argument, fmt::format("\"{0}\" needs at least one dot, as in \"{0}.tg\"", *name));
  }
  return name;
}

Result<std::string> canonical_relay_address(std::string_view address) {
  auto place = HostPort::parse(lower(address), kRelayPort);
  if (!place) {
    return fail(Errc::invalid_argument, fmt::format("\"{}\" is not HOST:PORT, as in relay.example.com:{}",
                                                    printable(address, 64), kRelayPort));
  }
  return place->to_string();
}

}  // namespace tg::controller
