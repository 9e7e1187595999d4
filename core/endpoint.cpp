// Endpoint and HostPort of core/ip.h: what stands before a port, and the port.
#include <optional>

#include "core/ip.h"
#include "core/resource.h"

namespace tg {
namespace {

// Parts is a text cut at its port. `port` is nothing when there is none.
struct Parts {
  std::string_view host;
  std::optional<std::uint16_t> port;
  bool bracketed = false;
};

Result<std::uint16_t> parse_port(std::string_view text) {
  unsigned value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9' || text.size() > 5) return fail(Errc::malformed, "the port must be a number up to 65535");
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  if (text.empty() || value > 65535) return fail(Errc::malformed, "the port must be a number up to 65535");
  return static_cast<std::uint16_t>(value);
}

// split cuts "host:1", "[::1]:1", "[::1]", "host" and, since more than one colon can only be IPv6, "::1".
Result<Parts> split(std::string_view text) {
  Parts out;
  std::string_view rest;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return fail(Errc::malformed, "'[' without ']'");
    out.host = text.substr(1, close - 1);
    out.bracketed = true;
    rest = text.substr(close + 1);
    if (!rest.empty() && rest[0] != ':') return fail(Errc::malformed, "only a port may follow ']'");
  } else {
    const auto colon = text.find(':');
    if (colon == std::string_view::npos || text.find(':', colon + 1) != std::string_view::npos) {
      out.host = text;
      return out;
    }
    out.host = text.substr(0, colon);
    rest = text.substr(colon);
  }
  if (rest.empty()) return out;
  auto port = parse_port(rest.substr(1));
  if (!port) return pass_on(port);
  out.port = *port;
  return out;
}

std::string bracketed(const std::string& host) { return host.find(':') == std::string::npos ? host : "[" + host + "]"; }

}  // namespace

Result<Endpoint> Endpoint::parse(std::string_view text, std::uint16_t default_port) {
  auto parts = split(text);
  if (!parts) return pass_on(parts);
  auto address = IpAddress::parse(parts->host);
  if (!address) return pass_on(address);
  if (parts->bracketed && address->is_v4()) return fail(Errc::malformed, "brackets are for IPv6 addresses");
  if (!parts->port && default_port == 0) return fail(Errc::invalid_argument, "the port is missing, as in 192.0.2.1:53");
  return Endpoint{*address, parts->port.value_or(default_port)};
}

std::string Endpoint::to_string() const { return bracketed(address.to_string()) + ":" + std::to_string(port); }

Result<HostPort> HostPort::parse(std::string_view text, std::uint16_t default_port) {
  if (text.find("://") != std::string_view::npos) {
    return fail(Errc::invalid_argument, "this is a URL; write HOST:PORT only");
  }
  auto parts = split(text);
  if (!parts) return pass_on(parts);
  const auto address = IpAddress::parse(parts->host);
  if (!address && parts->host.find(':') != std::string_view::npos) return fail(Errc::malformed, "not an IPv6 address");
  if (parts->bracketed && !(address && address->is_v6())) {
    return fail(Errc::malformed, "brackets are for IPv6 addresses");
  }
  auto host = parse_host(parts->host);
  if (!host) return pass_on(host);
  if (!parts->port && default_port == 0)
    return fail(Errc::invalid_argument, "the port is missing, as in example.com:443");
  if (parts->port == 0) return fail(Errc::invalid_argument, "port 0 cannot be reached");
  return HostPort{tg::to_string(*host), parts->port.value_or(default_port)};
}

std::string HostPort::to_string() const { return bracketed(host) + ":" + std::to_string(port); }

}  // namespace tg
