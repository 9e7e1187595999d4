// HTTP to servers of the public web, and to a controller of ours: one request, one answer.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/http.h"
#include "core/result.h"
#include "net/dial.h"
#include "net/loop.h"
#include "net/tls.h"

namespace tg::net {

// HttpWay is how the server is reached, and believed.
struct HttpWay {
  std::optional<TlsContext> tls;        // TlsContext::web; or a pinned one, with `expect_uri`. Nothing: over `plain`, in the clear
  ResolveHost resolve{};
  std::string expect_uri{};             // see Tls
  Fd plain{};                           // a connected stream socket, of which the URL's host says nothing
  static constexpr std::size_t kBodyMax = 1u << 20;
  std::size_t body_max = kBodyMax;      // bytes of an answer's body
};

// HttpExchange sends one request over HTTPS, or a plain socket, and takes one answer (RFC 9110, RFC 9112), on a connection of its own.
// Redirects are not followed. Destroying it cancels.
class HttpExchange {
 public:
  static constexpr std::size_t kHeadersMax = 64u << 10;  // bytes in front of it, with those of 1xx answers

  // The URL is https://HOST[:PORT][/PATH][?QUERY] without userinfo and fragment, an IPv6
  // address in brackets (http:// over a plain socket); nothing of the request may have a control character, or a space other than inside a header's
  // value. Host, Connection and Content-Length are added and may not be given; Accept, Accept-Encoding and User-Agent
  // are added unless given.
  // `done` is called once, from the Loop, and may destroy this. Any status is an answer, but for 1xx, which is skipped.
  // Errors name the host: invalid_argument for the request; those of Dial and Tls; timed_out when not all is there
  // after `timeout`; exhausted for an answer that is too large; closed or protocol for one that ends too early (a body
  // of unknown length ends with close_notify alone); protocol for what is not HTTP/1.
  HttpExchange(Loop& loop, HttpWay way, HttpRequest request, Duration timeout, std::function<void(Result<HttpResponse>)> done);
  HttpExchange(Loop& loop, const TlsContext& web, ResolveHost resolve, HttpRequest request, Duration timeout,
               std::function<void(Result<HttpResponse>)> done)
      : HttpExchange(loop, HttpWay{web, std::move(resolve)}, std::move(request), timeout, std::move(done)) {}
  ~HttpExchange();
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tg::net
