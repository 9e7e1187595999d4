#include <gtest/gtest.h>

#include "cmd/controller/desired_file.h"
#include "cmd/controller/edits.h"
#include "cmd/controller/views.h"
#include "controller_support.h"
#include "core/json.h"

namespace tg::controller::controller_sign_in_test {

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

  static OidcProvider asked() {
    const IdentityProviderSpec p = company().identity_providers[0];
    return {p.name, p.issuer, p.client_id, "", p.scopes, p.email_claim, p.trust_email, p.groups_claim};
  }
  static SignIn from(const std::string& subject, const std::string& email, std::vector<std::string> groups = {},
                     const std::string& device = "") {
    return {asked(), {subject, email, std::move(groups), {"pwd"}, "1", kNow}, device, "laptop", "key-" + subject, {}};
  }
  Result<SignedIn> sign_in(const std::string& subject, const std::string& email, std::vector<std::string> groups = {},
                           const std::string& device = "", UnixTime now = kNow) {
    return store.sign_in(from(subject, email, std::move(groups), device), now, "198.51.100.7");
  }
  std::string refused(Result<SignedIn> in, Errc code = Errc::denied) {
    EXPECT_FALSE(in) << "it was let in";
    if (in) return "";
    EXPECT_EQ(to_string(in.error().code), to_string(code));
    return in.error().text;
  }
  std::vector<std::string> reached(const std::string& user) {
    const Directory directory(must(store.model()));
    std::vector<std::string> out;
    for (const Reached& r : directory.reach(user).reached) out.push_back(r.resource->resource.name);
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
  must(sign_in("a-1", "other@example.net", {}, in.device));
  EXPECT_EQ(last_entry()["who"], "alice@example.com by company") << "whatever the address is there now";
  must(sign_in("c-1", "carol@example.com"));
  const Json made = parse_json(must(store.audit(store.audit_last() - 2, 1)).at(0)).value();
  EXPECT_EQ(made["action"], "create");
  EXPECT_EQ(made["name"], "carol@example.com");
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
  // She has another address there now, also of another domain, and stays who she is.
  EXPECT_EQ(must(sign_in("a-1", "alice.smith@example.net")).user, "alice@example.com");
  must(store.forget_accounts("alice@example.com", kNow));
  for (const DeviceRecord& d : must(store.model()).devices) EXPECT_FALSE(d.session) << "nor what it gave";
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
  refused(sign_in("a-1", "alice@example.com"));   // begun at the former one
  SignIn at_other = from("a-2", "alice@example.com");
  at_other.provider.issuer = "https://other.example.com";
  EXPECT_TRUE(store.sign_in(at_other, kNow));
}

TEST_F(ASignIn, begun_before_the_provider_was_changed_is_none) {
  const auto change = [&](auto&& what) {
    DesiredState other = company();
    what(other.identity_providers[0]);
    must(store.apply(other, false, kNow));
    EXPECT_NE(refused(sign_in("a-1", "alice@example.com")).find("was changed here meanwhile"), std::string::npos);
    must(store.apply(company(), false, kNow));
  };
  change([](auto& p) { p.issuer = "https://other.example.com"; });
  change([](auto& p) { p.client_id = "other"; });
  change([](auto& p) { p.trust_email = true; });
  change([](auto& p) { p.trust_email = true, p.email_claim = "upn"; });
  change([](auto& p) { p.groups_claim = "roles"; });
  EXPECT_TRUE(sign_in("a-1", "alice@example.com"));
}

TEST_F(ASignIn, ends_when_the_provider_vouches_for_fewer_or_is_trusted_less) {
  DesiredState trusting = company();
  trusting.identity_providers[0].trust_email = true;
  trusting.identity_providers[0].domains = {"example.com", "example.net"};
  const auto in_by = [&](const DesiredState& s, const std::string& email) {
    SignIn who = from("c-1", email);
    who.provider.trust_email = s.identity_providers[0].trust_email;
    return store.sign_in(who, kNow);
  };
  must(store.apply(trusting, false, kNow));
  const std::string guest = must(in_by(trusting, "carol@example.net")).device;
  DesiredState fewer = trusting;
  fewer.identity_providers[0].domains = {"example.com"};
  must(store.apply(fewer, false, kNow));
  EXPECT_FALSE(must(store.model()).device(guest)->session);
  EXPECT_NE(refused(in_by(fewer, "carol@example.net")).find("none of the domains"), std::string::npos) << "bound or not";
  must(store.apply(trusting, false, kNow));
  const std::string again = must(in_by(trusting, "carol@example.net")).device;
  DesiredState sure = trusting;
  sure.identity_providers[0].trust_email = false;
  must(store.apply(sure, false, kNow));
  EXPECT_FALSE(must(store.model()).device(again)->session);
  EXPECT_TRUE(must(store.model()).users[2].accounts.empty()) << "who was believed without proof is bound no more";
}

TEST_F(ASignIn, of_somebody_outside_of_the_providers_domains_is_none_also_when_he_is_listed) {
  DesiredState wanted = company();
  wanted.users.push_back({"dora@example.net", {}});
  must(store.apply(wanted, false, kNow));
  EXPECT_NE(refused(sign_in("d-1", "dora@example.net")).find("none of the domains"), std::string::npos);
  wanted.identity_providers[0].domains.clear();
  must(store.apply(wanted, false, kNow));
  EXPECT_TRUE(sign_in("d-1", "dora@example.net"));
  EXPECT_NE(refused(sign_in("e-1", "eve@example.net")).find("is no user here"), std::string::npos);
}

TEST_F(ASignIn, of_a_blocked_user_is_none_and_his_flows_end) {
  const SignedIn in = must(sign_in("c-1", "carol@example.com"));
  must(store.edit([](DesiredState& s) { return update_entry(s, "user", "carol@example.com", {{"state", "blocked"}}); }, kNow));
  EXPECT_EQ(generation(in.device), 1u);
  EXPECT_FALSE(must(store.model()).device(in.device)->let_in(kNow));
  EXPECT_NE(refused(sign_in("c-1", "carol@example.com")).find("is blocked"), std::string::npos);
  must(store.apply(company(), true, kNow));
  EXPECT_NE(refused(sign_in("c-1", "carol@example.com")).find("is blocked"), std::string::npos) << "--prune does not let her back in";
  const FreshToken token = must(store.new_token(Token::Role::device, "carol@example.com", kNow, hours(1)));
  EXPECT_FALSE(store.enroll({token.id, token.secret, Token::Role::device, "laptop", "key-t"}, kNow));
  const DesiredState now = desired(must(store.model()));
  must(store.edit([](DesiredState& s) { return update_entry(s, "user", "carol@example.com", {{"state", "active"}}); }, kNow));
  EXPECT_TRUE(sign_in("c-1", "carol@example.com"));
  EXPECT_EQ(to_string(plan(desired(must(store.model())), now, true).at(0)), "~ user carol@example.com: state active -> blocked");
}

TEST_F(ASignIn, of_somebody_who_was_given_a_role_is_a_listed_users) {
  must(sign_in("c-1", "carol@example.com"));
  EXPECT_EQ(to_toml(desired(must(store.model()))).find("carol"), std::string::npos);
  must(store.edit([](DesiredState& s) { return update_entry(s, "user", "carol@example.com", {{"role", "admin"}}); }, kNow));
  const DesiredFile exported = parse_desired(to_toml(desired(must(store.model()))), "f");
  EXPECT_TRUE(must(store.apply(exported.state, true, kNow)).empty()) << "the file keeps her, and her role";
  must(sign_in("c-1", "carol@example.com"));
  const auto carol = [](const UserRecord& u) { return u.email == "carol@example.com"; };
  const Model model = must(store.model());
  EXPECT_EQ(std::find_if(model.users.begin(), model.users.end(), carol)->role, Role::admin);
  const std::vector<Change> changes = must(store.apply(company(), true, kNow));
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(to_string(changes[0]), "- user carol@example.com") << "and a file that forgets her takes it away";
}

TEST_F(ASignIn, is_shorter_when_the_provider_gives_less_time) {
  const SignedIn in = must(sign_in("a-1", "alice@example.com"));
  DesiredState hasty = company();
  hasty.identity_providers[0].session = hours(1);
  must(store.apply(hasty, false, kNow));
  EXPECT_EQ(must(store.model()).device(in.device)->session->expires, kNow + hours(1));
  must(store.apply(company(), false, kNow));
  EXPECT_EQ(must(store.model()).device(in.device)->session->expires, kNow + hours(1)) << "and never longer";
}

TEST_F(ASignIn, is_over_with_what_it_told_also_on_a_device_that_needs_none) {
  const std::string token = enrolled(store, Token::Role::device, "bob@example.com", "key-t");
  const SignedIn in = must(sign_in("b-1", "bob@example.com", {"engineering"}));
  EXPECT_EQ(reached("bob@example.com"), Names{"Wiki"});
  must(store.end_session(in.device, kNow));
  EXPECT_EQ(reached("bob@example.com"), Names{});
  EXPECT_EQ(generation(token), 1u);
  EXPECT_EQ(Directory(must(store.model())).would_reach("bob@example.com").reached.size(), 1u) << "what signing in would give is known";
  must(sign_in("b-1", "bob@example.com", {"engineering"}, in.device));
  EXPECT_EQ(reached("bob@example.com"), Names{"Wiki"});
  must(store.remove_device(in.device, kNow));
  EXPECT_EQ(reached("bob@example.com"), Names{});
}

TEST_F(ASignIn, does_not_outlive_a_restore) {
  const SignedIn in = must(sign_in("b-1", "bob@example.com", {"engineering"}));
  must(store.void_all_grants());
  EXPECT_FALSE(must(store.model()).device(in.device)->session);
  EXPECT_EQ(reached("bob@example.com"), Names{});
}

TEST_F(ASignIn, keeps_only_claims_that_a_group_is_for) {
  std::vector<std::string> all{"engineering"};
  for (int i = 0; i < 999; ++i) all.push_back("other " + std::to_string(i));
  must(sign_in("b-1", "bob@example.com", all));
  EXPECT_EQ(must(store.model()).groups[0].once_by_claim, Names{"bob@example.com"});
  EXPECT_EQ(must(store.model()).told, (std::map<std::string, std::set<Claim>>{{"bob@example.com", {{"company", "engineering"}}}}));
}

TEST_F(ASignIn, is_refused_when_its_groups_would_be_too_much_for_a_grant) {
  DesiredState wide = company();
  wide.groups.push_back({"everything", {}, {}, {{"company", "all"}}});
  for (int i = 0; i < 20'001; ++i) wide.resources.push_back(resource("r" + std::to_string(i), "h" + std::to_string(i) + ".int", "everything"));
  must(store.apply(wide, false, kNow));
  refused(sign_in("b-1", "bob@example.com", {"all"}), Errc::exhausted);
  EXPECT_TRUE(sign_in("b-1", "bob@example.com", {"engineering"}));
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

TEST_F(ASignIn, is_tested_as_members_are) {
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
  DesiredState member = company();
  member.groups[0].members.push_back("carol@example.com");
  EXPECT_EQ(must(store.plan(member, true)).size(), 2u) << "a member is listed from then on";
  {
    Folder other_folder;
    Store other = must(Store::open(other_folder / "controller.db"));
    must(other.apply(company(), false, kNow));
    must(other.sign_in(from("c-1", "carol@example.com"), kNow));
    must(other.apply(member, true, kNow));
    EXPECT_TRUE(must(other.apply(member, true, kNow)).empty()) << "the same file again";
  }
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
  const LeaseKeys keys{"tg-12345678", Ed25519Key(Buffer(32, 7)), Buffer(32, 9)};
  Leases leases("alice@example.com", in.device, "thumb", 1);
  const auto view_at = [&](UnixTime now) { return told_to(in.device, Directory(must(store.model())), {}, {}, keys, leases, now); };
  const auto grant_at = [&](UnixTime now) {
    return must(Grant::verify(view_at(now).at("grant/home").get<std::string>(), keys.grant_key.public_key(), keys.instance,
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

// -- passwords of tg's own ------------------------------------------------------------------------------------------------------

SignIn by_password(const std::string& email, const std::string& device = "") {
  return {{}, {"", email, {}, {"pwd", "otp"}, "", {}}, device, "laptop", "key", hours(2)};
}

TEST_F(ASignIn, by_password_is_a_session_without_a_provider) {
  const SignedIn in = must(store.sign_in(by_password("alice@example.com"), kNow));
  EXPECT_EQ(in.until, kNow + hours(2));
  const Model model = must(store.model());
  ASSERT_TRUE(model.device(in.device)->session);
  EXPECT_EQ(model.device(in.device)->session->provider, "password");
  EXPECT_EQ(last_entry()["who"], "alice@example.com by password");
  refused(store.sign_in(by_password("carol@example.com"), kNow));
  EXPECT_EQ(must(store.model()).users.size(), 2u) << "no user is made";
}

TEST_F(ASignIn, by_password_leaves_what_a_provider_told_until_its_last_session_is_over) {
  const SignedIn in = must(sign_in("b-1", "bob@example.com", {"engineering"}));
  must(store.sign_in(by_password("bob@example.com"), kNow));
  EXPECT_EQ(reached("bob@example.com"), Names{"Wiki"});
  must(store.sign_in(by_password("bob@example.com", in.device), kNow));
  EXPECT_EQ(reached("bob@example.com"), Names{});
  EXPECT_EQ(generation(in.device), 1u);
}

TEST_F(ASignIn, by_an_old_password_ends_when_it_is_changed_or_a_second_factor_comes_or_goes) {
  const PasswordRecord record{Buffer(16, 1), {}, Buffer(32, 2)};
  must(store.set_password("alice@example.com", record, kNow));
  const SignedIn other = must(sign_in("a-1", "alice@example.com"));
  Generation generation_before = 0;
  std::string device;
  const auto change = [&](auto&& what) {
    device = must(store.sign_in(by_password("alice@example.com", device), kNow)).device;
    what();
    EXPECT_FALSE(must(store.model()).device(device)->session);
    EXPECT_EQ(generation(device), ++generation_before);
    EXPECT_TRUE(must(store.model()).device(other.device)->session) << "what a provider gave stays";
  };
  change([&] { must(store.set_password("alice@example.com", record, kNow)); });
  change([&] { must(store.set_totp("alice@example.com", TotpRecord{Buffer(20, 3)}, kNow)); });
  change([&] { must(store.set_totp("alice@example.com", {}, kNow)); });
  change([&] { must(store.set_password("alice@example.com", {}, kNow)); });
  EXPECT_FALSE(must(store.password("alice@example.com")));
  EXPECT_FALSE(store.set_password("nobody@example.com", record, kNow));
}

TEST_F(ASignIn, by_code_takes_each_step_once) {
  must(store.set_password("alice@example.com", PasswordRecord{Buffer(16, 1), {1024, 8, 1}, Buffer(32, 2)}, kNow));
  EXPECT_FALSE(must(store.password("alice@example.com"))->totp);
  must(store.set_totp("alice@example.com", TotpRecord{Buffer(20, 3)}, kNow));
  const auto record = must(store.password("alice@example.com"));
  EXPECT_TRUE(record->totp);
  EXPECT_EQ(record->cost, (PasswordCost{1024, 8, 1}));
  EXPECT_TRUE(must(store.use_totp("alice@example.com", 7)));
  EXPECT_FALSE(must(store.use_totp("alice@example.com", 7)));
  EXPECT_FALSE(must(store.use_totp("alice@example.com", 6)));
  EXPECT_EQ(must(store.totp("alice@example.com"))->last, 7u);
  EXPECT_FALSE(must(store.use_totp("bob@example.com", 8)));
  EXPECT_TRUE(must(store.model()).users[0].password && must(store.model()).users[0].totp);
}

}  // namespace tg::controller::controller_sign_in_test
