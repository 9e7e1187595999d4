// The rewrite capture of TCP: flows that an application opens to captured addresses are bent to a listener of ours, so
// that the kernel's own TCP ends them.
//
//   application 172.16.30.1:40000 ──▶ 100.96.0.7:443      as read from the TUN
//   listener    172.16.30.2:1024  ──▶ 172.16.30.1:LISTEN  as written back into it, and the same the other way round
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "core/flow_index.h"
#include "core/packet.h"
#include "core/result.h"
#include "core/time.h"

namespace tg {

// FlowId names one flow for good: a later flow of the same key has another.
enum class FlowId : std::uint64_t { none = 0 };

// Rewriter is the table of flows. It lives on the thread that reads the TUN. Per packet it allocates nothing and looks
// up one hash table or one array. No I/O, no clock.
//
//                      admit                 closed                     its time is over
//   SYN ──▶ held ───────────────▶ open ───────────────▶ lingering ───────────────────▶ (free)
//            │ refuse                                       ▲ a new SYN of its key starts a new flow beside it
//            ├───────▶ (free)
//            │ drop
//            └───────▶ silent ──▶ (free)
class Rewriter {
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
  ~Rewriter();
  Rewriter(Rewriter&&) noexcept;
  Rewriter& operator=(Rewriter&&) noexcept;

  enum class Action : std::uint8_t {
    pass,     // no TCP over IPv4: UDP and ICMP are somebody else's
    drop,     // write nothing
    write,    // the packet was rewritten in place: write it with its header
    reply,    // write Outcome::reply instead, with a default header
  };
  enum class Event : std::uint8_t {
    none,
    opened,      // a new flow is held: dial, then say admit, refuse or drop
    cancelled,   // the application reset a flow before it was accepted. Held: it is forgotten; open: say closed
  };
  struct Outcome {
    Action action = Action::drop;
    Event event = Event::none;
    FlowId flow = FlowId::none;   // when there is an event
    Bytes reply;                  // lives until the next call
  };

  // process takes a packet from the TUN. SYNs of new flows are kept and reported; their repetitions are swallowed. What
  // belongs to no flow is answered with RST, so that connections of an earlier process end at once. Fragments and
  // packets with other checksum offsets than TCP's are dropped.
  Outcome process(MutBytes packet, VnetHeader& header, Instant now);

  // admit opens a held flow and returns its SYN, to be written to the TUN with a default header; it lives until the
  // next call. Errors: not_found (cancelled meanwhile, or not held), exhausted (no peer port is free; it stays held).
  Result<Bytes> admit(FlowId flow, Instant now);

  // refuse forgets a held flow and returns the packet to write that tells the application; empty when it is gone
  // already.
  Bytes refuse_reset(FlowId flow);
  Bytes refuse_unreachable(FlowId flow, Unreachable code);

  // drop leaves a held flow without an answer: for Config::silence its SYNs are swallowed.
  void drop(FlowId flow, Instant now);

  // closed says that the owner is done with an open (or held) flow. The last packets are rewritten for some time more;
  // then its peer port is free, and ports are used again least recently used first. Until both FINs are acknowledged, or
  // one side resets, that time is unfinished_linger and begins anew with each packet: the kernel may still hold much for a
  // reader that is slow, or reads nothing, whom it asks every 120 s at last. Such flows are bounded as all are, by max_flows
  // and the peer ports. Those that are finished give way first, then the one that said nothing for longest.
  enum class End : std::uint8_t { finished, reset };
  void closed(FlowId flow, End how, Instant now);

  // cut_lingering forgets lingering flows. Of one of which something is still to arrive it returns the RST to write that
  // ends the application's wait; it is to be called again until it returns nothing. For the end of the process.
  Bytes cut_lingering();

  // flow_of finds the open flow of an accepted socket by its peer's address; key_of its addresses.
  std::optional<FlowId> flow_of(Ipv4Port peer) const noexcept;
  std::optional<FlowKey> key_of(FlowId flow) const noexcept;

  // on_timeout forgets flows whose time is over, and returns an admitted one that the application never completed: the
  // owner then says closed. To be called until it returns nothing.
  std::optional<FlowId> on_timeout(Instant now);
  Instant next_deadline() const noexcept;   // kNever when nothing waits

  struct Counts {
    std::size_t held = 0;
    std::size_t open = 0;
    std::size_t silent = 0;
    std::size_t lingering = 0;
  };
  const Counts& counts() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tg
