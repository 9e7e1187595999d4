// Questions to a running tg on the same machine: JSON messages over a unix socket in its state directory.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "core/view.h"
#include "net/loop.h"
#include "net/socket.h"

namespace tg::net {

// LocalServer answers root and its own user (SO_PEERCRED), and nobody else: at most kPeers of them at once, and nobody
// who does not take his answers. A request above `longest`, or that is no message, is answered with an error and ends
// the connection; an answer that is too long for one message becomes an error (Errc::exhausted).
class LocalServer {
 public:
  static constexpr std::size_t kPeers = 64;

  // Reply sends one message; it may be called later, and is ignored once the asker is gone.
  using Reply = std::function<void(const Json&)>;
  using Handler = std::function<void(const Json& request, Reply reply)>;

  // The socket has mode 0600, and is removed with the LocalServer. `longest`: bytes of a request.
  // Errors: conflict when somebody answers on `path` already; io.
  static Result<std::unique_ptr<LocalServer>> start(Loop& loop, const std::string& path, Handler handler,
                                                    std::size_t longest = kControlBeforeIdentity);
  ~LocalServer();

 private:
  struct State;
  explicit LocalServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// local_request asks and waits. Errors: unreachable when nobody runs there ("tg ROLE is not running (…)"); timed_out;
// denied (another user's); exhausted (the request is too long); and whatever the answer says when it is a local_error.
Result<Json> local_request(const std::string& path, const std::string& role, const Json& request,
                           std::chrono::seconds timeout);

// local_error makes that answer: {"type":"error","code":"not_found",…,"text":one line}.
Json local_error(const Error& error);

}  // namespace tg::net
