// HTTPS to servers of the public web: one request, one answer.
#pragma once

#include <functional>
#include <memory>

#include "core/http.h"
#include "core/result.h"
#include "net/dial.h"
#include "net/loop.h"
#include "net/tls.h"

namespace tg::net {

// HttpExchange sends one request over HTTPS and takes one answer (RFC 9110, RFC 9112), on a connection of its own.
// Redirects are not followed. Destroying it cancels.
class HttpExchange {
 public:
  static constexpr std::size_t kBodyMax = 1u << 20;      // bytes of an answer's body
  static constexpr std::size_t kHeadersMax = 64u << 10;  // bytes in front of it, with those of 1xx answers

  // `web` is a TlsContext::web. The URL is https://HOST[:PORT][/PATH][?QUERY] without userinfo and fragment, an IPv6
  // address in brackets; nothing of the request may have a control character, or a space other than inside a header's
  // value. Host, Connection and Content-Length are added and may not be given; Accept, Accept-Encoding and User-Agent
  // are added unless given.
  // `done` is called once, from the Loop, and may destroy this. Any status is an answer, but for 1xx, which is skipped.
  // Errors name the host: invalid_argument for the request; those of Dial and Tls; timed_out when not all is there
  // after `timeout`; exhausted for an answer that is too large; closed or protocol for one that ends too early (a body
  // of unknown length ends with close_notify alone); protocol for what is not HTTP/1.
  HttpExchange(Loop& loop, const TlsContext& web, ResolveHost resolve, HttpRequest request, Duration timeout,
               std::function<void(Result<HttpResponse>)> done);
  ~HttpExchange();
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tg::net
