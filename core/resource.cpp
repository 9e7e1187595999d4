#include "core/resource.h"

#include <algorithm>
#include <optional>

#include "core/text.h"

namespace tg {
namespace {

std::optional<std::uint16_t> parse_number(std::string_view text) {
  if (text.empty() || text.size() > 5) return std::nullopt;
  unsigned value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  if (value > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(value);
}

}  // namespace

std::string_view to_string(Protocol p) noexcept {
  switch (p) {
    case Protocol::icmp: return "icmp";
    case Protocol::tcp: return "tcp";
    case Protocol::udp: return "udp";
  }
  return "unknown";
}

Ports::Ports(std::vector<PortRange> ranges) {
  std::erase_if(ranges, [](const PortRange& r) { return r.first > r.last; });
  std::sort(ranges.begin(), ranges.end());
  for (const PortRange& r : ranges) {
    if (!ranges_.empty() && r.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, r.last);
    } else {
      ranges_.push_back(r);
    }
  }
  ranges_.shrink_to_fit();
}

Result<PortRange> Ports::parse(std::string_view text) {
  const auto dash = text.find('-');
  const auto first = parse_number(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : parse_number(text.substr(dash + 1));
  if (!first || !last) {
    return fail(Errc::invalid_argument,
                in_quotes(text) + R"( is not a port or range; write "443" or "8000-8100", up to 65535)");
  }
  if (*first > *last) {
    return fail(Errc::invalid_argument, in_quotes(text) + " runs backwards; write the smaller port first");
  }
  return PortRange{*first, *last};
}

bool Ports::contains(std::uint16_t port) const noexcept {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), port,
                                      [](std::uint16_t p, const PortRange& r) { return p < r.first; });
  return after != ranges_.begin() && port <= std::prev(after)->last;
}

bool Ports::is_all() const noexcept { return ranges_.size() == 1 && ranges_[0] == PortRange{0, 65535}; }

std::string Ports::to_string() const {
  if (is_all()) return "all";
  if (empty()) return "none";
  std::string out;
  for (const PortRange& r : ranges_) {
    if (!out.empty()) out += ", ";
    out += std::to_string(r.first);
    if (r.last != r.first) out += "-" + std::to_string(r.last);
  }
  return out;
}

bool Protocols::allow(Protocol p, std::uint16_t port) const noexcept {
  switch (p) {
    case Protocol::icmp: return icmp;
    case Protocol::tcp: return tcp.contains(port);
    case Protocol::udp: return udp.contains(port);
  }
  return false;
}

std::string Protocols::to_string() const {
  if (*this == Protocols{}) return "everything";
  std::string out;
  const auto add = [&](const std::string& part) { out += (out.empty() ? "" : "; ") + part; };
  if (!tcp.empty()) add("tcp " + tcp.to_string());
  if (!udp.empty()) add("udp " + udp.to_string());
  if (icmp) add("icmp");
  return out.empty() ? "nothing" : out;
}

std::string to_string(const Host& h) {
  if (const auto* name = std::get_if<std::string>(&h)) return *name;
  return std::get<IpAddress>(h).to_string();
}

}  // namespace tg
