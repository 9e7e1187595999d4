// A Tunnel on a TLS connection.
#pragma once

#include <functional>
#include <memory>

#include "core/tunnel.h"
#include "net/loop.h"
#include "net/tls.h"

namespace tg::net {

// TunnelLink pumps a core Tunnel over Tls. After calling anything on tunnel() that may have something to send, call kick().
// Callbacks come from the Loop; on_close may destroy the TunnelLink, no other may.
class TunnelLink {
 public:
  struct Callbacks {
    std::function<void()> on_open;                 // the TLS peer is verified; identity() is set
    std::function<void(const Error&)> on_close;    // once, at the end; every stream is gone without further calls
    // The peer owes an answer and is silent, and after that, that it was heard again: see Tunnel::silent.
    std::function<void(bool silent)> on_silence = {};
  };

  // The Tunnel exists from the start, so that a client's first frames leave with the end of the handshake. `handler` must
  // outlive the TunnelLink. `attempt`: the time allowed until on_open.
  TunnelLink(Loop& loop, Fd fd, const TlsContext& context, Tunnel::Side side, TunnelHandler& handler, Callbacks callbacks,
             std::string server_name = {}, std::string expect_uri = {}, Duration attempt = Tls::kHandshakeTimeout);
  ~TunnelLink();

  Tunnel& tunnel() noexcept;
  // kick sends what the Tunnel has to say before the Loop waits again.
  void kick();
  // probe asks the peer for a sign of life: on_silence follows when none comes.
  void probe();
  // close sends GOAWAY(code) and what is queued, then ends; within 5 s in any case.
  void close(Code code);

  bool open() const noexcept;
  const std::optional<Identity>& identity() const noexcept;
  Endpoint peer() const noexcept;
  std::uint64_t bytes_in() const noexcept;    // plain bytes of frames
  std::uint64_t bytes_out() const noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tg::net
