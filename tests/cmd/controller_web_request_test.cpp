#include "cmd/controller/web_request.h"

#include <gtest/gtest.h>

#include "cmd/controller/html.h"
#include "cmd/controller/web_sign_in.h"

namespace tg::controller::controller_web_request_test {

constexpr const char* kOrigin = "https://tg.example.com:8445";
using Headers = std::vector<std::pair<std::string, std::string>>;

HttpAsked asked(const std::string& method, Headers headers) {
  return {method, "/api/v1/users", "", std::move(headers), "", true};
}

int refused(const std::string& method, Headers headers) {
  const auto no = refused_by_cookie(asked(method, std::move(headers)), kOrigin);
  return no ? no->status : 0;
}

TEST(WebRequest, knows_its_origin_as_browsers_write_it) {
  EXPECT_EQ(origin_of({"TG.example.com", 8445}), "https://tg.example.com:8445");
  EXPECT_EQ(origin_of({"tg.example.com", 443}), "https://tg.example.com");
  EXPECT_EQ(origin_of({"203.0.113.10", 8443}), "https://203.0.113.10:8443");
  EXPECT_EQ(origin_of({"2001:db8::1", 443}), "https://[2001:db8::1]");
}

TEST(WebRequest, finds_a_cookie_among_others_and_takes_no_other_for_it) {
  const auto value = [](Headers headers) { return cookie(asked("GET", std::move(headers)), kSessionCookie).value_or("-"); };
  EXPECT_EQ(value({{"cookie", "__Host-tg-session=abc"}}), "abc");
  EXPECT_EQ(value({{"cookie", "a=b; __Host-tg-session=abc=d;c=e"}}), "abc=d");
  EXPECT_EQ(value({{"cookie", "a=b"}, {"cookie", "x;  __Host-tg-session=abc "}}), "abc");
  EXPECT_EQ(value({{"cookie", "__Host-tg-session="}}), "");
  for (const char* other : {"", ";", "tg-session=abc", "__host-tg-session=abc", "x__Host-tg-session=abc", "__Host-tg-session",
                            "a=__Host-tg-session=abc"}) {
    EXPECT_EQ(value({{"cookie", other}}), "-") << other;
  }
  EXPECT_EQ(value({{"x-cookie", "__Host-tg-session=abc"}}), "-");
}

TEST(WebRequest, sets_cookies_that_keep_to_their_prefix) {
  EXPECT_EQ(session_cookie("v"), "__Host-tg-session=v; Path=/; Secure; HttpOnly; SameSite=Strict");
  EXPECT_EQ(session_cookie(""), "__Host-tg-session=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
  EXPECT_EQ(sign_in_cookie("v"), "__Host-tg-sign-in=v; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600");
  EXPECT_EQ(sign_in_cookie(""), "__Host-tg-sign-in=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0");
}

TEST(WebRequest, tells_another_sites_page_from_its_own_and_from_nobody) {
  const auto who = [](Headers headers) {
    const HttpAsked a = asked("POST", std::move(headers));
    return std::string(from_elsewhere(a, kOrigin) ? "elsewhere" : from_own_page(a, kOrigin) ? "own" : "nobody");
  };
  EXPECT_EQ(who({}), "nobody");
  EXPECT_EQ(who({{"sec-fetch-site", "none"}}), "nobody");
  EXPECT_EQ(who({{"sec-fetch-site", "same-origin"}}), "own");
  EXPECT_EQ(who({{"origin", kOrigin}}), "own");
  EXPECT_EQ(who({{"origin", "null"}, {"sec-fetch-site", "same-origin"}}), "own") << "a form of a page without referrers";
  EXPECT_EQ(who({{"origin", kOrigin}, {"sec-fetch-site", "none"}}), "own");
  for (const char* site : {"cross-site", "same-site", "", "Same-Origin", "whatever"}) {
    EXPECT_EQ(who({{"sec-fetch-site", site}}), "elsewhere") << site;
    EXPECT_EQ(who({{"origin", kOrigin}, {"sec-fetch-site", site}}), "elsewhere") << site;
  }
  for (const char* origin : {"null", "", "https://tg.example.com", "http://tg.example.com:8445", "https://tg.example.com:84455",
                             "https://evil.example.com", "https://tg.example.com:8445/",
                             "https://tg.example.com:8445.evil.example.com"}) {
    EXPECT_EQ(who({{"origin", origin}}), "elsewhere") << origin;
    EXPECT_EQ(who({{"origin", origin}, {"sec-fetch-site", "none"}}), "elsewhere") << origin;
  }
  EXPECT_EQ(who({{"origin", "https://evil.example.com"}, {"sec-fetch-site", "same-origin"}}), "elsewhere");
}

TEST(WebRequest, reads_by_cookie_for_everybody_but_another_site) {
  for (const char* method : {"GET", "HEAD"}) {
    EXPECT_EQ(refused(method, {}), 0);
    EXPECT_EQ(refused(method, {{"sec-fetch-site", "none"}}), 0);
    EXPECT_EQ(refused(method, {{"sec-fetch-site", "same-origin"}}), 0);
    EXPECT_EQ(refused(method, {{"sec-fetch-site", "cross-site"}}), 403);
    EXPECT_EQ(refused(method, {{"sec-fetch-site", "same-site"}}), 403);
    EXPECT_EQ(refused(method, {{"origin", "https://evil.example.com"}}), 403);
  }
}

TEST(WebRequest, writes_by_cookie_for_an_own_page_that_sends_json) {
  const std::pair<std::string, std::string> json{"content-type", "application/json; charset=utf-8"}, own{"origin", kOrigin};
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE"}) {
    EXPECT_EQ(refused(method, {json, own}), 0) << method;
    EXPECT_EQ(refused(method, {json, {"sec-fetch-site", "same-origin"}}), 0) << method;
    EXPECT_EQ(refused(method, {json}), 403) << method;
    EXPECT_EQ(refused(method, {json, {"sec-fetch-site", "none"}}), 403) << method;
    EXPECT_EQ(refused(method, {json, {"origin", "null"}}), 403) << method;
    EXPECT_EQ(refused(method, {json, {"origin", "https://evil.example.com"}}), 403) << method;
    for (const char* type : {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonx"}) {
      EXPECT_EQ(refused(method, {{"content-type", type}, own}), 415) << method << type;
    }
  }
  EXPECT_EQ(refused("PATCH", {{"content-type", "application/merge-patch+json"}, own}), 0);
  EXPECT_EQ(refused("DELETE", {own}), 0) << "it has no body";
  EXPECT_EQ(refused("POST", {own}), 415) << "a form may have none either";
}

TEST(WebSignIn, answers_below_its_own_path_alone) {
  for (const char* path : {"/", "/sign-in", "/sign-in/start", "/sign-in/nothing"}) EXPECT_TRUE(WebSignIn::takes(path)) << path;
  for (const char* path : {"", "/sign-inn", "/sign", "/api/v1/me", "//", "/style.css"}) {
    EXPECT_FALSE(WebSignIn::takes(path)) << path;
  }
}

TEST(Html, shows_what_others_say_as_text) {
  EXPECT_EQ(html_escaped("<script>alert('&\"')</script>"), "&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;");
  EXPECT_NE(html_page("<b>", "<p>x").find("<title>&lt;b&gt;</title>"), std::string::npos);
}

TEST(Html, lets_a_browser_run_and_frame_nothing) {
  HttpReply reply{200, "text/html", "", {{"Cache-Control", "no-cache"}}};
  guard(reply, false);
  const auto header = [&](const std::string& name) {
    std::string out;
    for (const auto& [n, value] : reply.headers) {
      if (n == name) out += (out.empty() ? "" : "|") + value;
    }
    return out;
  };
  EXPECT_EQ(header("Content-Security-Policy"),
            "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'");
  EXPECT_EQ(header("X-Frame-Options"), "DENY");
  EXPECT_EQ(header("Referrer-Policy"), "no-referrer");
  EXPECT_EQ(header("Cross-Origin-Opener-Policy"), "same-origin");
  EXPECT_EQ(header("Cache-Control"), "no-cache") << "what is there stays";
  EXPECT_EQ(header("Strict-Transport-Security"), "") << "nobody could come back whose browser does not know the certificate";
  guard(reply, true);
  EXPECT_EQ(header("Strict-Transport-Security"), "max-age=31536000");
  EXPECT_EQ(header("X-Frame-Options"), "DENY");
}

}  // namespace tg::controller::controller_web_request_test
