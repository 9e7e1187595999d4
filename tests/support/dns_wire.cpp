#include "tests/support/dns_wire.h"

#include <cstring>
#include <stdexcept>

namespace tg::test {

std::vector<std::uint8_t> wire(std::string_view picture) {
  std::vector<std::uint8_t> out;
  int high = -1;
  for (std::size_t i = 0; i < picture.size(); ++i) {
    const char c = picture[i];
    if (c == '\'') {
      for (++i; i < picture.size() && picture[i] != '\''; ++i) out.push_back(static_cast<std::uint8_t>(picture[i]));
      continue;
    }
    const std::size_t digit = std::string_view("0123456789abcdef").find(static_cast<char>(c | 0x20));
    if (c == ' ' || c == '|' || c == '\n' || digit == std::string_view::npos) continue;
    if (high < 0) high = static_cast<int>(digit);
    else out.push_back(static_cast<std::uint8_t>(high * 16 + static_cast<int>(digit))), high = -1;
  }
  return out;
}

ExactBytes::ExactBytes(std::span<const std::uint8_t> bytes)
    : size_(bytes.size()), bytes_(new std::uint8_t[bytes.size()]) {
  if (!bytes.empty()) std::memcpy(bytes_.get(), bytes.data(), bytes.size());
}

std::string be16(unsigned v) { return {static_cast<char>(v >> 8), static_cast<char>(v)}; }
std::string be32(unsigned long v) {
  return be16(static_cast<unsigned>(v >> 16)) + be16(static_cast<unsigned>(v & 0xFFFF));
}

std::string dotted(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    const std::string_view label = name.substr(0, name.find('.'));
    out += static_cast<char>(label.size());
    out += label;
    name.remove_prefix(std::min(name.size(), label.size() + 1));
  }
  return out + '\0';
}

std::string rr(const std::string& owner, unsigned type, unsigned klass, unsigned long ttl, const std::string& rdata) {
  return owner + be16(type) + be16(klass) + be32(ttl) + be16(static_cast<unsigned>(rdata.size())) + rdata;
}

std::vector<std::uint8_t> QueryBytes::bytes() const {
  std::string out = be16(id) + be16(flags) + be16(1) + be16(0) + be16(0) + be16(edns ? 1 : 0);
  out += dotted(name) + be16(type) + be16(klass);
  if (edns) out += rr(std::string(1, '\0'), 41, udp_size,
      (static_cast<unsigned long>(version) << 16) | (dnssec_ok ? 0x8000u : 0u), options);
  return {out.begin(), out.end()};
}

namespace {

// Cursor throws at the end; see() catches.
struct Cursor {
  const std::vector<std::uint8_t>& all;
  std::size_t at = 0;

  unsigned one() { return all.at(at++); }
  unsigned two() { const unsigned high = one(); return high << 8 | one(); }
  unsigned long four() { const unsigned long high = two(); return high << 16 | two(); }

  std::string name(int depth = 0) {
    if (depth > 300) throw std::runtime_error("pointers");
    const unsigned length = one();
    if (length == 0) return depth == 0 ? "." : "";
    if (length >= 0xC0) {
      Cursor there{all, (length & 0x3F) << 8 | one()};
      const std::string rest = there.name(depth + 1);
      return rest.empty() && depth == 0 ? "." : rest;
    }
    std::string label;
    for (unsigned i = 0; i < length; ++i) label += static_cast<char>(one());
    return label + "." + name(depth + 1);
  }

  SeenRecord record() {
    SeenRecord r;
    r.name = name();
    r.type = two();
    r.klass = two();
    r.ttl = four();
    const unsigned size = two();
    r.rdata_at = at;
    for (unsigned i = 0; i < size; ++i) r.rdata += static_cast<char>(one());
    return r;
  }
};

}  // namespace

Seen see(std::span<const std::uint8_t> message) {
  Seen s;
  s.bytes.assign(message.begin(), message.end());
  Cursor c{s.bytes};
  try {
    s.id = c.two();
    s.flags = c.two();
    s.rcode = s.flags & 15;
    s.questions = c.two();
    const unsigned answers = c.two(), authorities = c.two(), additionals = c.two();
    for (std::size_t i = 0; i < s.questions; ++i) {
      s.qname = c.name();
      s.qtype = c.two();
      s.qclass = c.two();
    }
    for (unsigned i = 0; i < answers; ++i) s.answers.push_back(c.record());
    for (unsigned i = 0; i < authorities; ++i) s.authorities.push_back(c.record());
    for (unsigned i = 0; i < additionals; ++i) {
      SeenRecord r = c.record();
      if (r.type == 41) {
        s.has_opt = true;
        s.opt_size = r.klass;
        s.opt_do = (r.ttl & 0x8000) != 0;
        s.rcode |= static_cast<unsigned>(r.ttl >> 24) << 4;
      }
      s.additionals.push_back(std::move(r));
    }
    s.ok = c.at == s.bytes.size();
  } catch (const std::exception&) {
    s.ok = false;
  }
  return s;
}

std::string Seen::dig_flags() const {
  static constexpr struct { unsigned bit; const char* name; } kFlags[] = {
      {0x8000, "qr"}, {0x0400, "aa"}, {0x0200, "tc"}, {0x0100, "rd"}, {0x0080, "ra"}, {0x0020, "ad"}, {0x0010, "cd"}};
  std::string out;
  for (const auto& f : kFlags)
    if ((flags & f.bit) != 0) out += (out.empty() ? "" : " ") + std::string(f.name);
  return out;
}

std::string Seen::name_at(std::size_t at) const {
  try {
    return Cursor{bytes, at}.name();
  } catch (const std::exception&) {
    return "(unreadable)";
  }
}

}  // namespace tg::test
