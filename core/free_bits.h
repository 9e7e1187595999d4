// A set of places of which the next free one is found at once.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <vector>

namespace tg {

// FreeBits keeps which of `size` places are taken, in levels of 64: a word of a level above says which words below are
// full.
class FreeBits {
 public:
  explicit FreeBits(std::size_t size) : size_(size) {
    do {
      size = (size + 63) / 64;
      levels_.emplace_back(size, 0);
    } while (size > 1);
  }

  bool taken(std::size_t i) const noexcept { return (levels_[0][i / 64] >> (i % 64) & 1) != 0; }

  void take(std::size_t i) noexcept {
    for (auto& level : levels_) {
      level[i / 64] |= std::uint64_t{1} << (i % 64);
      if (level[i / 64] != ~std::uint64_t{0}) return;
      i /= 64;
    }
  }

  // next_free returns the first free place at `from` or behind it. Cost: a word or two a level.
  std::optional<std::size_t> next_free(std::size_t from) const noexcept {
    std::size_t level = 0, i = from;
    while (level < levels_.size()) {
      const std::size_t word = i / 64;
      if (word >= levels_[level].size()) return std::nullopt;
      const std::uint64_t open = ~levels_[level][word] & (~std::uint64_t{0} << (i % 64));
      if (open != 0) {
        i = word * 64 + static_cast<std::size_t>(std::countr_zero(open));
        break;
      }
      i = word + 1;
      ++level;
    }
    if (level == levels_.size()) return std::nullopt;
    for (; level > 0; --level) {
      if (i >= levels_[level - 1].size()) return std::nullopt;
      i = i * 64 + static_cast<std::size_t>(std::countr_zero(~levels_[level - 1][i]));
    }
    return i < size_ ? std::optional(i) : std::nullopt;
  }

 private:
  std::size_t size_;
  std::vector<std::vector<std::uint64_t>> levels_;   // bit set: taken, or full
};

}  // namespace tg
