// Which of its tunnels to one connector a client uses, and when it dials which way again. No I/O, no clock.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/backoff.h"
#include "core/time.h"

namespace tg {

// PathPlan knows attempts only by number and tunnels by name; the owner dials, and says what came of it.
//
//                    silent
//   stood ──▶ good ─────────▶ suspect ──heard──▶ good
//              └──goodbye──▶ leaving ◀──goodbye──┘            ended: gone, from everywhere
//
// New streams go to chosen(): a good tunnel, direct before relayed. Without one every way is dialled, direct ones first
// and the relays kRelayAfter later, again and again with jitter. While a relayed one is chosen, direct ways are dialled
// with long pauses, which grow while that leads to nothing that lasts. A suspect keeps its streams: it is chosen again
// as soon as it is heard and no better one stands.
class PathPlan {
 public:
  enum class Kind : std::uint8_t { direct, relayed };
  enum class State : std::uint8_t { good, suspect, leaving };
  enum class Step : std::uint8_t { dial_direct, dial_relays };
  using Name = std::uint32_t;              // of a tunnel; never given twice

  static constexpr Duration kRelayAfter = std::chrono::milliseconds(150);
  static constexpr Duration kDirectAgain = std::chrono::seconds(5);       // doubles up to the next
  static constexpr Duration kDirectAgainMost = std::chrono::minutes(5);
  static constexpr Duration kStood = std::chrono::seconds(5);             // whoever lasted so long is replaced at once
  static constexpr Duration kProven = std::chrono::seconds(60);           // a direct way that lasted so long is good

  // `retry`: the pauses between attempts while there is no tunnel.
  PathPlan(Duration first_retry, Duration longest_retry, std::uint64_t seed);

  // set_ways says how many addresses of each kind the controller names now; a change is a reason to dial at once.
  void set_ways(std::size_t direct, std::size_t relays, Instant now);
  // network_changed forgets all attempts (the owner drops them), and dials at once what is wanted.
  void network_changed(Instant now);

  // next returns what is to be dialled now; ask until there is nothing, after every event and at next_deadline().
  std::optional<Step> next(Instant now);
  Instant next_deadline() const noexcept;

  // What became of the attempts.
  void began(Kind kind) noexcept;
  void failed(Kind kind, Instant now);
  Name stood(Kind kind, Instant now);

  // What tunnels do.
  void silent(Name tunnel, Instant now);
  void heard(Name tunnel, Instant now);
  void goodbye(Name tunnel, Instant now);
  void ended(Name tunnel, Instant now);

  std::optional<Name> chosen() const noexcept { return chosen_; }
  std::optional<State> state(Name tunnel) const noexcept;
  // wanted says whether an attempt of this kind could still be of use. Others are forgotten here with the event that made
  // them useless, and the owner drops them.
  bool wanted(Kind kind) const noexcept;
  // needed says whether a tunnel with so many streams is to be kept; of others the owner says ended().
  bool needed(Name tunnel, std::size_t streams) const noexcept;
  // hopeful: a tunnel stands, if only as a suspect, or one may come of what is under way.
  bool hopeful() const noexcept;

 private:
  struct Tunnel {
    Name name;
    Kind kind;
    State state;
    Instant since;
  };

  Tunnel* find(Name name) noexcept;
  const Tunnel* find(Name name) const noexcept;
  std::size_t& under_way(Kind kind) noexcept { return under_way_[static_cast<std::size_t>(kind)]; }
  bool under_way() const noexcept { return under_way_[0] > 0 || under_way_[1] > 0; }
  void choose(Instant now);
  void lasted(const Tunnel& t, Instant now);

  std::vector<Tunnel> tunnels_;
  std::optional<Name> chosen_;
  Name last_ = 0;
  std::size_t direct_ = 0, relays_ = 0;
  std::array<std::size_t, 2> under_way_{};
  Backoff retry_, direct_retry_;
  Instant race_at_{};                      // when all ways are dialled, unless a tunnel is chosen
  Instant relay_at_ = kNever;
  Instant direct_at_ = kNever;             // when direct ways are dialled while a relayed tunnel is chosen
};

}  // namespace tg
