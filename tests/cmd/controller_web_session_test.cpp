#include <gtest/gtest.h>

#include "controller_support.h"
#include "core/encoding.h"
#include "core/json.h"

namespace tg::controller::controller_web_session_test {

using std::chrono::hours;
using std::chrono::seconds;

DesiredState company() {
  DesiredState s = home();
  s.identity_providers = {{"company", "https://id.example.com", "tg", {"openid", "email"}, "email", false, "groups",
                           {"example.com"}, hours(24), {}}};
  s.users[0].role = Role::owner;
  return s;
}

struct AWebSession : testing::Test {
  Folder folder;
  Store store = must(Store::open(folder / "controller.db"));
  AWebSession() { must(store.apply(company(), false, kNow)); }

  static SignIn from(const std::string& subject, const std::string& email) {
    const IdentityProviderSpec p = company().identity_providers[0];
    return {{p.name, p.issuer, p.client_id, "", p.scopes, p.email_claim, p.trust_email, p.groups_claim},
            {subject, email, {}, {"pwd"}, "1", kNow}, "", "", "", {}};
  }
  static Buffer id(const std::string& cookie) { return sha256(as_bytes(cookie)); }
  Result<WebCaller> sign_in(const std::string& cookie, const std::string& email = "alice@example.com", UnixTime now = kNow,
                            const std::string& subject = "a-1") {
    return store.web_sign_in(from(subject, email), id(cookie), now, "198.51.100.7");
  }
  std::string user(const std::string& cookie, UnixTime now = kNow) {
    const auto who = must(store.web_caller(id(cookie), now));
    return who ? who->user : "";
  }
  Json entry(std::uint64_t back = 0) { return parse_json(must(store.audit(store.audit_last() - 1 - back, 1)).at(0)).value(); }
};

TEST_F(AWebSession, stands_for_its_user_until_it_ends) {
  const WebCaller in = must(sign_in("c"));
  EXPECT_EQ(in.user, "alice@example.com");
  EXPECT_EQ(in.role, Role::owner);
  EXPECT_EQ(in.until, kNow + Store::kWebSessionMost) << "though the provider's sessions are longer";
  EXPECT_EQ(user("c"), "alice@example.com");
  EXPECT_EQ(user("c", in.until - seconds(1)), "alice@example.com");
  EXPECT_EQ(user("c", in.until), "");
  EXPECT_EQ(user("d"), "");
  EXPECT_EQ(user(""), "");
  EXPECT_TRUE(must(store.model()).devices.empty()) << "a browser is no device";
  DesiredState shorter = company();
  shorter.identity_providers[0].session = hours(2);
  must(store.apply(shorter, false, kNow));
  EXPECT_EQ(user("c", kNow + hours(2)), "") << "also one that had begun";
  EXPECT_EQ(must(sign_in("e")).until, kNow + hours(2));
}

TEST_F(AWebSession, is_in_the_audit_log_from_its_beginning_to_its_end) {
  must(sign_in("c"));
  const Json began = entry();
  EXPECT_EQ(began["who"], "alice@example.com by company");
  EXPECT_EQ(began["from"], "198.51.100.7");
  EXPECT_EQ(began["action"], "sign-in");
  EXPECT_EQ(began["kind"], "web-session");
  EXPECT_EQ(began["name"], hex(Bytes(id("c")).first(4)));
  EXPECT_EQ(began["after"]["user"], "alice@example.com");
  EXPECT_EQ(began["after"]["provider"], "company");
  must(store.end_web_session(id("c"), {kNow, "alice@example.com, in a browser", "198.51.100.7"}));
  EXPECT_EQ(entry()["action"], "sign-out");
  EXPECT_EQ(entry()["before"], began["after"]);
  EXPECT_EQ(user("c"), "");
  const auto again = store.end_web_session(id("c"), kNow);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::not_found);
}

TEST_F(AWebSession, is_for_those_who_may_sign_in_on_a_device) {
  EXPECT_EQ(must(sign_in("c", "carol@example.com", kNow, "c-1")).user, "carol@example.com") << "of the provider's domain";
  EXPECT_EQ(entry(1)["action"], "create");
  const auto no = sign_in("m", "mallory@elsewhere.example.com", kNow, "m-1");
  ASSERT_FALSE(no);
  EXPECT_EQ(no.error().code, Errc::denied);
  EXPECT_EQ(user("m"), "");
  must(sign_in("a"));
  ASSERT_FALSE(sign_in("b", "alice@example.com", kNow, "a-2")) << "another account with her address";
  EXPECT_EQ(must(sign_in("e", "alice.smith@example.net")).user, "alice@example.com") << "the account says who it is";
}

TEST_F(AWebSession, ends_with_what_it_rests_on) {
  const auto begun = [&](const std::string& cookie) {
    must(sign_in(cookie));
    EXPECT_EQ(user(cookie), "alice@example.com");
  };
  begun("blocked");
  DesiredState blocked = company();
  blocked.users[0].blocked = true;
  must(store.apply(blocked, false, kNow));
  EXPECT_EQ(user("blocked"), "");
  EXPECT_FALSE(sign_in("no"));
  must(store.apply(company(), false, kNow));
  EXPECT_EQ(user("blocked"), "") << "it does not come back";

  begun("accounts");
  must(store.forget_accounts("alice@example.com", kNow));
  EXPECT_EQ(user("accounts"), "");

  begun("issuer");
  DesiredState other = company();
  other.identity_providers[0].issuer = "https://other.example.com";
  must(store.apply(other, false, kNow));
  EXPECT_EQ(user("issuer"), "");
  must(store.apply(company(), false, kNow));

  begun("restored");
  must(store.void_all_grants());
  EXPECT_EQ(user("restored"), "");

  begun("provider");
  DesiredState none = company();
  none.identity_providers.clear();
  must(store.apply(none, true, kNow));
  EXPECT_EQ(user("provider"), "");
  must(store.apply(company(), false, kNow));

  begun("user");
  must(store.edit([](DesiredState& s) -> Result<> {
    std::erase_if(s.users, [](const UserSpec& u) { return u.email == "alice@example.com"; });
    for (GroupSpec& g : s.groups) g.members.clear();
    return {};
  }, kNow));
  EXPECT_EQ(user("user"), "");
}

TEST_F(AWebSession, has_the_role_that_its_user_has_now) {
  must(sign_in("c"));
  DesiredState less = company();
  less.users[0].role = Role::auditor;
  less.users[1].role = Role::owner;
  must(store.apply(less, false, kNow));
  EXPECT_EQ(must(store.web_caller(id("c"), kNow))->role, Role::auditor);
}

TEST_F(AWebSession, is_forgotten_when_it_is_over) {
  must(sign_in("c"));
  must(sign_in("d", "alice@example.com", kNow + hours(1)));
  const std::uint64_t before = store.audit_last();
  must(store.end_web_sessions(kNow + hours(11)));
  EXPECT_EQ(store.audit_last(), before) << "nothing to do";
  must(store.end_web_sessions(kNow + hours(12)));
  EXPECT_EQ(store.audit_last(), before + 1);
  EXPECT_EQ(entry()["action"], "end");
  EXPECT_EQ(entry()["name"], hex(Bytes(id("c")).first(4)));
  EXPECT_EQ(user("c"), "");
  EXPECT_EQ(user("d"), "alice@example.com");
}

TEST_F(AWebSession, takes_the_place_of_the_oldest_where_there_are_too_many) {
  for (int i = 0; i <= Store::kWebSessionsMost; ++i) {
    must(sign_in("c" + std::to_string(i), "alice@example.com", kNow + seconds(i)));
  }
  EXPECT_EQ(user("c0"), "");
  for (int i = 1; i <= Store::kWebSessionsMost; ++i) EXPECT_EQ(user("c" + std::to_string(i)), "alice@example.com") << i;
}

}  // namespace tg::controller::controller_web_session_test
