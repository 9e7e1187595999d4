#include "core/lanes.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>

namespace tg::lanes_test {

using namespace std::chrono_literals;

constexpr Instant kStart{1h};

// A tunnel with its lanes, as their owner has it.
struct Rig {
  Lanes lanes;
  std::map<Lanes::Name, Lanes::Load> loads;
  std::size_t flows = 0;
  Lanes::Name last = 0;
  Instant now = kStart;

  Lanes::LoadOf load() {
    return [this](Lanes::Name n) { return loads.at(n); };
  }
  Lanes::Name stand() {
    loads[++last] = {};
    lanes.stood(last, now);
    return last;
  }
  // begin has a new flow where it belongs, and returns that lane.
  std::optional<Lanes::Name> begin() {
    const auto lane = lanes.choose(load());
    if (!lane) return lane;
    ++loads[*lane].streams;
    ++flows;
    lanes.began(now);
    return lane;
  }
  void end(Lanes::Name lane) {
    --flows;
    if (--loads[lane].streams == 0) lanes.idle(lane, now);
  }
  // after lets time pass and has every lane that is asked for stand.
  void after(Duration d) {
    const Instant until = now + d;
    for (;;) {
      now = std::min(until, std::max(now, lanes.next_deadline()));
      for (std::size_t n = lanes.next(flows, now); n > 0; --n) stand();
      while (const auto lane = lanes.spare(load(), flows, now)) drop(*lane);
      if (lanes.next_deadline() > until) break;
    }
    now = until;
  }
  void drop(Lanes::Name lane) {
    lanes.ended(lane);
    loads.erase(lane);
  }
};

TEST(Lanes, a_tunnel_without_flows_is_one_lane_for_ever) {
  Rig r;
  EXPECT_EQ(r.lanes.choose(r.load()), std::nullopt);
  const auto only = r.stand();
  EXPECT_EQ(r.lanes.next_deadline(), kNever);
  r.after(24h);
  EXPECT_EQ(r.loads.size(), 1u);
  EXPECT_EQ(r.lanes.choose(r.load()), only);
}

TEST(Lanes, while_flows_last_there_is_one_more_than_flows_up_to_four) {
  Rig r;
  r.stand();
  for (std::size_t flows = 1; flows <= 6; ++flows) {
    r.begin();
    r.after(Lanes::kLook - 1ms);
    EXPECT_EQ(r.loads.size(), std::min(flows, Lanes::kMost));
    r.after(1ms);
    EXPECT_EQ(r.loads.size(), std::min(flows + 1, Lanes::kMost));
  }
}

TEST(Lanes, a_flow_that_is_soon_over_makes_none) {
  Rig r;
  const auto only = r.stand();
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(r.begin(), only);
    r.after(500ms);
    r.end(only);
    r.after(600ms);
  }
  EXPECT_EQ(r.loads.size(), 1u);
}

TEST(Lanes, each_flow_begins_on_a_lane_of_its_own_while_there_is_one) {
  Rig r;
  r.stand();
  std::set<Lanes::Name> taken;
  for (int i = 0; i < 4; ++i) {
    taken.insert(*r.begin());
    r.after(Lanes::kLook);
  }
  EXPECT_EQ(taken.size(), 4u);
}

TEST(Lanes, a_new_stream_takes_the_lane_that_is_not_busy_and_of_these_the_emptiest) {
  Rig r;
  const auto a = r.stand(), b = r.stand(), c = r.stand();
  r.loads[a] = {1, 100 << 20};
  r.loads[b] = {7, Lanes::kBusy - 1};
  r.loads[c] = {6, 10};
  EXPECT_EQ(r.lanes.choose(r.load()), c);
  r.lanes.silent(c, true);
  EXPECT_EQ(r.lanes.choose(r.load()), b);
  r.loads[b].recent = Lanes::kBusy;
  EXPECT_EQ(r.lanes.choose(r.load()), a);   // all are busy: it has fewer streams
  r.lanes.silent(c, false);
  EXPECT_EQ(r.lanes.choose(r.load()), c);
}

TEST(Lanes, those_without_streams_end_a_minute_later_but_for_one) {
  Rig r;
  std::vector<Lanes::Name> on;
  r.stand();
  for (int i = 0; i < 4; ++i) {
    on.push_back(*r.begin());
    r.after(Lanes::kLook);
  }
  ASSERT_EQ(r.loads.size(), 4u);
  r.end(on[0]);
  r.end(on[2]);
  r.after(Lanes::kSpare - 1ms);
  EXPECT_EQ(r.loads.size(), 4u);
  r.after(1ms);
  EXPECT_EQ(r.loads.size(), 3u);            // two flows, and one to spare
  r.end(on[1]);
  r.end(on[3]);
  r.after(10 * Lanes::kSpare);
  EXPECT_EQ(r.loads.size(), 1u);
  EXPECT_TRUE(r.lanes.usable());
  EXPECT_EQ(r.lanes.next_deadline(), kNever);
}

TEST(Lanes, one_with_streams_is_never_spare) {
  Rig r;
  const auto first = r.stand();
  r.begin();
  r.after(Lanes::kLook);
  const auto second = *r.begin();
  ASSERT_NE(first, second);
  r.end(second);
  r.after(Lanes::kSpare / 2);
  EXPECT_EQ(r.begin(), second);
  r.after(1h);
  EXPECT_TRUE(r.loads.contains(first) && r.loads.contains(second));
}

TEST(Lanes, what_could_not_be_had_is_asked_for_again_a_minute_later_when_a_flow_begins) {
  Rig r;
  r.stand();
  r.begin();
  r.now += Lanes::kLook;
  ASSERT_EQ(r.lanes.next(r.flows, r.now), 1u);
  r.lanes.failed(r.now);
  EXPECT_EQ(r.lanes.next_deadline(), kNever);
  r.begin();
  EXPECT_EQ(r.lanes.next_deadline(), r.now + Lanes::kAgain);
  EXPECT_EQ(r.lanes.next(r.flows, r.now + Lanes::kLook), 0u);
  EXPECT_EQ(r.lanes.next(r.flows, r.now + Lanes::kAgain), 2u);
}

TEST(Lanes, those_under_way_count_until_they_are_given_up) {
  Rig r;
  r.stand();
  for (int i = 0; i < 3; ++i) r.begin();
  r.now += Lanes::kLook;
  ASSERT_EQ(r.lanes.next(r.flows, r.now), 3u);
  r.begin();
  EXPECT_EQ(r.lanes.next_deadline(), kNever);
  r.lanes.forget_dials();
  r.begin();
  EXPECT_EQ(r.lanes.next(r.flows, r.now + Lanes::kLook), 3u);
}

TEST(Lanes, silence_is_told_of_all_together) {
  Rig r;
  const auto a = r.stand(), b = r.stand();
  r.lanes.silent(a, true);
  EXPECT_TRUE(r.lanes.usable());
  EXPECT_FALSE(r.lanes.silent());
  r.lanes.goodbye(b);
  EXPECT_FALSE(r.lanes.usable());
  EXPECT_TRUE(r.lanes.silent());
  r.lanes.ended(a);
  EXPECT_FALSE(r.lanes.silent());           // what is left says goodbye
  EXPECT_FALSE(r.lanes.empty());
  r.lanes.ended(b);
  EXPECT_TRUE(r.lanes.empty());
}

TEST(Lanes, none_is_dialled_while_one_is_silent_or_leaves) {
  Rig r;
  const auto a = r.stand();
  r.stand();
  r.begin();
  r.begin();
  r.lanes.silent(a, true);
  r.now += Lanes::kLook;
  EXPECT_EQ(r.lanes.next(r.flows, r.now), 0u);
  r.lanes.silent(a, false);
  r.begin();
  EXPECT_EQ(r.lanes.next(r.flows, r.now + Lanes::kLook), 2u);
}

TEST(RecentBytes, forgets_half_each_second) {
  RecentBytes b;
  EXPECT_EQ(b.at(kStart), 0u);
  b.add(1000, kStart);
  EXPECT_EQ(b.at(kStart + 999ms), 1000u);
  EXPECT_EQ(b.at(kStart + 1s), 500u);
  b.add(10, kStart + 1500ms);
  EXPECT_EQ(b.at(kStart + 3s), 127u);
  EXPECT_EQ(b.at(kStart + 24h), 0u);
}

// Whatever happens: at least one lane stays, at most four are made, flows stay where they are, and in the end one is left.
RC_GTEST_PROP(Lanes, live_any_life, ()) {
  Rig r;
  r.stand();
  std::vector<Lanes::Name> on;
  const auto steps = *rc::gen::container<std::vector<std::pair<int, int>>>(
      rc::gen::pair(rc::gen::inRange(0, 6), rc::gen::inRange(0, 1000)));
  for (const auto& [what, n] : steps) {
    if (what <= 1) {
      const auto lane = r.begin();
      RC_ASSERT(lane.has_value());
      on.push_back(*lane);
    } else if (what == 2 && !on.empty()) {
      const auto it = on.begin() + n % static_cast<int>(on.size());
      r.end(*it);
      on.erase(it);
    } else if (what == 3) {
      r.after(n * 100ms);
    } else if (what == 4) {
      auto it = r.loads.begin();
      std::advance(it, n % static_cast<int>(r.loads.size()));
      it->second.recent = static_cast<std::uint64_t>(n) * 1024;
    } else if (what == 5 && r.loads.size() > 1) {   // one is lost, with its flows
      auto it = r.loads.begin();
      std::advance(it, n % static_cast<int>(r.loads.size()));
      const Lanes::Name lane = it->first;
      r.flows -= static_cast<std::size_t>(std::erase(on, lane));
      r.drop(lane);
    }
    RC_ASSERT(!r.loads.empty() && r.loads.size() <= Lanes::kMost && r.lanes.usable());
    for (const Lanes::Name lane : on) RC_ASSERT(r.loads.contains(lane));
  }
  for (const Lanes::Name lane : on) r.end(lane);
  r.after(3 * Lanes::kSpare);
  RC_ASSERT(r.loads.size() == 1u);
  RC_ASSERT(r.lanes.next_deadline() == kNever);
}

}  // namespace tg::lanes_test
