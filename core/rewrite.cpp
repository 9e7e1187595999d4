#include "core/rewrite.h"

#include <algorithm>
#include <array>
#include <deque>
#include <vector>

#include "core/checksum.h"
#include "core/flow_table.h"
#include "core/packet_fields.h"
#include "core/resource.h"

namespace tg {
namespace {

using Slot = FlowTable::Slot;
using Phase = FlowTable::Phase;

constexpr Slot kNone = FlowTable::kNone;
constexpr std::uint32_t kFirstPort = 1024;
constexpr std::uint32_t kPortsOfPeer = 65536 - kFirstPort;

// What waits in the table's queues beside what it knows itself.
constexpr auto kLingering = FlowTable::kOwn;
constexpr auto kUnfinished = static_cast<FlowTable::Queue>(FlowTable::kOwn + 1);
constexpr auto kResetLingering = static_cast<FlowTable::Queue>(FlowTable::kOwn + 2);

// readdress gives `packet` (parsed as `p`) other ends and keeps both checksums right, in whichever state they are.
void readdress(MutBytes packet, const CapturedTcp& p, Ipv4Port src, Ipv4Port dst) noexcept {
  const std::uint16_t addresses =
      add_sums(sum_change(p.ip.src.value, src.address.value), sum_change(p.ip.dst.value, dst.address.value));
  const std::uint16_t all =
      add_sums(addresses, add_sums(sum_change(p.tcp.src_port, src.port), sum_change(p.tcp.dst_port, dst.port)));
  const std::size_t tcp = p.ip.header;
  const std::uint16_t sum = get_u16(packet, tcp + kTcpChecksumAt);
  put_u16(packet, tcp + kTcpChecksumAt, p.partial ? add_sums(sum, addresses) : update_checksum(sum, all));
  put_u16(packet, kIpChecksumAt, update_checksum(get_u16(packet, kIpChecksumAt), addresses));
  put_u32(packet, kIpSourceAt, src.address.value);
  put_u32(packet, kIpDestinationAt, dst.address.value);
  put_u16(packet, tcp + kTcpSourceAt, src.port);
  put_u16(packet, tcp + kTcpDestinationAt, dst.port);
}

// Bent is what is known of an admitted flow beyond the table.
struct Bent {
  std::uint32_t peer = kNone;          // number of its peer port, see State::peer_of
  // How far one side's words go: its FIN, and whether the other side has acknowledged that.
  struct Side {
    std::uint32_t end = 0;             // the sequence number behind its FIN
    bool fin = false;
    bool fin_acked = false;
    void says(const TcpSegment& t) noexcept {
      if (!t.has(tcp_flag::fin)) return;
      fin = true;
      end = t.seq + t.length();
    }
    void hears(const TcpSegment& t) noexcept {
      fin_acked |= fin && t.has(tcp_flag::ack) && static_cast<std::int32_t>(t.ack - end) >= 0;
    }
  };
  Side app, listener;
  std::uint32_t app_heard = 0;         // what the application acknowledged last
  bool reset = false;

  // over: neither side can send anything new.
  bool over() const noexcept { return reset || (app.fin && listener.fin); }
  // done: and nothing that was sent is still to arrive.
  bool done() const noexcept { return reset || (app.fin_acked && listener.fin_acked); }
};

}  // namespace

struct Rewriter::State {
  explicit State(const Config& c) : config(c), table({c.max_flows, c.max_held, c.silence}, c.hash_seed) {}

  Config config;
  FlowTable table;
  std::vector<Bent> flows;                     // by slot; grows with the table
  std::vector<Slot> by_peer;                   // peer port number to flow; grows by a peer's worth at a time
  std::uint32_t next_peer = 0;                 // numbers from here on were never used
  std::deque<std::uint32_t> free_peers;        // used before, the longest unused first

  void expire(Instant now) {
    table.forget_silent(now);
    for (const auto q : {kLingering, kUnfinished, kResetLingering}) {
      for (Slot slot = table.due(q, now); slot != kNone; slot = table.due(q, now)) forget(slot);
    }
  }

  // Peer ports.
  std::uint32_t peer_number(Ipv4Port p) const noexcept {
    const std::uint32_t host = p.address.value - config.first_peer.value;
    return p.port < kFirstPort || host >= config.peers ? kNone : host * kPortsOfPeer + (p.port - kFirstPort);
  }
  Ipv4Port peer_of(std::uint32_t number) const noexcept {
    return {Ipv4{config.first_peer.value + number / kPortsOfPeer},
            static_cast<std::uint16_t>(kFirstPort + number % kPortsOfPeer)};
  }
  std::uint32_t flow_by_peer(Ipv4Port p) const noexcept {
    const std::uint32_t number = peer_number(p);
    return number < by_peer.size() ? by_peer[number] : kNone;
  }
  bool is_peer(Ipv4 a) const noexcept { return a.value - config.first_peer.value < config.peers; }
  std::uint32_t take_peer() {
    const bool fresh_in_begun = next_peer < by_peer.size();
    const bool all_begun = by_peer.size() == std::size_t{config.peers} * kPortsOfPeer;
    if (!fresh_in_begun && all_begun && free_peers.empty()) evict({kResetLingering, kLingering, kUnfinished});
    if (!fresh_in_begun && !free_peers.empty()) {
      const std::uint32_t number = free_peers.front();
      free_peers.pop_front();
      return number;
    }
    if (!fresh_in_begun && all_begun) return kNone;
    if (!fresh_in_begun) by_peer.resize(by_peer.size() + kPortsOfPeer, kNone);
    return next_peer++;
  }

  void forget(Slot slot) {
    Bent& f = flows[slot];
    if (f.peer != kNone) {
      by_peer[f.peer] = kNone;
      free_peers.push_back(std::exchange(f.peer, kNone));
    }
    table.forget(slot);
  }
  // evict ends the wait of the flow that is first due in the first of `from` that has one.
  bool evict(std::initializer_list<FlowTable::Queue> from) {
    for (const auto q : from) {
      const Slot slot = table.head(q);
      if (slot == kNone) continue;
      forget(slot);
      return true;
    }
    return false;
  }

  Outcome begin(const CapturedTcp& p) {
    if (table.full()) evict({kResetLingering, kLingering, kUnfinished, FlowTable::kSilent});
    const Outcome out = table.begin(p);
    flows.resize(table.slots());
    return out;
  }

  // passes notes what a packet between the two sides says. While their kernels still have something to say to each other
  // (a slow reader, of whom the owner has long taken leave), a flow lingers on.
  void passes(Slot slot, const TcpSegment& t, Bent::Side& from, Bent::Side& to, Instant now) noexcept {
    from.says(t);
    to.hears(t);
    flows[slot].reset |= t.has(tcp_flag::rst);
    if (table.queue(slot) == kUnfinished) linger(slot, now);
  }
  void linger(Slot slot, Instant now) noexcept {
    table.dequeue(slot);
    if (flows[slot].done()) table.enqueue(slot, kLingering, now + config.linger);
    else table.enqueue(slot, kUnfinished, now + config.unfinished_linger);
  }

  Outcome from_listener(MutBytes packet, const CapturedTcp& p, Instant now) {
    const Slot slot = flow_by_peer({p.ip.dst, p.tcp.dst_port});
    if (slot == kNone || !table.indexed(slot)) return table.reset_sender(p.ip);
    passes(slot, p.tcp, flows[slot].listener, flows[slot].app, now);
    readdress(packet, p, table.key(slot).dst, table.key(slot).src);
    return {Action::write, Event::none, FlowId::none, {}};
  }

  Outcome from_app(MutBytes packet, const CapturedTcp& p, Instant now) {
    if (is_peer(p.ip.dst)) return table.reset_sender(p.ip);
    const bool syn = p.opens();
    if (syn) expire(now);
    const Slot slot = table.find(p.key());
    if (slot == kNone) return syn ? begin(p) : table.reset_sender(p.ip);
    switch (table.phase(slot)) {
      case Phase::held: return table.to_held(slot, p);
      case Phase::silent: return table.to_silent(slot, p);
      case Phase::lingering:
        if (syn) return begin_beside(slot, p);
        break;
      case Phase::open:
        if (syn && p.tcp.seq != table.isn(slot) && flows[slot].over()) return begin_beside(slot, p);
        break;
      case Phase::free: return {};
    }
    return to_listener(packet, slot, p, syn, now);
  }

  Outcome begin_beside(Slot slot, const CapturedTcp& p) {
    table.leave_index(slot);
    return begin(p);
  }

  Outcome to_listener(MutBytes packet, Slot slot, const CapturedTcp& p, bool syn, Instant now) {
    Outcome out{Action::write, Event::none, FlowId::none, {}};
    if (table.queue(slot) == FlowTable::kUnaccepted && !syn) {
      table.dequeue(slot);
      if (p.tcp.has(tcp_flag::rst)) {
        out.event = Event::cancelled;
        out.flow = table.id_of(slot);
      }
    }
    Bent& f = flows[slot];
    if (p.tcp.has(tcp_flag::ack)) f.app_heard = p.tcp.ack;
    passes(slot, p.tcp, f.app, f.listener, now);
    readdress(packet, p, peer_of(f.peer), {config.local, config.listen_port});
    return out;
  }

  // reset_app builds what the application would get for its last ACK if there were no connection.
  void reset_app(Slot slot) {
    const FlowKey& key = table.key(slot);
    constexpr std::size_t kHeader = 20;
    std::array<std::uint8_t, 40> ack{};
    const MutBytes b(ack);
    put_u16(b, 0, 0x4500);
    put_u16(b, kIpLengthAt, ack.size());
    put_u16(b, kIpTtlAt, 64 << 8 | static_cast<std::uint8_t>(Protocol::tcp));
    put_u32(b, kIpSourceAt, key.src.address.value);
    put_u32(b, kIpDestinationAt, key.dst.address.value);
    put_u16(b, kHeader + kTcpSourceAt, key.src.port);
    put_u16(b, kHeader + kTcpDestinationAt, key.dst.port);
    put_u32(b, kHeader + kTcpAckAt, flows[slot].app_heard);
    put_u16(b, kHeader + kTcpFlagsAt, 0x5000 | tcp_flag::ack);
    TG_CHECK(build_tcp_reset(table.scratch(), *parse_ipv4(b)));
  }
};

Rewriter::Rewriter(const Config& config) : state_(std::make_unique<State>(config)) {
  TG_CHECK(config.listen_port != 0 && config.peers > 0 && config.peers < 64 && config.max_flows < kNone);
}
Rewriter::~Rewriter() = default;
Rewriter::Rewriter(Rewriter&&) noexcept = default;
Rewriter& Rewriter::operator=(Rewriter&&) noexcept = default;

Rewriter::Outcome Rewriter::take(MutBytes packet, const CapturedTcp& p, Instant now) {
  State& s = *state_;
  const bool from_listener = p.ip.src == s.config.local && p.tcp.src_port == s.config.listen_port && s.is_peer(p.ip.dst);
  return from_listener ? s.from_listener(packet, p, now) : s.from_app(packet, p, now);
}

Result<Bytes> Rewriter::admit(FlowId flow, Instant now) {
  State& s = *state_;
  const Slot slot = s.table.held(flow);
  if (slot == kNone) return fail(Errc::not_found, "the application has given up this connection");
  s.expire(now);
  const std::uint32_t number = s.take_peer();
  if (number == kNone) return fail(Errc::exhausted, "no peer port is free for another TCP flow");
  s.flows[slot] = Bent{};
  s.flows[slot].peer = number;
  s.by_peer[number] = slot;
  s.table.admit(slot);
  s.table.enqueue(slot, FlowTable::kUnaccepted, now + s.config.accept_wait);
  Buffer& syn = s.table.scratch();
  const auto ip = parse_ipv4(syn);
  readdress(syn, {*ip, *parse_tcp(*ip)}, s.peer_of(number), {s.config.local, s.config.listen_port});
  return Bytes(syn);
}

Bytes Rewriter::refuse_reset(FlowId flow) { return state_->table.refuse_reset(flow); }
Bytes Rewriter::refuse_unreachable(FlowId flow, Unreachable code) { return state_->table.refuse_unreachable(flow, code); }
void Rewriter::drop(FlowId flow, Instant now) { state_->table.drop(flow, now); }

void Rewriter::closed(FlowId flow, End how, Instant now) {
  State& s = *state_;
  const Slot slot = s.table.slot_of(flow);
  if (slot == kNone) return;
  if (s.table.phase(slot) == Phase::held) return s.forget(slot);
  if (s.table.phase(slot) != Phase::open) return;
  s.table.dequeue(slot);
  s.table.set_phase(slot, Phase::lingering);
  if (how == End::reset) s.table.enqueue(slot, kResetLingering, now + s.config.reset_linger);
  else s.linger(slot, now);
}

Bytes Rewriter::cut_lingering() {
  State& s = *state_;
  while (s.evict({kLingering})) continue;
  for (Slot slot = s.table.head(kUnfinished); slot != kNone; slot = s.table.head(kUnfinished)) {
    const bool waits = s.table.indexed(slot);
    if (waits) s.reset_app(slot);
    s.forget(slot);
    if (waits) return s.table.scratch();
  }
  return {};
}

std::optional<FlowId> Rewriter::accepted(Ipv4Port peer, Ipv4Port) {
  const Slot slot = state_->flow_by_peer(peer);
  if (slot == kNone || state_->table.phase(slot) != Phase::open) return std::nullopt;
  return state_->table.id_of(slot);
}

std::optional<FlowKey> Rewriter::key_of(FlowId flow) const noexcept { return state_->table.key_of(flow); }

std::optional<FlowId> Rewriter::on_timeout(Instant now) {
  state_->expire(now);
  return state_->table.take_unaccepted(now);
}

Instant Rewriter::next_deadline() const noexcept { return state_->table.next_deadline(); }
const FlowCapture::Counts& Rewriter::counts() const noexcept { return state_->table.counts(); }

}  // namespace tg
