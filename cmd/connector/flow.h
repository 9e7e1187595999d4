// One flow of a client on its way into the private network.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/device_quota.h"
#include "core/tunnel.h"
#include "net/loop.h"
#include "net/socket.h"
#include "net/tunnel_link.h"

namespace tg::connector {

// Carried is what a flow has moved, and why it ended by itself: Code::none while it has not, or as flows do.
struct Carried {
  std::uint64_t up = 0;           // bytes of payload to the far side
  std::uint64_t down = 0;         // and from it
  Code code = Code::none;
};

// Flow is a stream of a session that was let through. It lives in the session's table; `ended` (given to the makers below)
// takes it out and destroys it. Calls for another protocol than its own are ignored.
class Flow {
 public:
  virtual ~Flow() = default;
  // connect dials. `targets`: addresses that were checked, tried in turn. Called once; before it, what the client sends is
  // kept within bounds.
  virtual void connect(std::vector<Endpoint> targets) = 0;
  // targets returns what it is connected to, or what it may still be connected to; nothing before connect().
  virtual std::span<const Endpoint> targets() const = 0;
  virtual Carried carried() const = 0;
  virtual Pull pull(MutBytes) { return {}; }
  virtual void data(Bytes) {}
  virtual void fin() {}
  virtual void datagram(Bytes) {}
  virtual void echo(const Echo&) {}
  // reset_by_client ends the far side as the client ended its own. The session destroys the Flow afterwards.
  virtual void reset_by_client() {}
  // idle_since is when the flow last moved a datagram; kNever for TCP, which has no idle timer.
  virtual Instant idle_since() const { return kNever; }
};

struct FlowContext {
  net::Loop& loop;
  net::TunnelLink& link;
  StreamId id;
  // Takes the flow out of the session. The flow has told the client before: by FINs, or by tunnel().reset().
  std::function<void()> ended;
  // Says, once, that the far side is connected: targets() is what it is connected to.
  std::function<void()> opened;
  // Bytes that are kept for the far side. A TCP flow that would keep more than this allows ends with Code::exhausted;
  // datagrams are dropped.
  DeviceQuota::Hold kept = {};
};

std::unique_ptr<Flow> make_tcp_flow(FlowContext context);
std::unique_ptr<Flow> make_udp_flow(FlowContext context);
std::unique_ptr<Flow> make_icmp_flow(FlowContext context);

}  // namespace tg::connector
