// dns::Forwarder with sockets and a clock: what a client asks the system's previous DNS servers with.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/bytes.h"
#include "dns/forwarder.h"
#include "net/loop.h"

namespace tg::net {

// Forwarder's callbacks come from the Loop, never from inside the call that asked, exactly once each; never after cancel()
// or the Forwarder's end. A callback may forward again, and may destroy the Forwarder.
class Forwarder {
 public:
  using RequestId = dns::Forwarder::RequestId;
  // `reply` is what to send back, with the query's own id; empty: nothing (the bytes were no query). `server` is whose reply
  // it is; nothing when no server's could be had, and it is our own.
  using Callback = std::function<void(Buffer reply, std::optional<Endpoint> server)>;

  Forwarder(Loop& loop, std::vector<Endpoint> servers);
  // `config.random` may be left empty: it is random_u32.
  Forwarder(Loop& loop, dns::Forwarder::Config config);
  ~Forwarder();
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;

  // forward sends one DNS message (for TCP without its length) on over the same protocol.
  RequestId forward(Bytes query, bool tcp, Callback callback);
  void cancel(RequestId id);
  // set_servers: queries that are under way are asked of the new ones too.
  void set_servers(std::vector<Endpoint> servers);
  std::size_t in_flight() const noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tg::net
