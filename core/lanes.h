// Which lane of a tunnel a new stream takes, and how many lanes there are. No I/O, no clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "core/time.h"

namespace tg {

// RecentBytes says how many bytes went by in about the last second: half of what it knew is forgotten each kHalf.
class RecentBytes {
 public:
  static constexpr Duration kHalf = std::chrono::seconds(1);

  void add(std::size_t bytes, Instant now) noexcept {
    forget(now);
    bytes_ += bytes;
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

// Lanes are the TLS connections, one or a few beside each other over the same way, that are a client's tunnel to one
// connector. A stream stays with the lane that it began on, so its bytes keep their order; what is lost on one lane, or waits
// in queues on the way, holds up no stream of another, and a connector carries lanes on threads of their own.
//
// While flows last there is one lane more than flows, up to kMost, so that the next flow finds one without traffic. The owner
// dials when next() says so, and says what became of it.
class Lanes {
 public:
  using Name = std::uint32_t;               // of a lane; the owner's, and never given twice

  static constexpr std::size_t kMost = 4;
  static constexpr Duration kLook = std::chrono::seconds(1);     // after a flow began, those alive by then are counted
  static constexpr Duration kSpare = std::chrono::seconds(60);   // a lane that was without streams for so long ends, unless wanted
  static constexpr Duration kAgain = std::chrono::seconds(60);   // after a lane could not be had
  static constexpr std::uint64_t kBusy = 64 * 1024;              // RecentBytes that a keystroke would have to wait behind

  struct Load {
    std::size_t streams = 0;
    std::uint64_t recent = 0;               // RecentBytes, both ways
  };
  using LoadOf = std::function<Load(Name)>;

  // What lanes do. A silent one, and one that said goodbye, takes no new streams.
  void stood(Name lane, Instant now);
  void silent(Name lane, bool silent) noexcept;
  void goodbye(Name lane) noexcept;
  void ended(Name lane) noexcept;
  // idle: its last stream is gone.
  void idle(Name lane, Instant now) noexcept;
  // began: a flow began, on whichever. True when next_deadline() is another now.
  bool began(Instant now) noexcept;

  // choose returns the lane for a new stream: one that is not busy before one that is, then the one with the fewest streams.
  // Nothing when none takes any.
  std::optional<Name> choose(const LoadOf& load) const;
  // usable says whether choose would return one.
  bool usable() const noexcept { return open() > 0; }
  // silent says whether some lane is silent, and none is usable.
  bool silent() const noexcept;
  bool empty() const noexcept { return lanes_.empty(); }

  // next returns how many lanes are to be dialled now, where `flows` live on all of them together; each is failed() or stood()
  // later, or given up by forget_dials(). Ask after every event and at next_deadline().
  std::size_t next(std::size_t flows, Instant now) noexcept;
  void failed(Instant now) noexcept;
  void forget_dials() noexcept { dialling_ = 0; }
  // spare returns a lane without streams that is not wanted any more; the owner ends it, and asks again.
  std::optional<Name> spare(const LoadOf& load, std::size_t flows, Instant now);
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
  static std::size_t wanted(std::size_t flows) noexcept { return flows + 1 < kMost ? flows + 1 : kMost; }

  std::vector<Lane> lanes_;
  std::size_t dialling_ = 0;
  Instant look_ = kNever;
  Instant not_before_{};                    // after a failure
};

}  // namespace tg
