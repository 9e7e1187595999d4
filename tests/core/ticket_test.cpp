#include "core/encoding.h"
#include "core/ticket.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tg::ticket_test {

using std::chrono::seconds;
const Buffer kKey(32, 7);
const UnixTime kExpires(seconds(1'800'000'000));

RC_GTEST_PROP(Ticket, opens_with_its_key_and_no_other,
              (std::uint64_t connector, std::uint32_t expires, std::uint64_t nonce)) {
  const Ticket t{connector, UnixTime(seconds(expires)), nonce};
  const std::string label = t.label(kKey);
  RC_ASSERT(label.size() == 58u);
  const auto back = Ticket::open(label, kKey, t.expires);
  RC_ASSERT(back.has_value());
  RC_ASSERT(back->connector == connector && back->expires == t.expires && back->nonce == nonce);
  Buffer other = kKey;
  other[*rc::gen::inRange<std::size_t>(0, 32)] ^= 1;
  RC_ASSERT(Ticket::open(label, other, t.expires).error().code == Errc::denied);
}

TEST(Ticket, refuses_every_changed_character) {
  const std::string label = Ticket{1, kExpires, 2}.label(kKey);
  for (std::size_t i = 0; i < label.size(); ++i) {
    for (int c = 0; c < 256; ++c) {
      std::string other = label;
      other[i] = static_cast<char>(c);
      const bool same = std::tolower(c) == label[i];   // DNS names have no case
      EXPECT_EQ(Ticket::open(other, kKey, kExpires).has_value(), same) << i << " " << c;
    }
    EXPECT_EQ(Ticket::open(label.substr(0, i), kKey, kExpires).error().code, Errc::malformed);
  }
  EXPECT_EQ(Ticket::open(label + "a", kKey, kExpires).error().code, Errc::malformed);
  EXPECT_EQ(Ticket::open(std::string(64, 'a'), kKey, kExpires).error().code, Errc::malformed);
  EXPECT_EQ(Ticket::open("", kKey, kExpires).error().code, Errc::malformed);
}

TEST(Ticket, is_good_at_the_relay_it_was_made_for_only) {
  const Buffer one = relay_ticket_key(kKey, "00000000000000a1"), other = relay_ticket_key(kKey, "00000000000000a2");
  const std::string label = Ticket{1, kExpires, 2}.label(one);
  EXPECT_TRUE(Ticket::open(label, one, kExpires));
  EXPECT_EQ(Ticket::open(label, other, kExpires).error().code, Errc::denied);
  EXPECT_EQ(Ticket::open(label, kKey, kExpires).error().code, Errc::denied);
  // The same bytes from another implementation: printf 'tg relay 00000000000000a1' | openssl dgst -sha256 -mac hmac
  // -macopt hexkey:0707…07
  EXPECT_EQ(hex(one), "1ea5c5d72d6e998cac0c16edcce5cfa9b6b6e42e657eb993091c1a109a1b33ec");
}

TEST(Ticket, expires_with_a_leeway_of_a_minute) {
  const std::string label = Ticket{1, kExpires, 2}.label(kKey);
  EXPECT_TRUE(Ticket::open(label, kKey, kExpires + seconds(60)));
  EXPECT_EQ(Ticket::open(label, kKey, kExpires + seconds(61)).error().code, Errc::expired);
}

}  // namespace tg::ticket_test
