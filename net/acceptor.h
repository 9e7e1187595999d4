// Connections as they come to a listener.
#pragma once

#include <functional>
#include <memory>

#include "net/loop.h"
#include "net/socket.h"

namespace tg::net {

// Acceptor hands over every connection that comes to a listening socket, in turns of at most 64. When the process has no
// descriptor left it waits a moment, instead of being told of the same connection again and again. Destroying it closes the
// listener.
class Acceptor {
 public:
  Acceptor() = default;
  // `accepted` may not destroy the Acceptor.
  Acceptor(Loop& loop, Fd listener, std::function<void(Fd, const Endpoint& peer)> accepted);

  // want(false) leaves connections to the kernel, which keeps so many as the listener's backlog and then refuses; want(true),
  // as at first, takes them.
  void want(bool on);

  int fd() const noexcept;
  explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tg::net
