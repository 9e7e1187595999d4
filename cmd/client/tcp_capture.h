// TCP flows of applications to captured addresses.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include "cmd/client/system.h"
#include "cmd/client/targets.h"
#include "cmd/client/tunnels.h"
#include "core/flow_capture.h"
#include "net/acceptor.h"
#include "net/lingering.h"
#include "net/tun.h"

namespace tg::client {

// TcpCapture holds each SYN until the connector has connected, then lets the kernel's own TCP end the flow at a listener of
// ours (see core/flow_capture.h), and joins the accepted socket to the stream.
class TcpCapture {
 public:
  TcpCapture(net::Loop& loop, net::Tun& tun, Tunnels& tunnels, Targets& targets, System::Listener listener);
  ~TcpCapture();

  // packet takes one packet from the TUN, and returns false when it is not TCP.
  bool packet(MutBytes packet, VnetHeader& header, Instant now);
  // batch_done is called when the TUN has no more for now.
  void batch_done(Instant now);

  std::size_t flows() const noexcept { return flows_.size(); }
  struct Counts {
    std::uint64_t begun = 0;                     // by an application
    std::map<Code, std::uint64_t> refused;       // before they were open
  };
  const Counts& counts() const noexcept { return counts_; }
  // close ends every flow: with RST where it was open or has still something on its way to the application, unreachable
  // where it was held; SYNs from now on are not heard. What the kernel says of them comes by the TUN, whose queue is short: `pass`, called now and then, passes it on.
  void close(const std::function<void()>& pass);
  // resources_changed ends flows to Resources that are gone or were narrowed.
  void resources_changed();

 private:
  class Flow;

  void begin(FlowId flow);
  void accepted(net::Fd fd, const Endpoint& peer);
  void refuse(FlowId flow, Code code);
  void expire();
  void remove(FlowId flow);
  void write(Bytes packet);

  void finished(net::Fd fd);

  net::Loop& loop_;
  net::Tun& tun_;
  Tunnels& tunnels_;
  Targets& targets_;
  net::Acceptor accepting_;
  net::Timer timer_;
  const bool split_;
  std::unique_ptr<FlowCapture> capture_;
  net::LingeringSockets lingering_;
  std::unordered_map<FlowId, std::unique_ptr<Flow>> flows_;
  bool closed_ = false;
  Counts counts_;
};

}  // namespace tg::client
