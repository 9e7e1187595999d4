#include "cmd/controller/web_request.h"

#include <fmt/format.h>

#include "core/text.h"

namespace tg::controller {
namespace {

constexpr std::uint16_t kHttps = 443;

std::string set_cookie(std::string_view name, std::string_view value, std::string_view same_site, std::string_view age) {
  if (value.empty()) age = "; Max-Age=0";
  return fmt::format("{}={}; Path=/; Secure; HttpOnly; SameSite={}{}", name, value, same_site, age);
}

std::string_view trimmed(std::string_view s) {
  while (s.starts_with(' ') || s.starts_with('\t')) s.remove_prefix(1);
  while (s.ends_with(' ') || s.ends_with('\t')) s.remove_suffix(1);
  return s;
}

}  // namespace

std::string origin_of(const HostPort& at) {
  std::string out = "https://" + lower(at.to_string());
  const std::string port = fmt::format(":{}", kHttps);
  if (at.port == kHttps && out.ends_with(port)) out.resize(out.size() - port.size());
  return out;
}

std::optional<std::string> cookie(const HttpAsked& asked, std::string_view name) {
  for (const auto& [header, value] : asked.headers) {
    if (header != "cookie") continue;
    const std::string_view all = value;
    for (std::size_t at = 0; at <= all.size();) {
      const std::size_t end = std::min(all.find(';', at), all.size());
      const std::string_view one = trimmed(all.substr(at, end - at));
      const auto equals = one.find('=');
      if (equals != one.npos && one.substr(0, equals) == name) return std::string(one.substr(equals + 1));
      at = end + 1;
    }
  }
  return std::nullopt;
}

std::string session_cookie(std::string_view value) { return set_cookie(kSessionCookie, value, "Strict", ""); }
std::string sign_in_cookie(std::string_view value) { return set_cookie(kSignInCookie, value, "Lax", "; Max-Age=600"); }

bool says_json(std::string_view content_type) {
  const std::string type = lower(trimmed(content_type.substr(0, content_type.find(';'))));
  return type == "application/json" || type == "application/merge-patch+json";
}

bool from_elsewhere(const HttpAsked& asked, const std::string& origin) {
  const std::string* site = asked.header("sec-fetch-site");
  if (site != nullptr && *site != "same-origin" && *site != "none") return true;
  const std::string* from = asked.header("origin");
  if (from == nullptr || *from == origin) return false;
  // A page with Referrer-Policy: no-referrer does not say its origin in a form (Fetch section 3.2), and ours are such pages.
  return !(*from == "null" && site != nullptr && *site == "same-origin");
}

bool from_own_page(const HttpAsked& asked, const std::string& origin) {
  if (from_elsewhere(asked, origin)) return false;
  const std::string* site = asked.header("sec-fetch-site");
  const std::string* from = asked.header("origin");
  return (site != nullptr && *site == "same-origin") || (from != nullptr && *from == origin);
}

std::optional<HttpRefusal> refused_by_cookie(const HttpAsked& asked, const std::string& origin) {
  if (from_elsewhere(asked, origin)) {
    return HttpRefusal{403, "another site asks for this, in the browser of somebody who is signed in here"};
  }
  if (asked.method == "GET" || asked.method == "HEAD") return std::nullopt;
  if (!from_own_page(asked, origin)) {
    return HttpRefusal{403, "with a browser's session, what changes something says where it comes from: Origin: " + origin};
  }
  // No form can say that it sends JSON. What has no body at all needs no type, unless a form could send it.
  const std::string* type = asked.header("content-type");
  if (type == nullptr ? asked.method != "POST" : says_json(*type)) return std::nullopt;
  return HttpRefusal{415, "with a browser's session, what changes something is said to be JSON: Content-Type: application/json"};
}

}  // namespace tg::controller
