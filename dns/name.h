// Domain names as values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/ip.h"
#include "core/result.h"

namespace tg::dns {

// Name is one domain name, in wire form without compression (RFC 1035 section 3.1): labels of 1 to 63 bytes and the
// root's empty label, 255 bytes together. Any byte may stand in a label; letters keep their case and compare without
// it. Lives in place: copying one never allocates.
class Name {
 public:
  static constexpr std::size_t kMaxSize = 255;    // RFC 1035 section 2.3.4; counts length bytes and the root
  static constexpr std::size_t kMaxLabel = 63;    // ditto
  // kMaxJumps: one pointer a label is all that a name can need (RFC 9267 section 2).
  static constexpr int kMaxJumps = 127;
  enum class Pointers : bool { refused, followed };

  Name() noexcept { wire_[0] = 0; }   // the root
  Name(const Name& o) noexcept { *this = o; }
  Name& operator=(const Name& o) noexcept;

  // read takes one name off `in`, which must span the message from its header on, since pointers count from there (RFC
  // 1035 section 4.1.4). A pointer must lead to before the labels that led to it and not into the header: no loops.
  // Errors: Errc::malformed; `in` is then where it was.
  static Result<Name> read(Reader& in, Pointers pointers = Pointers::followed);

  // parse reads text: with or without the final dot, "." for the root, \DDD and \X for odd bytes (RFC 1035 section
  // 5.1). Errors: Errc::invalid_argument.
  static Result<Name> parse(std::string_view text);

  Bytes wire() const noexcept { return {wire_.data(), size_}; }
  std::size_t size() const noexcept { return size_; }   // of wire()
  bool is_root() const noexcept { return size_ == 1; }
  std::size_t label_count() const noexcept;              // without the root

  // to_string writes canonical text: lower case, no final dot ("." for the root), odd bytes escaped.
  std::string to_string() const;

  // hostname replaces `out` by the name as core/resource.h writes names, and returns true; false when it is the root or
  // holds a byte that no Resource's name may hold. A dot inside a label therefore never poses as two labels.
  bool hostname(std::string& out) const;

  // parent drops the first label; the root is its own parent.
  Name parent() const noexcept;
  Name lower() const noexcept;

  bool operator==(const Name& o) const noexcept;         // without case
  bool same_bytes(const Name& o) const noexcept;         // with case
  // is_subdomain_of: every name is one of itself, and of the root.
  bool is_subdomain_of(const Name& zone) const noexcept;

  std::size_t hash() const noexcept;                     // without case

 private:
  std::array<std::uint8_t, kMaxSize> wire_;   // only the first size_ bytes mean anything
  std::uint8_t size_ = 1;
};

// ReverseName is what a name below in-addr.arpa (RFC 1035 section 3.5) says. Four octets and nothing below them name
// one address: network.single() && !below.
struct ReverseName {
  Cidr network;         // /8, /16, /24 or /32: the octets that are there
  bool below = false;   // there are further labels in front of those octets
};
// reverse_name reads "50.1.168.192.in-addr.arpa" and its parents; nothing for other names, and for in-addr.arpa itself.
std::optional<ReverseName> reverse_name(const Name& name);
// reverse_address is the one address of a PTR question's name, or nothing.
std::optional<Ipv4> reverse_address(const Name& name);
// to_reverse writes the name under which the PTR record of `address` is.
Name to_reverse(Ipv4 address);

}  // namespace tg::dns

template <>
struct std::hash<tg::dns::Name> {
  std::size_t operator()(const tg::dns::Name& n) const noexcept { return n.hash(); }
};
