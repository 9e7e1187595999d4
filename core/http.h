// HTTP requests and answers as values: what machines of this room ask for and net/http_client fetches, and what
// net/http_server is asked.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tg {

// is_http_token says whether a text may be a method, or the name of a header (RFC 9110 section 5.6.2). Debian builds http_parser
// without its strict mode, so that it takes spaces there.
inline bool is_http_token(std::string_view s) {
  constexpr std::string_view kTokens =
      "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  return !s.empty() && s.find_first_not_of(kTokens) == s.npos;
}

struct HttpRequest {
  std::string method = "GET";
  std::string url;                                             // https://HOST[:PORT]/PATH[?QUERY]
  std::vector<std::pair<std::string, std::string>> headers;    // Host, Content-Length and Connection are added
  std::string body;
};

// HttpAsked is a request that came to a server of ours.
struct HttpAsked {
  std::string method;                                          // "GET"
  std::string path;                                            // "/api/v1/users", as it was sent, without the query
  std::string query;                                           // "after=7&most=10", likewise
  std::vector<std::pair<std::string, std::string>> headers;    // names in lower case
  std::string body;
  bool keep_alive = true;                                      // the connection goes on afterwards

  // header returns the first of that name (in lower case), or null.
  const std::string* header(std::string_view name) const {
    for (const auto& [n, value] : headers) {
      if (n == name) return &value;
    }
    return nullptr;
  }
};

// HttpReply is what it answers. Content-Length and Connection are added.
struct HttpReply {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

struct HttpResponse {
  int status = 0;
  std::string content_type;                                    // as it was sent, with its parameters
  std::string body;
};

}  // namespace tg
