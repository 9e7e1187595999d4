// An HTTP request and its answer as values: what machines of this room ask for, and net/http_client fetches.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace tg {

struct HttpRequest {
  std::string method = "GET";
  std::string url;                                             // https://HOST[:PORT]/PATH[?QUERY]
  std::vector<std::pair<std::string, std::string>> headers;    // Host, Content-Length and Connection are added
  std::string body;
};

struct HttpResponse {
  int status = 0;
  std::string content_type;                                    // as it was sent, with its parameters
  std::string body;
};

}  // namespace tg
