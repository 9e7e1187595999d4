// The table of flows that both captures keep, and what they do alike: a SYN is held, and then refused, dropped or let go.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/bytes.h"
#include "core/flow_capture.h"
#include "core/flow_index.h"

namespace tg {

// FlowTable holds flows in numbered slots; they are found by key, by id, and by who waits longest. What a capture knows of a
// flow beyond that is its own, by slot.
//
//             admit
//   SYN ──▶ held ──────▶ open ──▶ what its capture makes of it
//            │ refuse
//            ├───────▶ (free)
//            │ drop
//            └───────▶ silent ──▶ (free)
class FlowTable {
 public:
  using Slot = std::uint32_t;
  static constexpr Slot kNone = FlowIndex::kNone;
  enum class Phase : std::uint8_t { free, held, open, silent, lingering };
  // Every queue holds flows that wait equally long, so that its head is always the next one due. Those from kOwn on are the
  // capture's.
  enum Queue : std::uint8_t { kSilent, kUnaccepted, kOwn, kQueues = kOwn + 3, kNoQueue = kQueues };

  struct Limits {
    std::size_t max_flows = 0;           // of all phases
    std::size_t max_held = 0;            // SYNs kept
    Duration silence{};                  // that a dropped flow's SYNs are swallowed
  };
  FlowTable(const Limits& limits, std::uint64_t hash_seed) : limits_(limits), index_(hash_seed) {}

  FlowId id_of(Slot slot) const noexcept;
  Slot slot_of(FlowId id) const noexcept;                 // kNone when it is gone
  Slot find(const FlowKey& key) const noexcept { return index_.find(key); }
  bool full() const noexcept { return free_.empty() && flows_.size() >= limits_.max_flows; }
  std::size_t slots() const noexcept { return flows_.size(); }

  std::optional<FlowKey> key_of(FlowId flow) const noexcept;

  const FlowKey& key(Slot slot) const noexcept { return flows_[slot].key; }
  std::uint32_t isn(Slot slot) const noexcept { return flows_[slot].isn; }      // sequence number of its SYN
  Phase phase(Slot slot) const noexcept { return flows_[slot].phase; }
  bool indexed(Slot slot) const noexcept { return flows_[slot].indexed; }       // found by its key
  Queue queue(Slot slot) const noexcept { return flows_[slot].queue; }

  void set_phase(Slot slot, Phase p) noexcept;
  void enqueue(Slot slot, Queue q, Instant deadline) noexcept;
  void dequeue(Slot slot) noexcept;
  Slot head(Queue q) const noexcept { return queues_[q].head; }
  Slot due(Queue q, Instant now) const noexcept;
  Instant next_deadline() const noexcept;
  // leave_index has a later flow of the same key in its place.
  void leave_index(Slot slot) noexcept;
  void forget(Slot slot);
  // take_unaccepted takes one out of kUnaccepted whose time is over.
  std::optional<FlowId> take_unaccepted(Instant now) noexcept;
  // forget_silent forgets those that were dropped long enough ago.
  void forget_silent(Instant now);

  // begin holds a flow by its SYN, and says so; what is damaged, or finds no room, is dropped.
  FlowCapture::Outcome begin(const CapturedTcp& p);
  // to_held and to_silent take a segment of a flow that is held or was dropped.
  FlowCapture::Outcome to_held(Slot slot, const CapturedTcp& p);
  FlowCapture::Outcome to_silent(Slot slot, const CapturedTcp& p);
  // reset_sender answers a segment that belongs to no flow.
  FlowCapture::Outcome reset_sender(const Ipv4Packet& ip);

  // held returns a flow's slot while it waits for a decision, or kNone.
  Slot held(FlowId flow) const noexcept;
  // admit opens a held flow, whose SYN it leaves in scratch().
  void admit(Slot slot);
  Bytes refuse_reset(FlowId flow);
  Bytes refuse_unreachable(FlowId flow, Unreachable code);
  void drop(FlowId flow, Instant now);

  Buffer& scratch() noexcept { return scratch_; }         // of the packet that is returned
  const FlowCapture::Counts& counts() const noexcept { return counts_; }

 private:
  // A SYN without its payload (TCP Fast Open; it comes again), with complete checksums.
  struct KeptSyn {
    static constexpr std::size_t kHeadersMax = 120;
    std::array<std::uint8_t, kHeadersMax> bytes;
    std::size_t size = 0;
    void keep(const CapturedTcp& p) noexcept;
  };
  struct Flow {
    FlowKey key;
    std::uint32_t generation = 0;
    std::uint32_t isn = 0;
    std::uint32_t syn = kNone;           // slot of its KeptSyn
    Slot before = kNone;                 // neighbours in its queue
    Slot behind = kNone;
    Instant deadline{};
    Phase phase = Phase::free;
    Queue queue = kNoQueue;
    bool indexed = false;
  };
  struct List { Slot head = kNone, tail = kNone; };

  std::size_t* count_of(Phase p) noexcept;
  Bytes kept(const Flow& f) const noexcept { return Bytes(syns_[f.syn].bytes).first(syns_[f.syn].size); }
  void release_syn(Flow& f);

  Limits limits_;
  FlowIndex index_;
  std::vector<Flow> flows_;
  std::vector<Slot> free_;
  std::vector<KeptSyn> syns_;
  std::vector<std::uint32_t> free_syns_;
  std::array<List, kQueues> queues_;
  FlowCapture::Counts counts_;
  Buffer scratch_;
};

}  // namespace tg
