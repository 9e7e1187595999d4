#include "core/authority.h"

#include <chrono>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tg::authority_test {

DesiredState company() {
  DesiredState s;
  s.networks = {{"home", {}}};
  IdentityProviderSpec provider;
  provider.name = "company";
  provider.issuer = "https://id.example.com";
  provider.client_id = "tg";
  s.identity_providers = {provider};
  s.users = {{"alice@example.com", {}},
             {"audrey@example.com", {}, false, false, Role::auditor},
             {"adam@example.com", {}, false, false, Role::admin},
             {"olga@example.com", {}, false, false, Role::owner}};
  s.services = {{"ci", {}}, {"deploy", {}, false, Role::admin}};
  s.groups = {{"family", {"alice@example.com", "adam@example.com"}, {}}};
  return s;
}

UserSpec& user(DesiredState& s, const std::string& email) {
  return *std::find_if(s.users.begin(), s.users.end(), [&](const UserSpec& u) { return u.email == email; });
}
void remove_user(DesiredState& s, const std::string& email) {
  std::erase_if(s.users, [&](const UserSpec& u) { return u.email == email; });
}

std::string text_of(const Result<>& r) { return r ? "" : std::string(to_string(r.error().code)) + ": " + r.error().text; }

// refusal is what an admin is told who changes the company so.
template <class Work>
std::string refusal(Work work) {
  DesiredState after = company();
  work(after);
  EXPECT_TRUE(may_change(Role::owner, company(), after));
  EXPECT_FALSE(may_change(Role::auditor, company(), after));
  EXPECT_FALSE(may_change(Role::member, company(), after));
  return text_of(may_change(Role::admin, company(), after));
}

TEST(Authority, lets_an_admin_change_what_gives_nobody_power_over_the_controller) {
  EXPECT_EQ(refusal([](DesiredState&) {}), "");
  EXPECT_EQ(refusal([](DesiredState& s) { s.networks.push_back({"office", {}}); }), "");
  EXPECT_EQ(refusal([](DesiredState& s) { s.groups.clear(); }), "");
  EXPECT_EQ(refusal([](DesiredState& s) { s.groups[0].members = {"olga@example.com"}; }), "");
  EXPECT_EQ(refusal([](DesiredState& s) { s.users.push_back({"bob@example.com", {}}); }), "");
  EXPECT_EQ(refusal([](DesiredState& s) { s.services.push_back({"backup", {}}); }), "");
  EXPECT_EQ(refusal([](DesiredState& s) { s.services.erase(s.services.begin()); }), "");
  for (const char* email : {"alice@example.com", "audrey@example.com"}) {
    EXPECT_EQ(refusal([&](DesiredState& s) { remove_user(s, email); }), "");
    EXPECT_EQ(refusal([&](DesiredState& s) { user(s, email).blocked = true; }), "");
    EXPECT_EQ(refusal([&](DesiredState& s) { user(s, email).by_sign_in = true; }), "");
  }
  EXPECT_EQ(refusal([](DesiredState& s) { s.users[0].place = s.identity_providers[0].place = {7}; }), "") << "where it stands is nothing";
}

TEST(Authority, leaves_identity_providers_to_owners) {
  const std::string of = "the identity-provider \"company\"";
  EXPECT_EQ(refusal([](DesiredState& s) { s.identity_providers.clear(); }), "denied: only an owner may remove " + of);
  EXPECT_EQ(refusal([](DesiredState& s) { s.identity_providers.push_back({"other", "https://x.example.com", "tg"}); }),
            "denied: only an owner may add the identity-provider \"other\"");
  const std::vector<std::function<void(IdentityProviderSpec&)>> changes = {
      [](auto& p) { p.issuer = "https://evil.example.com"; }, [](auto& p) { p.client_id = "other"; }, [](auto& p) { p.scopes = {"openid"}; },
      [](auto& p) { p.email_claim = "upn"; }, [](auto& p) { p.trust_email = true; }, [](auto& p) { p.groups_claim = "groups"; },
      [](auto& p) { p.domains = {"example.com"}; }, [](auto& p) { p.session = std::chrono::hours(1); },
      [](auto& p) { p.mfa_contexts = {"phr"}; }};
  for (const auto& change : changes) {
    EXPECT_EQ(refusal([&](DesiredState& s) { change(s.identity_providers[0]); }), "denied: only an owner may change " + of);
  }
  EXPECT_EQ(refusal([](DesiredState& s) { s.identity_providers[0].name = "firm"; }), "denied: only an owner may add the identity-provider \"firm\"");
}

TEST(Authority, leaves_roles_to_owners) {
  for (const UserSpec& u : company().users) {
    for (const Role role : {Role::member, Role::auditor, Role::admin, Role::owner}) {
      if (role == u.role) continue;
      EXPECT_EQ(refusal([&](DesiredState& s) { user(s, u.email).role = role; }),
                "denied: only an owner may change the role of the user \"" + u.email + "\"");
    }
  }
  EXPECT_EQ(refusal([](DesiredState& s) { s.services[0].role = Role::owner; }), "denied: only an owner may change the role of the service \"ci\"");
  for (const Role role : {Role::auditor, Role::admin, Role::owner}) {
    EXPECT_EQ(refusal([&](DesiredState& s) { s.users.push_back({"eve@example.com", {}, false, false, role}); }),
              std::string("denied: only an owner may make the user \"eve@example.com\" with the role ") + to_string(role));
    EXPECT_EQ(refusal([&](DesiredState& s) { s.services.push_back({"eve", {}, true, role}); }),
              std::string("denied: only an owner may make the service \"eve\" with the role ") + to_string(role));
  }
}

TEST(Authority, protects_admins_and_owners_from_admins) {
  for (const auto& [email, role] : {std::pair("adam@example.com", "admin"), std::pair("olga@example.com", "owner")}) {
    const std::string who = std::string("the user \"") + email + "\", whose role is " + role;
    EXPECT_EQ(refusal([&](DesiredState& s) { remove_user(s, email); }), "denied: only an owner may remove " + who);
    EXPECT_EQ(refusal([&](DesiredState& s) { user(s, email).blocked = true; }), "denied: only an owner may block " + who);
    DesiredState blocked = company();
    user(blocked, email).blocked = true;
    EXPECT_EQ(text_of(may_change(Role::admin, blocked, company())), "denied: only an owner may unblock " + who);
    EXPECT_EQ(text_of(may_change(Role::admin, blocked, blocked)), "");
  }
  EXPECT_EQ(refusal([](DesiredState& s) { s.services.pop_back(); }), "denied: only an owner may remove the service \"deploy\", whose role is admin");
  EXPECT_EQ(refusal([](DesiredState& s) { s.services[1].blocked = true; }),
            "denied: only an owner may block the service \"deploy\", whose role is admin");
  EXPECT_EQ(refusal([](DesiredState& s) { user(s, "olga@example.com").email = "eve@example.com"; }),
            "denied: only an owner may make the user \"eve@example.com\" with the role owner");
}

TEST(Authority, is_not_deceived_by_a_name_that_is_there_twice_or_is_another_kinds) {
  EXPECT_NE(refusal([](DesiredState& s) { s.users.push_back({"alice@example.com", {}, false, false, Role::owner}); }), "");
  EXPECT_NE(refusal([](DesiredState& s) { s.users.push_back({"olga@example.com", {}}); }), "");
  EXPECT_NE(refusal([](DesiredState& s) { s.users.push_back({"deploy", {}, false, false, Role::admin}); }), "");
  EXPECT_NE(refusal([](DesiredState& s) {
              remove_user(s, "olga@example.com");
              s.services.push_back({"olga@example.com", {}});
            }), "");
}

TEST(Authority, of_auditors_and_members_is_none) {
  for (const Role role : {Role::member, Role::auditor}) {
    EXPECT_EQ(text_of(may_change(role, company(), company())), "denied: only an owner or an admin may change something here");
    EXPECT_EQ(text_of(may_act_for(role, company(), "alice@example.com")),
              "denied: only an owner or an admin may do this for the user \"alice@example.com\"");
    EXPECT_EQ(text_of(may_act_for(role, company(), "nobody")), "denied: only an owner or an admin may do this for the service \"nobody\"");
  }
}

TEST(Authority, to_act_for_somebody_is_an_owners_and_of_those_without_power_an_admins) {
  const auto asked = [](const char* subject) {
    EXPECT_TRUE(may_act_for(Role::owner, company(), subject));
    return text_of(may_act_for(Role::admin, company(), subject));
  };
  for (const char* subject : {"alice@example.com", "audrey@example.com", "ci", "nobody@example.com", "nobody"}) EXPECT_EQ(asked(subject), "");
  EXPECT_EQ(asked("adam@example.com"), "denied: only an owner may do this for the user \"adam@example.com\", whose role is admin");
  EXPECT_EQ(asked("olga@example.com"), "denied: only an owner may do this for the user \"olga@example.com\", whose role is owner");
  EXPECT_EQ(asked("deploy"), "denied: only an owner may do this for the service \"deploy\", whose role is admin");
  EXPECT_NE(asked("Olga@EXAMPLE.com"), "") << "addresses have no case";
  EXPECT_EQ(asked("Deploy"), "") << "the names of services have one: that is another";
}

// What the rules say, one pair of names after the other.
bool allowed(const DesiredState& before, const DesiredState& after) {
  const auto subject = [](const DesiredState& s, const std::string& email) -> const UserSpec* {
    for (const UserSpec& u : s.users) {
      if (u.email == email) return &u;
    }
    return nullptr;
  };
  std::set<std::string> names;
  for (const UserSpec& u : before.users) names.insert(u.email);
  for (const UserSpec& u : after.users) names.insert(u.email);
  for (const std::string& name : names) {
    const UserSpec* was = subject(before, name);
    const UserSpec* is = subject(after, name);
    const bool powerful = was != nullptr && was->role >= Role::admin;
    if (was == nullptr && is->role != Role::member) return false;
    if (is == nullptr && powerful) return false;
    if (was == nullptr || is == nullptr) continue;
    if (was->role != is->role || (powerful && was->blocked != is->blocked)) return false;
  }
  return true;
}

RC_GTEST_PROP(Authority, is_what_its_rules_say, ()) {
  const auto some = [] {
    DesiredState s;
    for (const char* name : {"a@x", "b@x", "c@x"}) {
      if (*rc::gen::inRange(0, 4) == 0) continue;
      const Role role = *rc::gen::weightedElement<Role>({{6, Role::member}, {2, Role::auditor}, {2, Role::admin}, {1, Role::owner}});
      s.users.push_back({name, {}, false, *rc::gen::inRange(0, 4) == 0, role});
    }
    return s;
  };
  const DesiredState before = some();
  const DesiredState after = *rc::gen::inRange(0, 3) == 0 ? before : some();
  RC_ASSERT(may_change(Role::admin, before, after).has_value() == allowed(before, after));
  RC_ASSERT(may_change(Role::owner, before, after).has_value());
}

TEST(Authority, is_quick_about_many) {
  DesiredState before;
  for (int i = 0; i < 20'000; ++i) {
    before.users.push_back({"user" + std::to_string(i) + "@example.com", {}, false, false, i % 2 == 0 ? Role::admin : Role::member});
    before.services.push_back({"service" + std::to_string(i), {}});
  }
  DesiredState after = before;
  std::reverse(after.users.begin(), after.users.end());
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(may_change(Role::admin, before, after));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(1));
}

}  // namespace tg::authority_test
