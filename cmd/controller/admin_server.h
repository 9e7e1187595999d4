// The admin socket: frames of JSON on a unix socket in the state directory, for root and the controller's own user.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "core/view.h"
#include "net/loop.h"
#include "net/socket.h"

namespace tg::controller {

// AdminServer answers requests one after the other on each connection. Bounds: kConnections at once, 16 MiB a request.
class AdminServer {
 public:
  static constexpr std::size_t kConnections = 64;
  using Answer = std::function<Json(const Json& request)>;

  // `listener`: a listening unix socket (mode 0600). Who asks is also checked by SO_PEERCRED.
  AdminServer(net::Loop& loop, net::Fd listener, Answer answer);
  ~AdminServer();

 private:
  struct Connection;
  void accept_all();
  void read(Connection& c);
  void write(Connection& c);
  void drop(Connection& c);

  net::Loop& loop_;
  net::Fd listener_;
  Answer answer_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
  net::Watch accepting_;
};

// ask_controller sends one request to the controller of a state directory and returns its answer. It blocks, at most
// for `timeout`. Errors: unreachable when no controller runs there, and the text says how to start it; denied;
// timed_out; protocol; and the error that the controller answered.
Result<Json> ask_controller(const std::string& state, const Json& request, std::chrono::seconds timeout);

}  // namespace tg::controller
