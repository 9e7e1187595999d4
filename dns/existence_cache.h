// What is known about which names exist in the private networks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/time.h"

namespace tg::dns {

enum class Existence : std::uint8_t {
  exists,
  absent,
  unknown,   // nobody could say
};

// ExistenceCache remembers, for a bounded number of names, what the private DNS said. In two halves: when the young one
// is full it becomes the old one, and what was old is forgotten. No I/O, no clock. Not thread-safe.
class ExistenceCache {
 public:
  static constexpr Duration kExists = std::chrono::seconds(60);
  static constexpr Duration kAbsent = std::chrono::seconds(15);
  // kUnknown is not zero, so that a dead connector is not waited for at every query.
  static constexpr Duration kUnknown = std::chrono::seconds(5);

  // `capacity`: the most names that are remembered, at least 2.
  explicit ExistenceCache(std::size_t capacity = 8192) : half_(capacity / 2) {}

  // find returns what was said of `name` (canonical), or nothing when nothing is known or it is too old.
  std::optional<Existence> find(std::string_view name, Instant now) const;
  void put(std::string_view name, Existence said, Instant now);
  void clear() noexcept;
  std::size_t size() const noexcept { return young_.size() + old_.size(); }

 private:
  struct Entry {
    Existence said;
    Instant until;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const noexcept { return std::hash<std::string_view>{}(s); }
  };
  using Map = std::unordered_map<std::string, Entry, Hash, std::equal_to<>>;

  std::size_t half_;
  Map young_;
  Map old_;
};

}  // namespace tg::dns
