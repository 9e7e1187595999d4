#include "core/desired_state.h"

#include <set>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/matcher.h"

namespace tg::desired_state_test {

ResourceSpec resource(std::string name, std::string_view address, int line = 0, std::string alias = "") {
  ResourceSpec r;
  r.name = std::move(name);
  r.network = "home";
  r.address = Address::parse(address).value();
  r.alias = std::move(alias);
  r.groups = {"family"};
  r.place = {line};
  return r;
}

DesiredState good() {
  DesiredState s;
  s.networks = {{"home", {1}}};
  s.connectors = {{"home-1", "home", {3}}};
  s.users = {{"alice@example.com", {6}}, {"bob@example.com", {8}}};
  s.groups = {{"family", {"alice@example.com"}, {10}}};
  s.resources = {resource("NAS", "nas.home.int", 13, "nas.tg"), resource("Corp", "*.corp.internal", 20)};
  return s;
}

std::vector<std::string> lines(const std::vector<Problem>& problems) {
  std::vector<std::string> out;
  for (const Problem& p : problems) out.push_back(std::to_string(p.place.line) + " " + p.key + ": " + p.text);
  return out;
}
using Lines = std::vector<std::string>;

TEST(DesiredState, has_no_problems_when_it_is_whole) {
  EXPECT_EQ(lines(problems(good())), Lines{});
  EXPECT_EQ(lines(problems({})), Lines{});
}

TEST(DesiredState, complains_of_double_names) {
  DesiredState s = good();
  s.networks.push_back({"home", {30}});
  s.users.push_back({"bob@example.com", {31}});
  s.resources.push_back(resource("NAS", "other.home.int", 32));
  EXPECT_EQ(lines(problems(s)),
            (Lines{"30 network home: is there twice (first in line 1); give one another name",
                   "31 user bob@example.com: is there twice (first in line 8); give one another name",
                   "32 resource NAS: is there twice (first in line 13); give one another name"}));
}

TEST(DesiredState, complains_of_references_to_nothing) {
  DesiredState s = good();
  s.connectors[0].network = "hom";
  s.groups[0].members.push_back("carol@example.com");
  s.resources[0].network = "office";
  s.resources[1].groups = {"friends"};
  EXPECT_EQ(lines(problems(s)),
            (Lines{"3 connector home-1: network: there is no network \"hom\"; add a [[network]] for it",
                   "10 group family: members: there is no user \"carol@example.com\"; add a [[user]] for it",
                   "13 resource NAS: network: there is no network \"office\"; add a [[network]] for it",
                   "20 resource Corp: groups: there is no group \"friends\"; add a [[group]] for it"}));
}

TEST(DesiredState, tells_services_from_people_by_the_at_sign) {
  DesiredState s = good();
  s.services = {{"ci", {40}}};
  s.groups[0].members = {"alice@example.com", "ci"};
  EXPECT_EQ(lines(problems(s)), Lines{});
  s.groups[0].members.push_back("backup");
  s.services.push_back({"ci@example.com", {41}});
  s.services.push_back({"ci", {42}});
  EXPECT_EQ(lines(problems(s)),
            (Lines{"10 group family: members: there is no service \"backup\"; add a [[service]] for it",
                   "41 service ci@example.com: must not have an @: that is how people are told from services",
                   "42 service ci: is there twice (first in line 40); give one another name"}));
}

TEST(DesiredState, plans_services_after_users_and_before_groups) {
  DesiredState now = good(), wanted = good();
  now.services = {{"old", {}}, {"ci", {}}};
  wanted.services = {{"ci", {}, true}, {"backup", {}}};
  const auto texts = [](const std::vector<Change>& changes) {
    Lines out;
    for (const Change& c : changes) out.push_back(to_string(c));
    return out;
  };
  EXPECT_EQ(texts(plan(now, wanted, true)), (Lines{"+ service backup", "~ service ci: state active -> blocked", "- service old"}));
  EXPECT_EQ(outcome(now, wanted, false).services.size(), 3u);
  EXPECT_TRUE(plan(outcome(now, wanted, true), wanted, true).empty());
  wanted.groups[0].members.push_back("backup");
  EXPECT_EQ(texts(plan({}, wanted, true))[4], "+ service ci (blocked)");
}

TEST(DesiredState, complains_of_what_is_written_twice) {
  DesiredState s = good();
  s.groups[0].members = {"alice@example.com", "alice@example.com"};
  s.resources[0].groups = {"family", "family"};
  EXPECT_EQ(lines(problems(s)), (Lines{"10 group family: members: \"alice@example.com\" is written twice",
                                       "13 resource NAS: groups: \"family\" is written twice"}));
}

TEST(DesiredState, complains_of_relays_without_a_place_of_their_own) {
  DesiredState s = good();
  s.relays = {{"a", "relay.example.com:8444", {30}}, {"b", "relay.example.com:8444", {32}}, {"c", "nowhere", {34}},
              {"a", "other.example.com:8444", {36}}};
  EXPECT_EQ(lines(problems(s)),
            (Lines{"32 relay b: address: \"relay.example.com:8444\" is also that of relay a",
                   "34 relay c: address: \"nowhere\" is not HOST:PORT, as in relay.example.com:8444",
                   "36 relay a: is there twice (first in line 30); give one another name"}));
}

TEST(DesiredState, complains_of_names_that_are_none) {
  DesiredState s = good();
  s.networks.push_back({"", {30}});
  s.networks.push_back({"a\x1b", {31}});
  s.users = {{"alice", {32}}, {"@b", {33}},    {"a@", {34}},
             {"a@b@c", {35}}, {"a b@c", {36}}, {"alice@example.com", {37}}};
  EXPECT_EQ(lines(problems(s)),
            (Lines{"30 network: the name is empty", "31 network a\\x1b: the name has control characters or is too long",
                   "32 user alice: is no e-mail address, as in alice@example.com",
                   "33 user @b: is no e-mail address, as in alice@example.com",
                   "34 user a@: is no e-mail address, as in alice@example.com",
                   "35 user a@b@c: is no e-mail address, as in alice@example.com",
                   "36 user a b@c: is no e-mail address, as in alice@example.com"}));
}

TEST(DesiredState, complains_of_aliases_that_cannot_be) {
  DesiredState s = good();
  s.resources = {resource("A", "a.home.int", 1, "b.home.int"),
                 resource("B", "b.home.int", 2, "b.tg"),
                 resource("C", "*.c", 3, "c.tg"),
                 resource("D", "10.0.0.0/8", 4, "d.tg"),
                 resource("E", "10.0.0.1", 5, "b.tg"),
                 resource("F", "f", 6, "nodot"),
                 resource("G", "g", 7, "G.tg"),
                 resource("H", "h", 8, "h h.tg")};
  EXPECT_EQ(
      lines(problems(s)),
      (Lines{"1 resource A: alias: \"b.home.int\" is also the address of resource B; choose another",
             "3 resource C: alias: \"*.c\" is more than one host, which an alias cannot stand for; remove the alias",
             "4 resource D: alias: \"10.0.0.0/8\" is more than one host, which an alias cannot stand for; remove the "
             "alias",
             "5 resource E: alias: \"b.tg\" is also the alias of resource B; choose another",
             "6 resource F: alias: \"nodot\" needs a dot, as in nas.tg", "7 resource G: alias: is not in lower case",
             "8 resource H: alias: \"h h.tg\" is no name: letters, digits, '-', '_' and dots only"}));
}

DesiredState with_provider() {
  DesiredState s = good();
  s.identity_providers = {{"company", "https://id.example.com", "tg"}};
  s.identity_providers[0].groups_claim = "groups";
  s.groups.push_back({"engineers", {"bob@example.com"}, {12}, {{"company", "engineering"}}});
  return s;
}

TEST(DesiredState, complains_of_claims_that_nobody_makes) {
  EXPECT_EQ(lines(problems(with_provider())), Lines{});
  DesiredState s = with_provider();
  s.groups[1].claims = {{"firm", "a"}, {"company", ""}, {"company", "b"}, {"company", "b"}};
  EXPECT_EQ(lines(problems(s)),
            (Lines{"12 group engineers: claims: there is no identity-provider \"firm\"; add a [[identity-provider]] for it",
                   "12 group engineers: claims: a value is empty", "12 group engineers: claims: \"b\" is written twice"}));
}

TEST(DesiredState, counts_whom_a_provider_says_it_of_among_the_members) {
  DesiredState s = with_provider();
  s.told = {{"alice@example.com", {{"company", "engineering"}, {"company", "other"}}}, {"bob@example.com", {{"firm", "engineering"}}}};
  const auto groups = groups_of(s);
  EXPECT_EQ(groups.at("alice@example.com"), (std::vector<std::size_t>{0, 1}));
  EXPECT_EQ(groups.at("bob@example.com"), std::vector<std::size_t>{1});
}

TEST(DesiredState, forgets_what_a_provider_told_that_may_mean_others_now) {
  DesiredState now = with_provider(), wanted = with_provider();
  now.told = {{"alice@example.com", {{"company", "engineering"}}}};
  EXPECT_EQ(groups_of(outcome(now, wanted, true)).at("alice@example.com").size(), 2u);
  wanted.identity_providers[0].issuer = "https://other.example.com";
  EXPECT_EQ(groups_of(outcome(now, wanted, true)).at("alice@example.com").size(), 1u);
}

TEST(DesiredState, lets_a_blocked_user_reach_nothing) {
  DesiredState s = good();
  const std::vector<TestSpec> tests = {{"alice@example.com", {}, {parse_target("nas.home.int:22").value()}, {}}};
  EXPECT_EQ(failures(s, tests).size(), 1u);
  s.users[0].blocked = true;
  EXPECT_EQ(failures(s, tests).size(), 0u);
}

TEST(DesiredState, keeps_guests_whom_no_file_names) {
  DesiredState now = with_provider();
  now.users.push_back({"carol@example.com", {}, true});
  const DesiredState wanted = with_guests(with_provider(), now);
  EXPECT_TRUE(plan(now, wanted, true).empty());
  EXPECT_EQ(plan(now, with_provider(), true).size(), 1u);
}

TEST(DesiredState, plans_roles_and_says_them) {
  DesiredState now = good(), wanted = good();
  now.services = wanted.services = {{"ci", {}}};
  wanted.users[0].role = Role::admin;
  wanted.services[0].role = Role::auditor;
  wanted.users.push_back({"carol@example.com", {}, false, true, Role::owner});
  Lines lines;
  for (const Change& c : plan(now, wanted, true)) lines.push_back(to_string(c));
  EXPECT_EQ(lines, (Lines{"+ user carol@example.com (blocked, role owner)", "~ user alice@example.com: role member -> admin",
                          "~ service ci: role member -> auditor"}));
  EXPECT_TRUE(plan(outcome(now, wanted, true), wanted, true).empty());
  EXPECT_EQ(plan(wanted, now, false).size(), 2u) << "a file that does not name a role takes it away";
}

TEST(DesiredState, takes_no_role_from_guests_who_stay_and_lets_a_file_drop_who_has_one) {
  DesiredState now = good();
  now.users[0].role = Role::admin;                                              // a member of a group that the file has
  now.users.push_back({"blocked@example.com", {}, false, true, Role::auditor});
  now.users.push_back({"listed@example.com", {}, false, false, Role::owner});
  DesiredState file = good();
  file.users.clear();
  const std::vector<Change> changes = plan(now, with_guests(file, now), true);
  Lines lines;
  for (const Change& c : changes) lines.push_back(to_string(c));
  EXPECT_EQ(lines, (Lines{"- user listed@example.com", "- user bob@example.com"}));
}

TEST(Overlaps, say_who_shares_hosts_and_who_wins) {
  DesiredState s;
  s.resources = {resource("All", "*.internal", 1),       resource("Corp", "*.corp.internal", 2),
                 resource("DB", "db.corp.internal", 3),  resource("LAN", "10.0.0.0/8", 4),
                 resource("Rack", "10.1.0.0/16", 5),     resource("Host", "10.1.0.1", 6),
                 resource("DB2", "DB.corp.internal", 7), resource("Apart", "x.home", 8, "y.internal"),
                 resource("Six", "2001:db8::/32", 9)};
  EXPECT_EQ(lines(overlaps(s)),
            (Lines{"2 resource Corp: address: *.corp.internal of resource Corp shares hosts with *.internal of "
                   "resource All; they belong to Corp, the more exact one",
                   "3 resource DB: address: db.corp.internal of resource DB shares hosts with *.internal of resource "
                   "All; they belong to DB, the more exact one",
                   "3 resource DB: address: db.corp.internal of resource DB shares hosts with *.corp.internal of "
                   "resource Corp; they belong to DB, the more exact one",
                   "5 resource Rack: address: 10.1.0.0/16 of resource Rack shares hosts with 10.0.0.0/8 of resource "
                   "LAN; they belong to Rack, the more exact one",
                   "6 resource Host: address: 10.1.0.1 of resource Host shares hosts with 10.0.0.0/8 of resource LAN; "
                   "they belong to Host, the more exact one",
                   "6 resource Host: address: 10.1.0.1 of resource Host shares hosts with 10.1.0.0/16 of resource "
                   "Rack; they belong to Host, the more exact one",
                   "7 resource DB2: address: db.corp.internal of resource DB2 shares hosts with db.corp.internal of "
                   "resource DB; they belong to DB, the one that was created first",
                   "7 resource DB2: address: db.corp.internal of resource DB2 shares hosts with *.internal of resource "
                   "All; they belong to DB2, the more exact one",
                   "7 resource DB2: address: db.corp.internal of resource DB2 shares hosts with *.corp.internal of "
                   "resource Corp; they belong to DB2, the more exact one",
                   "8 resource Apart: alias: alias y.internal of resource Apart shares hosts with *.internal of "
                   "resource All; they belong to Apart, the more exact one"}));
}

RC_GTEST_PROP(Overlaps, are_all_pairs_that_share_a_host, ()) {
  DesiredState s;
  const std::vector<const char*> addresses{"a.x",           "b.x",         "*.x",         "a*.x",       "*b.x",
                                           "?.x",           "*.y",         "a.y",         "10.0.0.0/8", "10.0.0.0/9",
                                           "10.128.0.0/9",  "10.0.0.1",    "10.0.0.0/30", "0.0.0.0/0",  "::/0",
                                           "2001:db8::/32", "2001:db8::1", "11.0.0.0/8"};
  const int n = *rc::gen::inRange(0, 12);
  for (int i = 0; i < n; ++i)
    s.resources.push_back(resource("r" + std::to_string(i), *rc::gen::elementOf(addresses), i + 1));
  std::multiset<std::string> expected, got;
  for (std::size_t i = 0; i < s.resources.size(); ++i) {
    for (std::size_t j = i + 1; j < s.resources.size(); ++j) {
      const auto &a = s.resources[i], &b = s.resources[j];
      if (a.address.overlaps(b.address)) {
        expected.insert(b.address.text() + " of resource " + b.name + " shares hosts with " + a.address.text() +
                        " of resource " + a.name);
      }
    }
  }
  for (const Problem& p : overlaps(s)) got.insert(p.text.substr(0, p.text.find(';')));
  RC_ASSERT(got == expected);
}

std::vector<std::string> steps(const std::vector<Change>& plan) {
  std::vector<std::string> out;
  for (const Change& c : plan) out.push_back(to_string(c));
  return out;
}

TEST(Plan, creates_from_networks_to_resources) {
  EXPECT_EQ(steps(plan({}, good(), true)),
            (Lines{"+ network home", "+ connector home-1 (network home)", "+ user alice@example.com",
                   "+ user bob@example.com", "+ group family (1 member)", "+ resource NAS (nas.home.int)",
                   "+ resource Corp (*.corp.internal)"}));
}

TEST(Plan, has_relays_too) {
  DesiredState s = good();
  s.relays = {{"a", "relay.example.com:8444", {30}}};
  EXPECT_EQ(to_string(plan(good(), s, false).at(0)), "+ relay a (relay.example.com:8444)");
  DesiredState moved = s;
  moved.relays[0].address = "[2001:db8::1]:443";
  EXPECT_EQ(to_string(plan(s, moved, false).at(0)), "~ relay a: address relay.example.com:8444 -> [2001:db8::1]:443");
  EXPECT_EQ(to_string(plan(s, good(), true).at(0)), "- relay a");
}

TEST(Plan, tells_what_changes_of_a_provider_and_of_claims) {
  DesiredState now = with_provider(), wanted = with_provider();
  wanted.identity_providers[0].session = std::chrono::hours(1);
  wanted.identity_providers[0].domains = {"example.com"};
  wanted.groups[1].claims = {{"company", "ops"}};
  std::vector<std::string> out;
  for (const Change& c : plan(now, wanted, true)) out.push_back(to_string(c));
  EXPECT_EQ(out, (Lines{"~ identity-provider company: domains +example.com; session 12h -> 1h",
                        "~ group engineers: claims +company=ops -company=engineering"}));
  out.clear();
  for (const Change& c : plan(good(), with_provider(), false)) out.push_back(to_string(c));
  EXPECT_EQ(out, (Lines{"+ identity-provider company (https://id.example.com)", "+ group engineers (1 member, 1 claim)"}));
}

TEST(Plan, is_empty_for_the_same_state) {
  DesiredState reordered = good();
  std::reverse(reordered.users.begin(), reordered.users.end());
  std::reverse(reordered.resources.begin(), reordered.resources.end());
  for (auto& r : reordered.resources) r.place = {99};
  EXPECT_TRUE(plan(good(), good(), true).empty());
  EXPECT_TRUE(plan(good(), reordered, true).empty());
}

TEST(Plan, tells_what_changes) {
  DesiredState wanted = good();
  wanted.networks.push_back({"office", {}});
  wanted.connectors[0].network = "office";
  wanted.groups[0].members = {"bob@example.com"};
  wanted.resources[0].address = Address::parse("nas2.home.int").value();
  wanted.resources[0].alias = "";
  wanted.resources[0].groups = {};
  wanted.resources[1].network = "office";
  wanted.resources[1].protocols.tcp = Ports({{22, 22}});
  EXPECT_EQ(steps(plan(good(), wanted, false)),
            (Lines{"+ network office", "~ connector home-1: network home -> office",
                   "~ group family: members +bob@example.com -alice@example.com",
                   "~ resource NAS: address nas.home.int -> nas2.home.int; alias nas.tg -> none; groups -family",
                   "~ resource Corp: network home -> office; protocols everything -> tcp 22; udp all; icmp"}));
}

TEST(Plan, removes_from_resources_to_networks_and_only_when_asked) {
  EXPECT_TRUE(plan(good(), {}, false).empty());
  EXPECT_EQ(steps(plan(good(), {}, true)),
            (Lines{"- resource Corp", "- resource NAS", "- group family", "- user bob@example.com",
                   "- user alice@example.com", "- connector home-1", "- network home"}));
}

}  // namespace tg::desired_state_test
