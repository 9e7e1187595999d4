// Pages for people, without scripts. Pure.
#pragma once

#include <string>
#include <string_view>

#include "core/http.h"

namespace tg::controller {

inline constexpr std::string_view kStylePath = "/style.css";

// html_escaped is for text of others between tags, and in attributes in either kind of quotes.
std::string html_escaped(std::string_view text);
// html_page is a whole page; `title` is text, `body` HTML.
std::string html_page(std::string_view title, std::string_view body);
// style is what every page refers to: no page has any of its own.
HttpReply style();
// guard adds what tells a browser to be careful: no scripts, no frames, no other site's hands on it. `known`: the certificate is
// one that browsers know, so that they need never again come without TLS.
void guard(HttpReply& reply, bool known);

}  // namespace tg::controller
