// The layout of netlink messages (linux/netlink.h): host byte order, aligned to four bytes.
#pragma once

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <array>
#include <cstring>
#include <optional>

#include "core/bytes.h"
#include "core/ip.h"

namespace tg::net {

inline std::size_t netlink_aligned(std::size_t n) noexcept { return (n + 3) & ~std::size_t{3}; }

// NetlinkWriter builds one message: header, body, attributes. The length is kept right all the while.
class NetlinkWriter {
 public:
  template <class Body>
  NetlinkWriter(std::uint16_t type, std::uint16_t flags, const Body& body) {
    nlmsghdr h{};
    h.nlmsg_type = type;
    h.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    raw(&h, sizeof h);
    raw(&body, sizeof body);
    set_length();
  }

  void bytes(std::uint16_t type, Bytes value) {
    rtattr a{};
    a.rta_len = static_cast<std::uint16_t>(sizeof a + value.size());
    a.rta_type = type;
    raw(&a, sizeof a);
    raw(value.data(), value.size());
    set_length();
  }
  void u8(std::uint16_t type, std::uint8_t v) { bytes(type, {&v, 1}); }
  void u32(std::uint16_t type, std::uint32_t v) {
    std::array<std::uint8_t, 4> b;
    std::memcpy(b.data(), &v, 4);
    bytes(type, b);
  }
  void address(std::uint16_t type, const IpAddress& a) { bytes(type, a.bytes()); }

  // begin opens an attribute that holds others, end closes it.
  std::size_t begin(std::uint16_t type) {
    const std::size_t at = out_.size();
    bytes(type, {});
    return at;
  }
  void end(std::size_t at) {
    const auto length = static_cast<std::uint16_t>(out_.size() - at);
    std::memcpy(out_.data() + at, &length, sizeof length);
  }

  Buffer take() { return std::move(out_); }

 private:
  void raw(const void* p, std::size_t n) {
    const auto* b = static_cast<const std::uint8_t*>(p);
    out_.insert(out_.end(), b, b + n);
    out_.resize(netlink_aligned(out_.size()));
  }
  void set_length() {
    const auto length = static_cast<std::uint32_t>(out_.size());
    std::memcpy(out_.data(), &length, sizeof length);
  }

  Buffer out_;
};

// Attribute is one attribute of a message; its value refers to the message.
struct Attribute {
  std::uint16_t type = 0;
  Bytes value;

  std::uint32_t u32() const noexcept {
    std::uint32_t v = 0;
    if (value.size() >= 4) std::memcpy(&v, value.data(), 4);
    return v;
  }
  std::optional<IpAddress> address() const noexcept {
    if (value.size() == 4) return IpAddress(Ipv4{Reader(value).u32()});
    if (value.size() != 16) return std::nullopt;
    std::array<std::uint8_t, 16> b;
    std::memcpy(b.data(), value.data(), 16);
    return IpAddress::v6(b);
  }
  std::string text() const { return std::string(as_text(value.empty() ? value : value.first(value.size() - 1))); }
};

// next_attribute takes the first attribute off `rest`, or returns nothing when there is no whole one.
inline std::optional<Attribute> next_attribute(Bytes& rest) noexcept {
  rtattr a{};
  if (rest.size() < sizeof a) return std::nullopt;
  std::memcpy(&a, rest.data(), sizeof a);
  if (a.rta_len < sizeof a || a.rta_len > rest.size()) return std::nullopt;
  const auto type = static_cast<std::uint16_t>(a.rta_type & NLA_TYPE_MASK);
  const Attribute out{type, rest.subspan(sizeof a, a.rta_len - sizeof a)};
  rest = rest.subspan(std::min(rest.size(), netlink_aligned(a.rta_len)));
  return out;
}

// Message is one message of a datagram; `body` refers to it.
struct Message {
  nlmsghdr header{};
  Bytes body;

  // fixed takes the message's fixed part and leaves its attributes in `attributes`.
  template <class Body>
  std::optional<Body> fixed(Bytes& attributes) const noexcept {
    Body b{};
    if (body.size() < sizeof b) return std::nullopt;
    std::memcpy(&b, body.data(), sizeof b);
    attributes = body.subspan(std::min(body.size(), netlink_aligned(sizeof b)));
    return b;
  }
};
inline std::optional<Message> next_message(Bytes& rest) noexcept {
  Message m;
  if (rest.size() < sizeof m.header) return std::nullopt;
  std::memcpy(&m.header, rest.data(), sizeof m.header);
  if (m.header.nlmsg_len < sizeof m.header || m.header.nlmsg_len > rest.size()) return std::nullopt;
  m.body = rest.subspan(sizeof m.header, m.header.nlmsg_len - sizeof m.header);
  rest = rest.subspan(std::min(rest.size(), netlink_aligned(m.header.nlmsg_len)));
  return m;
}

}  // namespace tg::net
