#include "cmd/controller/html.h"

#include <fmt/format.h>

namespace tg::controller {
namespace {

constexpr std::string_view kStyle =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222}\n"
    "code{font-family:ui-monospace,monospace}\nsummary{cursor:pointer;padding:.2rem 0}\n"
    "td{padding:.1rem 1rem .1rem 0;vertical-align:top}\nh4{margin:.6rem 0 0}\ndetails{margin-left:1rem}\n"
    "a.button,button{display:inline-block;font:inherit;padding:.4rem 1rem;margin:.2rem .4rem .2rem 0;border:1px solid #888;"
    "border-radius:.4rem;background:none;color:inherit;text-decoration:none;cursor:pointer}\n"
    "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}a{color:#8bf}}\n";

}  // namespace

std::string html_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string html_page(std::string_view title, std::string_view body) {
  return fmt::format("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
                     "<title>{}</title><link rel=stylesheet href={}>{}</html>\n", html_escaped(title), kStylePath, body);
}

HttpReply style() { return {200, "text/css; charset=utf-8", std::string(kStyle), {{"Cache-Control", "no-cache"}}}; }

void guard(HttpReply& reply, bool known) {
  const auto add = [&](const char* name, const char* value) {
    for (const auto& [there, _] : reply.headers) {
      if (there == name) return;
    }
    reply.headers.emplace_back(name, value);
  };
  add("Content-Security-Policy",
      "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'");
  add("X-Frame-Options", "DENY");
  add("Referrer-Policy", "no-referrer");
  add("Cross-Origin-Opener-Policy", "same-origin");
  add("Cross-Origin-Resource-Policy", "same-origin");
  add("Cache-Control", "no-store");
  if (known) add("Strict-Transport-Security", "max-age=31536000");
}

}  // namespace tg::controller
