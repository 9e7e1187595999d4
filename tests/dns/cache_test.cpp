#include "dns/cache.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/dns/asker_harness.h"

namespace tg::dns::cache_test {

const Instant kStart{1h};
Question question(std::string_view text, std::uint16_t type = kTypeA) { return {name(text), type}; }
Answer positive(std::uint32_t ttl) { return {kRcodeNoError, {{a("nas.home.int", "192.168.1.50", ttl)}, {}}}; }

TEST(Cache, keeps_an_answer_as_long_as_its_ttl_and_counts_it_down) {
  Cache cache(10);
  cache.store(question("nas.home.int"), positive(300), kStart);
  EXPECT_EQ(cache.find(question("NAS.home.int"), kStart), positive(300));
  EXPECT_EQ(cache.find(question("nas.home.int"), kStart + 100s), positive(200));
  EXPECT_EQ(cache.find(question("nas.home.int"), kStart + 299999ms), positive(1));
  EXPECT_EQ(cache.find(question("nas.home.int"), kStart + 300s), std::nullopt);
  EXPECT_EQ(cache.size(), 0u);
}

TEST(Cache, tells_types_and_names_apart) {
  Cache cache(10);
  cache.store(question("nas.home.int"), positive(300), kStart);
  EXPECT_EQ(cache.find(question("nas.home.int", kTypeAaaa), kStart), std::nullopt);
  EXPECT_EQ(cache.find(question("nas2.home.int"), kStart), std::nullopt);
}

TEST(Cache, drops_the_least_recently_used_when_full) {
  Cache cache(3);
  for (const char* n : {"a.int", "b.int", "c.int"}) cache.store(question(n), positive(300), kStart);
  cache.find(question("a.int"), kStart);
  cache.store(question("d.int"), positive(300), kStart);
  EXPECT_EQ(cache.size(), 3u);
  EXPECT_TRUE(cache.find(question("a.int"), kStart));
  EXPECT_FALSE(cache.find(question("b.int"), kStart));
  EXPECT_TRUE(cache.find(question("c.int"), kStart));
  EXPECT_TRUE(cache.find(question("d.int"), kStart));
}

TEST(Cache, replaces_an_entry_in_place) {
  Cache cache(2);
  cache.store(question("a.int"), positive(10), kStart);
  cache.store(question("a.int"), positive(20), kStart);
  EXPECT_EQ(cache.size(), 1u);
  EXPECT_EQ(cache.find(question("a.int"), kStart), positive(20));
}

TEST(Cache, refuses_answers_that_are_too_large) {
  Cache cache(2);
  Answer large = positive(300);
  large.records.answers.push_back({name("nas.home.int"), kTypeTxt, kClassIn, 300, Buffer(Cache::kMaxRdata)});
  cache.store(question("nas.home.int"), large, kStart);
  EXPECT_EQ(cache.size(), 0u);
}

TEST(Cache, of_no_capacity_keeps_nothing) {
  Cache cache(0);
  cache.store(question("a.int"), positive(300), kStart);
  EXPECT_EQ(cache.find(question("a.int"), kStart), std::nullopt);
}

TEST(Lifetime, is_the_smallest_ttl_within_1_s_and_1_h) {
  EXPECT_EQ(lifetime(positive(300)), 300s);
  EXPECT_EQ(lifetime(positive(0)), 1s);
  EXPECT_EQ(lifetime(positive(86400)), 1h);
  EXPECT_EQ(lifetime({kRcodeNoError, {{cname("a.int", "b.int", 30), a("b.int", "10.0.0.1", 300)}, {}}}), 30s);
}

TEST(Lifetime, of_a_negative_answer_is_the_soas_and_60_s_at_most) {
  const auto negative = [](std::uint16_t rcode, std::uint32_t ttl, std::uint32_t minimum) {
    return lifetime({rcode, {{}, {soa("home.int", ttl, minimum)}}});
  };
  EXPECT_EQ(negative(kRcodeNxDomain, 40, 50), 40s);
  EXPECT_EQ(negative(kRcodeNoError, 50, 30), 30s);
  EXPECT_EQ(negative(kRcodeNxDomain, 86400, 86400), 60s);
  EXPECT_EQ(negative(kRcodeNxDomain, 86400, 0), 1s);
  EXPECT_EQ(lifetime({kRcodeNxDomain, {{cname("a.int", "b.int", 5)}, {soa("int", 40, 40)}}}), 5s);
}

TEST(Lifetime, is_none_for_a_negative_answer_without_an_soa) {
  EXPECT_EQ(lifetime({kRcodeNxDomain, {}}), std::nullopt);
  EXPECT_EQ(lifetime({kRcodeNoError, {}}), std::nullopt);
}

RC_GTEST_PROP(Cache, never_answers_from_beyond_a_ttl_or_its_capacity, ()) {
  Cache cache(4);
  std::map<int, std::pair<Instant, std::uint32_t>> stored;
  Instant now = kStart;
  const auto steps = *rc::gen::container<std::vector<std::tuple<bool, int, int>>>(
      rc::gen::tuple(rc::gen::arbitrary<bool>(), rc::gen::inRange(0, 8), rc::gen::inRange(0, 10)));
  for (const auto& [store, which, number] : steps) {
    const Question q = question("n" + std::to_string(which) + ".int");
    if (store) {
      cache.store(q, positive(static_cast<std::uint32_t>(number)), now);
      stored[which] = {now, static_cast<std::uint32_t>(std::max(number, 1))};
    } else {
      now += std::chrono::seconds(number) / 2;
      if (cache.find(q, now)) {
        RC_ASSERT(stored.contains(which));
        RC_ASSERT(now < stored[which].first + std::chrono::seconds(stored[which].second));
      }
    }
    RC_ASSERT(cache.size() <= 4u);
  }
}

}  // namespace tg::dns::cache_test
