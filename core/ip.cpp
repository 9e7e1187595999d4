#include "core/ip.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "core/text.h"

namespace tg {
namespace {

using V6 = std::array<std::uint8_t, 16>;

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// decimal reads all of `text` as a number of at most `max`, without sign or leading zeros.
std::optional<unsigned> decimal(std::string_view text, unsigned max) {
  if (text.empty() || text.size() > 3 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  unsigned value = 0;
  for (const char c : text) {
    if (!is_digit(c)) return std::nullopt;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  if (value > max) return std::nullopt;
  return value;
}

std::optional<Ipv4> parse_v4(std::string_view text) {
  std::uint32_t value = 0;
  for (int octet = 0; octet < 4; ++octet) {
    const auto dot = octet < 3 ? text.find('.') : text.size();
    if (dot == std::string_view::npos) return std::nullopt;
    const auto number = decimal(text.substr(0, dot), 255);
    if (!number) return std::nullopt;
    value = value << 8 | *number;
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  return Ipv4{value};
}

// parse_v6 reads the three forms of RFC 4291 section 2.2. "::" stands for at least one group.
std::optional<V6> parse_v6(std::string_view text) {
  V6 out{};
  std::size_t filled = 0;
  std::optional<std::size_t> gap;   // where "::" stands, in bytes
  if (text.starts_with("::")) {
    gap = 0;
    text.remove_prefix(2);
  } else if (text.starts_with(':')) {
    return std::nullopt;
  }
  while (!text.empty()) {
    const auto end = std::min(text.find(':'), text.size());
    const std::string_view group = text.substr(0, end);
    if (group.find('.') != std::string_view::npos) {
      const auto v4 = end == text.size() && filled <= 12 ? parse_v4(group) : std::nullopt;
      if (!v4) return std::nullopt;
      for (int shift = 24; shift >= 0; shift -= 8) out[filled++] = static_cast<std::uint8_t>(v4->value >> shift);
      break;
    }
    if (group.empty() || group.size() > 4 || filled > 14) return std::nullopt;
    unsigned value = 0;
    for (const char c : group) {
      const int digit = hex_digit(c);
      if (digit < 0) return std::nullopt;
      value = value << 4 | static_cast<unsigned>(digit);
    }
    out[filled++] = static_cast<std::uint8_t>(value >> 8);
    out[filled++] = static_cast<std::uint8_t>(value);
    text.remove_prefix(end);
    if (text.empty()) break;
    text.remove_prefix(1);
    if (text.empty()) return std::nullopt;   // a single ':' at the end
    if (text[0] == ':') {
      if (gap) return std::nullopt;
      gap = filled;
      text.remove_prefix(1);
    }
  }
  if (!gap) return filled == 16 ? std::optional(out) : std::nullopt;
  if (filled > 14) return std::nullopt;
  const auto from = out.begin() + static_cast<std::ptrdiff_t>(*gap);
  std::rotate(from, out.begin() + static_cast<std::ptrdiff_t>(filled), out.end());
  return out;
}

std::string v4_text(std::uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) {
    out += std::to_string(value >> shift & 255u);
    if (shift > 0) out += '.';
  }
  return out;
}

// v6_text writes RFC 5952: the longest run of two or more zero groups, the first of equals, becomes "::".
std::string v6_text(const V6& bytes) {
  std::array<unsigned, 8> group{};
  for (std::size_t i = 0; i < 8; ++i) group[i] = static_cast<unsigned>(bytes[2 * i] << 8 | bytes[2 * i + 1]);
  std::size_t run = 8, length = 1;
  for (std::size_t i = 0; i < 8; ++i) {
    std::size_t n = 0;
    while (i + n < 8 && group[i + n] == 0) ++n;
    if (n > length) run = i, length = n;
  }
  std::string out;
  for (std::size_t i = 0; i < 8; ++i) {
    if (i == run) {
      out += "::";
      i += length - 1;
      continue;
    }
    if (i > 0 && out.back() != ':') out += ':';
    char digits[4];
    out.append(digits, std::to_chars(digits, digits + 4, group[i], 16).ptr);
  }
  return out;
}

constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool is_mapped(Bytes b) { return b.size() == 16 && std::equal(kMapped.begin(), kMapped.end(), b.begin()); }

}  // namespace

IpAddress::IpAddress(Ipv4 v4) noexcept {
  for (std::size_t i = 0; i < 4; ++i) bytes_[i] = static_cast<std::uint8_t>(v4.value >> (24 - 8 * i));
}

IpAddress IpAddress::v6(const std::array<std::uint8_t, 16>& bytes) noexcept {
  IpAddress out;
  out.bytes_ = bytes;
  out.v6_ = true;
  return out;
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  if (const auto four = parse_v4(text)) return IpAddress(*four);
  if (const auto six = parse_v6(text); six && !text.empty()) return v6(*six);
  return fail(Errc::malformed, "not an IP address");
}

Ipv4 IpAddress::v4() const noexcept {
  TG_CHECK(!v6_);
  Reader r(bytes());
  return Ipv4{r.u32()};
}

Bytes IpAddress::bytes() const noexcept { return Bytes(bytes_).first(v6_ ? 16 : 4); }

bool IpAddress::bit(int i) const noexcept {
  TG_CHECK(i >= 0 && i < bits());
  return (bytes_[static_cast<std::size_t>(i / 8)] >> (7 - i % 8) & 1) != 0;
}

IpAddress IpAddress::unmapped() const noexcept {
  if (!is_mapped(bytes())) return *this;
  Reader r(bytes().subspan(12));
  return Ipv4{r.u32()};
}

std::string IpAddress::to_string() const {
  if (!v6_) return v4_text(v4().value);
  if (is_mapped(bytes())) return "::ffff:" + v4_text(unmapped().v4().value);   // RFC 5952 section 5
  return v6_text(bytes_);
}

Cidr::Cidr(IpAddress base, int prefix) noexcept : prefix_(prefix) {
  TG_CHECK(prefix >= 0 && prefix <= base.bits());
  V6 bytes{};
  std::copy(base.bytes().begin(), base.bytes().end(), bytes.begin());
  for (int i = 0; i < 16; ++i) {
    const int kept = std::clamp(prefix - 8 * i, 0, 8);
    bytes[static_cast<std::size_t>(i)] &= static_cast<std::uint8_t>(0xff00 >> kept);
  }
  if (base.is_v6()) {
    base_ = IpAddress::v6(bytes);
  } else {
    Reader r(bytes);
    base_ = Ipv4{r.u32()};
  }
}

Result<Cidr> Cidr::parse(std::string_view text) {
  const auto slash = text.find('/');
  const auto base = IpAddress::parse(text.substr(0, slash));
  if (!base) return fail(Errc::malformed, "not an IP address or network");
  if (slash == std::string_view::npos) return Cidr(*base, base->bits());
  const auto prefix = decimal(text.substr(slash + 1), static_cast<unsigned>(base->bits()));
  if (!prefix) {
    return fail(Errc::malformed, "the prefix length must be a number from 0 to " + std::to_string(base->bits()));
  }
  const Cidr network(*base, static_cast<int>(*prefix));
  if (network.base() != *base) {
    return fail(Errc::invalid_argument, base->to_string() + "/" + std::to_string(*prefix) +
                                            " has host bits set; did you mean " + network.to_string() + "?");
  }
  return network;
}

bool Cidr::contains(const IpAddress& a) const noexcept {
  if (a.is_v6() != base_.is_v6()) return false;
  const Bytes net = base_.bytes(), host = a.bytes();
  const auto whole = static_cast<std::size_t>(prefix_ / 8);
  if (!std::equal(net.begin(), net.begin() + static_cast<std::ptrdiff_t>(whole), host.begin())) return false;
  const int rest = prefix_ % 8;
  return rest == 0 || (net[whole] ^ host[whole]) >> (8 - rest) == 0;
}

std::string Cidr::to_string() const { return base_.to_string() + "/" + std::to_string(prefix_); }

}  // namespace tg
