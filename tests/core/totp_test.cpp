#include "core/totp.h"

#include <gtest/gtest.h>

namespace tg::totp_test {

using std::chrono::seconds;

const Buffer kRfc = [] {
  const Bytes text = as_bytes("12345678901234567890");
  return Buffer(text.begin(), text.end());
}();

TEST(Totp, is_that_of_rfc_6238_appendix_b) {
  const std::pair<std::int64_t, const char*> known[] = {{59, "287082"},         {1111111109, "081804"}, {1111111111, "050471"},
                                                        {1234567890, "005924"}, {2000000000, "279037"}, {20000000000, "353130"}};
  for (const auto& [time, code] : known) EXPECT_EQ(totp_code(kRfc, totp_step(UnixTime(seconds(time)))), code) << time;
}

TEST(Totp, takes_the_code_of_now_and_of_the_steps_beside_it) {
  const UnixTime now(seconds(1'800'000'015));
  const std::uint64_t step = totp_step(now);
  for (int off = -3; off <= 3; ++off) {
    const std::uint64_t at = step + static_cast<std::uint64_t>(off);
    const auto found = totp_match(kRfc, totp_code(kRfc, at), now, 0);
    EXPECT_EQ(found.has_value(), off >= -1 && off <= 1) << off;
    EXPECT_EQ(found.value_or(at), at);
  }
}

TEST(Totp, takes_each_code_once) {
  const UnixTime now(seconds(1'800'000'015));
  const std::uint64_t step = totp_step(now);
  EXPECT_TRUE(totp_match(kRfc, totp_code(kRfc, step), now, step - 1));
  EXPECT_FALSE(totp_match(kRfc, totp_code(kRfc, step), now, step));
  EXPECT_FALSE(totp_match(kRfc, totp_code(kRfc, step - 1), now, step)) << "nor an older one afterwards";
  EXPECT_TRUE(totp_match(kRfc, totp_code(kRfc, step + 1), now, step));
}

TEST(Totp, takes_nothing_else) {
  const UnixTime now(seconds(59));
  EXPECT_TRUE(totp_match(kRfc, "287 082", now, 0)) << "as apps write it";
  for (const char* wrong : {"", "287083", "28708", "2870822", "abcdef", "94287082", "-87082", "287082\n"}) EXPECT_FALSE(totp_match(kRfc, wrong, now, 0));
  EXPECT_FALSE(totp_match(Buffer(20, 1), "287082", now, 0));
}

TEST(Totp, is_written_as_authenticator_apps_read_it) {
  EXPECT_EQ(totp_uri(kRfc, "alice@example.com", "tg tg-12345678"),
            "otpauth://totp/tg%20tg-12345678:alice%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=tg%20tg-12345678");
}

}  // namespace tg::totp_test
