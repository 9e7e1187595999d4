#include "core/awaited_echoes.h"

#include <gtest/gtest.h>

namespace tg::awaited_echoes_test {

TEST(AwaitedEchoes, take_what_was_asked_for_in_any_order_and_once) {
  AwaitedEchoes echoes;
  EXPECT_FALSE(echoes.take(0)) << "nothing was asked for";
  for (const std::uint16_t s : {1, 2, 65535}) echoes.sent(s);
  EXPECT_FALSE(echoes.take(3));
  for (const std::uint16_t s : {65535, 1, 2}) {
    EXPECT_TRUE(echoes.take(s)) << s;
    EXPECT_FALSE(echoes.take(s)) << s << " came twice";
  }
}

TEST(AwaitedEchoes, count_a_sequence_as_often_as_it_was_sent) {
  AwaitedEchoes echoes;
  echoes.sent(7);
  echoes.sent(7);
  EXPECT_TRUE(echoes.take(7));
  EXPECT_TRUE(echoes.take(7));
  EXPECT_FALSE(echoes.take(7));
}

TEST(AwaitedEchoes, are_bounded_and_forget_the_oldest) {
  AwaitedEchoes echoes;
  const std::size_t sent = AwaitedEchoes::kMost + 10;
  for (std::size_t i = 0; i < sent; ++i) echoes.sent(static_cast<std::uint16_t>(i));
  EXPECT_FALSE(echoes.take(9));
  EXPECT_TRUE(echoes.take(10));
  EXPECT_TRUE(echoes.take(static_cast<std::uint16_t>(sent - 1)));
  std::size_t taken = 2;
  for (int i = 0; i < 65536; ++i) taken += echoes.take(static_cast<std::uint16_t>(i));
  EXPECT_EQ(taken, AwaitedEchoes::kMost) << "a connector that tries them all";
}

}  // namespace tg::awaited_echoes_test
