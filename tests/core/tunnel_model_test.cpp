// The tunnel against a model of what it promises, over thousands of random lives; then each promise about sharing by
// itself.
#include <gtest/gtest.h>

#include <random>

#include "tests/core/tunnel_model.h"
#include "tests/core/tunnel_peer.h"

namespace tg::tunnel_model_test {

model::Dice seeded(std::uint64_t seed) {
  return [generator = std::mt19937_64(seed)](std::uint32_t below) mutable {
    return static_cast<std::uint32_t>((generator() >> 32) * below >> 32);
  };
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t kLives = 500;       // 3,000 take a minute under ASan instead of 11 s
#else
constexpr std::uint64_t kLives = 3'000;
#endif

TEST(TunnelModel, loses_doubles_and_reorders_nothing_and_never_gets_stuck) {
  std::uint64_t delivered = 0;
  double fullest = 0;
  for (std::uint64_t seed = 1; seed <= kLives; ++seed) {
    model::World world(seeded(seed));
    ASSERT_EQ(world.run(100 + static_cast<int>(seed % 5) * 40), "") << "seed " << seed;
    delivered += world.delivered;
    fullest = std::max(fullest, world.fullest);
  }
  EXPECT_GT(delivered, kLives * 50'000);
  EXPECT_GT(fullest, 0.5) << "what is held for all streams never came near its bound";
}

TEST(TunnelModel, holds_with_windows_of_a_few_bytes) {
  for (std::uint64_t seed = 1; seed <= kLives / 4; ++seed) {
    model::World world(seeded(seed + 1'000'000), true);
    ASSERT_EQ(world.run(150), "") << "seed " << seed;
  }
}

TEST(TunnelModel, a_link_that_is_cut_is_found_out_and_delivers_nothing_wrong_before) {
  for (std::uint64_t seed = 1; seed <= kLives / 2; ++seed) {
    model::World world(seeded(seed + 2'000'000));
    ASSERT_EQ(world.run_cut(20 + static_cast<int>(seed % 150)), "") << "seed " << seed;
  }
}

// Road is a Pair on a link of some rate and delay each way, whose connector reads at once, or not at all.
struct Road : Pair {
  struct Chunk {
    Instant at;
    Buffer bytes;
  };
  Duration delay = 20ms;
  std::uint64_t rate = 100'000'000;
  std::array<std::deque<Chunk>, 2> wires;
  std::array<Instant, 2> free{};
  std::set<StreamId> blocked;         // sinks that never read
  std::map<StreamId, std::size_t> total;

  Road() {
    s.in_data = [this](StreamId id) {
      if (blocked.contains(id)) return;
      connector.consumed(id, s.got[id].size());
      total[id] += s.got[id].size();
      s.got[id].clear();
    };
  }
  void step(Duration by) {
    for (const Instant end = now + by; now < end; now += 100us) {
      move(client, 0);
      move(connector, 1);
      arrive(connector, 0);
      arrive(client, 1);
    }
  }
  void greedy(StreamId id) {
    c.out[id] = {std::string(200'000, 'x')};
    client.readable(id);
  }

 private:
  void move(Tunnel& from, std::size_t i) {
    while (free[i] < now + 1ms) {
      for (auto& [id, out] : c.out) {
        if (out.bytes.size() < 100'000) out.bytes.append(200'000, 'x');   // greedy sources never run dry
      }
      const std::size_t n = from.produce(record, now);
      if (n == 0) return;
      free[i] = std::max(free[i], now) + std::chrono::nanoseconds(n * 1'000'000'000 / rate);
      wires[i].push_back({free[i] + delay, Buffer(record.begin(), record.begin() + static_cast<std::ptrdiff_t>(n))});
    }
  }
  void arrive(Tunnel& to, std::size_t i) {
    for (; !wires[i].empty() && wires[i].front().at <= now; wires[i].pop_front()) {
      ASSERT_TRUE(to.feed(wires[i].front().bytes, now));
    }
  }
};

struct RoadTest : testing::Test {
  Road r;
  StreamId wide() {
    const StreamId id = r.open();
    r.step(60ms);
    r.connector.opened(id);
    r.step(60ms);
    return id;
  }
};
using TunnelRoad = RoadTest;

TEST_F(TunnelRoad, fills_a_long_fat_pipe) {
  const StreamId id = wide();
  r.greedy(id);
  r.step(1s);                          // the window grows
  const std::size_t before = r.total[id];
  r.step(1s);
  EXPECT_GT(r.total[id] - before, 90'000'000u);   // first_credit alone would give 6.5 MB in a second
}

TEST_F(TunnelRoad, shares_fairly_between_greedy_streams) {
  const StreamId a = wide();
  const StreamId b = wide();
  r.greedy(a);
  r.step(500ms);                       // one has a head start
  r.greedy(b);
  r.step(500ms);
  r.total.clear();
  r.step(1s);
  const double share = static_cast<double>(r.total[a]) / static_cast<double>(r.total[b]);
  EXPECT_GT(share, 0.8);
  EXPECT_LT(share, 1.25);
}

TEST_F(TunnelRoad, lets_nobody_be_blocked_by_sinks_that_never_read) {
  const StreamId good = wide();
  std::vector<StreamId> bad;
  for (int i = 0; i < 20; ++i) bad.push_back(wide());
  for (const StreamId id : bad) {
    r.blocked.insert(id);
    r.greedy(id);
  }
  r.greedy(good);
  r.step(1s);
  r.total.clear();
  r.step(1s);
  EXPECT_GT(r.total[good], 80'000'000u);
  for (const StreamId id : bad) EXPECT_LE(r.s.got[id].size(), TunnelLimits{}.first_credit);   // and no more is held
}

TEST_F(TunnelRoad, opens_streams_at_once_under_a_bulk_flow) {
  const StreamId id = wide();
  r.greedy(id);
  r.step(1s);
  r.s.take();
  r.open();
  r.step(r.delay + 3ms);               // the link, and what its socket had taken already
  EXPECT_EQ(r.s.take(), std::vector<std::string>{"open 2 nas.home.int"});
}

TEST_F(TunnelRoad, keeps_four_fifths_for_a_neighbour_of_an_abuser) {
  // Two tunnels on one host are two Tunnels: what is shared is time. An abuser's frames must cost no more than they
  // weigh.
  const StreamId good = wide();
  r.greedy(good);
  r.step(1s);
  for (int i = 0; i < 1'000; ++i) {
    const auto id = r.client.open({7, Protocol::udp, 53, "nas"});
    ASSERT_TRUE(id);
    r.client.datagram(*id, Buffer(100));
    r.client.reset(*id, Code::none);
  }
  r.total.clear();
  r.step(1s);
  EXPECT_GT(r.total[good], 80'000'000u);
}

}  // namespace tg::tunnel_model_test
