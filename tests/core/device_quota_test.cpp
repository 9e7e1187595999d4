#include "core/device_quota.h"

#include <gtest/gtest.h>

#include <vector>

namespace tg::device_quota_test {

using std::chrono::seconds;

std::vector<DeviceQuota::Hold> fill(DeviceQuota& quota, const std::string& device) {
  std::vector<DeviceQuota::Hold> held;
  while (auto hold = quota.take(device)) held.push_back(std::move(*hold));
  return held;
}

using Limits = DeviceQuota::Limits;

TEST(DeviceQuota, gives_flows_three_quarters_of_the_descriptors_and_no_device_more_than_half_of_them) {
  EXPECT_EQ(DeviceQuota::flow_limits(65536), (Limits{49152, 16384}));
  EXPECT_EQ(DeviceQuota::flow_limits(524288), (Limits{393216, 16384}));
  EXPECT_EQ(DeviceQuota::flow_limits(4096), (Limits{3072, 1536}));
  EXPECT_EQ(DeviceQuota::flow_limits(1024), (Limits{768, 384}));
  EXPECT_EQ(DeviceQuota::flow_limits(0), (Limits{0, 0}));
}

TEST(DeviceQuota, gives_tunnels_an_eighth_of_the_descriptors) {
  EXPECT_EQ(DeviceQuota::tunnel_limits(65536), (Limits{8192, 64}));
  EXPECT_EQ(DeviceQuota::tunnel_limits(1024), (Limits{128, 64}));
  EXPECT_EQ(DeviceQuota::tunnel_limits(256), (Limits{32, 16}));
}

TEST(DeviceQuota, refuses_a_device_that_has_its_fill_and_no_other) {
  DeviceQuota quota({10, 4});
  const auto greedy = fill(quota, "greedy");
  EXPECT_EQ(greedy.size(), 4u);
  EXPECT_EQ(quota.open_of("greedy"), 4u);
  EXPECT_TRUE(quota.take("modest"));
}

TEST(DeviceQuota, refuses_everybody_when_all_together_have_their_fill) {
  DeviceQuota quota({6, 4});
  const auto one = fill(quota, "one");
  const auto two = fill(quota, "two");
  EXPECT_EQ(two.size(), 2u);
  EXPECT_EQ(quota.open(), 6u);
  EXPECT_FALSE(quota.take("three"));
}

TEST(DeviceQuota, what_is_given_back_makes_room) {
  DeviceQuota quota({3, 2});
  auto held = fill(quota, "device");
  held.pop_back();
  EXPECT_EQ(quota.open(), 1u);
  EXPECT_TRUE(quota.take("device")) << "a Hold that is thrown away counts no longer";
  held = fill(quota, "device");
  EXPECT_EQ(held.size(), 1u);
}

TEST(DeviceQuota, a_moved_hold_counts_once) {
  DeviceQuota quota({9, 9});
  DeviceQuota::Hold a = *quota.take("one");
  DeviceQuota::Hold b = std::move(a);
  EXPECT_EQ(quota.open(), 1u);
  DeviceQuota::Hold c = *quota.take("two");
  c = std::move(b);
  EXPECT_EQ(quota.open(), 1u);
  EXPECT_EQ(quota.open_of("one"), 1u);
  EXPECT_EQ(quota.open_of("two"), 0u);
  c = DeviceQuota::Hold();
  EXPECT_EQ(quota.open(), 0u);
}

TEST(DeviceQuota, gives_bytes_an_eighth_of_the_memory_and_no_device_more_than_half_of_them) {
  constexpr std::size_t kMega = 1u << 20;
  EXPECT_EQ(DeviceQuota::byte_limits(64ull << 30), (Limits{512 * kMega, 256 * kMega}));
  EXPECT_EQ(DeviceQuota::byte_limits(2ull << 30), (Limits{256 * kMega, 128 * kMega}));
  EXPECT_EQ(DeviceQuota::byte_limits(512ull << 20), (Limits{64 * kMega, 32 * kMega}));
  EXPECT_EQ(DeviceQuota::byte_limits(0), (Limits{0, 0}));
}

TEST(DeviceQuota, the_windows_of_all_lanes_of_a_tunnel_are_within_a_devices_share_on_any_machine) {
  constexpr std::size_t kMega = 1u << 20;
  EXPECT_EQ(DeviceQuota::window_limit(64ull << 30), 64 * kMega);
  EXPECT_EQ(DeviceQuota::window_limit(512ull << 20), 8 * kMega);
  EXPECT_EQ(DeviceQuota::window_limit(0), 0u);
}

TEST(DeviceQuota, counts_bytes_as_they_come_and_go) {
  DeviceQuota quota({100, 60});
  DeviceQuota::Hold a = quota.hold("one"), b = quota.hold("one"), c = quota.hold("two");
  EXPECT_TRUE(a.add(40));
  EXPECT_FALSE(b.add(21)) << "with what the same device has elsewhere";
  EXPECT_TRUE(b.add(20));
  EXPECT_FALSE(c.add(41)) << "with what all have";
  EXPECT_TRUE(c.add(40));
  EXPECT_EQ(quota.open(), 100u);
  a.remove(15);
  EXPECT_TRUE(b.add(15));
  EXPECT_EQ(a.count(), 25u);
  b = std::move(a);   // what b had is given back
  EXPECT_EQ(quota.open_of("one"), 25u);
  b = DeviceQuota::Hold();
  EXPECT_EQ(quota.open_of("one"), 0u);
  EXPECT_EQ(quota.open(), 40u);
  EXPECT_FALSE(quota.hold("one").add(std::size_t(-1)));
}

TEST(DeviceQuota, a_hold_of_nobody_is_never_full) {
  DeviceQuota::Hold free;
  EXPECT_TRUE(free.add(std::size_t(-1)));
  free.remove(1);
  EXPECT_EQ(free.count(), 0u);
}

TEST(DeviceQuota, is_worth_a_word_once_a_minute) {
  DeviceQuota quota({0, 0});
  const Instant start{seconds(1)};
  EXPECT_TRUE(quota.worth_saying(start));
  EXPECT_FALSE(quota.worth_saying(start + seconds(59)));
  EXPECT_TRUE(quota.worth_saying(start + seconds(60)));
  EXPECT_FALSE(quota.worth_saying(start + seconds(61)));
}

}  // namespace tg::device_quota_test
