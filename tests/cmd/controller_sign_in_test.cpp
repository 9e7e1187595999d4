#include <gtest/gtest.h>

#include "cmd/controller/edits.h"
#include "cmd/controller/reach.h"
#include "cmd/controller/views.h"
#include "controller_support.h"
#include "core/json.h"

namespace tg::controller {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

// company is home(), a provider that makes users of example.com's people, and a group of whom it calls engineers, who reach a wiki.
DesiredState company() {
  DesiredState s = home();
  s.identity_providers = {{"company", "https://id.example.com", "tg", {"openid", "email"}, "email", false, "groups", {"example.com"},
                           hours(8), {}}};
  s.groups.push_back({"engineers", {}, {}, {{"company", "engineering"}}});
  s.resources.push_back(resource("Wiki", "wiki.home.int", "engineers"));
  return s;
}

struct SignInTest : testing::Test {
  Folder folder;
  Store store = must(Store::open(folder / "controller.db"));
  SignInTest() { must(store.apply(company(), false, kNow)); }

  static SignIn from(const std::string& subject, const std::string& email, std::vector<std::string> groups = {},
                     const std::string& device = "") {
    return {"company", {subject, email, std::move(groups), {"pwd"}, "1", kNow}, device, "laptop", "key-" + subject};
  }
  Result<SignedIn> sign_in(const std::string& subject, const std::string& email, std::vector<std::string> groups = {},
                           const std::string& device = "", UnixTime now = kNow) {
    return store.sign_in(from(subject, email, std::move(groups), device), now, "198.51.100.7");
  }
  std::string refused(Result<SignedIn> in, Errc code = Errc::denied) {
    if (in) return "it was let in";
    EXPECT_EQ(to_string(in.error().code), to_string(code));
    return in.error().text;
  }
  std::vector<std::string> reached(const std::string& user) {
    const Directory directory(must(store.model()));
    std::vector<std::string> out;
    for (const ResourceRecord* r : directory.reach(user)) out.push_back(r->resource.name);
    return out;
  }
  Generation generation(const std::string& device) {
    for (const Revocation& r : must(store.model()).revocations) {
      if (r.device == device) return r.generation;
    }
    return 0;
  }
  Json last_entry() {
    Json out = parse_json(must(store.audit(store.audit_last() - 1, 1)).at(0)).value();
    return out;
  }
};
using ASignIn = SignInTest;
using Names = std::vector<std::string>;

TEST_F(ASignIn, makes_a_device_with_a_session_that_ends) {
  const SignedIn in = must(sign_in("a-1", "Alice@Example.com"));
  EXPECT_EQ(in.user, "alice@example.com");
  EXPECT_EQ(in.until, kNow + hours(8));
  const Model model = must(store.model());
  const DeviceRecord* device = model.device(in.device);
  ASSERT_NE(device, nullptr);
  EXPECT_EQ(device->user, "alice@example.com");
  EXPECT_EQ(device->key, "key-a-1");
  EXPECT_TRUE(device->signs_in);
  ASSERT_TRUE(device->session);
  EXPECT_EQ(device->session->provider, "company");
  EXPECT_EQ(device->session->methods, Names{"pwd"});
  EXPECT_TRUE(device->let_in(kNow));
  EXPECT_TRUE(device->let_in(in.until - seconds(1)));
  EXPECT_FALSE(device->let_in(in.until));
}

TEST_F(ASignIn, is_in_the_audit_log_as_the_persons_own_doing) {
  const SignedIn in = must(sign_in("a-1", "alice@example.com"));
  const Json entry = last_entry();
  EXPECT_EQ(entry["who"], "alice@example.com by company");
  EXPECT_EQ(entry["from"], "198.51.100.7");
  EXPECT_EQ(entry["action"], "sign-in");
  EXPECT_EQ(entry["name"], in.device);
  EXPECT_EQ(entry["before"], Json());
  EXPECT_EQ(entry["after"]["user"], "alice@example.com");
}

TEST_F(ASignIn, of_a_known_device_begins_a_new_session_and_leaves_its_flows_alone) {
  const SignedIn in = must(sign_in("a-1", "alice@example.com"));
  const SignedIn again = must(sign_in("a-1", "alice@example.com", {}, in.device, kNow + hours(1)));
  EXPECT_EQ(again.device, in.device);
  EXPECT_EQ(again.until, kNow + hours(9));
  EXPECT_EQ(must(store.model()).devices.size(), 1u);
  EXPECT_EQ(generation(in.device), 0u);
}

TEST_F(ASignIn, makes_a_user_of_somebody_of_the_providers_domains_and_of_nobody_else) {
  EXPECT_EQ(must(sign_in("c-1", "carol@example.com")).user, "carol@example.com");
  EXPECT_NE(refused(sign_in("m-1", "mallory@elsewhere.example.com")).find("is no user here"), std::string::npos);
  EXPECT_NE(refused(sign_in("m-1", "mallory@example.com.evil.net")).find("is no user here"), std::string::npos);
  EXPECT_NE(refused(sign_in("m-2", "no address")).find("is not an e-mail address"), std::string::npos);
  const Model model = must(store.model());
  ASSERT_EQ(model.users.size(), 3u);
  EXPECT_EQ(model.users[2].email, "carol@example.com");
  EXPECT_TRUE(model.users[2].by_sign_in);
  EXPECT_FALSE(model.users[0].by_sign_in);
  EXPECT_EQ(model.devices.size(), 1u) << "a refusal leaves nothing behind";
}

TEST_F(ASignIn, goes_by_the_account_and_not_by_the_address_once_it_is_known) {
  must(sign_in("a-1", "alice@example.com"));
  // The address was given to somebody else at the provider.
  const std::string why = refused(sign_in("a-2", "alice@example.com"));
  EXPECT_NE(why.find("--forget-accounts"), std::string::npos) << why;
  // She has another address there now, and stays who she is.
  EXPECT_EQ(must(sign_in("a-1", "alice.smith@example.com")).user, "alice@example.com");
  must(store.forget_accounts("alice@example.com", kNow));
  EXPECT_EQ(must(sign_in("a-2", "alice@example.com")).user, "alice@example.com");
}

TEST_F(ASignIn, forgets_accounts_when_the_provider_becomes_another_issuer) {
  const SignedIn in = must(sign_in("a-1", "alice@example.com", {"engineering"}));
  DesiredState other = company();
  other.identity_providers[0].issuer = "https://other.example.com";
  must(store.apply(other, false, kNow));
  EXPECT_FALSE(must(store.model()).device(in.device)->session);
  EXPECT_EQ(generation(in.device), 1u);
  EXPECT_EQ(reached("alice@example.com"), Names{"NAS"});
  EXPECT_TRUE(sign_in("a-2", "alice@example.com"));
}

TEST_F(ASignIn, cannot_take_somebody_elses_device) {
  const SignedIn alice = must(sign_in("a-1", "alice@example.com"));
  const std::string why = refused(sign_in("b-1", "bob@example.com", {}, alice.device));
  EXPECT_NE(why.find("logout"), std::string::npos) << why;
  must(store.remove_device(alice.device, kNow));
  refused(sign_in("a-1", "alice@example.com", {}, alice.device));
}

TEST_F(ASignIn, at_a_provider_that_is_gone_is_refused) {
  DesiredState without = company();
  without.identity_providers.clear();
  without.groups[2].claims.clear();
  must(store.apply(without, true, kNow));
  EXPECT_NE(refused(sign_in("a-1", "alice@example.com")).find("has been removed"), std::string::npos);
}

TEST_F(ASignIn, puts_a_person_into_the_groups_of_his_claims_until_the_next_one) {
  const SignedIn in = must(sign_in("b-1", "bob@example.com", {"engineering", "other"}));
  EXPECT_EQ(reached("bob@example.com"), Names{"Wiki"});
  EXPECT_EQ(must(store.model()).groups[0].by_claim, Names{"bob@example.com"});
  EXPECT_EQ(generation(in.device), 0u);
  must(sign_in("b-1", "bob@example.com", {"other"}, in.device));
  EXPECT_EQ(reached("bob@example.com"), Names{});
  EXPECT_EQ(generation(in.device), 1u) << "what he lost ends on live flows too";
}

TEST_F(ASignIn, counts_a_member_by_name_and_by_claim_once) {
  DesiredState both = company();
  both.groups[2].members = {"bob@example.com"};
  must(store.apply(both, false, kNow));
  const SignedIn in = must(sign_in("b-1", "bob@example.com", {"engineering"}));
  EXPECT_EQ(reached("bob@example.com"), Names{"Wiki"});
  must(sign_in("b-1", "bob@example.com", {}, in.device));
  EXPECT_EQ(reached("bob@example.com"), Names{"Wiki"});
  EXPECT_EQ(generation(in.device), 0u);
}

TEST_F(ASignIn, is_tested_and_limited_as_members_are) {
  must(sign_in("b-1", "bob@example.com", {"engineering"}));
  DesiredState wanted = company();
  wanted.tests = {{"bob@example.com", {}, {must(parse_target("wiki.home.int:80"))}, {}}};
  EXPECT_EQ(must(store.examine(wanted, false)).failures.size(), 1u);
}

TEST_F(ASignIn, ends_by_an_administrators_word_or_by_itself_and_voids_grants) {
  const SignedIn in = must(sign_in("a-1", "alice@example.com"));
  must(store.end_session(in.device, {kNow, "root", "socket"}));
  EXPECT_EQ(generation(in.device), 1u);
  EXPECT_EQ(last_entry()["action"], "end");
  EXPECT_FALSE(store.end_session(in.device, kNow));
  EXPECT_FALSE(must(store.model()).device(in.device)->let_in(kNow));

  must(sign_in("a-1", "alice@example.com", {}, in.device));
  EXPECT_FALSE(must(store.end_sessions(kNow + hours(8) - seconds(1))));
  EXPECT_TRUE(must(store.end_sessions(kNow + hours(8))));
  EXPECT_EQ(generation(in.device), 2u);
  EXPECT_EQ(last_entry()["who"], "tg");
}

TEST_F(ASignIn, does_not_end_what_a_device_with_a_token_may) {
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-t");
  EXPECT_TRUE(must(store.model()).device(device)->let_in(kNow + hours(1000)));
  must(sign_in("a-1", "alice@example.com", {}, device));
  must(store.end_session(device, kNow));
  EXPECT_EQ(generation(device), 0u);
  EXPECT_TRUE(must(store.model()).device(device)->let_in(kNow));
}

TEST_F(ASignIn, is_no_business_of_a_file_that_does_not_name_its_user) {
  must(sign_in("c-1", "carol@example.com"));
  EXPECT_TRUE(must(store.plan(company(), true)).empty()) << "--prune leaves her alone";
  EXPECT_TRUE(must(store.apply(company(), true, kNow)).empty());
  DesiredState named = company();
  named.users.push_back({"carol@example.com", {}});
  const auto changes = must(store.apply(named, true, kNow));
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(to_string(changes[0]), "~ user carol@example.com: user by sign-in -> listed");
  EXPECT_FALSE(must(store.model()).users[2].by_sign_in);
  EXPECT_TRUE(must(store.plan(named, true)).empty());
}

TEST_F(ASignIn, lists_a_user_whom_an_administrator_makes_a_member_and_lets_him_be_deleted) {
  const SignedIn in = must(sign_in("c-1", "carol@example.com"));
  must(store.edit([](DesiredState& s) { return update_entry(s, "group", "family", {{"add", {"carol@example.com"}}}); }, kNow));
  EXPECT_FALSE(must(store.model()).users[2].by_sign_in);
  const SignedIn dave = must(sign_in("d-1", "dave@example.com"));
  must(store.edit([](DesiredState& s) { return delete_entry(s, "user", "dave@example.com"); }, kNow));
  EXPECT_EQ(must(store.model()).device(dave.device), nullptr);
  EXPECT_NE(must(store.model()).device(in.device), nullptr);
}

TEST_F(ASignIn, keeps_the_secret_of_a_provider_across_changes_and_renames_of_it) {
  EXPECT_FALSE(must(store.provider_secret("company")));
  must(store.set_provider_secret("company", as_bytes("sealed"), kNow));
  DesiredState other = company();
  other.identity_providers[0].session = hours(1);
  must(store.apply(other, false, kNow));
  must(store.rename("identity-provider", "company", "firm", kNow));
  EXPECT_EQ(must(store.provider_secret("firm")).value(), Buffer({'s', 'e', 'a', 'l', 'e', 'd'}));
  EXPECT_TRUE(must(store.model()).identity_providers[0].has_secret);
  for (std::uint64_t n = 0; n < store.audit_last(); ++n) EXPECT_EQ(must(store.audit(n, 1)).at(0).find("sealed"), std::string::npos);
  must(store.set_provider_secret("firm", {}, kNow));
  EXPECT_FALSE(must(store.model()).identity_providers[0].has_secret);
  EXPECT_FALSE(store.set_provider_secret("company", {}, kNow));
}

TEST_F(ASignIn, survives_a_restart) {
  const SignedIn in = must(sign_in("b-1", "bob@example.com", {"engineering"}));
  store = must(Store::open(folder / "controller.db"));
  EXPECT_EQ(reached("bob@example.com"), Names{"Wiki"});
  EXPECT_EQ(must(store.model()).device(in.device)->session->expires, kNow + hours(8));
  EXPECT_TRUE(plan(desired(must(store.model())), company(), true).empty());
}

TEST_F(ASignIn, gives_a_view_with_grants_that_end_with_the_session) {
  const SignedIn in = must(sign_in("a-1", "alice@example.com"));
  const LeaseKeys keys{"tg-12345678", Buffer(32, 7), Buffer(32, 9)};
  Leases leases("alice@example.com", in.device, "thumb", 1);
  const auto view_at = [&](UnixTime now) { return device_view(Directory(must(store.model())), {}, {}, keys, in.device, leases, now); };
  const auto grant_at = [&](UnixTime now) {
    return must(Grant::verify(view_at(now).at("grant/home").get<std::string>(), ed25519_public_key(keys.grant_seed), keys.instance,
                              "home", "thumb", now));
  };
  EXPECT_EQ(grant_at(kNow).expires, kNow + kGrantLifetime);
  EXPECT_EQ(leases.next_renewal(), kNow + kGrantLifetime / 2);
  const UnixTime late = in.until - std::chrono::minutes(10);
  EXPECT_EQ(grant_at(late).expires, in.until);
  EXPECT_EQ(leases.next_renewal(), UnixTime::max()) << "nothing better can be had";
  const auto self = must(device_self_from_json(view_at(late).at("self")));
  EXPECT_FALSE(self.sign_in);
  EXPECT_EQ(self.provider, "company");
  EXPECT_EQ(self.until, in.until);

  const View over = view_at(in.until);
  EXPECT_TRUE(must(device_self_from_json(over.at("self"))).sign_in);
  EXPECT_FALSE(over.contains("grant/home"));
  EXPECT_EQ(std::count_if(over.begin(), over.end(), [](const auto& one) { return one.first.starts_with("resource/"); }), 1)
      << "what a sign-in would give is known";
  EXPECT_EQ(std::count_if(over.begin(), over.end(), [](const auto& one) { return one.first.starts_with("connector/"); }), 0);

  must(sign_in("a-1", "alice@example.com", {}, in.device, late));
  EXPECT_EQ(grant_at(late).expires, late + kGrantLifetime) << "a new session, a new grant";
}

}  // namespace
}  // namespace tg::controller
