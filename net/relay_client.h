// A connector's side of a relay: a control stream that waits to be rung, and connections dialled back.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "net/control_stream.h"

namespace tg::net {

// RelayClient keeps a control stream to one relay for ever. For each client that rings it dials back, and hands the
// connection over: what comes on it is that client's TLS. It notices within kForgottenAfter that the way to the relay
// has forgotten the stream, and within 15 s that the relay does not answer though its machine does.
class RelayClient {
 public:
  struct Callbacks {
    std::function<void(Fd)> on_client;
    std::function<void(bool up, const Error* why)> on_state;   // up() or why not has changed; `why` while down
  };
  RelayClient(Loop& loop, HostPort relay, ResolveHost resolve, std::function<Result<TlsContext>()> context,
              std::string instance, Callbacks callbacks);
  ~RelayClient();

  const HostPort& relay() const noexcept;
  bool up() const noexcept;
  // check_now is for when the network has changed: dial at once, or find out soon whether the line still works.
  void check_now();
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tg::net
