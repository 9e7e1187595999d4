// Ways to a connector in simulated time: what is dialled when, and which tunnel new streams take.
#include <gtest/gtest.h>

#include <map>

#include "core/path_plan.h"

namespace tg::path_plan_test {

using namespace std::chrono_literals;
using Kind = PathPlan::Kind;
using State = PathPlan::State;

// Road is a connector with one direct address and one relay. An attempt stands after `trip`, or has failed after 3 s.
struct Road {
  Instant now = Instant{} + 1h;
  PathPlan plan{200ms, 1500ms, 42};
  bool direct_works = true, relay_works = true;
  Duration trip = 50ms;
  struct Attempt {
    Kind kind;
    Instant done;
    bool stands;
  };
  std::vector<Attempt> attempts;
  std::map<PathPlan::Name, Kind> kinds;
  int dialled_direct = 0, dialled_relay = 0;

  explicit Road(std::size_t direct = 1, std::size_t relays = 1) {
    plan.set_ways(direct, relays, now);
    settle();
  }

  void settle() {
    std::erase_if(attempts, [&](const Attempt& a) { return !plan.wanted(a.kind); });
    while (const auto step = plan.next(now)) {
      const Kind kind = *step == PathPlan::Step::dial_direct ? Kind::direct : Kind::relayed;
      const bool works = kind == Kind::direct ? direct_works : relay_works;
      ++(kind == Kind::direct ? dialled_direct : dialled_relay);
      plan.began(kind);
      attempts.push_back({kind, now + (works ? trip : 3s), works});
    }
  }
  // step goes to whatever comes next, but not beyond `until`; false when that is reached.
  bool step(Instant until) {
    Instant next = plan.next_deadline();
    for (const Attempt& a : attempts) next = std::min(next, a.done);
    if (next > until) {
      now = until;
      return false;
    }
    now = std::max(now, next);
    for (std::size_t i = 0; i < attempts.size(); ++i) {
      if (attempts[i].done > now) continue;
      const Attempt a = attempts[i];
      attempts.erase(attempts.begin() + static_cast<std::ptrdiff_t>(i));
      if (a.stands) kinds[plan.stood(a.kind, now)] = a.kind;
      else plan.failed(a.kind, now);
      break;
    }
    settle();
    return true;
  }
  void run(Duration time) {
    const Instant until = now + time;
    while (step(until)) {
    }
  }
  // until_chosen returns how long it took.
  Duration until_chosen(Duration most = 60s) {
    const Instant start = now;
    while (!plan.chosen() && step(start + most)) {
    }
    return now - start;
  }
  bool direct() const { return plan.chosen() && kinds.at(*plan.chosen()) == Kind::direct; }
  PathPlan::Name chosen() { return plan.chosen().value_or(0); }
  void silent(PathPlan::Name t) { plan.silent(t, now), settle(); }
  void heard(PathPlan::Name t) { plan.heard(t, now), settle(); }
};

TEST(PathPlan, dials_direct_ways_first_and_takes_them) {
  Road r;
  EXPECT_EQ(r.dialled_direct, 1);
  EXPECT_EQ(r.until_chosen(), 50ms);
  r.run(1h);
  EXPECT_EQ(r.dialled_direct, 1);
  EXPECT_EQ(r.dialled_relay, 0);
}

TEST(PathPlan, takes_the_relay_after_a_moment_and_goes_on_trying_direct_ways_ever_more_seldom) {
  Road r;
  r.attempts.clear(), r.plan.network_changed(r.now);
  r.direct_works = false, r.dialled_direct = 0;
  r.settle();
  EXPECT_EQ(r.until_chosen(), 200ms);
  r.run(1min);
  EXPECT_GE(r.dialled_direct, 3);
  r.run(2h);
  EXPECT_LE(r.dialled_direct, 2 * 60 / 2 + 10);
  EXPECT_EQ(r.dialled_relay, 1);
}

TEST(PathPlan, does_not_wait_for_direct_ways_that_fail_at_once) {
  Road r(0, 1);
  EXPECT_EQ(r.dialled_relay, 1);
  Road refused;
  refused.attempts.clear();
  refused.plan.failed(Kind::direct, refused.now);
  refused.settle();
  EXPECT_EQ(refused.dialled_relay, 1);
}

TEST(PathPlan, retries_for_ever_with_pauses_within_bounds) {
  Road r;
  r.attempts.clear(), r.plan.network_changed(r.now);
  r.direct_works = r.relay_works = false;
  r.dialled_relay = 0;
  r.settle();
  EXPECT_TRUE(r.plan.hopeful());
  r.run(1h);
  EXPECT_FALSE(r.plan.chosen());
  EXPECT_GE(r.dialled_relay, 3600 / 5);
  EXPECT_LE(r.dialled_relay, 3600 / 3);
  r.direct_works = r.relay_works = true;
  EXPECT_LE(r.until_chosen(), 5s);
}

TEST(PathPlan, leaves_a_silent_direct_tunnel_for_the_relay_at_once_and_keeps_its_streams) {
  Road r;
  r.until_chosen();
  const auto direct = r.chosen();
  r.run(1h);
  r.direct_works = false;
  r.silent(direct);
  EXPECT_FALSE(r.plan.chosen());
  EXPECT_TRUE(r.plan.hopeful());
  EXPECT_EQ(r.until_chosen(), 200ms);
  EXPECT_NE(r.chosen(), direct);
  EXPECT_EQ(r.plan.state(direct), State::suspect);
  EXPECT_TRUE(r.plan.needed(direct, 3));
  EXPECT_TRUE(r.plan.needed(direct, 0)) << "it may come back, and is better than a relay";
}

TEST(PathPlan, takes_a_suspect_back_when_it_is_heard) {
  Road r;
  r.until_chosen();
  const auto direct = r.chosen();
  r.direct_works = false;
  r.silent(direct);
  r.until_chosen();
  const auto relayed = r.chosen();
  r.heard(direct);
  EXPECT_EQ(r.chosen(), direct);
  EXPECT_TRUE(r.plan.needed(relayed, 1));
  EXPECT_FALSE(r.plan.needed(relayed, 0));
  EXPECT_TRUE(r.attempts.empty());
}

TEST(PathPlan, takes_a_suspect_back_when_nothing_better_was_found_meanwhile) {
  Road r;
  r.until_chosen();
  const auto direct = r.chosen();
  r.direct_works = r.relay_works = false;
  r.silent(direct);
  r.run(2s);
  EXPECT_FALSE(r.plan.chosen());
  r.heard(direct);
  EXPECT_EQ(r.chosen(), direct);
  EXPECT_TRUE(r.attempts.empty());
  r.run(1h);
  EXPECT_TRUE(r.attempts.empty());
}

TEST(PathPlan, replaces_a_direct_tunnel_that_the_way_has_forgotten_by_another) {
  Road r;
  r.until_chosen();
  const auto old = r.chosen();
  r.run(1h);
  r.silent(old);                           // a NAT forgot it; new connections work
  EXPECT_EQ(r.until_chosen(), 50ms);
  EXPECT_NE(r.chosen(), old);
  EXPECT_FALSE(r.plan.needed(old, 0));
  EXPECT_TRUE(r.plan.needed(old, 1));
  r.heard(old);
  EXPECT_NE(r.chosen(), old) << "between equals the newer one stays";
}

TEST(PathPlan, leaves_a_relay_that_swallows) {
  Road r(0, 2);
  r.until_chosen();
  const auto first = r.chosen();
  r.silent(first);
  EXPECT_EQ(r.until_chosen(), 50ms);
  EXPECT_NE(r.chosen(), first);
}

TEST(PathPlan, finds_the_direct_way_again_soon_when_it_had_lasted) {
  Road r;
  r.direct_works = false, r.attempts.front().stands = false, r.attempts.front().done = r.now + 1s;
  r.run(1h);                               // the pauses are long now
  r.direct_works = true;
  r.run(10min);
  ASSERT_TRUE(r.direct());
  r.direct_works = false;
  r.silent(r.chosen());
  r.until_chosen();
  r.run(10s);
  r.direct_works = true;
  r.run(20s);
  EXPECT_TRUE(r.direct());
}

TEST(PathPlan, does_not_fall_for_a_direct_way_that_only_connects) {
  Road r;
  int lapses = 0;
  const Instant end = r.now + 2h;
  while (r.step(end)) {
    if (!r.direct()) continue;
    r.run(2s);
    ++lapses;
    r.direct_works = false;                // so that the relay is found
    r.silent(r.chosen());
    r.until_chosen();
    r.direct_works = true;
  }
  EXPECT_GE(lapses, 10);
  EXPECT_LE(lapses, 60);
}

TEST(PathPlan, goes_elsewhere_after_a_goodbye_and_lets_live_streams_finish) {
  Road r;
  r.until_chosen();
  r.run(1h);
  const auto old = r.chosen();
  r.plan.goodbye(old, r.now), r.settle();
  EXPECT_EQ(r.until_chosen(), 50ms);
  EXPECT_TRUE(r.plan.needed(old, 1));
  EXPECT_FALSE(r.plan.needed(old, 0));
  r.heard(old), r.silent(old), r.heard(old);
  EXPECT_EQ(r.plan.state(old), State::leaving);
}

TEST(PathPlan, pauses_when_tunnels_end_as_soon_as_they_stand) {
  Road r(1, 0);
  r.until_chosen();
  for (int i = 0; i < 10; ++i) {
    r.plan.ended(r.chosen(), r.now), r.settle();
    r.until_chosen();
  }
  r.plan.ended(r.chosen(), r.now), r.settle();
  EXPECT_GE(r.until_chosen(), 700ms);
  r.run(10s);
  r.plan.ended(r.chosen(), r.now), r.settle();
  EXPECT_EQ(r.until_chosen(), 50ms) << "it had stood for some time";
  r.plan.ended(r.chosen(), r.now), r.settle();
  EXPECT_LE(r.until_chosen(), 250ms) << "and the pauses begin anew";
}

TEST(PathPlan, looks_at_once_when_the_network_has_changed_or_the_controller_names_a_way) {
  Road r(0, 1);
  r.until_chosen();
  r.run(10s);
  r.plan.set_ways(1, 1, r.now), r.settle();
  EXPECT_EQ(r.dialled_direct, 1);
  r.attempts.clear();
  r.plan.network_changed(r.now), r.settle();
  EXPECT_EQ(r.dialled_direct, 2);
  r.run(100ms);
  r.plan.network_changed(r.now), r.settle();
  EXPECT_EQ(r.dialled_direct, 2) << "direct already";
}

TEST(PathPlan, forgets_attempts_that_became_useless) {
  Road r;
  r.attempts.front().done = r.now + 200ms;   // direct, just before the relay's
  r.run(205ms);
  ASSERT_TRUE(r.direct());
  EXPECT_FALSE(r.plan.wanted(Kind::relayed));
  r.direct_works = false;
  r.silent(r.chosen());
  EXPECT_EQ(r.until_chosen(), 200ms) << "the relay is dialled again: nothing is under way";
}

TEST(PathPlan, dials_again_only_when_the_last_of_several_attempts_has_failed) {
  for (const Kind kind : {Kind::direct, Kind::relayed}) {
    const bool direct = kind == Kind::direct;
    PathPlan plan(200ms, 1500ms, 42);
    Instant now = Instant{} + 1h;
    plan.set_ways(direct ? 4 : 0, direct ? 0 : 4, now);
    ASSERT_EQ(plan.next(now), direct ? PathPlan::Step::dial_direct : PathPlan::Step::dial_relays);
    for (int i = 0; i < 4; ++i) plan.began(kind);
    for (int i = 0; i < 3; ++i) {
      plan.failed(kind, now += 1s);
      EXPECT_FALSE(plan.next(now));
      EXPECT_TRUE(plan.hopeful());
    }
    plan.failed(kind, now);
    EXPECT_FALSE(plan.next(now)) << "after a pause";
    EXPECT_TRUE(plan.next(now + 2s));
  }
}

TEST(PathPlan, forgets_the_other_attempts_of_a_kind_when_one_stands) {
  for (const Kind kind : {Kind::direct, Kind::relayed}) {
    const bool direct = kind == Kind::direct;
    PathPlan plan(200ms, 1500ms, 42);
    Instant now = Instant{} + 1h;
    plan.set_ways(direct ? 4 : 0, direct ? 0 : 4, now);
    ASSERT_TRUE(plan.next(now));
    for (int i = 0; i < 4; ++i) plan.began(kind);
    plan.failed(kind, now);
    const auto name = plan.stood(kind, now);
    EXPECT_EQ(plan.chosen(), name);
    EXPECT_FALSE(plan.wanted(kind));
    plan.ended(name, now += 1min);
    EXPECT_TRUE(plan.next(now)) << "nothing is under way";
    plan.began(kind);
    plan.failed(kind, now);
    EXPECT_FALSE(plan.next(now));
    EXPECT_NE(plan.next_deadline(), kNever);
  }
}

TEST(PathPlan, counts_direct_attempts_on_when_one_of_several_relays_stands) {
  Road r(4, 4);
  for (int i = 0; i < 3; ++i) r.plan.began(Kind::direct), r.attempts.push_back({Kind::direct, r.now + 3s, false});
  r.attempts.front() = {Kind::direct, r.now + 1s, false};
  r.run(160ms);
  ASSERT_EQ(r.dialled_relay, 1);
  for (int i = 0; i < 3; ++i) r.plan.began(Kind::relayed), r.attempts.push_back({Kind::relayed, r.now + 3s, i == 0});
  EXPECT_EQ(r.until_chosen(), 40ms);
  EXPECT_EQ(r.attempts.size(), 4u) << "direct ones may still stand; relays are forgotten";
  r.run(1s);
  EXPECT_EQ(r.attempts.size(), 3u);
  r.run(3s);
  EXPECT_EQ(r.dialled_direct, 1) << "the pause begins when the last has failed";
  r.run(10s);
  EXPECT_GE(r.dialled_direct, 2);
  EXPECT_TRUE(r.direct());
}

TEST(PathPlan, forgets_a_tunnel_that_the_owner_has_dropped) {
  Road r;
  r.direct_works = false, r.attempts.front().stands = false, r.attempts.front().done = r.now + 1s;
  r.until_chosen();
  const auto relayed = r.chosen();
  r.direct_works = true;
  r.run(20s);
  ASSERT_TRUE(r.direct());
  ASSERT_FALSE(r.plan.needed(relayed, 0));
  r.plan.ended(relayed, r.now);
  r.relay_works = false;
  r.plan.ended(r.chosen(), r.now), r.settle();
  EXPECT_FALSE(r.plan.chosen());
  EXPECT_EQ(r.until_chosen(), 50ms);
}

TEST(PathPlan, knows_nothing_of_a_tunnel_that_has_ended) {
  Road r;
  r.until_chosen();
  const auto t = r.chosen();
  r.plan.ended(t, r.now);
  EXPECT_FALSE(r.plan.state(t));
  EXPECT_FALSE(r.plan.needed(t, 1));
  r.heard(t), r.silent(t);
  EXPECT_NE(r.chosen(), t);
}

}  // namespace tg::path_plan_test
