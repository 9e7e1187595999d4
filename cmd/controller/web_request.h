// What a browser's request says of where it comes from, and what it keeps. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/http.h"
#include "core/http_reader.h"
#include "core/ip.h"

namespace tg::controller {

// __Host-: browsers keep one of that name only when it came over TLS, for this very host and every path (RFC 6265bis section
// 4.1.3.2).
inline constexpr std::string_view kSessionCookie = "__Host-tg-session";
inline constexpr std::string_view kSignInCookie = "__Host-tg-sign-in";

// origin_of is how a browser calls what is at that place (RFC 6454 section 6.2): https://host, and the port unless it is 443.
std::string origin_of(const HostPort& at);

// cookie returns the value of the first cookie of that name.
std::optional<std::string> cookie(const HttpAsked& asked, std::string_view name);
// session_cookie and sign_in_cookie are values of Set-Cookie; an empty value takes the cookie away. A session's comes along with
// what pages of this site ask for alone; the other one also when the identity provider sends the browser back.
std::string session_cookie(std::string_view value);
std::string sign_in_cookie(std::string_view value);

// says_json says whether a Content-Type is that of JSON.
bool says_json(std::string_view content_type);

// from_elsewhere says whether another site's page is behind a request: by Sec-Fetch-Site (Fetch Metadata) and by Origin.
bool from_elsewhere(const HttpAsked& asked, const std::string& origin);
// from_own_page says whether a page of ours certainly is.
bool from_own_page(const HttpAsked& asked, const std::string& origin);

// refused_by_cookie says why a request is not done that shows nothing but a cookie, which a browser sends by itself; or nothing.
std::optional<HttpRefusal> refused_by_cookie(const HttpAsked& asked, const std::string& origin);

}  // namespace tg::controller
