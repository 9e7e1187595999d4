// What both captures of TCP flows have in common: rewrite (core/rewrite.h) and split (core/split.h). An application opens a flow
// to a captured address, its SYN is held until somebody has decided, and then the kernel's own TCP ends the flow at a listener of
// ours.
#pragma once

#include <cstdint>
#include <optional>

#include "core/flow_index.h"
#include "core/packet.h"
#include "core/result.h"
#include "core/time.h"

namespace tg {

// FlowId names one flow for good: a later flow of the same key has another.
enum class FlowId : std::uint64_t { none = 0 };

// CapturedTcp is a TCP segment as it came from the TUN; it refers to the packet.
struct CapturedTcp {
  Ipv4Packet ip;
  TcpSegment tcp;
  bool partial = false;          // the checksum is the pseudo header's sum only
  FlowKey key() const noexcept { return {{ip.src, tcp.src_port}, {ip.dst, tcp.dst_port}}; }
  bool opens() const noexcept { return (tcp.flags & (tcp_flag::syn | tcp_flag::ack | tcp_flag::rst)) == tcp_flag::syn; }
};

// FlowCapture is a machine that lives on the thread that reads the TUN. Per packet it allocates nothing. No I/O, no clock.
class FlowCapture {
 public:
  virtual ~FlowCapture() = default;

  enum class Action : std::uint8_t {
    pass,     // no TCP over IPv4: UDP and ICMP are somebody else's
    drop,     // write nothing
    write,    // the packet, which may have been changed in place: write it with its header
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

  // process takes a packet from the TUN. SYNs of new flows are kept and reported; their repetitions are swallowed. Fragments and
  // packets with other checksum offsets than TCP's are dropped.
  Outcome process(MutBytes packet, VnetHeader& header, Instant now);

  // admit opens a held flow and returns its SYN, to be written to the TUN with a default header; it lives until the
  // next call. Errors: not_found (cancelled meanwhile, or not held), exhausted (there is no room; it stays held).
  virtual Result<Bytes> admit(FlowId flow, Instant now) = 0;

  // refuse forgets a held flow and returns the packet to write that tells the application; empty when it is gone
  // already.
  virtual Bytes refuse_reset(FlowId flow) = 0;
  virtual Bytes refuse_unreachable(FlowId flow, Unreachable code) = 0;

  // drop leaves a held flow without an answer: for a while its SYNs are swallowed.
  virtual void drop(FlowId flow, Instant now) = 0;

  // accepted finds the open flow of a socket that the listener accepted, by its two ends.
  virtual std::optional<FlowId> accepted(Ipv4Port peer, Ipv4Port local) = 0;

  // closed says that the owner is done with an open (or held) flow.
  enum class End : std::uint8_t { finished, reset };
  virtual void closed(FlowId flow, End how, Instant now) = 0;

  // cut_lingering forgets flows that are closed, and of which something may still be on its way. Of one it returns the RST to
  // write that ends the application's wait; it is to be called again until it returns nothing. For the end of the process.
  virtual Bytes cut_lingering() = 0;

  virtual std::optional<FlowKey> key_of(FlowId flow) const noexcept = 0;

  // on_timeout forgets flows whose time is over, and returns an admitted one that the application never completed: the
  // owner then says closed. To be called until it returns nothing.
  virtual std::optional<FlowId> on_timeout(Instant now) = 0;
  virtual Instant next_deadline() const noexcept = 0;   // kNever when nothing waits

  struct Counts {
    std::size_t held = 0;
    std::size_t open = 0;
    std::size_t silent = 0;
    std::size_t lingering = 0;
  };
  virtual const Counts& counts() const noexcept = 0;

 private:
  virtual Outcome take(MutBytes packet, const CapturedTcp& p, Instant now) = 0;
};

}  // namespace tg
