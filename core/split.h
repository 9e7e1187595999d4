// The split capture of TCP: only the SYN of a flow comes through the TUN. When it is admitted, it goes back there as it was, and
// the packet filter (net/split_filter.h) hands it to a transparent listener of ours. From then on the kernel passes the flow's
// packets from socket to socket.
//
//   application 172.16.30.1:40000 ──▶ 100.96.0.7:443      on the TUN: the SYN, and the RST of who gives up, alone
//   the accepted socket's own ends:   100.96.0.7:443 and 172.16.30.1:40000
//
// What is forwarded under another address, from a container behind a masquerade, comes by the TUN with every packet, and goes back
// there unchanged.
#pragma once

#include <memory>

#include "core/flow_capture.h"

namespace tg {

// Splitter is the table of flows; see FlowTable for their phases, of which it needs no lingering: what is closed is the kernel's. A new
// connection from the port of one that was accepted is a flow of its own, and the older one's id is unknown from then on.
class Splitter final : public FlowCapture {
 public:
  struct Config {
    std::size_t max_flows = 131072;      // of all states; above it the longest silent one gives way, and then a new SYN is dropped
    std::size_t max_held = 16384;        // SYNs kept
    std::uint64_t hash_seed = 0;         // random, against chosen collisions
    Duration silence = std::chrono::seconds(130);       // past the last SYN of Linux's tcp_syn_retries = 6 (127 s)
    Duration accept_wait = std::chrono::seconds(10);    // both ends are on this machine: what takes longer does not come
  };
  explicit Splitter(const Config& config);
  ~Splitter() override;

  Result<Bytes> admit(FlowId flow, Instant now) override;
  Bytes refuse_reset(FlowId flow) override;
  Bytes refuse_unreachable(FlowId flow, Unreachable code) override;
  void drop(FlowId flow, Instant now) override;
  std::optional<FlowId> accepted(Ipv4Port peer, Ipv4Port local) override;
  void closed(FlowId flow, End how, Instant now) override;
  Bytes cut_lingering() override { return {}; }
  std::optional<FlowKey> key_of(FlowId flow) const noexcept override;
  std::optional<FlowId> on_timeout(Instant now) override;
  Instant next_deadline() const noexcept override;
  const Counts& counts() const noexcept override;

 private:
  Outcome take(MutBytes packet, const CapturedTcp& p, Instant now) override;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tg
