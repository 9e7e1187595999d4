#include "core/crowd.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tg::crowd_test {

TEST(Crowd, sends_away_the_oldest_of_a_source_that_has_its_share) {
  Crowd crowd(10, 2);
  EXPECT_FALSE(crowd.add(1, "a"));
  EXPECT_FALSE(crowd.add(2, "b"));
  EXPECT_FALSE(crowd.add(3, "a"));
  EXPECT_EQ(crowd.add(4, "a"), 1u);
  EXPECT_EQ(crowd.size(), 3u);
  EXPECT_TRUE(crowd.contains(2) && crowd.contains(3) && crowd.contains(4));
}

TEST(Crowd, sends_away_the_oldest_of_all_when_it_is_full) {
  Crowd crowd(3, 2);
  for (std::uint64_t i = 1; i <= 3; ++i) EXPECT_FALSE(crowd.add(i, std::to_string(i)));
  EXPECT_EQ(crowd.add(4, "4"), 1u);
  crowd.remove(3);
  crowd.remove(3);
  EXPECT_FALSE(crowd.add(5, "5"));
  EXPECT_EQ(crowd.add(6, "6"), 2u);
}

TEST(Crowd, counts_a_64_of_ipv6_and_an_address_of_ipv4_as_one_source) {
  const auto source = [](const char* text) { return source_of(*IpAddress::parse(text)).to_string(); };
  EXPECT_EQ(source("2001:db8::1"), source("2001:db8::ffff:1"));
  EXPECT_NE(source("2001:db8::1"), source("2001:db8:0:1::1"));
  EXPECT_EQ(source("::ffff:192.0.2.1"), source("192.0.2.1"));
  EXPECT_NE(source("192.0.2.1"), source("192.0.2.2"));
}

TEST(Crowd, knows_who_would_go_next) {
  Crowd crowd(3, 3);
  EXPECT_EQ(crowd.oldest(), std::nullopt);
  for (const std::uint64_t member : {4, 5, 6}) crowd.add(member, "a");
  EXPECT_EQ(crowd.oldest(), 4u);
  crowd.remove(4);
  EXPECT_EQ(crowd.oldest(), 5u);
}

RC_GTEST_PROP(Crowd, never_has_more_than_it_may_and_forgets_nobody, ()) {
  const auto total = *rc::gen::inRange<std::size_t>(1, 20), of_one = *rc::gen::inRange<std::size_t>(1, 8);
  Crowd crowd(total, of_one);
  std::map<std::uint64_t, std::string> model;
  for (std::uint64_t i = 1; i < 200; ++i) {
    if (*rc::gen::inRange(0, 4) == 0 && !model.empty()) {
      const std::uint64_t member = *rc::gen::elementOf(std::vector<std::uint64_t>{model.begin()->first, model.rbegin()->first});
      crowd.remove(member);
      model.erase(member);
      continue;
    }
    const std::string source(1, static_cast<char>('a' + *rc::gen::inRange(0, 4)));
    const auto gone = crowd.add(i, source);
    const auto same = [&](const auto& m) { return m.second == source; };
    if (gone) {
      const bool share = static_cast<std::size_t>(std::count_if(model.begin(), model.end(), same)) >= of_one;
      RC_ASSERT(share || model.size() >= total);
      RC_ASSERT(*gone == (share ? std::find_if(model.begin(), model.end(), same)->first : model.begin()->first));
      model.erase(*gone);
    }
    model.emplace(i, source);
    RC_ASSERT(crowd.size() == model.size() && model.size() <= total);
  }
}

}  // namespace tg::crowd_test
