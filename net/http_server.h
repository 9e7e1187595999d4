// HTTP/1.1 to whoever connects, with or without TLS.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "core/http_reader.h"
#include "core/ip.h"
#include "net/loop.h"
#include "net/socket.h"
#include "net/tls.h"

namespace tg::net {

struct HttpLimits {
  Duration patience = std::chrono::seconds(10);   // for a request from its first byte (the first one: from the connection's), and for
                                                  // an answer to be taken
  Duration idle = std::chrono::seconds(60);       // between two requests
  std::size_t connections = 256;                  // at once; then the oldest goes that is not being answered (core/crowd.h)
  std::size_t per_source = 64;
};

// HttpPeer is who asks.
struct HttpPeer {
  IpAddress address;                    // 0.0.0.0 over a unix socket, where
  std::optional<unsigned> user{};       // this is who (SO_PEERCRED)
};

// HttpServer serves one listener, of TCP or a unix socket, until it is destroyed: one request of a connection after the other.
class HttpServer {
 public:

  // Reply is called once, now or later; it is ignored when the asker has gone.
  using Reply = std::function<void(HttpReply)>;
  struct Hooks {
    // See HttpReader; it is asked once for each request.
    std::function<tl::expected<std::size_t, HttpRefusal>(const HttpAsked& head, const HttpPeer& from)> body_limit;
    std::function<void(HttpAsked asked, const HttpPeer& from, Reply reply)> answer;
    std::function<HttpReply(const HttpRefusal&)> refused;                                 // the last answer of a connection
  };

  // Without `tls` everything is sent in the clear.
  HttpServer(Loop& loop, Fd listener, std::optional<TlsContext> tls, Hooks hooks, HttpLimits limits = {});
  ~HttpServer();

  // set_context is for a renewed certificate; connections that stand keep theirs.
  void set_context(const TlsContext& tls);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tg::net
