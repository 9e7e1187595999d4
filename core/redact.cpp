#include "core/redact.h"

#include <algorithm>
#include <array>

#include "core/text.h"

namespace tg {
namespace {

constexpr std::size_t kSecretRun = 40;    // above any id, label or version that we write; tickets and keys are longer
constexpr std::size_t kLeastName = 3;
constexpr std::string_view kPemBegin = "-----BEGIN ", kPemEnd = "-----END ", kPemDashes = "-----";

// Ends of dotted words that are files, not hosts.
constexpr std::array<std::string_view, 13> kFileEnds{"conf", "log", "sock", "toml", "json", "pem", "txt",
                                                     "original", "taken", "new", "service", "so", "cpp"};

bool alnum(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool in_word(char c) { return alnum(c) || std::string_view("._-@:*?%+").find(c) != std::string_view::npos; }
bool digits(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool host_name(std::string_view w) {
  const std::size_t dot = w.rfind('.');
  if (dot == std::string_view::npos || dot + 3 > w.size()) return false;
  const std::string last = lower(w.substr(dot + 1));
  if (!std::all_of(last.begin(), last.end(), [](char c) { return c >= 'a' && c <= 'z'; })) return false;
  return std::find(kFileEnds.begin(), kFileEnds.end(), last) == kFileEnds.end();
}

// A run of letters and digits that is too long to be anything but key material. Names of one label end at 63
// characters, but nobody types those.
bool secret(std::string_view w) {
  if (w.find("tg1_") != std::string_view::npos || w.find("eyJ") != std::string_view::npos) return true;
  std::size_t run = 0;
  for (const char c : w) {
    if (alnum(c) || c == '_') ++run;
    else if (c != '-') run = 0;   // base64url has both
    if (run >= kSecretRun) return true;
  }
  return false;
}

const char* kind_of(const IpAddress& ip) {
  static const std::array<Cidr, 6> kPrivate{*Cidr::parse("10.0.0.0/8"),     *Cidr::parse("172.16.0.0/12"),
                                            *Cidr::parse("192.168.0.0/16"), *Cidr::parse("100.64.0.0/10"),
                                            *Cidr::parse("169.254.0.0/16"), *Cidr::parse("fc00::/7")};
  static const Cidr kLinkLocal6 = *Cidr::parse("fe80::/10");
  const IpAddress plain = ip.unmapped();
  const bool inside = std::any_of(kPrivate.begin(), kPrivate.end(), [&](const Cidr& c) { return c.contains(plain); });
  return inside || kLinkLocal6.contains(plain) ? "private" : "public";
}

bool harmless(const IpAddress& ip) {
  static const std::array<Cidr, 4> kHarmless{*Cidr::parse("127.0.0.0/8"), *Cidr::parse("0.0.0.0/32"),
                                             *Cidr::parse("::/127"), *Cidr::parse("255.255.255.255/32")};
  return std::any_of(kHarmless.begin(), kHarmless.end(), [&](const Cidr& c) { return c.contains(ip); });
}

}  // namespace

void Redactor::hide(std::string_view name) {
  if (name.size() < kLeastName || std::find(hidden_.begin(), hidden_.end(), name) != hidden_.end()) return;
  hidden_.emplace_back(name);
  std::stable_sort(hidden_.begin(), hidden_.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
}

std::string Redactor::placeholder(const char* kind, std::string_view what) {
  std::string& known = placeholders_[std::string(kind) + " " + lower(what)];
  if (known.empty()) known = std::string(kind) + "-" + std::to_string(++counts_[kind]);
  return known;
}

std::string Redactor::address(const IpAddress& ip, std::string_view written) {
  const bool shown = std::any_of(shown_.begin(), shown_.end(), [&](const Cidr& c) { return c.contains(ip); });
  if (shown || harmless(ip)) return std::string(written);
  return placeholder(kind_of(ip), ip.to_string());
}

std::string Redactor::word(std::string_view w, bool in_path) {
  if (secret(w)) return "[secret]";
  if (keep_ == Keep::names_and_addresses) return std::string(w);
  if (const auto ip = IpAddress::parse(w)) return address(*ip, w);
  if (w.ends_with('.') || w.ends_with(':')) return word(w.substr(0, w.size() - 1), in_path) + w.back();
  if (const std::size_t zone = w.find('%'); zone != std::string_view::npos) {   // fe80::1%eth0
    if (const auto ip = IpAddress::parse(w.substr(0, zone))) return address(*ip, w) + std::string(w.substr(zone));
  }
  if (const std::size_t colon = w.rfind(':'); colon != std::string_view::npos && digits(w.substr(colon + 1))) {
    return word(w.substr(0, colon), in_path) + std::string(w.substr(colon));
  }
  if (w.find('@') != std::string_view::npos) return placeholder("user", w);
  if (!in_path && host_name(w)) return placeholder("name", w);
  return std::string(w);
}

std::string Redactor::apply(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    if (rest.starts_with(kPemBegin)) {
      out += "[secret]";
      const std::size_t end = rest.find(kPemEnd);
      const std::size_t dashes = end == rest.npos ? rest.npos : rest.find(kPemDashes, end + kPemEnd.size());
      at = dashes == rest.npos ? text.size() : at + dashes + kPemDashes.size();
      continue;
    }
    const bool begins = at == 0 || !alnum(text[at - 1]);
    const auto known = std::find_if(hidden_.begin(), hidden_.end(), [&](const std::string& h) {
      return begins && rest.starts_with(h) && (rest.size() == h.size() || !alnum(rest[h.size()]));
    });
    if (keep_ == Keep::nothing && known != hidden_.end()) {
      out += placeholder("name", *known);
      at += known->size();
      continue;
    }
    if (!in_word(text[at])) {
      out += text[at++];
      continue;
    }
    const std::size_t end = std::find_if_not(rest.begin(), rest.end(), in_word) - rest.begin();
    out += word(rest.substr(0, end), at > 0 && text[at - 1] == '/');
    at += end;
  }
  return out;
}

}  // namespace tg
