// A Tunnel on a TLS connection.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/tunnel.h"
#include "net/loop.h"
#include "net/tls.h"

namespace tg::net {

// memory returns how many bytes this process may have: what the machine has, or what its control group may have if that is
// less. It looks once.
std::uint64_t memory();
// group_memory returns the least that the control group of a process and those around it may have, or UINT64_MAX. `groups`
// is the text of its /proc/PID/cgroup, `root` where the file system of control groups is mounted: version 2, or below
// `root`/memory version 1.
std::uint64_t group_memory(std::string_view groups, const std::string& root = "/sys/fs/cgroup");

// limits_of returns what a Tunnel promises: the windows of a connector's are bounded by DeviceQuota::window_limit too.
TunnelLimits limits_of(Tunnel::Side side, std::uint64_t memory);

// TunnelLink pumps a core Tunnel over Tls. After calling anything on tunnel() that may have something to send, call kick().
// Callbacks come from the Loop; on_close may destroy the TunnelLink, no other may.
class TunnelLink {
 public:
  struct Callbacks {
    std::function<void()> on_open;                 // the TLS peer is verified; identity() is set
    std::function<void(const Error&)> on_close;    // once, at the end; every stream is gone without further calls
    // The peer owes an answer and is silent, and after that, that it was heard again: see Tunnel::silent.
    std::function<void(bool silent)> on_silence = {};
    // It owes an answer, and may be silent soon: see Tunnel::asked.
    std::function<void()> on_asked = {};
  };

  // The Tunnel exists from the start, so that a client's first frames leave with the end of the handshake. `handler` must
  // outlive the TunnelLink. `attempt`: the time allowed until on_open. `limits`: those of limits_of(side, memory()) unless
  // told.
  TunnelLink(Loop& loop, Fd fd, const TlsContext& context, Tunnel::Side side, TunnelHandler& handler, Callbacks callbacks,
             std::string server_name = {}, std::string expect_uri = {}, Duration attempt = Tls::kHandshakeTimeout,
             std::optional<TunnelLimits> limits = {});
  ~TunnelLink();

  Tunnel& tunnel() noexcept;
  // Batch is a stream that waits with what it received for the rest of it.
  class Batch {
   public:
    virtual ~Batch() = default;
    virtual void batch_over() = 0;      // may destroy this
  };
  // wait_for_batch calls batch_over() once the bytes that were received together have all been handed over; they stay where they
  // are until then. False when nothing is being received now.
  bool wait_for_batch(Batch& batch);
  void forget_batch(Batch& batch) noexcept;   // which still waits
  // kick sends what the Tunnel has to say before the Loop waits again.
  void kick();
  // probe asks the peer for a sign of life: on_silence follows when none comes. doubt: see Tunnel::doubt.
  void probe();
  void doubt(Instant since);
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
