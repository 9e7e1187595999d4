#include "core/flow_index.h"

namespace tg {
namespace {

constexpr std::uint64_t kOdd1 = 0x9E3779B97F4A7C15, kOdd2 = 0xD1B54A32D192ED03;   // no pattern in their bits

// mix is a multiplication folded to 64 bits: each input bit reaches each output bit.
std::uint64_t mix(std::uint64_t a, std::uint64_t b) noexcept {
  __extension__ using Wide = unsigned __int128;
  const Wide product = Wide{a} * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace

FlowIndex::FlowIndex(std::uint64_t seed) : cells_(1024), seed_(seed) {}

std::size_t FlowIndex::home(const FlowKey& k) const noexcept {
  const std::uint64_t addresses = std::uint64_t{k.src.address.value} << 32 | k.dst.address.value;
  const std::uint64_t ports = std::uint64_t{k.src.port} << 16 | k.dst.port;
  const std::uint64_t turned = seed_ << 32 | seed_ >> 32;
  const std::uint64_t h = mix(addresses ^ seed_ ^ kOdd1, ports ^ turned ^ kOdd2);
  return mix(h, kOdd1) & (cells_.size() - 1);
}

std::size_t FlowIndex::place(const FlowKey& key) const noexcept {
  std::size_t i = home(key);
  while (cells_[i].slot != kNone && cells_[i].key != key) i = (i + 1) & (cells_.size() - 1);
  return i;
}

std::uint32_t FlowIndex::find(const FlowKey& key) const noexcept { return cells_[place(key)].slot; }

void FlowIndex::insert(const FlowKey& key, std::uint32_t slot) {
  if ((size_ + 1) * 2 > cells_.size()) {
    std::vector<Cell> old(cells_.size() * 2);
    old.swap(cells_);
    for (const Cell& c : old) {
      if (c.slot != kNone) cells_[place(c.key)] = c;
    }
  }
  cells_[place(key)] = {key, slot};
  ++size_;
}

void FlowIndex::erase(const FlowKey& key) noexcept {
  const std::size_t mask = cells_.size() - 1;
  std::size_t hole = place(key);
  if (cells_[hole].slot == kNone) return;
  --size_;
  // Whoever stands behind the hole and could not have its home cell moves up (Knuth 6.4, algorithm R).
  for (std::size_t i = (hole + 1) & mask; cells_[i].slot != kNone; i = (i + 1) & mask) {
    const std::size_t want = home(cells_[i].key);
    if (((i - want) & mask) >= ((i - hole) & mask)) {
      cells_[hole] = cells_[i];
      hole = i;
    }
  }
  cells_[hole].slot = kNone;
}

}  // namespace tg
