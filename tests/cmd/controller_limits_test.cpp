#include "cmd/controller/limits.h"

#include "cmd/controller/admin_api.h"
#include "cmd/controller/desired_json.h"
#include "cmd/controller/views.h"
#include "controller_support.h"
#include "core/frame.h"
#include "core/json.h"
#include "core/view.h"

namespace tg::controller::controller_limits_test {

std::string numbered(const std::string& text, std::size_t n) { return text + std::to_string(n); }

// company is `users` users, all in one group, that reaches `resources` Resources spread over `networks` networks.
DesiredState company(std::size_t users, std::size_t resources, std::size_t networks) {
  DesiredState s;
  for (std::size_t i = 0; i < networks; ++i) {
    s.networks.push_back({numbered("network-", i), {}});
    s.connectors.push_back({numbered("connector-", i), numbered("network-", i), {}});
  }
  s.groups = {{"everyone", {}, {}}};
  for (std::size_t i = 0; i < users; ++i) {
    s.users.push_back({numbered("somebody.longer", i) + "@example.com", {}});
    s.groups[0].members.push_back(s.users.back().email);
  }
  for (std::size_t i = 0; i < resources; ++i) {
    s.resources.push_back(resource(numbered("Resource ", i), numbered("host-", i) + ".corp.internal", "everyone",
                                   numbered("network-", i % networks)));
  }
  return s;
}

std::string problem(const DesiredState& s) {
  const auto checked = check_limits(s);
  if (checked) return {};
  EXPECT_EQ(checked.error().code, Errc::exhausted);
  EXPECT_EQ(checked.error().text.find('\n'), std::string::npos);
  return checked.error().text;
}

TEST(Limits, leave_room_for_a_hundred_thousand_resources) {
  EXPECT_EQ(problem(company(1000, 100'000, 5)), "");
}

TEST(Limits, say_that_a_state_is_too_big) {
  const std::string text = problem(company(10, 250'000, 20));
  EXPECT_NE(text.find("this is more than a controller holds"), std::string::npos) << text;
}

TEST(Limits, say_when_more_is_granted_than_a_grant_holds) {
  EXPECT_EQ(problem(company(10, kGrantResourcesMax, 1)), "");
  EXPECT_EQ(problem(company(10, kGrantResourcesMax + 1, 1)),
            "user somebody.longer0@example.com would reach 20001 resources of network network-0, and 20000 is the "
            "most; use wildcards and CIDRs, or several networks");
  DesiredState twice = company(10, kGrantResourcesMax, 1);
  twice.groups.push_back(twice.groups[0]);
  twice.groups[1].name = "again";
  for (ResourceSpec& r : twice.resources) r.groups.push_back("again");
  EXPECT_EQ(problem(twice), "") << "what is reached twice is granted once";
}

TEST(Limits, refuse_more_ranges_of_ports_than_agents_read) {
  DesiredState s = company(1, 1, 1);
  std::vector<PortRange> ranges;
  for (std::uint16_t i = 0; i < 4096; ++i) ranges.push_back({static_cast<std::uint16_t>(2 * i), static_cast<std::uint16_t>(2 * i)});
  s.resources[0].protocols.udp = Ports(ranges);
  EXPECT_EQ(problem(s), "");
  EXPECT_TRUE(resource_from_json(to_json(Resource{1, "R", "network-0", s.resources[0].address, "", s.resources[0].protocols})));
  ranges.push_back({60'000, 60'001});
  s.resources[0].protocols.udp = Ports(ranges);
  EXPECT_EQ(problem(s), "resource Resource 0 has 4097 ranges of ports; 4096 is the most");
}

TEST(Limits, are_no_less_than_what_is_told) {
  const DesiredState s = company(200, 20'000, 1);
  Folder folder;
  Store store = must(Store::open(folder / "controller.db"));
  must(store.apply(s, false, kNow));
  const std::string device = enrolled(store, Token::Role::device, s.users[0].email, "key");
  const Directory directory(must(store.model()));
  const LeaseKeys keys{"tg-00000000", Ed25519Key(Buffer(32, 1)), Buffer(32, 2)};
  Leases leases(s.users[0].email, device, "thumbprint", 1);
  const View view = told_to(device, directory, {}, {}, keys, leases, kNow);
  EXPECT_LE(view.at("grant/network-0").get<std::string>().size(), kGrantMax);
  const std::size_t snapshot = json_text(Json(view)).size();
  EXPECT_EQ(view.size(), 20'000u + 3);
  for (const char* kind : {"resource", "user", "group"}) {
    EXPECT_LT(json_text(must(items(directory.model(), {}, kind, UnixTime()))).size(), 20'000u * 400) << kind;
  }
  EXPECT_LT(snapshot, 20'000u * 400);
  EXPECT_TRUE(try_control_frame({{"type", "apply"}, {"state", to_json(s)}}));
}

// Everybody reaching everything is what sizes multiply in.
TEST(AStoreOfMany, takes_ten_thousand_users_that_reach_ten_thousand_resources) {
  Folder folder;
  Store store = must(Store::open(folder / "controller.db"));
  DesiredState s = company(10'000, 10'000, 1);
  const DesiredState told = must(desired_from_json(to_json(s)));
  EXPECT_EQ(must(store.apply(told, false, kNow)).size(), 20'003u);
  const std::string device = enrolled(store, Token::Role::device, s.users[0].email, "key");
  const std::string spared = enrolled(store, Token::Role::device, s.users[1].email, "key2");
  const Directory directory(must(store.model()));
  EXPECT_EQ(directory.reach(s.users[0].email).reached.size(), 10'000u);
  EXPECT_EQ(&directory.reach(s.users[0].email), &directory.reach(s.users[9'999].email)) << "one list for all of them";
  // One of them leaves: the others keep what they have.
  s.groups[0].members.erase(s.groups[0].members.begin());
  const auto changes = must(store.apply(s, false, kNow));
  ASSERT_EQ(changes.size(), 1u);
  const Model model = must(store.model());
  ASSERT_EQ(model.revocations.size(), 1u);
  EXPECT_EQ(model.revocations[0].device, device);
  EXPECT_EQ(must(items(model, {}, "user", UnixTime())).size(), 10'000u);
}

TEST(AStoreOfMany, refuses_what_it_could_not_tell) {
  Folder folder;
  Store store = must(Store::open(folder / "controller.db"));
  const DesiredState s = company(1, kGrantResourcesMax + 1, 1);
  EXPECT_EQ(store.plan(s, false).error().code, Errc::exhausted);
  EXPECT_EQ(store.apply(s, false, kNow).error().code, Errc::exhausted);
  EXPECT_TRUE(must(store.model()).resources.empty());
}

}  // namespace tg::controller::controller_limits_test
