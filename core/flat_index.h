// A hash table of numbers: the keys stay where they are.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace tg {

// mix64 spreads every bit of `x` over all bits (the finalizer of SplitMix64).
constexpr std::uint64_t mix64(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

// mix32 spreads every bit of `x` over all 32 (the finalizer of MurmurHash3). It is a bijection: two numbers never become one.
constexpr std::uint32_t mix32(std::uint32_t x) noexcept {
  x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
  x = (x ^ (x >> 13)) * 0xC2B2AE35u;
  return x ^ (x >> 16);
}

// fold64 is the product of `a` and `b`, 128 bits, its halves put over each other, and over both: a factor that is zero hides nothing
// of the other.
constexpr std::uint64_t fold64(std::uint64_t a, std::uint64_t b) noexcept {
  __extension__ using Product = unsigned __int128;
  const Product product = Product{a} * b;
  return a ^ b ^ static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

// hash_bytes is for tables in memory: fast, the same on every machine of one byte order, and no defence against forged
// keys. Sixteen bytes a step, as wyhash does; the last step may take some of them again.
inline std::uint64_t hash_bytes(std::string_view s) noexcept {
  constexpr std::uint64_t kFirst = 0x9E3779B97F4A7C15ull, kSecond = 0xBF58476D1CE4E5B9ull;
  const auto word = [&](std::size_t at) {
    std::uint64_t w;
    std::memcpy(&w, s.data() + at, sizeof w);
    return w;
  };
  const std::size_t size = s.size();
  std::uint64_t h = size * kFirst, last[2] = {};
  if (size >= 8) {
    for (std::size_t at = 0; at + 16 < size; at += 16) h = fold64(word(at) ^ kFirst, word(at + 8) ^ h);
    last[0] = word(size >= 16 ? size - 16 : 0);
    last[1] = word(size - 8);
  } else if (size > 0) {
    std::memcpy(last, s.data(), size);
  }
  return fold64(fold64(last[0] ^ kFirst, last[1] ^ h) ^ kSecond, kFirst);
}

// FlatIndex maps a 64-bit hash to numbers below 2^32-1. The caller owns the keys and says by `same(number)` whether one
// is the key that is looked for. Linear probing at a load of at most two thirds: 8 bytes a slot, 12 to 24 bytes a
// number.
class FlatIndex {
 public:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;

  std::size_t size() const noexcept { return size_; }

  // reserve makes room for `n` numbers in one step.
  void reserve(std::size_t n) {
    if (n > 0 && n * 3 > slots_.size() * 2) resize(std::bit_ceil(n * 3 / 2 + 1));
  }

  template <class Same>
  std::uint32_t find(std::uint64_t hash, Same same) const {
    if (size_ == 0) return kNone;
    const std::uint32_t tag = tag_of(hash);
    for (std::size_t i = tag & mask_; slots_[i] != 0; i = (i + 1) & mask_) {
      if (tag_in(slots_[i]) == tag && same(value_in(slots_[i]))) return value_in(slots_[i]);
    }
    return kNone;
  }

  // insert adds `value`; the caller knows that its key is not there yet.
  void insert(std::uint64_t hash, std::uint32_t value) {
    TG_CHECK(value != kNone);
    if ((size_ + 1) * 3 > slots_.size() * 2) resize(slots_.empty() ? 8 : slots_.size() * 2);
    place(std::uint64_t{tag_of(hash)} << 32 | (value + 1));
    ++size_;
  }

  // erase removes `value`, which was inserted under `hash`.
  void erase(std::uint64_t hash, std::uint32_t value) {
    const std::uint64_t slot = std::uint64_t{tag_of(hash)} << 32 | (value + 1);
    std::size_t hole = tag_of(hash) & mask_;
    while (slots_[hole] != slot) {
      TG_CHECK(slots_[hole] != 0);
      hole = (hole + 1) & mask_;
    }
    // Whoever probed past the hole moves back into it, so that no marks of the dead are needed.
    for (std::size_t i = (hole + 1) & mask_; slots_[i] != 0; i = (i + 1) & mask_) {
      const std::size_t home = tag_in(slots_[i]) & mask_;
      if (((i - home) & mask_) < ((i - hole) & mask_)) continue;
      slots_[hole] = slots_[i];
      hole = i;
    }
    slots_[hole] = 0;
    --size_;
  }

 private:
  static std::uint32_t tag_of(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32); }
  static std::uint32_t tag_in(std::uint64_t slot) { return static_cast<std::uint32_t>(slot >> 32); }
  static std::uint32_t value_in(std::uint64_t slot) { return static_cast<std::uint32_t>(slot) - 1; }

  void place(std::uint64_t slot) {
    std::size_t i = tag_in(slot) & mask_;
    while (slots_[i] != 0) i = (i + 1) & mask_;
    slots_[i] = slot;
  }

  void resize(std::size_t capacity) {
    std::vector<std::uint64_t> old(capacity);
    old.swap(slots_);
    mask_ = capacity - 1;
    for (const std::uint64_t slot : old) {
      if (slot != 0) place(slot);
    }
  }

  std::vector<std::uint64_t> slots_;   // tag and number + 1; 0 is free
  std::size_t mask_ = 0;
  std::size_t size_ = 0;
};

}  // namespace tg
