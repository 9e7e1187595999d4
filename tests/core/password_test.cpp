#include "core/password.h"

#include <gtest/gtest.h>

#include "core/encoding.h"

namespace tg::password_test {

TEST(PasswordKey, is_that_of_rfc_7914_section_12) {
  EXPECT_EQ(hex(password_key("pleaseletmein", as_bytes("SodiumChloride"), {16384, 8, 1}).value()),
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2");
}

TEST(PasswordKey, is_another_for_each_salt_and_password) {
  const PasswordCost cheap{16, 8, 1};
  const Buffer key = password_key("correct horse", Buffer(16, 1), cheap).value();
  EXPECT_EQ(password_key("correct horse", Buffer(16, 1), cheap).value(), key);
  EXPECT_NE(password_key("correct horse", Buffer(16, 2), cheap).value(), key);
  EXPECT_NE(password_key("Correct horse", Buffer(16, 1), cheap).value(), key);
}

TEST(PasswordKey, is_not_made_at_a_cost_that_a_controller_should_not_ask) {
  const PasswordCost bad[] = {{0, 8, 1},       {1, 8, 1},  {1000, 8, 1}, {1ull << 40, 8, 1}, {1u << 19, 8, 1}, {16, 0, 1},
                              {16, 8, 0},      {16, 8, 17}, {16, 33, 1},  {1ull << 63, 1, 1}};
  for (const PasswordCost& cost : bad) {
    const auto key = password_key("correct horse", Buffer(16, 1), cost);
    ASSERT_FALSE(key) << cost.n;
    EXPECT_EQ(key.error().code, Errc::malformed);
  }
  EXPECT_FALSE(password_key("correct horse", Buffer(7, 1), {16, 8, 1}));
}

TEST(Password, is_long_enough_and_more_than_one_character) {
  EXPECT_TRUE(check_password("correct horse"));
  EXPECT_TRUE(check_password("äöüäö")) << "bytes count";
  for (const std::string& bad : {std::string(), std::string("short"), std::string(9, 'x') , std::string(20, 'x'), std::string(257, 'x') + "y"}) {
    EXPECT_FALSE(check_password(bad)) << bad;
  }
}

}  // namespace tg::password_test
