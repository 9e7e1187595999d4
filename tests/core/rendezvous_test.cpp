#include "core/rendezvous.h"

#include <algorithm>
#include <map>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tg::rendezvous_test {

std::vector<Candidate> connectors(std::size_t n) {
  std::vector<Candidate> out;
  for (std::size_t i = 0; i < n; ++i) out.push_back({"c" + std::to_string(i), true, false});
  return out;
}

TEST(Rendezvous, devices_spread_over_the_connectors) {
  std::map<std::string, int> chosen;
  for (int device = 0; device < 3000; ++device) {
    for (const auto& id : choose_connectors("d" + std::to_string(device), connectors(6), 2)) ++chosen[id];
  }
  ASSERT_EQ(chosen.size(), 6U);
  for (const auto& [id, times] : chosen) EXPECT_NEAR(times, 1000, 150) << id;
}

TEST(Rendezvous, the_order_of_the_list_does_not_matter) {
  auto list = connectors(7);
  const auto first = choose_connectors("d", list, 2);
  std::reverse(list.begin(), list.end());
  EXPECT_EQ(choose_connectors("d", list, 2), first);
}

RC_GTEST_PROP(Rendezvous, only_devices_of_a_connector_that_is_gone_move, (std::string device, std::uint8_t gone)) {
  auto list = connectors(8);
  const auto before = choose_connectors(device, list, 2);
  list[gone % 8].usable = false;
  const auto after = choose_connectors(device, list, 2);
  for (const auto& id : before) {
    if (id != list[gone % 8].id) RC_ASSERT(std::find(after.begin(), after.end(), id) != after.end());
  }
  RC_ASSERT(after.size() == 2U);
  RC_ASSERT(std::find(after.begin(), after.end(), list[gone % 8].id) == after.end());
}

TEST(Rendezvous, who_carries_live_flows_stays_when_a_better_one_comes) {
  auto list = connectors(4);
  const auto order = choose_connectors("d", list, 4);
  for (auto& c : list) c.busy = c.id == order[3];
  EXPECT_EQ(choose_connectors("d", list, 2), (std::vector{order[0], order[1], order[3]}));
}

TEST(Rendezvous, those_that_cannot_be_seen_are_tried_when_there_is_no_other) {
  auto list = connectors(2);
  for (auto& c : list) c.usable = false;
  EXPECT_EQ(choose_connectors("d", list, 2).size(), 2U);
  EXPECT_TRUE(choose_connectors("d", {}, 2).empty());
}

}  // namespace tg::rendezvous_test
