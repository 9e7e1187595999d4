#include "core/rewrite.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <vector>

#include "core/checksum.h"
#include "core/resource.h"

namespace tg {
namespace {

constexpr std::uint32_t kNone = FlowIndex::kNone;
constexpr std::uint32_t kFirstPort = 1024;
constexpr std::uint32_t kPortsOfPeer = 65536 - kFirstPort;
constexpr std::size_t kChecksumOffset = 16;    // of TCP's checksum in its header
constexpr std::size_t kHeadersMax = 120;

std::uint16_t get_u16(MutBytes b, std::size_t at) noexcept {
  return static_cast<std::uint16_t>(b[at] << 8 | b[at + 1]);
}
void put_u16(MutBytes b, std::size_t at, std::uint16_t v) noexcept {
  b[at] = static_cast<std::uint8_t>(v >> 8);
  b[at + 1] = static_cast<std::uint8_t>(v);
}
void put_u32(MutBytes b, std::size_t at, std::uint32_t v) noexcept {
  put_u16(b, at, static_cast<std::uint16_t>(v >> 16));
  put_u16(b, at + 2, static_cast<std::uint16_t>(v));
}

struct Parsed {
  Ipv4Packet ip;
  TcpSegment tcp;
  bool partial = false;          // the checksum is the pseudo header's sum only
  FlowKey key() const noexcept { return {{ip.src, tcp.src_port}, {ip.dst, tcp.dst_port}}; }
};

// readdress gives `packet` (parsed as `p`) other ends and keeps both checksums right, in whichever state they are.
void readdress(MutBytes packet, const Parsed& p, Ipv4Port src, Ipv4Port dst) noexcept {
  const std::uint16_t addresses =
      add_sums(sum_change(p.ip.src.value, src.address.value), sum_change(p.ip.dst.value, dst.address.value));
  const std::uint16_t all =
      add_sums(addresses, add_sums(sum_change(p.tcp.src_port, src.port), sum_change(p.tcp.dst_port, dst.port)));
  const std::size_t tcp = p.ip.header;
  const std::uint16_t sum = get_u16(packet, tcp + kChecksumOffset);
  put_u16(packet, tcp + kChecksumOffset, p.partial ? add_sums(sum, addresses) : update_checksum(sum, all));
  put_u16(packet, 10, update_checksum(get_u16(packet, 10), addresses));
  put_u32(packet, 12, src.address.value);
  put_u32(packet, 16, dst.address.value);
  put_u16(packet, tcp, src.port);
  put_u16(packet, tcp + 2, dst.port);
}

// KeptSyn is a SYN without its payload (TCP Fast Open; it comes again), with complete checksums.
struct KeptSyn {
  std::array<std::uint8_t, kHeadersMax> bytes;
  std::size_t size = 0;
};

void keep(KeptSyn& kept, const Parsed& p) noexcept {
  kept.size = p.ip.header + p.tcp.header;
  std::memcpy(kept.bytes.data(), p.ip.bytes.data(), kept.size);
  const MutBytes b(kept.bytes.data(), kept.size);
  put_u16(b, 2, static_cast<std::uint16_t>(kept.size));
  put_u16(b, 10, 0);
  put_u16(b, 10, checksum(b.first(p.ip.header)));
  put_u16(b, p.ip.header + kChecksumOffset, 0);
  const std::uint16_t pseudo = pseudo_sum(p.ip.src, p.ip.dst, p.ip.protocol, p.tcp.header);
  put_u16(b, p.ip.header + kChecksumOffset, checksum(b.subspan(p.ip.header), pseudo));
}

enum class Phase : std::uint8_t { free, held, open, silent, lingering };

// Every queue holds flows that wait equally long, so that its head is always the next one due.
enum Queue : std::uint8_t { kSilent, kUnaccepted, kLingering, kUnfinished, kResetLingering, kQueues, kNoQueue = kQueues };

struct Flow {
  FlowKey key;
  std::uint32_t generation = 0;
  std::uint32_t isn = 0;               // sequence number of the SYN
  std::uint32_t peer = kNone;          // number of its peer port, see State::peer_of
  std::uint32_t syn = kNone;           // slot of its KeptSyn
  std::uint32_t before = kNone;        // neighbours in its queue
  std::uint32_t behind = kNone;
  Instant deadline{};
  Phase phase = Phase::free;
  Queue queue = kNoQueue;
  bool indexed = false;                // found by its key; false once a later flow has that key
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
  explicit State(const Config& c) : config(c), index(c.hash_seed) {}

  Config config;
  FlowIndex index;
  std::vector<Flow> flows;
  std::vector<std::uint32_t> free_flows;
  std::vector<KeptSyn> syns;
  std::vector<std::uint32_t> free_syns;
  std::vector<std::uint32_t> by_peer;          // peer port number to flow; grows by a peer's worth at a time
  std::uint32_t next_peer = 0;                 // numbers from here on were never used
  std::deque<std::uint32_t> free_peers;        // used before, the longest unused first
  struct List { std::uint32_t head = kNone, tail = kNone; };
  std::array<List, kQueues> queues;
  Counts counts;
  Buffer scratch;

  // Slots.
  FlowId id_of(std::uint32_t slot) const noexcept { return FlowId{std::uint64_t{flows[slot].generation} << 32 | slot}; }
  std::uint32_t slot_of(FlowId id) const noexcept {
    const auto slot = static_cast<std::uint32_t>(static_cast<std::uint64_t>(id));
    if (slot >= flows.size() || flows[slot].phase == Phase::free || id_of(slot) != id) return kNone;
    return slot;
  }
  std::size_t* count_of(Phase p) noexcept {
    switch (p) {
      case Phase::held: return &counts.held;
      case Phase::open: return &counts.open;
      case Phase::silent: return &counts.silent;
      case Phase::lingering: return &counts.lingering;
      case Phase::free: break;
    }
    return nullptr;
  }
  void set_phase(Flow& f, Phase p) noexcept {
    if (auto* n = count_of(f.phase)) --*n;
    if (auto* n = count_of(p)) ++*n;
    f.phase = p;
  }

  // Queues.
  void enqueue(std::uint32_t slot, Queue q, Instant deadline) noexcept {
    Flow& f = flows[slot];
    List& list = queues[q];
    f.queue = q;
    f.deadline = deadline;
    f.before = list.tail;
    f.behind = kNone;
    (list.tail == kNone ? list.head : flows[list.tail].behind) = slot;
    list.tail = slot;
  }
  void dequeue(std::uint32_t slot) noexcept {
    Flow& f = flows[slot];
    if (f.queue == kNoQueue) return;
    List& list = queues[f.queue];
    (f.before == kNone ? list.head : flows[f.before].behind) = f.behind;
    (f.behind == kNone ? list.tail : flows[f.behind].before) = f.before;
    f.queue = kNoQueue;
  }
  std::uint32_t due(Queue q, Instant now) const noexcept {
    const std::uint32_t slot = queues[q].head;
    return slot != kNone && flows[slot].deadline <= now ? slot : kNone;
  }
  void expire(Instant now) {
    for (const Queue q : {kSilent, kLingering, kUnfinished, kResetLingering}) {
      for (std::uint32_t slot = due(q, now); slot != kNone; slot = due(q, now)) forget(slot);
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

  void release_syn(Flow& f) {
    if (f.syn == kNone) return;
    free_syns.push_back(f.syn);
    f.syn = kNone;
  }
  void leave_index(Flow& f) noexcept {
    if (f.indexed) index.erase(f.key);
    f.indexed = false;
  }
  void forget(std::uint32_t slot) {
    Flow& f = flows[slot];
    dequeue(slot);
    release_syn(f);
    leave_index(f);
    if (f.peer != kNone) {
      by_peer[f.peer] = kNone;
      free_peers.push_back(f.peer);
      f.peer = kNone;
    }
    set_phase(f, Phase::free);
    free_flows.push_back(slot);
  }
  // evict ends the wait of the flow that is first due in the first of `from` that has one.
  bool evict(std::initializer_list<Queue> from) {
    for (const Queue q : from) {
      if (queues[q].head == kNone) continue;
      forget(queues[q].head);
      return true;
    }
    return false;
  }

  // hold begins a flow with its SYN, or returns kNone when a limit is reached.
  std::uint32_t hold(const Parsed& p) {
    if (counts.held >= config.max_held) return kNone;
    if (free_flows.empty() && flows.size() >= config.max_flows) {
      if (!evict({kResetLingering, kLingering, kUnfinished, kSilent})) return kNone;
    }
    if (free_flows.empty()) {
      free_flows.push_back(static_cast<std::uint32_t>(flows.size()));
      flows.emplace_back();
    }
    if (free_syns.empty()) {
      free_syns.push_back(static_cast<std::uint32_t>(syns.size()));
      syns.emplace_back();
    }
    const std::uint32_t slot = free_flows.back();
    free_flows.pop_back();
    Flow& f = flows[slot];
    const std::uint32_t generation = f.generation + 1;
    f = Flow{};
    f.generation = generation;
    f.key = p.key();
    f.isn = p.tcp.seq;
    f.syn = free_syns.back();
    free_syns.pop_back();
    keep(syns[f.syn], p);
    set_phase(f, Phase::held);
    index.insert(f.key, slot);
    f.indexed = true;
    return slot;
  }

  Bytes kept(const Flow& f) const noexcept { return Bytes(syns[f.syn].bytes).first(syns[f.syn].size); }

  Outcome reset_sender(const Ipv4Packet& ip) {
    if (!build_tcp_reset(scratch, ip)) return {};
    return {Action::reply, Event::none, FlowId::none, scratch};
  }
  Outcome begin(const Parsed& p) {
    // What is kept gets new checksums, so damage must be seen now.
    if (p.tcp.has(tcp_flag::fin) || (!p.partial && !checksum_ok(p.ip))) return {};
    const std::uint32_t slot = hold(p);
    if (slot == kNone) return {};
    return {Action::drop, Event::opened, id_of(slot), {}};
  }

  // passes notes what a packet between the two sides says. While their kernels still have something to say to each other
  // (a slow reader, of whom the owner has long taken leave), a flow lingers on.
  void passes(std::uint32_t slot, const TcpSegment& t, Flow::Side& from, Flow::Side& to, Instant now) noexcept {
    Flow& f = flows[slot];
    from.says(t);
    to.hears(t);
    f.reset |= t.has(tcp_flag::rst);
    if (f.queue == kUnfinished) linger(slot, now);
  }
  void linger(std::uint32_t slot, Instant now) noexcept {
    dequeue(slot);
    if (flows[slot].done()) enqueue(slot, kLingering, now + config.linger);
    else enqueue(slot, kUnfinished, now + config.unfinished_linger);
  }

  Outcome from_listener(MutBytes packet, const Parsed& p, Instant now) {
    const std::uint32_t slot = flow_by_peer({p.ip.dst, p.tcp.dst_port});
    if (slot == kNone || !flows[slot].indexed) return reset_sender(p.ip);
    Flow& f = flows[slot];
    passes(slot, p.tcp, f.listener, f.app, now);
    readdress(packet, p, f.key.dst, f.key.src);
    return {Action::write, Event::none, FlowId::none, {}};
  }

  Outcome from_app(MutBytes packet, const Parsed& p, Instant now) {
    const bool syn = p.tcp.has(tcp_flag::syn) && !p.tcp.has(tcp_flag::ack) && !p.tcp.has(tcp_flag::rst);
    if (is_peer(p.ip.dst)) return reset_sender(p.ip);
    std::uint32_t slot = index.find(p.key());
    if (syn) {
      expire(now);
      slot = index.find(p.key());
    }
    if (slot == kNone) return syn ? begin(p) : reset_sender(p.ip);
    Flow& f = flows[slot];
    switch (f.phase) {
      case Phase::held: return to_held(f, slot, p, syn);
      case Phase::silent:
        if (!syn) return reset_sender(p.ip);
        if (p.tcp.seq == f.isn) return {};
        forget(slot);
        return begin(p);
      case Phase::lingering:
        if (syn) {
          leave_index(f);
          return begin(p);
        }
        break;
      case Phase::open:
        if (syn && p.tcp.seq != f.isn && f.over()) {
          leave_index(f);
          return begin(p);
        }
        break;
      case Phase::free: return {};
    }
    return to_listener(packet, f, slot, p, syn, now);
  }

  Outcome to_held(Flow& f, std::uint32_t slot, const Parsed& p, bool syn) {
    if (syn) {
      // connect() given up and begun again from the same port: a SYN_SENT socket is closed without a word.
      if (p.tcp.seq != f.isn && !p.tcp.has(tcp_flag::fin) && (p.partial || checksum_ok(p.ip))) {
        keep(syns[f.syn], p);
        f.isn = p.tcp.seq;
      }
      return {};
    }
    if (!p.tcp.has(tcp_flag::rst)) return reset_sender(p.ip);
    if (p.tcp.seq - f.isn > 1) return {};
    const FlowId id = id_of(slot);
    forget(slot);
    return {Action::drop, Event::cancelled, id, {}};
  }

  Outcome to_listener(MutBytes packet, Flow& f, std::uint32_t slot, const Parsed& p, bool syn, Instant now) {
    Outcome out{Action::write, Event::none, FlowId::none, {}};
    if (f.queue == kUnaccepted && !syn) {
      dequeue(slot);
      if (p.tcp.has(tcp_flag::rst)) {
        out.event = Event::cancelled;
        out.flow = id_of(slot);
      }
    }
    if (p.tcp.has(tcp_flag::ack)) f.app_heard = p.tcp.ack;
    passes(slot, p.tcp, f.app, f.listener, now);
    readdress(packet, p, peer_of(f.peer), {config.local, config.listen_port});
    return out;
  }

  // reset_app builds what the application would get for its last ACK if there were no connection.
  void reset_app(const Flow& f) {
    std::array<std::uint8_t, 40> ack{};
    const MutBytes b(ack);
    put_u16(b, 0, 0x4500);
    put_u16(b, 2, ack.size());
    put_u16(b, 8, 64 << 8 | static_cast<std::uint8_t>(Protocol::tcp));
    put_u32(b, 12, f.key.src.address.value);
    put_u32(b, 16, f.key.dst.address.value);
    put_u16(b, 20, f.key.src.port);
    put_u16(b, 22, f.key.dst.port);
    put_u32(b, 28, f.app_heard);
    put_u16(b, 32, 0x5000 | tcp_flag::ack);
    TG_CHECK(build_tcp_reset(scratch, *parse_ipv4(b)));
  }

  // held returns the flow while it waits for a decision.
  Flow* held(FlowId id) noexcept {
    const std::uint32_t slot = slot_of(id);
    return slot != kNone && flows[slot].phase == Phase::held ? &flows[slot] : nullptr;
  }
};

Rewriter::Rewriter(const Config& config) : state_(std::make_unique<State>(config)) {
  TG_CHECK(config.listen_port != 0 && config.peers > 0 && config.peers < 64 && config.max_flows < kNone);
}
Rewriter::~Rewriter() = default;
Rewriter::Rewriter(Rewriter&&) noexcept = default;
Rewriter& Rewriter::operator=(Rewriter&&) noexcept = default;

Rewriter::Outcome Rewriter::process(MutBytes packet, VnetHeader& header, Instant now) {
  const auto ip = parse_ipv4(packet);
  if (!ip) return {};
  if (ip->protocol != static_cast<std::uint8_t>(Protocol::tcp)) return {Action::pass, Event::none, FlowId::none, {}};
  const auto tcp = ip->fragment ? std::nullopt : parse_tcp(*ip);
  if (!tcp) return {};
  header.flags &= VnetHeader::kNeedsCsum;
  if (header.needs_csum() && (header.csum_start != ip->header || header.csum_offset != kChecksumOffset)) return {};
  const Parsed p{*ip, *tcp, header.needs_csum()};
  const State& s = *state_;
  const bool from_listener = ip->src == s.config.local && tcp->src_port == s.config.listen_port && s.is_peer(ip->dst);
  return from_listener ? state_->from_listener(packet, p, now) : state_->from_app(packet, p, now);
}

Result<Bytes> Rewriter::admit(FlowId flow, Instant now) {
  State& s = *state_;
  Flow* f = s.held(flow);
  if (f == nullptr) return fail(Errc::not_found, "the application has given up this connection");
  s.expire(now);
  const std::uint32_t number = s.take_peer();
  if (number == kNone) return fail(Errc::exhausted, "no peer port is free for another TCP flow");
  const std::uint32_t slot = s.slot_of(flow);
  f->peer = number;
  s.by_peer[number] = slot;
  const Bytes syn = s.kept(*f);
  s.scratch.assign(syn.begin(), syn.end());
  s.release_syn(*f);
  s.set_phase(*f, Phase::open);
  s.enqueue(slot, kUnaccepted, now + s.config.accept_wait);
  const auto ip = parse_ipv4(s.scratch);
  readdress(s.scratch, {*ip, *parse_tcp(*ip)}, s.peer_of(number), {s.config.local, s.config.listen_port});
  return Bytes(s.scratch);
}

Bytes Rewriter::refuse_reset(FlowId flow) {
  State& s = *state_;
  Flow* f = s.held(flow);
  if (f == nullptr) return {};
  build_tcp_reset(s.scratch, *parse_ipv4(s.kept(*f)));
  s.forget(s.slot_of(flow));
  return s.scratch;
}

Bytes Rewriter::refuse_unreachable(FlowId flow, Unreachable code) {
  State& s = *state_;
  Flow* f = s.held(flow);
  if (f == nullptr) return {};
  build_unreachable(s.scratch, *parse_ipv4(s.kept(*f)), code, f->key.dst.address);
  s.forget(s.slot_of(flow));
  return s.scratch;
}

void Rewriter::drop(FlowId flow, Instant now) {
  State& s = *state_;
  Flow* f = s.held(flow);
  if (f == nullptr) return;
  s.release_syn(*f);
  s.set_phase(*f, Phase::silent);
  s.enqueue(s.slot_of(flow), kSilent, now + s.config.silence);
}

void Rewriter::closed(FlowId flow, End how, Instant now) {
  State& s = *state_;
  const std::uint32_t slot = s.slot_of(flow);
  if (slot == kNone) return;
  Flow& f = s.flows[slot];
  if (f.phase == Phase::held) return s.forget(slot);
  if (f.phase != Phase::open) return;
  s.dequeue(slot);
  s.set_phase(f, Phase::lingering);
  if (how == End::reset) s.enqueue(slot, kResetLingering, now + s.config.reset_linger);
  else s.linger(slot, now);
}

Bytes Rewriter::cut_lingering() {
  State& s = *state_;
  while (s.evict({kLingering})) continue;
  while (s.queues[kUnfinished].head != kNone) {
    const std::uint32_t slot = s.queues[kUnfinished].head;
    const bool waits = s.flows[slot].indexed;
    if (waits) s.reset_app(s.flows[slot]);
    s.forget(slot);
    if (waits) return s.scratch;
  }
  return {};
}

std::optional<FlowId> Rewriter::flow_of(Ipv4Port peer) const noexcept {
  const std::uint32_t slot = state_->flow_by_peer(peer);
  if (slot == kNone || state_->flows[slot].phase != Phase::open) return std::nullopt;
  return state_->id_of(slot);
}

std::optional<FlowKey> Rewriter::key_of(FlowId flow) const noexcept {
  const std::uint32_t slot = state_->slot_of(flow);
  if (slot == kNone) return std::nullopt;
  return state_->flows[slot].key;
}

std::optional<FlowId> Rewriter::on_timeout(Instant now) {
  State& s = *state_;
  s.expire(now);
  const std::uint32_t slot = s.due(kUnaccepted, now);
  if (slot == kNone) return std::nullopt;
  s.dequeue(slot);
  return s.id_of(slot);
}

Instant Rewriter::next_deadline() const noexcept {
  Instant next = kNever;
  for (const auto& list : state_->queues) {
    if (list.head != kNone) next = std::min(next, state_->flows[list.head].deadline);
  }
  return next;
}

const Rewriter::Counts& Rewriter::counts() const noexcept { return state_->counts; }

}  // namespace tg
