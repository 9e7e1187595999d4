#include <gtest/gtest.h>

#include "core/desired_state.h"

namespace tg::expectations_test {

using Lines = std::vector<std::string>;

ResourceSpec resource(const std::string& name, const std::string& address, std::vector<std::string> groups,
                      Protocols protocols = {}) {
  return {name, "home", *Address::parse(address), "", std::move(groups), std::move(protocols), {}};
}

DesiredState company() {
  DesiredState s;
  s.networks = {{"home", {}}};
  s.users = {{"alice@example.com", {}}, {"bob@example.com", {}}};
  s.groups = {{"family", {"alice@example.com"}, {}}, {"guests", {"alice@example.com", "bob@example.com"}, {}}};
  s.resources = {resource("All", "*.home.int", {"guests"}, {Ports({{80, 80}}), Ports::none(), true}),
                 resource("NAS", "nas.home.int", {"family"}, {Ports({{22, 22}}), Ports::none(), false}),
                 resource("LAN", "10.0.0.0/24", {"family"}), resource("Safe", "10.0.0.9", {})};
  return s;
}

TestSpec test(const std::string& user, const Lines& can, const Lines& cannot) {
  TestSpec out{user, {}, {}, {7}};
  for (const std::string& t : can) out.can.push_back(*parse_target(t));
  for (const std::string& t : cannot) out.cannot.push_back(*parse_target(t));
  return out;
}

Lines failed(const DesiredState& s, const TestSpec& t) {
  Lines out;
  for (const Problem& p : failures(s, {t})) {
    EXPECT_EQ(p.place.line, 7);
    out.push_back(p.key + ": " + p.text);
  }
  return out;
}

TEST(Expectation, holds_when_the_winner_among_what_is_granted_lets_it_through) {
  EXPECT_EQ(failed(company(), test("alice@example.com", {"nas.home.int:22", "10.0.0.7:53/udp", "tv.home.int/icmp"},
                                   {"nas.home.int:80", "tv.home.int:22", "nas.home.int/icmp", "10.1.0.1:1"})),
            Lines{});
  EXPECT_EQ(failed(company(), test("bob@example.com", {"nas.home.int:80"}, {"nas.home.int:22", "10.0.0.7:22"})), Lines{})
      << "the NAS that he is not granted takes nothing from him";
}

TEST(Expectation, says_why_it_does_not_hold) {
  EXPECT_EQ(failed(company(), test("alice@example.com", {"nas.home.int:80", "10.9.9.9:1"}, {"10.0.0.7:22"})),
            (Lines{"test of alice@example.com: can: cannot reach nas.home.int:80: resource NAS allows tcp 22",
                   "test of alice@example.com: can: cannot reach 10.9.9.9:1: no resource has this host",
                   "test of alice@example.com: cannot: can reach 10.0.0.7:22, through resource LAN"}));
  EXPECT_EQ(failed(company(), test("bob@example.com", {"10.0.0.9:22"}, {})),
            Lines{"test of bob@example.com: can: cannot reach 10.0.0.9:22: the host belongs to resource Safe, which is for "
                  "none of the user's groups"});
  EXPECT_EQ(failed(company(), test("carol@example.com", {}, {"nas.home.int:22"})),
            Lines{"test of carol@example.com: user: there is no user \"carol@example.com\""})
      << "nobody reaches nothing, but a name that is mistyped must not pass";
}

TEST(Expectation, is_of_services_as_of_people) {
  DesiredState s = company();
  s.services = {{"ci", {}}, {"old", {}, true}};
  for (const char* name : {"ci", "old"}) s.groups[0].members.push_back(name);
  EXPECT_EQ(failed(s, test("ci", {"nas.home.int:22"}, {"nas.home.int:80"})), Lines{});
  EXPECT_EQ(failed(s, test("old", {}, {"nas.home.int:22"})), Lines{}) << "it is blocked";
  EXPECT_EQ(failed(s, test("nobody", {}, {"nas.home.int:22"})), Lines{"test of nobody: user: there is no service \"nobody\""});
}

TEST(Expectation, knows_aliases) {
  DesiredState s = company();
  s.resources[1].alias = "nas.tg";
  EXPECT_EQ(failed(s, test("alice@example.com", {"nas.tg:22"}, {"nas.tg:23"})), Lines{});
}

TEST(Target, is_a_host_with_port_and_protocol) {
  const auto shown = [](const char* text) {
    const auto t = parse_target(text);
    return t ? to_string(t->host) + " " + std::string(to_string(t->protocol)) + " " + std::to_string(t->port) : "";
  };
  EXPECT_EQ(shown("NAS.Home.int.:22"), "nas.home.int tcp 22");
  EXPECT_EQ(shown("nas.home.int:65535/tcp"), "nas.home.int tcp 65535");
  EXPECT_EQ(shown("10.0.0.7:0/udp"), "10.0.0.7 udp 0");
  EXPECT_EQ(shown("10.0.0.7/icmp"), "10.0.0.7 icmp 0");
  EXPECT_EQ(shown("[fd00::7]:443"), "fd00::7 tcp 443");
  EXPECT_EQ(shown("fd00::7/icmp"), "fd00::7 icmp 0");
  for (const char* bad : {"", ":", ":22", "nas", "nas:", "nas:22x", "nas:-1", "nas:65536", "nas:22/", "nas:22/ftp", "/icmp",
                          "fd00::7", "a b:22", "nas/22", "[fd00::7]", "*.home.int:22"}) {
    EXPECT_EQ(shown(bad), "") << bad;
  }
}

TEST(Outcome, keeps_what_was_there_in_its_order_and_puts_what_is_new_behind) {
  const DesiredState now = company();
  DesiredState wanted;
  wanted.resources = {resource("New", "*.int", {}), resource("NAS", "nas2.home.int", {})};
  wanted.users = {{"alice@example.com", {3}}};
  const auto names = [](const DesiredState& s) {
    Lines out;
    for (const ResourceSpec& r : s.resources) out.push_back(r.name + " " + r.address.text());
    return out;
  };
  EXPECT_EQ(names(outcome(now, wanted, false)),
            (Lines{"All *.home.int", "NAS nas2.home.int", "LAN 10.0.0.0/24", "Safe 10.0.0.9", "New *.int"}));
  EXPECT_EQ(names(outcome(now, wanted, true)), (Lines{"NAS nas2.home.int", "New *.int"}));
  EXPECT_EQ(outcome(now, wanted, false).users.size(), 2u);
  EXPECT_EQ(outcome(now, wanted, false).users[0].place.line, 3) << "where the file has it";
  EXPECT_TRUE(plan(outcome(now, wanted, false), wanted, false).empty());
}

TEST(Overlaps, are_told_of_what_was_touched_and_stand_at_what_is_in_the_file) {
  DesiredState s;
  s.networks = {{"home", {}}};
  s.resources = {resource("Old", "*b.int", {}), resource("Older", "a*.int", {}), resource("New", "*.int", {})};
  EXPECT_EQ(overlaps(s).size(), 3u);
  EXPECT_EQ(overlaps(s, {}).size(), 0u);
  EXPECT_EQ(overlaps(s, {"New"}).size(), 2u);
  s.resources[0].place = {12};
  const auto found = overlaps(s, {"Old"});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[1].place.line, 12);
  EXPECT_EQ(found[1].key, "resource Old: address");
}

}  // namespace tg::expectations_test
