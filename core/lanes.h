// Which lane of a tunnel a new stream takes, and how many lanes there are. No I/O, no clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/time.h"

namespace tg {

// RecentBytes says how many bytes went by in about the last second, up to kMost: half of what it knew is forgotten each kHalf.
class RecentBytes {
 public:
  static constexpr Duration kHalf = std::chrono::seconds(1);
  static constexpr std::uint64_t kMost = 256 * 1024;

  void add(std::size_t bytes, Instant now) noexcept {
    forget(now);
    bytes_ = bytes < kMost - bytes_ ? bytes_ + bytes : kMost;
  }
  std::uint64_t at(Instant now) noexcept {
    forget(now);
    return bytes_;
  }

 private:
  void forget(Instant now) noexcept {
    if (now - since_ < kHalf) return;
    const auto halves = (now - since_) / kHalf;
    bytes_ = halves < 64 ? bytes_ >> halves : 0;
    since_ = now;
  }

  std::uint64_t bytes_ = 0;
  Instant since_{};
};

// LastingFlows counts the flows of a lane that have lived for kLasting. Each call takes constant time, over all.
class LastingFlows {
 public:
  static constexpr Duration kLasting = std::chrono::seconds(1);

  void began(std::uint32_t flow, Instant now);       // which is not there
  void ended(std::uint32_t flow) noexcept;           // unknown ones are no flows
  std::size_t count(Instant now);
  std::size_t all() const noexcept { return flows_.size(); }

 private:
  std::unordered_map<std::uint32_t, bool> flows_;    // whether it lasts
  std::deque<std::pair<std::uint32_t, Instant>> young_;
  std::size_t lasting_ = 0;
};

// Lanes are the TLS connections, one or a few beside each other over the same way, that are a client's tunnel to one
// connector. A stream stays with the lane that it began on, so its bytes keep their order; what is lost on one lane, or waits
// in queues on the way, holds up no stream of another, and a connector carries lanes on threads of their own.
//
// A lane is *taken* while a flow lasts on it, or it is busy. While every lane is taken there is one lane more, up to kMost, and
// flows begin there: what begins beside a download does not wait behind it, nor does what was there before the download. What
// begins together, or is soon over, shares a lane, and with that its records and system calls. The owner dials when next() says
// so, and says what became of it.
class Lanes {
 public:
  using Name = std::uint32_t;               // of a lane; the owner's, and never given twice

  static constexpr std::size_t kMost = 4;
  static constexpr Duration kSpare = std::chrono::seconds(60);   // a lane that was without streams for so long ends, unless wanted
  static constexpr Duration kAgain = std::chrono::seconds(60);   // after a lane could not be had, or was told to leave
  // Bulk is what comes in pieces of kBulk bytes or more, since there is always more of it. A lane is busy with kBusy of it in
  // about a second: on a narrow line that is a queue that a keystroke waits in.
  static constexpr std::size_t kBulk = 4096;
  static constexpr std::uint64_t kBusy = 64 * 1024;

  struct Load {
    std::size_t streams = 0;                // also pings and questions, which nobody waits behind
    std::size_t flows = 0;                  // of these
    std::size_t lasting = 0;                // of these
    std::uint64_t bulk = 0;                 // RecentBytes, both ways

    bool busy() const noexcept { return bulk >= kBusy; }
    bool taken() const noexcept { return lasting > 0 || busy(); }
  };
  using LoadOf = std::function<Load(Name)>;

  // What lanes do. A silent one, and one that said goodbye, takes no new streams.
  void stood(Name lane, Instant now);
  void silent(Name lane, bool silent) noexcept;
  void goodbye(Name lane, Instant now) noexcept;
  void ended(Name lane) noexcept;
  // idle: its last stream is gone.
  void idle(Name lane, Instant now) noexcept;
  // began: a flow began, on whichever; busy: one has become so. True when next_deadline() is another now.
  bool began(Instant now) noexcept { return look(now + LastingFlows::kLasting); }
  bool busy(Instant now) noexcept { return look(now); }

  // choose returns the lane for a new stream: one that is not busy before one that is, then one with fewer lasting flows, then
  // the oldest. Nothing when none takes any.
  std::optional<Name> choose(const LoadOf& load) const;
  // usable says whether choose would return one.
  bool usable() const noexcept { return open() > 0; }
  // silent says whether some lane is silent, and none is usable; or of one lane whether it is.
  bool silent() const noexcept;
  bool silent(Name lane) const noexcept;
  bool empty() const noexcept { return lanes_.empty(); }

  // next says whether one more lane is to be dialled now, which failed() or stood() later, or is given up by forget_dial(). Ask
  // after every event and at next_deadline().
  bool next(const LoadOf& load, Instant now);
  void failed(Instant now) noexcept;
  void forget_dial() noexcept { dialling_ = false; }
  // spare returns a lane without streams that is not wanted any more; the owner ends it, and asks again.
  std::optional<Name> spare(const LoadOf& load, Instant now);
  Instant next_deadline() const noexcept;

 private:
  struct Lane {
    Name name;
    bool silent = false;
    bool leaving = false;
    Instant idle_since = kNever;            // kNever: it had streams when that was last looked at

    bool open() const noexcept { return !silent && !leaving; }
  };

  Lane* find(Name name) noexcept;
  std::size_t open() const noexcept;
  std::size_t not_taken(const LoadOf& load) const;
  bool look(Instant at) noexcept;

  std::vector<Lane> lanes_;                 // the oldest first
  bool dialling_ = false;
  Instant look_ = kNever;
  Instant not_before_{};                    // after a failure
};

}  // namespace tg
