// Names, patterns and Resource addresses of core/resource.h: what a person may write, and its one canonical form.
#include <algorithm>

#include "core/glob.h"
#include "core/resource.h"
#include "core/text.h"

namespace tg {
namespace {

tl::unexpected<Error> wrong(std::string_view text, std::string_view why) {
  return fail(Errc::invalid_argument, in_quotes(text) + " " + std::string(why));
}

// ends_in_number says whether the last label is a number, as no top-level domain is: a mistyped address, or one of the
// odd forms (10.1, 0x7f.1) that some C libraries take for an address.
bool ends_in_number(std::string_view name) {
  const std::string_view last = name.substr(name.find_last_of('.') + 1);
  if (last.starts_with("0x")) {
    return last.find_first_not_of("0123456789abcdef", 2) == std::string_view::npos;
  }
  return !last.empty() && std::all_of(last.begin(), last.end(), is_digit);
}

// refuse_look_alikes finds what people type where a host belongs, and says what to write instead.
Result<> refuse_look_alikes(std::string_view text) {
  const auto has = [&](std::string_view s) { return text.find(s) != std::string_view::npos; };
  if (text.empty())
    return fail(Errc::invalid_argument, "the address is empty; write a name, a wildcard, an IP or a CIDR");
  if (text.find_first_of(" \t\r\n") != std::string_view::npos) return wrong(text, "has spaces");
  if (has("://")) return wrong(text, "is a URL; write the host only");
  if (has("@")) return wrong(text, "has a user; write the host only");
  if (has("[") || has("]")) return wrong(text, "has brackets; write the bare IPv6 address, and ports into protocols");
  if (has("%")) return wrong(text, "has a zone; an address here has none");
  if (has("/")) return wrong(text, "has a '/'; write the host only, or a network such as 10.0.0.0/16");
  if (text.find(':') != text.rfind(':')) return wrong(text, "is no IPv6 address");
  if (has(":")) return wrong(text, "has a port; use protocols");
  return {};
}

}  // namespace

Result<std::string> canonical_name(std::string_view text, bool pattern) {
  std::string name = lower(text.ends_with('.') ? text.substr(0, text.size() - 1) : text);
  if (name.empty()) return fail(Errc::invalid_argument, "the name is empty");
  if (name.size() > kHostNameMax) return fail(Errc::invalid_argument, "the name is longer than 253 characters");
  std::size_t label = 0;
  for (const char c : name) {
    if (c == '.') {
      if (label == 0) return wrong(text, "has an empty label (a dot at the start, or two in a row)");
      label = 0;
      continue;
    }
    if (static_cast<unsigned char>(c) >= 0x80) return wrong(text, "is not ASCII; write the punycode (xn--…) form");
    const bool fits =
        (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_' || (pattern && (c == '*' || c == '?'));
    if (!fits) return wrong(text, "is no name: letters, digits, '-', '_' and dots only");
    if (++label > kLabelMax) return wrong(text, "has a label longer than 63 characters");
  }
  if (label == 0) return wrong(text, "has an empty label (two dots at the end)");
  return name;
}

Result<Address> Address::parse(std::string_view text) {
  Address out;
  if (auto network = Cidr::parse(text); network || network.error().code == Errc::invalid_argument ||
                                        IpAddress::parse(text.substr(0, text.find('/')))) {
    if (!network) return fail(Errc::invalid_argument, network.error().text);
    if (network->base().unmapped() != network->base())
      return wrong(text, "is IPv4 inside IPv6; write the IPv4 address");
    out.kind_ = Kind::network;
    out.network_ = *network;
    out.text_ = network->single() ? network->base().to_string() : network->to_string();
    return out;
  }
  if (auto ok = refuse_look_alikes(text); !ok) return pass_on(ok);
  auto name = canonical_name(text, true);
  if (!name) return pass_on(name);
  if (!has_wildcard(*name)) {
    if (ends_in_number(*name)) {
      return wrong(text, "looks like an IP address, but is none; an IPv4 address has four numbers up to 255");
    }
    out.text_ = std::move(*name);
    return out;
  }
  if (name->find_first_not_of("*?.") == std::string::npos) {
    return wrong(text, "would capture every name; name at least one label, as in *.corp.internal");
  }
  if (name->find_first_not_of("0123456789*?.") == std::string::npos) {
    return wrong(text, "looks like a pattern of IP addresses; use a CIDR, as in 10.0.0.0/16");
  }
  out.kind_ = Kind::wildcard;
  out.text_ = normal_glob(*name);
  return out;
}

int Address::literals() const noexcept { return glob_literals(text_); }

bool Address::matches(std::string_view name) const noexcept {
  if (kind_ == Kind::name) return name == text_;
  return kind_ == Kind::wildcard && glob_matches(text_, name);
}

bool Address::matches(const IpAddress& ip) const noexcept {
  return kind_ == Kind::network && network_.contains(ip.unmapped());
}

bool Address::overlaps(const Address& other) const {
  if (kind_ == Kind::network || other.kind_ == Kind::network) {
    return kind_ == other.kind_ && network_.overlaps(other.network_);
  }
  if (kind_ == Kind::name) return other.matches(text_);
  if (other.kind_ == Kind::name) return matches(other.text_);
  return globs_overlap(text_, other.text_);
}

Result<Host> parse_host(std::string_view text) {
  if (const auto ip = IpAddress::parse(text)) return Host(ip->unmapped());
  auto name = canonical_name(text);
  if (!name) return pass_on(name);
  if (ends_in_number(*name)) return wrong(text, "is neither an IP address nor a name");
  return Host(std::move(*name));
}

}  // namespace tg
