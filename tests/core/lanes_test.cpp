#include "core/lanes.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>

namespace tg::lanes_test {

using namespace std::chrono_literals;

constexpr Instant kStart{1h};

// A tunnel with its lanes and their flows, as their owner has it.
struct Rig {
  struct Carried {
    std::set<std::uint32_t> flows;
    LastingFlows lasting;
    std::size_t pings = 0;
    std::uint64_t bulk = 0;
  };
  Lanes lanes;
  std::map<Lanes::Name, Carried> carried;
  Lanes::Name last = 0;
  std::uint32_t last_flow = 0;
  Instant now = kStart;

  Lanes::LoadOf load() {
    return [this](Lanes::Name n) {
      Carried& c = carried.at(n);
      return Lanes::Load{c.flows.size() + c.pings, c.flows.size(), c.lasting.count(now), c.bulk};
    };
  }
  Lanes::Name stand() {
    carried[++last] = {};
    lanes.stood(last, now);
    return last;
  }
  struct Flow {
    std::uint32_t id;
    Lanes::Name lane;
  };
  // begin has a new flow where it belongs.
  Flow begin() {
    const Lanes::Name lane = lanes.choose(load()).value();
    carried[lane].flows.insert(++last_flow);
    carried[lane].lasting.began(last_flow, now);
    lanes.began(now);
    return {last_flow, lane};
  }
  void end(const Flow& flow) {
    Carried& c = carried[flow.lane];
    c.flows.erase(flow.id);
    c.lasting.ended(flow.id);
    if (c.flows.empty()) lanes.idle(flow.lane, now);
  }
  // after lets time pass and has every lane that is asked for stand.
  void after(Duration d) {
    const Instant until = now + d;
    for (;;) {
      now = std::min(until, std::max(now, lanes.next_deadline()));
      if (lanes.next(load(), now)) stand();
      while (const auto lane = lanes.spare(load(), now)) drop(*lane);
      if (lanes.next_deadline() > until) break;
    }
    now = until;
  }
  void drop(Lanes::Name lane) {
    lanes.ended(lane);
    carried.erase(lane);
  }
  std::size_t count() const { return carried.size(); }
};

constexpr Duration kLasting = LastingFlows::kLasting;

TEST(Lanes, a_tunnel_without_flows_is_one_lane_for_ever) {
  Rig r;
  EXPECT_EQ(r.lanes.choose(r.load()), std::nullopt);
  const auto only = r.stand();
  EXPECT_EQ(r.lanes.next_deadline(), kNever);
  r.after(24h);
  EXPECT_EQ(r.count(), 1u);
  EXPECT_EQ(r.lanes.choose(r.load()), only);
}

TEST(Lanes, there_is_one_more_than_have_a_flow_that_lasts_up_to_four) {
  Rig r;
  r.stand();
  std::set<Lanes::Name> taken;
  for (std::size_t flows = 1; flows <= 6; ++flows) {
    taken.insert(r.begin().lane);
    r.after(kLasting - 1ms);
    EXPECT_EQ(r.count(), std::min(flows, Lanes::kMost));
    r.after(1ms);
    EXPECT_EQ(r.count(), std::min(flows + 1, Lanes::kMost));
  }
  EXPECT_EQ(taken.size(), 4u);
}

TEST(Lanes, what_is_soon_over_makes_none) {
  Rig r;
  r.stand();
  for (int i = 0; i < 1000; ++i) {
    const auto flow = r.begin();
    r.after(kLasting - 1ms);
    r.end(flow);
    r.after(i * 3ms);
  }
  EXPECT_EQ(r.count(), 1u);
  r.after(2 * kLasting);
  EXPECT_EQ(r.lanes.next_deadline(), kNever);
}

TEST(Lanes, what_begins_together_shares_one) {
  Rig r;
  const auto first = r.stand();
  r.begin();
  r.after(kLasting);
  ASSERT_EQ(r.count(), 2u);
  std::set<Lanes::Name> taken;
  for (int i = 0; i < 16; ++i) {
    taken.insert(r.begin().lane);
    r.after(10ms);
  }
  EXPECT_EQ(taken.size(), 1u);
  EXPECT_FALSE(taken.contains(first));
  r.after(kLasting);
  EXPECT_EQ(r.count(), 3u);
}

TEST(Lanes, there_is_one_more_at_once_when_all_are_busy) {
  Rig r;
  const auto first = r.stand();
  const auto flow = r.begin();
  r.carried[first].bulk = Lanes::kBusy;
  EXPECT_TRUE(r.lanes.busy(r.now));
  EXPECT_FALSE(r.lanes.busy(r.now));
  r.after(0s);
  ASSERT_EQ(r.count(), 2u);
  EXPECT_NE(r.begin().lane, flow.lane);
  EXPECT_TRUE(r.lanes.busy(r.now));
  r.after(0s);
  EXPECT_EQ(r.count(), 2u) << "one is not busy";
}

TEST(Lanes, a_flow_that_began_while_another_was_looked_at_is_looked_at_too) {
  Rig r;
  r.stand();
  const auto flow = r.begin();
  r.after(500ms);
  r.begin();
  r.end(flow);
  r.after(10s);
  EXPECT_EQ(r.count(), 2u);
}

TEST(Lanes, a_new_stream_takes_one_that_is_not_busy_and_of_these_the_one_with_fewer_lasting_flows) {
  Rig r;
  const auto a = r.stand(), b = r.stand(), c = r.stand();
  r.lanes.silent(b, true);
  r.lanes.silent(c, true);
  r.begin();
  r.lanes.silent(a, true);
  r.lanes.silent(b, false);
  for (int i = 0; i < 3; ++i) r.begin();
  r.lanes.silent(b, true);
  r.lanes.silent(c, false);
  for (int i = 0; i < 2; ++i) r.begin();
  r.lanes.silent(a, false);
  r.lanes.silent(b, false);
  r.now += kLasting;
  EXPECT_EQ(r.lanes.choose(r.load()), a);
  r.carried[a].bulk = Lanes::kBusy;
  EXPECT_EQ(r.lanes.choose(r.load()), c);
  r.lanes.silent(c, true);
  r.carried[b].bulk = Lanes::kBusy - 1;
  EXPECT_EQ(r.lanes.choose(r.load()), b);
  r.carried[b].bulk = Lanes::kBusy;
  EXPECT_EQ(r.lanes.choose(r.load()), a);
  r.lanes.silent(c, false);
  EXPECT_EQ(r.lanes.choose(r.load()), c);
}

TEST(Lanes, those_without_streams_end_a_minute_later_but_for_one) {
  Rig r;
  std::vector<Rig::Flow> on;
  r.stand();
  for (int i = 0; i < 4; ++i) {
    on.push_back(r.begin());
    r.after(kLasting);
  }
  ASSERT_EQ(r.count(), 4u);
  r.end(on[0]);
  r.end(on[2]);
  r.after(Lanes::kSpare - 1ms);
  EXPECT_EQ(r.count(), 4u);
  r.after(1ms);
  EXPECT_EQ(r.count(), 3u);                 // two with flows, and one to spare
  r.end(on[1]);
  r.end(on[3]);
  r.after(10 * Lanes::kSpare);
  EXPECT_EQ(r.count(), 1u);
  EXPECT_TRUE(r.lanes.usable());
  EXPECT_EQ(r.lanes.next_deadline(), kNever);
}

TEST(Lanes, one_with_streams_is_never_spare) {
  Rig r;
  const auto first = r.stand();
  r.begin();
  r.after(kLasting);
  const auto flow = r.begin();
  ASSERT_NE(first, flow.lane);
  r.end(flow);
  r.after(Lanes::kSpare / 2);
  EXPECT_EQ(r.begin().lane, flow.lane);
  r.after(1h);
  EXPECT_TRUE(r.carried.contains(first) && r.carried.contains(flow.lane));
}

TEST(Lanes, what_could_not_be_had_is_asked_for_again_a_minute_later_when_a_flow_begins) {
  Rig r;
  r.stand();
  r.begin();
  r.now += kLasting;
  ASSERT_TRUE(r.lanes.next(r.load(), r.now));
  r.lanes.failed(r.now);
  EXPECT_EQ(r.lanes.next_deadline(), kNever);
  r.begin();
  EXPECT_EQ(r.lanes.next_deadline(), r.now + Lanes::kAgain);
  r.lanes.busy(r.now);
  EXPECT_EQ(r.lanes.next_deadline(), r.now + Lanes::kAgain);
  EXPECT_FALSE(r.lanes.next(r.load(), r.now + Lanes::kAgain - 1ms));
  EXPECT_TRUE(r.lanes.next(r.load(), r.now + Lanes::kAgain));
}

TEST(Lanes, one_is_dialled_at_a_time_until_it_is_given_up) {
  Rig r;
  r.stand();
  r.begin();
  r.now += kLasting;
  ASSERT_TRUE(r.lanes.next(r.load(), r.now));
  r.begin();
  EXPECT_EQ(r.lanes.next_deadline(), kNever);
  EXPECT_FALSE(r.lanes.next(r.load(), r.now));
  r.lanes.forget_dial();
  r.begin();
  EXPECT_TRUE(r.lanes.next(r.load(), r.now + kLasting));
}

TEST(Lanes, silence_is_told_of_all_together) {
  Rig r;
  const auto a = r.stand(), b = r.stand();
  r.lanes.silent(a, true);
  EXPECT_TRUE(r.lanes.usable());
  EXPECT_FALSE(r.lanes.silent());
  r.lanes.goodbye(b, r.now);
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
  r.stand();
  r.begin();
  r.after(kLasting);
  const auto second = r.begin().lane;
  r.now += kLasting;
  r.lanes.silent(second, true);
  EXPECT_FALSE(r.lanes.next(r.load(), r.now));
  r.lanes.silent(second, false);
  r.begin();
  EXPECT_TRUE(r.lanes.next(r.load(), r.now + kLasting));
}

TEST(Lanes, a_goodbye_is_no_invitation_to_dial_for_a_minute) {
  Rig r;
  r.stand();
  const auto second = r.stand();
  r.lanes.goodbye(second, r.now);
  r.drop(second);
  r.begin();
  r.after(Lanes::kAgain - 1ms);
  EXPECT_EQ(r.count(), 1u);
  r.after(1ms);
  EXPECT_EQ(r.count(), 2u);
}

TEST(Lanes, nobody_looks_at_pings) {
  Rig r;
  const auto only = r.stand();
  r.carried[only].pings = 1;
  r.end(r.begin());
  r.after(LastingFlows::kLasting);
  EXPECT_EQ(r.lanes.next_deadline(), kNever);
}

TEST(LastingFlows, counts_those_that_have_lived_for_a_second) {
  LastingFlows f;
  f.began(1, kStart);
  f.began(2, kStart + 500ms);
  f.began(3, kStart + 500ms);
  EXPECT_EQ(f.count(kStart + 999ms), 0u);
  EXPECT_EQ(f.count(kStart + 1s), 1u);
  f.ended(2);
  EXPECT_EQ(f.count(kStart + 2s), 2u);
  f.ended(1);
  f.ended(1);
  f.ended(77);
  EXPECT_EQ(f.count(kStart + 1h), 1u);
  f.ended(3);
  EXPECT_EQ(f.count(kStart + 1h), 0u);
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
  b.add(RecentBytes::kMost - 1, kStart + 24h);
  b.add(std::size_t{1} << 40, kStart + 24h);
  EXPECT_EQ(b.at(kStart + 24h), RecentBytes::kMost) << "what was fast is not busy for long";
}

// Whatever happens: at least one lane stays, at most four are made, flows stay where they are, and in the end one is left.
RC_GTEST_PROP(Lanes, live_any_life, ()) {
  Rig r;
  r.stand();
  std::vector<Rig::Flow> on;
  const auto steps = *rc::gen::container<std::vector<std::pair<int, int>>>(
      rc::gen::pair(rc::gen::inRange(0, 6), rc::gen::inRange(0, 1000)));
  for (const auto& [what, n] : steps) {
    auto some_lane = r.carried.begin();
    std::advance(some_lane, n % static_cast<int>(r.carried.size()));
    if (what <= 1) {
      on.push_back(r.begin());
    } else if (what == 2 && !on.empty()) {
      const auto it = on.begin() + n % static_cast<int>(on.size());
      r.end(*it);
      on.erase(it);
    } else if (what == 3) {
      r.after(n * 100ms);
    } else if (what == 4) {
      some_lane->second.bulk = static_cast<std::uint64_t>(n) * 1024;
    } else if (what == 5 && r.count() > 1) {   // one is lost, with its flows
      const Lanes::Name lane = some_lane->first;
      std::erase_if(on, [&](const Rig::Flow& f) { return f.lane == lane; });
      r.drop(lane);
    }
    RC_ASSERT(r.count() >= 1u && r.count() <= Lanes::kMost && r.lanes.usable());
    for (const Rig::Flow& f : on) RC_ASSERT(r.carried.contains(f.lane));
  }
  for (const Rig::Flow& f : on) r.end(f);
  for (auto& [lane, c] : r.carried) c.bulk = 0;
  r.after(3 * Lanes::kSpare);
  RC_ASSERT(r.count() == 1u);
  RC_ASSERT(r.lanes.next_deadline() == kNever);
}

}  // namespace tg::lanes_test
