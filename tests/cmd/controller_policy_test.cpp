// Policies: what they keep shut, and that nobody keeps what he has lost.
#include <gtest/gtest.h>

#include "cmd/controller/admin_api.h"
#include "cmd/controller/desired_file.h"
#include "cmd/controller/desired_json.h"
#include "cmd/controller/edits.h"
#include "core/json.h"
#include "core/moment.h"
#include "core/text.h"
#include "tests/cmd/controller_support.h"

namespace tg::controller::controller_policy_test {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

std::optional<seconds> utc(const std::string&, UnixTime) { return seconds(0); }

struct PolicyTest : testing::Test {
  Folder folder;
  Store store = must(Store::open(folder / "controller.db"));
  LeaseKeys keys{"tg-12345678", Ed25519Key(Buffer(32, 7)), Buffer(32, 9)};

  // guarded is home() with a policy on the NAS, and a printer that has none.
  static DesiredState guarded(PolicySpec p) {
    p.name = "sensitive";
    DesiredState s = home();
    s.policies = {std::move(p)};
    s.resources[0].policy = "sensitive";
    s.resources.push_back(resource("Printer", "printer.home.int", "family"));
    return s;
  }
  Generation generation(const std::string& device) {
    for (const Revocation& r : must(store.model()).revocations) {
      if (r.device == device) return r.generation;
    }
    return 0;
  }
  View view(const std::string& device, UnixTime now = kNow) {
    Leases leases("alice@example.com", device, "thumb", 1);
    return told_to(device, Directory(must(store.model())), {}, {}, keys, leases, now);
  }
  std::vector<std::string> granted(const std::string& device, UnixTime now = kNow) {
    const View v = view(device, now);
    std::vector<std::string> out;
    if (!v.contains("grant/home")) return out;
    const Grant g = must(Grant::verify(v.at("grant/home").get<std::string>(), keys.grant_key.public_key(), "tg-12345678", "home", "thumb", now));
    for (const ResourceRecord& r : must(store.model()).resources) {
      if (g.covers(r.resource.id)) out.push_back(r.resource.name);
    }
    return out;
  }
  Grant grant(const std::string& device, UnixTime now = kNow) {
    return must(Grant::verify(view(device, now).at("grant/home").get<std::string>(), keys.grant_key.public_key(), "tg-12345678", "home",
                              "thumb", now));
  }
  ResourceAccess nas(const std::string& device, UnixTime now = kNow) {
    const View v = view(device, now);
    return v.contains("access") ? must(access_from_json(v.at("access"))).begin()->second : ResourceAccess();
  }
  std::string signed_in(std::vector<std::string> methods, const std::string& device = "", UnixTime now = kNow) {
    SignIn who;
    who.person.email = "alice@example.com";
    who.person.methods = std::move(methods);
    who.device = device;
    who.name = "laptop";
    who.key = "key-" + std::to_string(++keys_);
    who.lifetime = hours(12);
    return must(store.sign_in(who, now)).device;
  }
  std::string ask(const std::string& device, seconds length = {}, UnixTime now = kNow) {
    RequestRecord wish;
    wish.user = "alice@example.com";
    wish.device = device;
    wish.resource = must(store.model()).resources[0].resource.id;
    wish.wanted = length;
    return must(store.new_request(wish, now));
  }
  int keys_ = 0;
};
using APolicyHere = PolicyTest;
using ADeviceHere = PolicyTest;
using ARequestHere = PolicyTest;
using Names = std::vector<std::string>;

TEST_F(APolicyHere, is_kept_as_it_was_written_and_written_again) {
  const char* text = R"([[network]]
name = "home"

[[policy]]
name = "everything"
session = "8h"
mfa = true
trusted_device = true
days = ["mon-wed", "fri"]
hours = "22:00-06:30"
time_zone = "Europe/Berlin"
until = "2026-12-31T18:00:07Z"
approval = "90m"

[[policy]]
name = "nothing"

[[group]]
name = "family"
policy = "everything"

[[resource]]
name = "NAS"
network = "home"
address = "nas.home.int"
groups = ["family"]
policy = "nothing"
)";
  const DesiredFile file = parse_desired(text, "f.toml");
  ASSERT_TRUE(file.errors.empty()) << file.errors[0];
  EXPECT_EQ(to_toml(file.state), text);
  const DesiredState told = must(desired_from_json(to_json(file.state)));
  EXPECT_EQ(to_toml(told), text);
  must(store.apply(told, false, kNow));
  EXPECT_EQ(to_toml(desired(must(store.model()))), text);
  EXPECT_TRUE(must(store.plan(file.state, true)).empty());
  DesiredState other = file.state;
  other.policies[0].until = *other.policies[0].until + seconds(1);
  other.policies[0].session.reset();
  other.resources[0].policy = "";
  const auto changes = must(store.plan(other, true));
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].detail, "session 8h -> none; until 2026-12-31T18:00:07Z -> 2026-12-31T18:00:08Z");
  EXPECT_EQ(changes[1].detail, "policy nothing -> none");
  must(store.apply(other, true, kNow));
  EXPECT_EQ(to_toml(desired(must(store.model()))), to_toml(other));
  other.policies.clear();
  other.groups[0].policy = "";
  must(store.apply(other, true, kNow));
  EXPECT_TRUE(must(store.model()).policies.empty());
}

TEST_F(APolicyHere, that_makes_no_sense_is_refused_with_its_line) {
  const auto errors = [](const std::string& lines) {
    const DesiredFile f = parse_desired("[[policy]]\nname = \"p\"\n" + lines, "f.toml");
    return f.errors.empty() ? "" : f.errors[0];
  };
  EXPECT_EQ(errors("session = \"8 hours\"\n"), "f.toml:3: policy \"p\": session: \"8 hours\" is no length of time such as 90s, 15m, 8h or 2d");
  EXPECT_EQ(errors("session = \"5s\"\n"), "f.toml:3: policy \"p\": session: is too short: 10s is the least");
  EXPECT_EQ(errors("days = [\"monday\"]\n"), "f.toml:3: policy \"p\": days: \"monday\" is no day such as mon, and no range such as mon-fri");
  EXPECT_EQ(errors("days = []\n"), "f.toml:3: policy \"p\": days: names no day; mon-sun are all of them");
  EXPECT_EQ(errors("hours = \"8-18\"\n"), "f.toml:3: policy \"p\": hours: \"8-18\" are no hours such as 08:00-18:00");
  EXPECT_EQ(errors("until = \"2026-12-31\"\n"), "f.toml:3: policy \"p\": until: \"2026-12-31\" is no moment such as 2026-12-31T18:00Z, in UTC");
  EXPECT_EQ(errors("time_zone = \"../../etc/passwd\"\n"),
            "f.toml:3: policy \"p\": time_zone: \"../../etc/passwd\" is no time zone such as UTC or Europe/Berlin");
  EXPECT_EQ(errors("mfaa = true\n").substr(0, 37), "f.toml:3: policy \"p\": unknown key \"mf");
  DesiredState s = home();
  s.resources[0].policy = "sensitive";
  EXPECT_EQ(problems(s).at(0).text, "there is no policy \"sensitive\"; add a [[policy]] for it");
  PolicySpec mars;
  mars.time_zone = "Mars/Olympus";
  const Findings found = must(store.examine(guarded(mars), false));
  ASSERT_EQ(found.problems.size(), 1u);
  EXPECT_EQ(found.problems[0].key, "policy sensitive: time_zone");
  EXPECT_EQ(store.apply(guarded(mars), false, kNow).error().code, Errc::conflict);
}

TEST_F(APolicyHere, in_use_is_not_deleted) {
  must(store.apply(guarded({.mfa = true}), false, kNow));
  const auto gone = store.edit([](DesiredState& s) { return delete_entry(s, "policy", "sensitive"); }, kNow);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Errc::conflict);
  EXPECT_NE(gone.error().text.find("is that of the resource \"NAS\""), std::string::npos) << gone.error().text;
  must(store.edit([](DesiredState& s) { return update_entry(s, "resource", "NAS", {{"policy", ""}}); }, kNow));
  must(store.edit([](DesiredState& s) { return delete_entry(s, "policy", "sensitive"); }, kNow));
}

TEST_F(APolicyHere, keeps_shut_what_is_its_and_nothing_else) {
  must(store.apply(guarded({.mfa = true}), false, kNow));
  const std::string by_token = enrolled(store, Token::Role::device, "alice@example.com", "key-a");
  EXPECT_EQ(granted(by_token), Names{"Printer"});
  EXPECT_EQ(nas(by_token).need, Need::second_factor);
  EXPECT_EQ(nas(by_token).policy, "sensitive");
  EXPECT_TRUE(view(by_token).contains("resource/1")) << "the device knows it";
  const std::string by_password = signed_in({"pwd"});
  EXPECT_EQ(granted(by_password), Names{"Printer"});
  const std::string strong = signed_in({"pwd", "otp"});
  EXPECT_EQ(granted(strong), (Names{"NAS", "Printer"}));
  EXPECT_EQ(nas(strong).need, Need::nothing);
  EXPECT_EQ(nas(strong).changes, kNow + hours(12));
  EXPECT_EQ(signed_in({"pwd", "otp"}, by_token), by_token) << "a device that came by a token may sign in, too";
  EXPECT_EQ(granted(by_token), (Names{"NAS", "Printer"}));
  EXPECT_EQ(granted(by_token, kNow + hours(13)), Names{"Printer"}) << "and keeps the rest when that is over";
}

TEST_F(APolicyHere, of_a_group_is_for_what_is_reached_through_it_alone) {
  DesiredState s = guarded({.trusted_device = true});
  s.resources[0].policy = "";
  s.groups[0].policy = "sensitive";
  must(store.apply(s, false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-a");
  EXPECT_TRUE(granted(device).empty());
  s.groups[1].members = {"alice@example.com"};
  s.resources[0].groups.push_back("guests");
  must(store.apply(s, false, kNow));
  EXPECT_EQ(granted(device), Names{"NAS"}) << "the guests' way has no policy";
}

TEST_F(APolicyHere, has_its_end_in_the_grant_so_that_nobody_needs_to_be_there_then) {
  must(store.apply(guarded({.until = kNow + minutes(20)}), false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-a");
  const Grant before = grant(device);
  EXPECT_EQ(before.ends, (std::map<UnixTime, std::vector<ResourceId>>{{kNow + minutes(20), {1}}}));
  EXPECT_EQ(before.resources, std::vector<ResourceId>{2});
  EXPECT_EQ(before.expires, kNow + kGrantLifetime) << "the rest goes on";
  const Grant after = grant(device, kNow + minutes(20));
  EXPECT_TRUE(after.ends.empty());
  EXPECT_EQ(after.withheld, std::vector<ResourceId>{1});
  EXPECT_EQ(granted(device, kNow + minutes(20)), Names{"Printer"});
  EXPECT_EQ(nas(device, kNow + minutes(20)).need, Need::over);
  EXPECT_EQ(generation(device), 0u);
}

TEST_F(APolicyHere, that_comes_to_an_end_earlier_voids_what_said_another) {
  must(store.apply(guarded({.until = kNow + hours(3)}), false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-a");
  const auto until = [&](seconds later) {
    must(store.edit([&](DesiredState& s) { return update_entry(s, "policy", "sensitive", {{"until", rfc3339(kNow + later)}}); }, kNow));
  };
  until(hours(2));
  EXPECT_EQ(generation(device), 1u);
  until(hours(5));
  EXPECT_EQ(generation(device), 1u) << "more is no less";
  must(store.edit([](DesiredState& s) { return update_entry(s, "policy", "sensitive", {{"until", ""}}); }, kNow));
  until(hours(24 * 30));
  EXPECT_EQ(generation(device), 1u) << "no grant lives for so long";
}

TEST_F(APolicyHere, voids_what_was_opened_by_the_time_alone) {
  PolicySpec p;
  const UnixTime midnight = std::chrono::floor<std::chrono::days>(kNow);
  p.hours = must(parse_hours("08:00-18:00"));
  must(store.apply(guarded(p), false, midnight + hours(7)));   // the last change before it opens
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-a", midnight + hours(7));
  must(store.edit([](DesiredState& s) { return update_entry(s, "policy", "sensitive", {{"trusted_device", true}}); }, midnight + hours(33)));
  EXPECT_EQ(generation(device), 1u);
  must(store.edit([](DesiredState& s) { return update_entry(s, "policy", "sensitive", {{"trusted_device", false}}); }, midnight + hours(33)));
  must(store.edit([](DesiredState& s) { return update_entry(s, "group", "family", {{"remove", {"alice@example.com"}}}); }, midnight + hours(57)));
  EXPECT_EQ(generation(device), 2u);
}

TEST_F(APolicyHere, voids_the_grants_of_whoever_it_shuts_out_and_of_nobody_else) {
  must(store.apply(guarded({}), false, kNow));
  const std::string weak = signed_in({"pwd"});
  const std::string strong = signed_in({"pwd", "otp"});
  must(store.edit([](DesiredState& s) { return update_entry(s, "policy", "sensitive", {{"mfa", true}}); }, kNow));
  EXPECT_EQ(generation(weak), 1u);
  EXPECT_EQ(generation(strong), 0u);
  EXPECT_EQ(signed_in({"pwd"}, strong), strong);
  EXPECT_EQ(generation(strong), 1u) << "signed in again, and weaker";
  EXPECT_EQ(signed_in({"pwd", "otp"}, strong), strong);
  must(store.edit([](DesiredState& s) { return update_entry(s, "policy", "sensitive", {{"mfa", false}}); }, kNow));
  EXPECT_EQ(generation(strong), 1u) << "what opens voids nothing";
  must(store.edit([](DesiredState& s) { return update_entry(s, "policy", "sensitive", {{"trusted_device", true}}); }, kNow));
  EXPECT_EQ(generation(weak), 2u);
  EXPECT_EQ(generation(strong), 2u);
}

TEST_F(APolicyHere, says_when_time_alone_will_change_something) {
  PolicySpec p;
  p.hours = must(parse_hours("08:00-18:00"));
  must(store.apply(guarded(p), false, kNow));
  const auto next = [&](UnixTime now) {
    Judge judge(now, utc);
    return must(store.directory())->next_change(judge);
  };
  const auto midnight = std::chrono::floor<std::chrono::days>(kNow);
  EXPECT_EQ(next(midnight + hours(9)), UnixTime::max()) << "nobody is there";
  enrolled(store, Token::Role::device, "alice@example.com", "key-a");
  EXPECT_EQ(next(midnight + hours(9)), midnight + hours(18));
  EXPECT_EQ(next(midnight + hours(18)), midnight + hours(32));
}

TEST_F(ADeviceHere, is_pending_until_an_administrator_trusts_it) {
  must(store.apply(guarded({.trusted_device = true}), false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-a");
  EXPECT_EQ(granted(device), Names{"Printer"});
  EXPECT_EQ(nas(device).need, Need::trust);
  must(store.set_device_state(device, Store::DeviceState::trusted, kNow));
  EXPECT_EQ(granted(device), (Names{"NAS", "Printer"}));
  EXPECT_EQ(generation(device), 0u);
  must(store.set_device_state(device, Store::DeviceState::pending, kNow));
  EXPECT_EQ(generation(device), 1u);
  EXPECT_EQ(granted(device), Names{"Printer"});
  must(store.set_device_state(device, Store::DeviceState::trusted, kNow));
  must(store.set_device_state(device, Store::DeviceState::blocked, kNow));
  EXPECT_FALSE(must(store.model()).device(device)->trusted) << "whoever lets it in again has to trust it anew";
  const FreshToken token = must(store.new_token(Token::Role::device, "alice@example.com", kNow, minutes(10), true));
  const std::string other = must(store.enroll({token.id, token.secret, Token::Role::device, "laptop", "key-b"}, kNow));
  EXPECT_EQ(granted(other), (Names{"NAS", "Printer"})) << "the token said so";
}

TEST_F(ADeviceHere, is_one_of_so_many_that_a_person_may_have) {
  must(store.apply(home(), false, kNow));
  store.limit_devices(2);
  enrolled(store, Token::Role::device, "alice@example.com", "key-a");
  const std::string second = enrolled(store, Token::Role::device, "alice@example.com", "key-b");
  const FreshToken token = must(store.new_token(Token::Role::device, "alice@example.com", kNow, minutes(10)));
  const Enrolment third{token.id, token.secret, Token::Role::device, "laptop", "key-c"};
  const auto refused = store.enroll(third, kNow);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::exhausted);
  EXPECT_EQ(refused.error().text, "alice@example.com has 2 devices, and no more may be; an administrator removes one with: tg controller "
                                  "device delete, after: tg controller device list");
  SignIn who;
  who.person.email = "alice@example.com";
  who.key = "key-d";
  who.lifetime = hours(1);
  EXPECT_EQ(store.sign_in(who, kNow).error().code, Errc::exhausted);
  EXPECT_EQ(signed_in({"pwd"}, second), second) << "one that is there may sign in";
  must(store.remove_device(second, kNow));
  must(store.enroll(third, kNow));   // the refusal has spent nothing
  for (int i = 0; i < 5; ++i) {      // who signs out on one may sign in on another: the oldest of them goes
    for (const DeviceRecord& d : must(store.model()).devices) {
      if (!d.signs_in) must(store.remove_device(d.id, kNow));
    }
    const std::string fresh = signed_in({"pwd"}, "", kNow + seconds(i));
    must(store.end_session(fresh, kNow + seconds(i)));
  }
  EXPECT_EQ(must(store.model()).devices.size(), 2u);
  enrolled(store, Token::Role::device, "bob@example.com", "key-e");
}

TEST_F(ARequestHere, opens_a_resource_for_as_long_as_it_is_approved) {
  must(store.apply(guarded({.approval = hours(4)}), false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-a");
  EXPECT_EQ(nas(device).need, Need::approval);
  EXPECT_FALSE(nas(device).asked);
  EXPECT_EQ(nas(device).most, hours(4));
  const std::string id = ask(device, hours(2));
  EXPECT_TRUE(nas(device).asked);
  EXPECT_EQ(granted(device), Names{"Printer"}) << "asking opens nothing";
  must(store.decide(id, seconds(0), kNow + minutes(5)));
  EXPECT_EQ(nas(device, kNow + minutes(5)).changes, kNow + minutes(5) + hours(2)) << "as long as was asked for";
  EXPECT_EQ(granted(device, kNow + minutes(5)), (Names{"NAS", "Printer"}));
  EXPECT_EQ(grant(device, kNow + minutes(5)).ends.begin()->first, kNow + minutes(5) + hours(2));
  EXPECT_EQ(granted(device, kNow + minutes(5) + hours(2)), Names{"Printer"});
  must(store.decide(id, minutes(30), kNow + minutes(5)));
  EXPECT_EQ(generation(device), 1u) << "for less: what said more is void";
}

TEST_F(ARequestHere, is_worth_nothing_where_its_reasons_are_gone) {
  DesiredState s = guarded({.approval = hours(8)});
  must(store.apply(s, false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-a");
  must(store.decide(ask(device), hours(8), kNow));
  EXPECT_EQ(nas(device).changes, kNow + hours(8));
  must(store.edit([](DesiredState& now) { return update_entry(now, "policy", "sensitive", {{"approval", "10m"}}); }, kNow));
  EXPECT_EQ(nas(device).changes, kNow + minutes(10)) << "the policy is stricter now";
  EXPECT_EQ(generation(device), 1u);
  must(store.edit([](DesiredState& now) { return update_entry(now, "group", "family", {{"remove", {"alice@example.com"}}}); }, kNow));
  must(store.edit([](DesiredState& now) { return update_entry(now, "group", "family", {{"add", {"alice@example.com"}}}); }, kNow));
  EXPECT_EQ(nas(device).need, Need::approval) << "she has left, and come back";
  must(store.decide(ask(device), minutes(10), kNow));
  EXPECT_EQ(nas(device).need, Need::nothing);
  must(store.void_all_grants());
  EXPECT_EQ(nas(device).need, Need::approval) << "it may have been denied since the backup";
}

TEST_F(ARequestHere, waits_for_a_week) {
  must(store.apply(guarded({.approval = hours(8)}), false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-a");
  ask(device);
  EXPECT_TRUE(nas(device, kNow + kRequestOpen).asked);
  EXPECT_FALSE(nas(device, kNow + kRequestOpen + seconds(1)).asked);
  ask(device, {}, kNow + kRequestOpen + seconds(1));
}

TEST_F(ARequestHere, is_for_as_long_as_both_the_resource_and_the_group_allow) {
  DesiredState s = guarded({.approval = hours(8)});
  s.policies.push_back({.name = "short", .approval = minutes(10)});
  s.groups[0].policy = "short";
  must(store.apply(s, false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-a");
  EXPECT_EQ(store.decide(ask(device), hours(1), kNow).error().code, Errc::invalid_argument);
}

TEST_F(ARequestHere, may_be_denied_also_after_it_was_approved) {
  must(store.apply(guarded({.approval = hours(4)}), false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-a");
  const std::string id = ask(device);
  EXPECT_EQ(store.decide(id, hours(5), kNow).error().code, Errc::invalid_argument) << "longer than the policy allows";
  must(store.decide(id, hours(1), kNow));
  EXPECT_EQ(granted(device), (Names{"NAS", "Printer"}));
  must(store.decide(id, std::nullopt, kNow));
  EXPECT_EQ(granted(device), Names{"Printer"});
  EXPECT_EQ(generation(device), 1u);
  EXPECT_EQ(store.decide("00000000", seconds(0), kNow).error().code, Errc::not_found);
}

TEST_F(ARequestHere, is_refused_where_it_could_bring_nothing) {
  DesiredState s = guarded({.approval = hours(4)});
  must(store.apply(s, false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-a");
  const auto model = must(store.model());
  const auto asks = [&](const std::string& user, ResourceId resource, seconds length = {}) {
    RequestRecord wish;
    wish.user = user;
    wish.device = device;
    wish.resource = resource;
    wish.wanted = length;
    auto made = store.new_request(wish, kNow);
    return made ? "asked" : std::string(to_string(made.error().code));
  };
  EXPECT_EQ(asks("bob@example.com", model.resources[0].resource.id), "not_found") << "it is for none of his groups";
  EXPECT_EQ(asks("alice@example.com", 99), "not_found");
  EXPECT_EQ(asks("alice@example.com", model.resources[1].resource.id), "not_found") << "nothing to approve";
  EXPECT_EQ(asks("alice@example.com", model.resources[0].resource.id, hours(5)), "invalid_argument");
  EXPECT_EQ(asks("alice@example.com", model.resources[0].resource.id), "asked");
  EXPECT_EQ(asks("alice@example.com", model.resources[0].resource.id), "conflict");
  const std::string id = must(store.model()).requests.at(0).id;
  s.groups[0].members.clear();
  must(store.apply(s, false, kNow));
  EXPECT_EQ(store.decide(id, seconds(0), kNow).error().code, Errc::conflict) << "she is in the group no longer";
}

TEST_F(ARequestHere, is_in_the_audit_log_with_its_answer) {
  must(store.apply(guarded({.approval = hours(4)}), false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-a");
  const std::string id = ask(device, hours(1));
  must(store.decide(id, hours(1), {kNow, "root", "socket"}));
  const auto log = must(store.audit(store.audit_last() - 2, 2));
  const Json asked = parse_json(log.at(0)).value(), approved = parse_json(log.at(1)).value();
  EXPECT_EQ(asked["action"], "create");
  EXPECT_EQ(asked["who"], "alice@example.com");
  EXPECT_EQ(approved["action"], "approve");
  EXPECT_EQ(approved["after"]["until"], (kNow + hours(1)).time_since_epoch().count());
}

}  // namespace tg::controller::controller_policy_test
