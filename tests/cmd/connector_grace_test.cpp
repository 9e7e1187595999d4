#include "cmd/connector/session.h"

#include <gtest/gtest.h>

namespace tg::connector::connector_grace_test {

using std::chrono::hours;
using std::chrono::seconds;

const Instant kStart{hours(1000)};

TEST(Grace, is_given_while_the_controller_is_away_and_a_moment_after) {
  Rules rules;
  rules.self.grace = hours(8);
  EXPECT_EQ(rules.grace(kStart), hours(8));
  rules.controller_since = kStart;
  EXPECT_EQ(rules.grace(kStart + seconds(9)), hours(8)) << "the devices are fetching new grants";
  EXPECT_EQ(rules.grace(kStart + seconds(11)), seconds(0));
  rules.controller_since.reset();
  EXPECT_EQ(rules.grace(kStart + hours(5)), hours(8));
}

TEST(Grace, is_nothing_unless_it_was_set) {
  const Rules rules;
  EXPECT_EQ(rules.grace(kStart), seconds(0));
}

}  // namespace tg::connector::connector_grace_test
