// A hash table from flow keys to slot numbers.
#pragma once

#include <cstdint>
#include <vector>

#include "core/packet.h"

namespace tg {

struct FlowKey {
  Ipv4Port src;    // the application; any address that the host routes through the TUN, containers too
  Ipv4Port dst;    // what it dialled
  bool operator==(const FlowKey&) const = default;
};

// FlowIndex probes linearly in a table that is at most half full. find and erase do not allocate; insert may.
// Slot numbers are below kNone.
class FlowIndex {
 public:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;

  // `seed` keeps others from choosing keys that collide.
  explicit FlowIndex(std::uint64_t seed);

  std::uint32_t find(const FlowKey& key) const noexcept;   // kNone when it is not there
  void insert(const FlowKey& key, std::uint32_t slot);     // a key that is not there
  void erase(const FlowKey& key) noexcept;
  std::size_t size() const noexcept { return size_; }

 private:
  struct Cell {
    FlowKey key;
    std::uint32_t slot = kNone;
  };
  std::size_t home(const FlowKey& key) const noexcept;
  std::size_t place(const FlowKey& key) const noexcept;    // where it is, or the empty cell where it would go

  std::vector<Cell> cells_;
  std::size_t size_ = 0;
  std::uint64_t seed_;
};

}  // namespace tg
