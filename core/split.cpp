#include "core/split.h"

#include "core/flow_table.h"

namespace tg {

using Slot = FlowTable::Slot;
using Phase = FlowTable::Phase;

struct Splitter::State {
  explicit State(const Config& c) : config(c), table({c.max_flows, c.max_held, c.silence}, c.hash_seed) {}
  Config config;
  FlowTable table;
};

Splitter::Splitter(const Config& config) : state_(std::make_unique<State>(config)) {}
Splitter::~Splitter() = default;

FlowCapture::Outcome Splitter::take(MutBytes, const CapturedTcp& p, Instant now) {
  FlowTable& table = state_->table;
  constexpr Outcome kUnchanged{Action::write, Event::none, FlowId::none, {}};
  if (p.opens()) table.forget_silent(now);
  const Slot slot = table.find(p.key());
  if (slot == FlowTable::kNone) {
    if (!p.opens()) return kUnchanged;   // forwarded, and its socket is the kernel's
    if (const Slot longest = table.head(FlowTable::kSilent); table.full() && longest != FlowTable::kNone) table.forget(longest);
    return table.begin(p);
  }
  switch (table.phase(slot)) {
    case Phase::held: return table.to_held(slot, p);
    case Phase::silent: return table.to_silent(slot, p);
    default: break;
  }
  // The same port for another connection: the kernel is through with the one before, of which the owner may not have read the end.
  if (p.opens() && p.tcp.seq != table.isn(slot) && table.queue(slot) != FlowTable::kUnaccepted) {
    table.forget(slot);
    return table.begin(p);
  }
  // A SYN that comes again too: the kernel knows what it is to it.
  if (!p.tcp.has(tcp_flag::rst) || table.queue(slot) != FlowTable::kUnaccepted) return kUnchanged;
  table.dequeue(slot);
  return {Action::write, Event::cancelled, table.id_of(slot), {}};
}

Result<Bytes> Splitter::admit(FlowId flow, Instant now) {
  FlowTable& table = state_->table;
  const Slot slot = table.held(flow);
  if (slot == FlowTable::kNone) return fail(Errc::not_found, "the application has given up this connection");
  table.admit(slot);
  table.enqueue(slot, FlowTable::kUnaccepted, now + state_->config.accept_wait);
  return Bytes(table.scratch());
}

Bytes Splitter::refuse_reset(FlowId flow) { return state_->table.refuse_reset(flow); }
Bytes Splitter::refuse_unreachable(FlowId flow, Unreachable code) { return state_->table.refuse_unreachable(flow, code); }
void Splitter::drop(FlowId flow, Instant now) { state_->table.drop(flow, now); }

std::optional<FlowId> Splitter::accepted(Ipv4Port peer, Ipv4Port local) {
  FlowTable& table = state_->table;
  const Slot slot = table.find({peer, local});
  if (slot == FlowTable::kNone || table.phase(slot) != Phase::open || table.queue(slot) != FlowTable::kUnaccepted) return std::nullopt;
  table.dequeue(slot);
  return table.id_of(slot);
}

void Splitter::closed(FlowId flow, End, Instant) {
  if (const Slot slot = state_->table.slot_of(flow); slot != FlowTable::kNone) state_->table.forget(slot);
}

std::optional<FlowKey> Splitter::key_of(FlowId flow) const noexcept {
  return state_->table.key_of(flow);
}

std::optional<FlowId> Splitter::on_timeout(Instant now) {
  state_->table.forget_silent(now);
  return state_->table.take_unaccepted(now);
}

Instant Splitter::next_deadline() const noexcept { return state_->table.next_deadline(); }
const FlowCapture::Counts& Splitter::counts() const noexcept { return state_->table.counts(); }

}  // namespace tg
