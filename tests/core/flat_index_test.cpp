#include "core/flat_index.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/free_bits.h"

namespace tg::flat_index_test {

RC_GTEST_PROP(FlatIndex, behaves_as_a_map_whatever_comes_and_goes, ()) {
  // Hashes that crowd together at few places, so that probing, wrapping round and moving back happen all the time.
  const auto hash_of = [](std::uint32_t value) {
    return std::uint64_t{value % 5 == 0 ? 0xFFFFFFFFu : value % 7} << 32;
  };
  FlatIndex index;
  std::set<std::uint32_t> model;
  for (const auto value :
       *rc::gen::container<std::vector<std::uint32_t>>(400, rc::gen::inRange<std::uint32_t>(0, 60))) {
    if (model.contains(value)) {
      index.erase(hash_of(value), value);
      model.erase(value);
    } else {
      index.insert(hash_of(value), value);
      model.insert(value);
    }
    RC_ASSERT(index.size() == model.size());
    for (std::uint32_t v = 0; v < 60; ++v) {
      const auto found = index.find(hash_of(v), [&](std::uint32_t x) { return x == v; });
      RC_ASSERT((found == v) == model.contains(v));
    }
  }
}

TEST(FlatIndex, finds_nothing_when_empty) {
  FlatIndex index;
  EXPECT_EQ(index.find(1, [](std::uint32_t) { return true; }), FlatIndex::kNone);
  index.reserve(100);
  EXPECT_EQ(index.find(1, [](std::uint32_t) { return true; }), FlatIndex::kNone);
}

TEST(FlatIndex, hashes_every_byte_of_every_length) {
  std::set<std::uint64_t> seen;
  std::size_t texts = 0;
  for (std::size_t size = 0; size <= 70; ++size) {
    const std::string s(size, 'a');
    seen.insert(hash_bytes(s));
    for (std::size_t i = 0; i < size; ++i) {
      std::string other = s;
      other[i] = 'b';
      seen.insert(hash_bytes(other));
    }
    texts += 1 + size;
  }
  EXPECT_EQ(seen.size(), texts);
}

TEST(FlatIndex, folds_a_zero_without_losing_what_it_is_folded_with) {
  std::set<std::uint64_t> seen;
  for (std::uint64_t i = 0; i < 100; ++i) seen.insert(fold64(0, i << 32)), seen.insert(fold64(~i, 0));
  EXPECT_EQ(seen.size(), 200u);
}

// Names as people give them differ in few bits of few bytes: what a table takes of the hash, its upper 32 bits or its lowest byte, has
// to differ as if it were drawn.
TEST(FlatIndex, hashes_names_that_are_alike_far_from_each_other) {
  constexpr std::size_t kNames = 1 << 16;
  std::set<std::uint32_t> upper;
  std::vector<std::size_t> buckets(1 << 12), tags(256);
  for (std::size_t i = 0; i < kNames; ++i) {
    const std::uint64_t hash = hash_bytes("host" + std::to_string(i) + ".corp.internal");
    upper.insert(static_cast<std::uint32_t>(hash >> 32));
    ++buckets[hash >> 52];
    ++tags[hash & 0xFF];
  }
  EXPECT_GE(upper.size(), kNames - 8) << "of 2^31 pairs half a one shares them by chance";
  EXPECT_LE(std::ranges::max(buckets), 16u + 7 * 4) << "sixteen each, with a deviation of four";
  EXPECT_LE(std::ranges::max(tags), 256u + 7 * 16);
  EXPECT_GE(std::ranges::min(tags), 256u - 7 * 16);
}

RC_GTEST_PROP(FreeBits, finds_the_next_free_place, ()) {
  const auto size = *rc::gen::element<std::size_t>(1, 2, 63, 64, 65, 4096, 4097, 9000);
  FreeBits bits(size);
  std::set<std::size_t> open;
  for (std::size_t i = 0; i < size; ++i) open.insert(i);
  const auto fill_from = *rc::gen::inRange<std::size_t>(0, size),
             fill_to = *rc::gen::inRange<std::size_t>(fill_from, size + 1);
  const auto take = [&](std::size_t i) { bits.take(i); open.erase(i); };
  for (std::size_t i = fill_from; i < fill_to; ++i) take(i);
  for (int i = 0; i < 50; ++i) {
    const auto from = *rc::gen::inRange<std::size_t>(0, size);
    const auto at = open.lower_bound(from);
    RC_ASSERT(bits.next_free(from) == (at == open.end() ? std::nullopt : std::optional(*at)));
    RC_ASSERT(bits.taken(from) == !open.contains(from));
    if (at != open.end()) take(*at);
  }
}

}  // namespace tg::flat_index_test
