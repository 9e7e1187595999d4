#include "core/flow_table.h"

#include <algorithm>
#include <cstring>

#include "core/checksum.h"
#include "core/packet_fields.h"

namespace tg {

using Action = FlowCapture::Action;
using Event = FlowCapture::Event;
using Outcome = FlowCapture::Outcome;

FlowId FlowTable::id_of(Slot slot) const noexcept { return FlowId{std::uint64_t{flows_[slot].generation} << 32 | slot}; }

FlowTable::Slot FlowTable::slot_of(FlowId id) const noexcept {
  const auto slot = static_cast<Slot>(static_cast<std::uint64_t>(id));
  if (slot >= flows_.size() || flows_[slot].phase == Phase::free || id_of(slot) != id) return kNone;
  return slot;
}

std::optional<FlowKey> FlowTable::key_of(FlowId flow) const noexcept {
  const Slot slot = slot_of(flow);
  if (slot == kNone) return std::nullopt;
  return flows_[slot].key;
}

std::size_t* FlowTable::count_of(Phase p) noexcept {
  switch (p) {
    case Phase::held: return &counts_.held;
    case Phase::open: return &counts_.open;
    case Phase::silent: return &counts_.silent;
    case Phase::lingering: return &counts_.lingering;
    case Phase::free: break;
  }
  return nullptr;
}

void FlowTable::set_phase(Slot slot, Phase p) noexcept {
  Flow& f = flows_[slot];
  if (auto* n = count_of(f.phase)) --*n;
  if (auto* n = count_of(p)) ++*n;
  f.phase = p;
}

void FlowTable::enqueue(Slot slot, Queue q, Instant deadline) noexcept {
  Flow& f = flows_[slot];
  List& list = queues_[q];
  f.queue = q;
  f.deadline = deadline;
  f.before = list.tail;
  f.behind = kNone;
  (list.tail == kNone ? list.head : flows_[list.tail].behind) = slot;
  list.tail = slot;
}

void FlowTable::dequeue(Slot slot) noexcept {
  Flow& f = flows_[slot];
  if (f.queue == kNoQueue) return;
  List& list = queues_[f.queue];
  (f.before == kNone ? list.head : flows_[f.before].behind) = f.behind;
  (f.behind == kNone ? list.tail : flows_[f.behind].before) = f.before;
  f.queue = kNoQueue;
}

FlowTable::Slot FlowTable::due(Queue q, Instant now) const noexcept {
  const Slot slot = queues_[q].head;
  return slot != kNone && flows_[slot].deadline <= now ? slot : kNone;
}

Instant FlowTable::next_deadline() const noexcept {
  Instant next = kNever;
  for (const List& list : queues_) {
    if (list.head != kNone) next = std::min(next, flows_[list.head].deadline);
  }
  return next;
}

void FlowTable::release_syn(Flow& f) {
  if (f.syn == kNone) return;
  free_syns_.push_back(f.syn);
  f.syn = kNone;
}

void FlowTable::leave_index(Slot slot) noexcept {
  Flow& f = flows_[slot];
  if (f.indexed) index_.erase(f.key);
  f.indexed = false;
}

void FlowTable::forget(Slot slot) {
  dequeue(slot);
  release_syn(flows_[slot]);
  leave_index(slot);
  set_phase(slot, Phase::free);
  free_.push_back(slot);
}

std::optional<FlowId> FlowTable::take_unaccepted(Instant now) noexcept {
  const Slot slot = due(kUnaccepted, now);
  if (slot == kNone) return std::nullopt;
  dequeue(slot);
  return id_of(slot);
}

void FlowTable::forget_silent(Instant now) {
  for (Slot slot = due(kSilent, now); slot != kNone; slot = due(kSilent, now)) forget(slot);
}

void FlowTable::KeptSyn::keep(const CapturedTcp& p) noexcept {
  size = p.ip.header + p.tcp.header;
  std::memcpy(bytes.data(), p.ip.bytes.data(), size);
  const MutBytes b(bytes.data(), size);
  put_u16(b, kIpLengthAt, static_cast<std::uint16_t>(size));
  put_u16(b, kIpChecksumAt, 0);
  put_u16(b, kIpChecksumAt, checksum(b.first(p.ip.header)));
  put_u16(b, p.ip.header + kTcpChecksumAt, 0);
  const std::uint16_t pseudo = pseudo_sum(p.ip.src, p.ip.dst, p.ip.protocol, p.tcp.header);
  put_u16(b, p.ip.header + kTcpChecksumAt, checksum(b.subspan(p.ip.header), pseudo));
}

Outcome FlowTable::reset_sender(const Ipv4Packet& ip) {
  if (!build_tcp_reset(scratch_, ip)) return {};
  return {Action::reply, Event::none, FlowId::none, scratch_};
}

Outcome FlowTable::begin(const CapturedTcp& p) {
  // What is kept gets new checksums, so damage must be seen now.
  if (p.tcp.has(tcp_flag::fin) || (!p.partial && !checksum_ok(p.ip))) return {};
  if (counts_.held >= limits_.max_held || full()) return {};
  if (free_.empty()) {
    free_.push_back(static_cast<Slot>(flows_.size()));
    flows_.emplace_back();
  }
  if (free_syns_.empty()) {
    free_syns_.push_back(static_cast<std::uint32_t>(syns_.size()));
    syns_.emplace_back();
  }
  const Slot slot = free_.back();
  free_.pop_back();
  Flow& f = flows_[slot];
  const std::uint32_t generation = f.generation + 1;
  f = Flow{};
  f.generation = generation;
  f.key = p.key();
  f.isn = p.tcp.seq;
  f.syn = free_syns_.back();
  free_syns_.pop_back();
  syns_[f.syn].keep(p);
  set_phase(slot, Phase::held);
  index_.insert(f.key, slot);
  f.indexed = true;
  return {Action::drop, Event::opened, id_of(slot), {}};
}

Outcome FlowTable::to_held(Slot slot, const CapturedTcp& p) {
  Flow& f = flows_[slot];
  if (p.opens()) {
    // connect() given up and begun again from the same port: a SYN_SENT socket is closed without a word.
    if (p.tcp.seq != f.isn && !p.tcp.has(tcp_flag::fin) && (p.partial || checksum_ok(p.ip))) {
      syns_[f.syn].keep(p);
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

Outcome FlowTable::to_silent(Slot slot, const CapturedTcp& p) {
  if (!p.opens()) return reset_sender(p.ip);
  if (p.tcp.seq == flows_[slot].isn) return {};
  forget(slot);
  return begin(p);
}

FlowTable::Slot FlowTable::held(FlowId flow) const noexcept {
  const Slot slot = slot_of(flow);
  return slot != kNone && flows_[slot].phase == Phase::held ? slot : kNone;
}

void FlowTable::admit(Slot slot) {
  Flow& f = flows_[slot];
  const Bytes syn = kept(f);
  scratch_.assign(syn.begin(), syn.end());
  release_syn(f);
  set_phase(slot, Phase::open);
}

Bytes FlowTable::refuse_reset(FlowId flow) {
  const Slot slot = held(flow);
  if (slot == kNone) return {};
  build_tcp_reset(scratch_, *parse_ipv4(kept(flows_[slot])));
  forget(slot);
  return scratch_;
}

Bytes FlowTable::refuse_unreachable(FlowId flow, Unreachable code) {
  const Slot slot = held(flow);
  if (slot == kNone) return {};
  build_unreachable(scratch_, *parse_ipv4(kept(flows_[slot])), code, flows_[slot].key.dst.address);
  forget(slot);
  return scratch_;
}

void FlowTable::drop(FlowId flow, Instant now) {
  const Slot slot = held(flow);
  if (slot == kNone) return;
  release_syn(flows_[slot]);
  set_phase(slot, Phase::silent);
  enqueue(slot, kSilent, now + limits_.silence);
}

}  // namespace tg
