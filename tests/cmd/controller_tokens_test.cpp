#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "controller_support.h"

namespace tg::controller::controller_tokens_test {

struct TokenTest : testing::Test {
  Folder folder;
  Store store = must(Store::open(folder / "controller.db"));
  void SetUp() override { must(store.apply(home(), false, kNow)); }

  FreshToken fresh(Token::Role role = Token::Role::device, const std::string& subject = "alice@example.com") {
    return must(store.new_token(role, subject, kNow, std::chrono::minutes(10)));
  }
  static Enrolment with(const FreshToken& t, Token::Role role = Token::Role::device) {
    return {t.id, t.secret, role, "laptop", "key"};
  }
};
using AToken = TokenTest;

TEST_F(AToken, lets_one_device_in_and_then_nobody) {
  const FreshToken t = fresh();
  const std::string id = must(store.enroll(with(t), kNow));
  EXPECT_EQ(id.size(), 16u);
  EXPECT_EQ(must(store.model()).device(id)->name, "laptop");
  const auto again = store.enroll(with(t), kNow);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::denied);
  EXPECT_EQ(again.error().text, "the token has been used already: each lets in one machine, once; ask for a new one");
  EXPECT_EQ(must(store.model()).devices.size(), 1u);
}

TEST_F(AToken, expires) {
  const FreshToken t = fresh();
  EXPECT_EQ(t.expires, kNow + std::chrono::minutes(10));
  const auto late = store.enroll(with(t), t.expires);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::expired);
  EXPECT_EQ(late.error().text, "the token expired at 2027-01-15 08:10 UTC; ask for a new one");
  EXPECT_TRUE(store.enroll(with(t), t.expires - std::chrono::seconds(1))) << "a refusal spends nothing";
}

TEST_F(AToken, with_a_wrong_secret_is_told_apart_from_an_unknown_one_by_nobody) {
  const FreshToken t = fresh();
  Enrolment wrong = with(t);
  wrong.secret[31] ^= 1;
  Enrolment unknown = with(t);
  unknown.token_id[0] ^= 1;
  const auto a = store.enroll(wrong, kNow);
  const auto b = store.enroll(unknown, kNow);
  ASSERT_FALSE(a);
  ASSERT_FALSE(b);
  EXPECT_EQ(a.error().code, Errc::denied);
  EXPECT_EQ(a.error().text, b.error().text);
  must(store.enroll(with(t), kNow));
  EXPECT_EQ(store.enroll(wrong, kNow).error().text, a.error().text) << "not even that it was used";
}

TEST_F(AToken, is_for_one_role) {
  const FreshToken t = fresh(Token::Role::connector, "home-1");
  const auto as_device = store.enroll(with(t), kNow);
  ASSERT_FALSE(as_device);
  EXPECT_EQ(as_device.error().text, "the token is for a connector, not for a device");
  const std::string id = must(store.enroll(with(t, Token::Role::connector), kNow));
  EXPECT_EQ(must(store.model()).connector(id)->name, "home-1");
}

TEST_F(AToken, is_made_only_for_somebody_who_is_there) {
  const auto user = store.new_token(Token::Role::device, "carol@example.com", kNow, std::chrono::minutes(1));
  ASSERT_FALSE(user);
  EXPECT_EQ(user.error().code, Errc::not_found);
  EXPECT_EQ(user.error().text, "there is no user \"carol@example.com\"; see: tg controller user list");
  EXPECT_EQ(store.new_token(Token::Role::connector, "home-9", kNow, std::chrono::minutes(1)).error().code,
            Errc::not_found);
}

TEST_F(AToken, dies_with_its_user_even_when_a_namesake_comes) {
  const FreshToken t = fresh();
  DesiredState without = home();
  without.users.erase(without.users.begin());
  without.groups[0].members.clear();
  must(store.apply(without, true, kNow));
  must(store.apply(home(), true, kNow));
  const auto in = store.enroll(with(t), kNow);
  ASSERT_FALSE(in);
  EXPECT_EQ(in.error().code, Errc::denied);
}

TEST_F(AToken, of_a_connector_gives_a_new_id_to_the_machine_that_takes_the_place_of_another) {
  const std::string planned = must(store.model()).connectors[0].id;
  const FreshToken early = fresh(Token::Role::connector, "home-1");
  const std::string first = enrolled(store, Token::Role::connector, "home-1", "old");
  EXPECT_EQ(first, planned) << "nobody had the place";
  const std::string second = enrolled(store, Token::Role::connector, "home-1", "new");
  EXPECT_NE(first, second);
  EXPECT_EQ(must(store.model()).connector(first), nullptr);
  EXPECT_EQ(must(store.model()).connector(second)->key, "new");
  EXPECT_EQ(must(store.model()).connectors.size(), 1u);
  const std::string third = must(store.enroll(with(early, Token::Role::connector), kNow));
  EXPECT_NE(third, second);
  EXPECT_EQ(must(store.model()).connector(third)->key, "key") << "a token from before is still for this place";
}

TEST_F(AToken, lets_a_relay_in) {
  DesiredState wanted = home();
  wanted.relays = {{"relay-1", "relay.example.com:8444", {}}};
  must(store.apply(wanted, false, kNow));
  const std::string id = enrolled(store, Token::Role::relay, "relay-1", "its key");
  const Model model = must(store.model());
  ASSERT_NE(model.relay(id), nullptr);
  EXPECT_EQ(model.relay(id)->key, "its key");
  EXPECT_EQ(model.key("relay", id), "its key");
  const auto unknown = store.new_token(Token::Role::relay, "relay-9", kNow, std::chrono::minutes(1));
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().text, "there is no relay \"relay-9\"; see: tg controller relay list");
}

TEST_F(AToken, leaves_no_secret_in_the_files) {
  const FreshToken t = fresh();
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    FILE* f = std::fopen(entry.path().c_str(), "rb");
    std::string content(std::filesystem::file_size(entry.path()), 0);
    ASSERT_EQ(std::fread(content.data(), 1, content.size(), f), content.size());
    std::fclose(f);
    EXPECT_EQ(content.find(as_text(t.secret)), std::string::npos) << entry.path();
  }
}

// Row 11 of the threats.
TEST_F(AToken, shown_a_thousand_times_at_once_lets_in_exactly_one) {
  const FreshToken t = fresh();
  constexpr int kThreads = 40;
  constexpr int kTries = 25;
  std::atomic<int> in = 0;
  std::atomic<int> refused = 0;
  std::atomic<bool> go = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      Store own = must(Store::open(folder / "controller.db"));
      while (!go) std::this_thread::yield();
      for (int k = 0; k < kTries; ++k) {
        const auto r = own.enroll(with(t), kNow);
        if (r) ++in;
        else if (r.error().code == Errc::denied) ++refused;
      }
    });
  }
  go = true;
  for (std::thread& one : threads) one.join();
  EXPECT_EQ(in, 1);
  EXPECT_EQ(refused, kThreads * kTries - 1);
  EXPECT_EQ(must(store.model()).devices.size(), 1u);
}

}  // namespace tg::controller::controller_tokens_test
