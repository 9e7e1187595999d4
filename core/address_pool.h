// The addresses that stand for names on the device.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ip.h"
#include "core/result.h"
#include "core/time.h"

namespace tg {

// AddressPool lends one IPv4 address of a range (100.96.0.0/12 by default, of RFC 6598's shared space) to each name,
// and always the same one. An address is taken from one name for another only when the pool is exhausted, least
// recently used first, and never while a flow pins it or an answer's TTL may still hold it. No I/O, no clock. Not
// thread-safe.
class AddressPool {
 public:
  // kHold is how long after an answer its address may still be in somebody's cache: the TTL of 15 s with a margin.
  static constexpr Duration kHold = std::chrono::seconds(60);

  // The first and last address of `range` and those in `reserved` are never lent. `range` must be IPv4, /8 to /30.
  explicit AddressPool(Cidr range, std::vector<Cidr> reserved = {});
  ~AddressPool();
  AddressPool(AddressPool&&) noexcept;
  AddressPool& operator=(AddressPool&&) noexcept;

  const Cidr& range() const noexcept;

  // keep_out says whose addresses are not lent any more: those of address Resources. It takes the place of the call
  // before. A name that has such an address already keeps it, and does not give it away.
  void keep_out(std::vector<Cidr> networks);

  // acquire returns the address of `name` (canonical), lending one on first use, and holds it until now + kHold. Where
  // nothing is in the way, which address that is depends on the name and the range alone, so that it stays when the
  // file is lost. Errors: Errc::exhausted (Errc::invalid_argument for an empty name or one above 253 bytes); the pool
  // is then unchanged.
  Result<Ipv4> acquire(std::string_view name, Instant now);

  // find and name_of look without lending or holding.
  std::optional<Ipv4> find(std::string_view name) const;
  std::optional<std::string_view> name_of(Ipv4 address) const;   // lives until the address is lent to another name

  // pin and unpin bracket a live flow to `address`. Pins are counted; an address that is not lent is ignored. The end
  // of the last flow is a use: the address is held for kHold from the latest time that acquire was told.
  void pin(Ipv4 address);
  void unpin(Ipv4 address);
  // held says whether `address` is lent and a flow, or somebody's cache, may hold it at `now`.
  bool held(Ipv4 address, Instant now) const;

  std::size_t size() const noexcept;        // names that have an address
  std::size_t capacity() const noexcept;    // addresses that may be lent

  // save returns the whole mapping as text, a line "ADDRESS NAME" each under a header line; load takes it back, and
  // drops lines that no longer fit the range (another range was configured) or what the pool has lent already. What was
  // loaded counts as used before all else, in the order of the text, and is held until now + kHold: it may have been
  // answered just before the restart. load errors: Errc::malformed with the line number; the pool is then unchanged.
  std::string save() const;
  Result<> load(std::string_view text, Instant now);

  // on_lent is told of each address that acquire lends to a name, before acquire returns: whoever appends line() to a
  // file then forgets none of them in a crash. load_lent takes such a file back, and is called before load(), which is
  // older: of two lines for one name or address the later counts, and what is behind a line that is none is ignored.
  using Lent = std::function<void(Ipv4 address, std::string_view name)>;
  void on_lent(Lent lent);
  void load_lent(std::string_view text, Instant now);
  static std::string line(Ipv4 address, std::string_view name);
  // changes counts how often the mapping changed: save again when it differs from the last time.
  std::uint64_t changes() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tg
