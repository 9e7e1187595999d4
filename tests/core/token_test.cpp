#include "core/token.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/encoding.h"

namespace tg::token_test {

Buffer some_bytes(std::size_t n) { return *rc::gen::container<Buffer>(n, rc::gen::arbitrary<std::uint8_t>()); }

Token token() {
  Token t;
  t.role = Token::Role::connector;
  t.expires = UnixTime(std::chrono::seconds(1'800'000'000));
  t.id = Buffer(16, 1);
  t.secret = Buffer(32, 2);
  t.ca_pin = Buffer(32, 3);
  t.controller = {"tg.example.com", 443};
  return t;
}

RC_GTEST_PROP(Token, survives_its_text, ()) {
  Token t;
  using enum Token::Role;
  t.role = *rc::gen::element(device, connector, relay, service, api);
  t.expires = UnixTime(std::chrono::seconds(*rc::gen::arbitrary<std::uint32_t>()));
  t.id = some_bytes(16);
  t.secret = some_bytes(32);
  t.ca_pin = some_bytes(32);
  t.controller = {*rc::gen::element<std::string>("tg.example.com", "192.0.2.1", "2001:db8::1", std::string(63, 'a')),
                  *rc::gen::inRange<std::uint16_t>(1, 65535)};
  const auto back = Token::parse(t.to_string());
  RC_ASSERT(back.has_value());
  RC_ASSERT(back->role == t.role && back->expires == t.expires && back->id == t.id && back->secret == t.secret);
  RC_ASSERT(back->ca_pin == t.ca_pin && back->controller == t.controller);
}

TEST(Token, has_the_layout_that_the_header_says) {
  const std::string text = token().to_string();
  ASSERT_TRUE(text.starts_with("tg1_"));
  const Buffer b = unbase64url(text.substr(4)).value();
  EXPECT_EQ(hex(Bytes(b).first(5)), "026b49d200");
  EXPECT_EQ(as_text(Bytes(b).subspan(85, 18)), "tg.example.com:443");
  EXPECT_EQ(b.size(), 85u + 18u + 4u);
}

TEST(Token, refuses_every_changed_or_missing_character) {
  const std::string text = token().to_string();
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (const char c : {'A', 'b', '7', '_', ' ', '='}) {
      std::string other = text;
      if (other[i] == c) continue;
      other[i] = c;
      const auto r = Token::parse(other);
      ASSERT_FALSE(r) << i;
      EXPECT_EQ(r.error().code, Errc::malformed);
    }
    EXPECT_FALSE(Token::parse(text.substr(0, i)));
    EXPECT_FALSE(Token::parse(text.substr(0, i) + text.substr(i + 1)));
  }
  EXPECT_FALSE(Token::parse(text + "A"));
  EXPECT_FALSE(Token::parse(" " + text));
  EXPECT_FALSE(Token::parse("tg1_" + std::string(100'000, 'A')));
}

TEST(Token, never_says_its_secret) {
  std::string text = token().to_string();
  text.back() = text.back() == 'A' ? 'B' : 'A';
  EXPECT_EQ(Token::parse(text).error().text.find(text.substr(30, 20)), std::string::npos);
}

std::string sealed(Buffer b) {
  const Buffer digest = sha256(b);
  b.insert(b.end(), digest.begin(), digest.begin() + 4);
  return "tg1_" + base64url(b);
}

TEST(Token, refuses_a_whole_text_with_wrong_content) {
  Buffer good = unbase64url(token().to_string().substr(4)).value();
  good.resize(good.size() - 4);
  EXPECT_TRUE(Token::parse(sealed(good)));
  for (const std::uint8_t role : {0, 6, 255}) {
    Buffer b = good;
    b[0] = role;
    EXPECT_FALSE(Token::parse(sealed(b)));
  }
  for (std::size_t n = 0; n <= 85; ++n)
    EXPECT_FALSE(Token::parse(sealed(Buffer(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n)))));
  Buffer no_port = good;
  no_port.resize(good.size() - 4);
  EXPECT_FALSE(Token::parse(sealed(no_port)));
}

TEST(Token, names_its_roles) {
  EXPECT_EQ(to_string(Token::Role::device), "device");
  EXPECT_EQ(to_string(Token::Role::connector), "connector");
  EXPECT_EQ(to_string(Token::Role::relay), "relay");
  EXPECT_EQ(to_string(Token::Role::service), "service");
  EXPECT_EQ(to_string(Token::Role::api), "api");
  EXPECT_EQ(to_string(static_cast<Token::Role>(9)), "unknown");
  for (const char* name : {"device", "connector", "relay", "service", "api"}) EXPECT_EQ(to_string(role_from(name).value()), name);
  EXPECT_EQ(role_from("unknown"), std::nullopt);
}

}  // namespace tg::token_test
