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

// LocalServer answers root and its own user (SO_PEERCRED), and nobody else.
class LocalServer {
 public:
  // Reply sends one message; it may be called later, and is ignored once the asker is gone.
  using Reply = std::function<void(const Json&)>;
  using Handler = std::function<void(const Json& request, Reply reply)>;

  // Errors: conflict when somebody answers on `path` already; io.
  static Result<std::unique_ptr<LocalServer>> start(Loop& loop, const std::string& path, Handler handler);
  ~LocalServer();

 private:
  struct State;
  explicit LocalServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// local_request asks and waits. Errors: unreachable when nobody runs there ("tg ROLE is not running (no answer on PATH)");
// timed_out; denied (another user's); and whatever the answer says when it is {"type":"error","code":…,"text":…}.
Result<Json> local_request(const std::string& path, const std::string& role, const Json& request, std::chrono::seconds timeout);

// local_error makes that answer.
Json local_error(const Error& error);

}  // namespace tg::net
