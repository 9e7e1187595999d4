#include "core/flow_index.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <unordered_map>

namespace tg::flow_index_test {

FlowKey key(std::uint16_t i) { return {{Ipv4{0xAC101E01}, i}, {Ipv4{0x64600000u + i % 7}, 443}}; }

TEST(FlowIndex, agrees_with_a_map_through_growth_and_removals) {
  const bool holds = rc::check([](std::uint64_t seed, std::uint32_t random) {
    FlowIndex index(seed);
    std::unordered_map<std::uint16_t, std::uint32_t> model;
    const auto next = [&random](std::uint32_t below) { return (random = random * 1664525 + 1013904223) / 65536 % below; };
    // Fills, then hovers near half full, where cells stand in one another's way.
    for (std::uint32_t step = 0; step < 6000; ++step) {
      const auto i = static_cast<std::uint16_t>(next(1000));
      if (model.contains(i) && next(2) == 0) {
        index.erase(key(i));
        model.erase(i);
      } else if (!model.contains(i)) {
        index.insert(key(i), step);
        model[i] = step;
      }
      RC_ASSERT(index.size() == model.size());
    }
    for (std::uint16_t i = 0; i < 1100; ++i) {
      const auto it = model.find(i);
      RC_ASSERT(index.find(key(i)) == (it == model.end() ? FlowIndex::kNone : it->second));
    }
  });
  EXPECT_TRUE(holds);
}

TEST(FlowIndex, removing_what_is_not_there_changes_nothing) {
  FlowIndex index(1);
  index.erase(key(1));
  index.insert(key(1), 5);
  index.erase(key(2));
  EXPECT_EQ(index.size(), 1u);
  EXPECT_EQ(index.find(key(1)), 5u);
}

}  // namespace tg::flow_index_test
