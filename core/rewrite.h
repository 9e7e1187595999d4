// The rewrite capture of TCP: flows that an application opens to captured addresses are bent to a listener of ours, so
// that the kernel's own TCP ends them.
//
//   application 172.16.30.1:40000 ──▶ 100.96.0.7:443      as read from the TUN
//   listener    172.16.30.2:1024  ──▶ 172.16.30.1:LISTEN  as written back into it, and the same the other way round
#pragma once

#include <memory>

#include "core/flow_capture.h"

namespace tg {

// Rewriter is the table of flows; see FlowTable for the rest of it. Per packet it looks up one hash table or one array.
//
//               admit         closed                its time is over
//   held ───────────────▶ open ───────▶ lingering ───────────────────▶ (free)
//                                           ▲ a new SYN of its key starts a new flow beside it
class Rewriter final : public FlowCapture {
 public:
  struct Config {
    Ipv4 local{0xAC101E01};              // 172.16.30.1: the TUN's own address, on which the listener is bound
    std::uint16_t listen_port = 0;
    // 172.16.30.2 to .6: what the listener sees as peers, 64,512 flows each. The next is begun when those before have no
    // port left. They must be routed to the TUN.
    Ipv4 first_peer{0xAC101E02};
    std::uint32_t peers = 5;
    // Of all states. Above it a lingering or silent flow gives way, see closed(), and when there is none a new SYN is dropped:
    // it comes again.
    std::size_t max_flows = 131072;
    std::size_t max_held = 16384;        // SYNs kept
    std::uint64_t hash_seed = 0;         // random, against chosen collisions
    Duration silence = std::chrono::seconds(130);       // past the last SYN of Linux's tcp_syn_retries = 6 (127 s)
    Duration linger = std::chrono::seconds(60);         // TIME_WAIT of Linux
    Duration unfinished_linger = std::chrono::seconds(130);   // past its TCP_RTO_MAX (120 s); begins anew, see closed()
    Duration reset_linger = std::chrono::seconds(5);
    Duration accept_wait = std::chrono::seconds(130);   // for the application to answer the listener's SYN-ACK
  };
  explicit Rewriter(const Config& config);
  ~Rewriter() override;
  Rewriter(Rewriter&&) noexcept;
  Rewriter& operator=(Rewriter&&) noexcept;

  // What belongs to no flow is answered with RST, so that connections of an earlier process end at once.
  Result<Bytes> admit(FlowId flow, Instant now) override;   // exhausted: no peer port is free
  Bytes refuse_reset(FlowId flow) override;
  Bytes refuse_unreachable(FlowId flow, Unreachable code) override;
  void drop(FlowId flow, Instant now) override;
  std::optional<FlowId> accepted(Ipv4Port peer, Ipv4Port local) override;   // by the peer alone

  // closed: the last packets are rewritten for some time more; then its peer port is free, and ports are used again least recently
  // used first. Until both FINs are acknowledged, or one side resets, that time is unfinished_linger and begins anew with each
  // packet: the kernel may still hold much for a reader that is slow, or reads nothing, whom it asks every 120 s at last. Such
  // flows are bounded as all are, by max_flows and the peer ports. Those that are finished give way first, then the one that said
  // nothing for longest.
  void closed(FlowId flow, End how, Instant now) override;
  Bytes cut_lingering() override;
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
