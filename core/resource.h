// A Resource: what an administrator writes down that somebody may reach, and the rules that belong to it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/ip.h"
#include "core/result.h"

namespace tg {

// Protocol carries the IP protocol number (IANA) of what a flow speaks.
enum class Protocol : std::uint8_t { icmp = 1, tcp = 6, udp = 17 };
std::string_view to_string(Protocol p) noexcept;   // "tcp", "udp", "icmp"

struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 65535;
  auto operator<=>(const PortRange&) const = default;
};

// Ports is a set of ports, as sorted ranges that neither overlap nor touch.
class Ports {
 public:
  static Ports all() { return Ports(std::vector<PortRange>{{0, 65535}}); }
  static Ports none() { return Ports(); }
  Ports() = default;                                  // none
  explicit Ports(std::vector<PortRange> ranges);      // any order; overlapping and touching ranges are joined

  // parse reads "443" or "8000-8100". Errors: Errc::invalid_argument, and the text says what is wrong.
  static Result<PortRange> parse(std::string_view text);

  bool contains(std::uint16_t port) const noexcept;
  bool is_all() const noexcept;
  bool empty() const noexcept { return ranges_.empty(); }
  const std::vector<PortRange>& ranges() const noexcept { return ranges_; }
  std::string to_string() const;                      // "all", "none" or "22, 80, 8000-8100"
  bool operator==(const Ports&) const = default;

 private:
  std::vector<PortRange> ranges_;
};

// Protocols is what of TCP, UDP and ICMP echo a Resource lets through. By default everything.
struct Protocols {
  Ports tcp = Ports::all();
  Ports udp = Ports::all();
  bool icmp = true;

  // allow says whether a flow may pass; `port` is ignored for ICMP.
  bool allow(Protocol p, std::uint16_t port) const noexcept;
  std::string to_string() const;                      // "everything" or "tcp 22, 80; udp all; icmp"
  bool operator==(const Protocols&) const = default;
};

// canonical_name returns `text` in lower case without its final dot. Errors: Errc::invalid_argument for an empty name,
// an empty label, a label above 63 or a name above 253 bytes, and any byte but letters, digits, '-' and '_'
// ('*' and '?' too, when `pattern`).
Result<std::string> canonical_name(std::string_view text, bool pattern = false);

// Address is what a Resource is reached by: an exact name, a pattern of names, or a network (a single IP is a /32 or
// /128). Kind and text are canonical, so that two spellings of one address compare equal.
class Address {
 public:
  enum class Kind : std::uint8_t { name, wildcard, network };

  // parse reads an FQDN, a wildcard (`*` zero or more characters, dots too; `?` exactly one), an IP or a CIDR.
  // Errors: Errc::invalid_argument, with a text that says what is wrong and what to do (host bits, spaces, a URL, a
  // port).
  static Result<Address> parse(std::string_view text);

  Kind kind() const noexcept { return kind_; }
  const std::string& text() const noexcept { return text_; }        // canonical; a single IP without its /32
  const Cidr& network() const noexcept { return network_; }         // only when kind() is network
  int literals() const noexcept;                                    // characters that are neither * nor ?

  // matches says whether the canonical name, or the address, is meant by this.
  bool matches(std::string_view name) const noexcept;
  bool matches(const IpAddress& ip) const noexcept;
  // overlaps says whether some host is meant by both. Exact for every pair of kinds.
  bool overlaps(const Address& other) const;
  bool operator==(const Address& o) const noexcept { return kind_ == o.kind_ && text_ == o.text_; }

 private:
  Kind kind_ = Kind::name;
  std::string text_;
  Cidr network_;
};

using ResourceId = std::uint64_t;

struct Resource {
  ResourceId id = 0;
  std::string name;          // for people: "NAS"
  std::string network;       // the Network whose connectors reach it
  Address address;
  std::string alias;         // optional second name, canonical, with at least one dot; "" when there is none
  Protocols protocols;
  bool operator==(const Resource&) const = default;
};

// Host is what a flow is aimed at: a canonical name, or an address.
using Host = std::variant<std::string, IpAddress>;
std::string to_string(const Host& h);
// parse_host reads an address where `text` is one, and otherwise a canonical name.
Result<Host> parse_host(std::string_view text);

}  // namespace tg
