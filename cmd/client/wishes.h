// Requests for Resources whose policies want approval, on their way to the controller.
#pragma once

#include <deque>
#include <functional>

#include "cmd/client/targets.h"
#include "core/json_fwd.h"
#include "net/local_socket.h"

namespace tg::client {

// Wishes passes on what a person asks for, and the answer back. The controller answers in order.
class Wishes {
 public:
  // ask takes {"type":"request","resource":name, address or alias,"seconds":N or 0,"reason":text} and replies
  // {"type":"request","id":…,"resource":…}, or an error. `say` is false while the controller is away.
  void ask(const Json& request, const Targets& targets, const std::function<bool(const Json&)>& say, const net::LocalServer::Reply& reply);
  // answered takes the controller's answer; false when it is to nothing that was asked.
  bool answered(const Json& message);
  // controller_changed: with the stream, the answers that were on their way are gone.
  void controller_changed(bool up);

 private:
  struct Wish {
    std::string resource;
    net::LocalServer::Reply reply;
  };
  std::deque<Wish> waiting_;
};

}  // namespace tg::client
