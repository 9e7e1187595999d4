// Service accounts: machines without people, let in by keys.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "cmd/controller/admin_api.h"
#include "cmd/controller/views.h"
#include "controller_support.h"
#include "core/encoding.h"
#include "core/json.h"

namespace tg::controller::controller_service_test {

using std::chrono::hours;

struct ServiceTest : testing::Test {
  Folder folder;
  Store store = must(Store::open(folder / "controller.db"));
  void SetUp() override { must(store.apply(with_service(), false, kNow)); }

  static DesiredState with_service() {
    DesiredState s = home();
    s.services = {{"ci", {}}, {"backup", {}}};
    s.groups[0].members.push_back("ci");
    return s;
  }
  FreshToken key(const std::string& service = "ci", const std::string& name = "") {
    return must(store.new_key(service, name, kNow, hours(24)));
  }
  static std::string id_of(const FreshToken& t) { return hex(Bytes(t.id).first(4)); }
  static Enrolment with(const FreshToken& t, const std::string& thumbprint = "key") {
    return {t.id, t.secret, Token::Role::service, "runner", thumbprint};
  }
  Result<std::string> come(const FreshToken& t, UnixTime now = kNow) { return store.enroll(with(t), now); }
  std::string refusal(const FreshToken& t, UnixTime now = kNow) {
    const auto in = come(t, now);
    return in ? "" : std::string(to_string(in.error().code)) + ": " + in.error().text;
  }
  Generation generation(const std::string& device) {
    for (const Revocation& r : must(store.model()).revocations) {
      if (r.device == device) return r.generation;
    }
    return 0;
  }
  View view_of(const std::string& device, UnixTime now = kNow) {
    const Directory directory(must(store.model()));
    const LeaseKeys keys{"tg-1", Ed25519Key(Buffer(32, 1)), Buffer(32, 2)};
    Leases leases("ci", device, "thumb", 7);
    return told_to(device, directory, {}, {}, keys, leases, now);
  }
};
using AServiceKey = ServiceTest;
using AService = ServiceTest;

TEST_F(AServiceKey, lets_in_as_many_devices_as_come_and_they_reach_what_its_groups_reach) {
  const FreshToken k = key();
  std::vector<std::string> in;
  for (int i = 0; i < 20; ++i) in.push_back(must(come(k)));
  std::sort(in.begin(), in.end());
  EXPECT_EQ(std::unique(in.begin(), in.end()), in.end());
  const Model model = must(store.model());
  ASSERT_EQ(model.devices.size(), 20u);
  const DeviceRecord& device = model.devices.front();
  EXPECT_EQ(device.user, "ci");
  EXPECT_EQ(device.service_key, id_of(k));
  EXPECT_TRUE(device.let_in(kNow + hours(24) - std::chrono::seconds(1)));
  EXPECT_FALSE(device.let_in(kNow + hours(24)));
  ASSERT_EQ(model.service_keys.size(), 1u);
  EXPECT_EQ(model.service_keys[0].last_used, kNow);
  const View view = view_of(device.id);
  const DeviceSelf self = must(device_self_from_json(view.at("self")));
  EXPECT_EQ(self.key, id_of(k));
  EXPECT_EQ(self.until, kNow + hours(24));
  EXPECT_FALSE(self.sign_in);
  EXPECT_TRUE(view.contains("grant/home"));
}

TEST_F(AServiceKey, grants_nothing_beyond_its_time) {
  const FreshToken k = key();
  const std::string device = must(come(k));
  const UnixTime late = kNow + hours(24) - std::chrono::minutes(10);
  const std::string jws = view_of(device, late).at("grant/home").get<std::string>();
  const Grant grant = must(Grant::verify(jws, ed25519_public_key(Buffer(32, 1)), "tg-1", "home", "thumb", late, {}));
  EXPECT_EQ(grant.expires, kNow + hours(24));
}

TEST_F(AServiceKey, that_is_deleted_takes_its_devices_with_it_and_no_others) {
  const FreshToken one = key(), other = key("ci", "other");
  const std::string lost = must(come(one)), kept = must(come(other)), person = enrolled(store, Token::Role::device, "alice@example.com", "a");
  must(store.remove_key(id_of(one), kNow));
  const Model model = must(store.model());
  EXPECT_EQ(model.device(lost), nullptr);
  EXPECT_NE(model.device(kept), nullptr);
  EXPECT_NE(model.device(person), nullptr);
  EXPECT_GT(generation(lost), 0u) << "its grants are void";
  EXPECT_EQ(generation(kept) + generation(person), 0u);
  EXPECT_EQ(refusal(one), "denied: the key is not known here: it may be revoked, or from another controller; ask for a new one");
  EXPECT_EQ(refusal(other), "");
}

TEST_F(AServiceKey, that_has_expired_lets_nobody_in_and_those_out_who_came) {
  const FreshToken k = key();
  const std::string device = must(come(k));
  EXPECT_FALSE(must(store.end_keys(k.expires - std::chrono::seconds(1))));
  EXPECT_EQ(refusal(k, k.expires), "expired: the key expired at 2027-01-16 08:00 UTC; ask for a new one");
  EXPECT_TRUE(must(store.end_keys(k.expires)));
  EXPECT_EQ(must(store.model()).device(device), nullptr);
  EXPECT_GT(generation(device), 0u);
  EXPECT_EQ(must(store.model()).service_keys.size(), 1u) << "it is listed as expired until somebody deletes it";
  EXPECT_FALSE(must(store.end_keys(k.expires))) << "once";
}

TEST_F(AServiceKey, with_a_wrong_secret_is_as_unknown_as_one_that_never_was) {
  const FreshToken k = key();
  FreshToken wrong = k, unknown = k;
  wrong.secret[31] ^= 1;
  unknown.id[0] ^= 1;
  EXPECT_EQ(refusal(wrong), refusal(unknown));
  EXPECT_TRUE(refusal(wrong).starts_with("denied: "));
}

TEST_F(AServiceKey, is_no_token_and_a_token_no_key) {
  const FreshToken k = key();
  for (const auto role : {Token::Role::device, Token::Role::connector, Token::Role::relay}) {
    EXPECT_FALSE(store.enroll({k.id, k.secret, role, "x", "key"}, kNow));
  }
  EXPECT_TRUE(refusal(must(store.new_token(Token::Role::device, "alice@example.com", kNow, hours(1)))).starts_with("denied: "));
  const auto token = store.new_token(Token::Role::device, "ci", kNow, hours(1));
  EXPECT_EQ(token.error().text, "there is no user \"ci\"; see: tg controller user list") << "a service's devices come by its keys";
  EXPECT_FALSE(store.set_password("ci", PasswordRecord{}, kNow));
}

TEST_F(AServiceKey, is_for_a_service_that_is_there_and_named_once_by_it) {
  EXPECT_EQ(store.new_key("nobody", "", kNow, hours(1)).error().text, "there is no service \"nobody\"; see: tg controller service list");
  EXPECT_EQ(store.new_key("alice@example.com", "", kNow, hours(1)).error().code, Errc::not_found);
  key("ci", "runners");
  EXPECT_EQ(store.new_key("ci", "runners", kNow, hours(1)).error().text, "service \"ci\" has a key \"runners\" already");
  const FreshToken k = key("backup", "runners");
  must(store.rename_key(id_of(k), "nightly", kNow));
  EXPECT_EQ(must(store.model()).service_keys[0].name, "nightly");
  key("backup", "other");
  EXPECT_EQ(store.rename_key(id_of(k), "other", kNow).error().code, Errc::conflict);
  EXPECT_EQ(store.rename_key("00000000", "x", kNow).error().code, Errc::not_found);
  EXPECT_EQ(store.remove_key("00000000", kNow).error().code, Errc::not_found);
}

TEST_F(AServiceKey, is_one_of_a_hundred_at_most) {
  for (std::size_t i = 0; i < Store::kServiceKeysMax; ++i) key();
  const auto more = store.new_key("ci", "", kNow, hours(1));
  EXPECT_EQ(more.error().code, Errc::exhausted);
  EXPECT_EQ(more.error().text, "service \"ci\" has 100 keys; delete one that is not needed");
  key("backup");
}

TEST_F(AServiceKey, leaves_no_secret_in_the_files) {
  const FreshToken k = key();
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string content((std::istreambuf_iterator<char>(file)), {});
    EXPECT_EQ(content.find(as_text(k.secret)), std::string::npos) << entry.path();
  }
}

TEST_F(AServiceKey, is_in_the_audit_log_with_what_it_did) {
  const FreshToken k = key("ci", "runners");
  const std::string device = must(store.enroll(with(k), kNow, "192.0.2.7"));
  must(store.remove_key(id_of(k), Stamp(kNow, "root", "here")));
  std::vector<std::string> seen;
  for (const std::string& text : must(store.audit(0, 100))) {
    const Json e = *parse_json(text);
    if (e["kind"] == "key" || e["kind"] == "device") {
      seen.push_back(e["who"].get<std::string>() + " " + e["action"].get<std::string>() + " " + e["name"].get<std::string>());
    }
    EXPECT_EQ(text.find(hex(k.secret)), std::string::npos);
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"tg create " + id_of(k), "key " + id_of(k) + " enroll " + device, "root remove " + id_of(k)}));
}

TEST_F(AService, that_is_blocked_loses_its_grants_and_its_keys_let_nobody_in) {
  const FreshToken k = key();
  const std::string device = must(come(k));
  DesiredState blocked = with_service();
  blocked.services[0].blocked = true;
  must(store.apply(blocked, false, kNow));
  EXPECT_GT(generation(device), 0u);
  EXPECT_TRUE(view_of(device).empty());
  EXPECT_EQ(refusal(k), "denied: the service account is blocked; ask an administrator");
  must(store.apply(with_service(), false, kNow));
  EXPECT_TRUE(view_of(device).contains("grant/home")) << "the device is still there";
}

TEST_F(AService, that_is_deleted_takes_keys_and_devices_with_it) {
  const FreshToken k = key();
  const std::string device = must(come(k));
  DesiredState without = home();
  must(store.apply(without, true, kNow));
  const Model model = must(store.model());
  EXPECT_TRUE(model.services.empty() && model.service_keys.empty() && model.devices.empty());
  EXPECT_GT(generation(device), 0u);
  EXPECT_TRUE(refusal(k).starts_with("denied: "));
}

TEST_F(AService, that_leaves_a_group_loses_what_that_reached) {
  const std::string device = must(come(key()));
  DesiredState wanted = with_service();
  wanted.groups[0].members = {"alice@example.com"};
  must(store.apply(wanted, false, kNow));
  EXPECT_GT(generation(device), 0u);
  EXPECT_FALSE(view_of(device).contains("grant/home"));
}

TEST_F(AService, keeps_keys_and_devices_under_another_name) {
  const FreshToken k = key();
  const std::string device = must(come(k));
  must(store.rename("service", "ci", "builds", kNow));
  const Model model = must(store.model());
  EXPECT_EQ(model.device(device)->user, "builds");
  EXPECT_EQ(model.service_keys[0].service, "builds");
  EXPECT_EQ(refusal(k), "");
  EXPECT_EQ(store.rename("service", "builds", "backup", kNow).error().code, Errc::conflict);
}

TEST_F(AService, and_a_person_are_not_made_of_one_another_by_a_rename) {
  EXPECT_EQ(store.rename("user", "ci", "mallory@example.com", kNow).error().code, Errc::not_found);
  EXPECT_EQ(store.rename("service", "alice@example.com", "robot", kNow).error().code, Errc::not_found);
  EXPECT_TRUE(plan(desired(must(store.model())), with_service(), true).empty());
}

TEST_F(AServiceKey, lets_in_ten_thousand_devices_and_no_more) {
  const FreshToken k = key();
  const std::string first = must(come(k));
  sqlite3* raw = nullptr;
  ASSERT_EQ(sqlite3_open((folder / "controller.db").c_str(), &raw), SQLITE_OK);
  const std::string more = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9998) INSERT INTO device (id, user, name, key, "
                           "created, service_key) SELECT printf('%016x', i), d.user, 'x', 'x', 0, d.service_key FROM n, device d WHERE d.id = '" +
                           first + "'";
  ASSERT_EQ(sqlite3_exec(raw, more.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(raw);
  sqlite3_close(raw);
  EXPECT_EQ(refusal(k), "");
  EXPECT_EQ(refusal(k), "exhausted: 10000 machines came in by this key, and no more may; ask an administrator for another key");
  EXPECT_EQ(refusal(key("ci", "other")), "");
}

TEST_F(AService, forgets_devices_that_were_not_seen_for_long_and_none_of_people) {
  const FreshToken k = must(store.new_key("ci", "", kNow, hours(24 * 30)));
  const std::string idle = must(come(k)), seen = must(come(k)), never = must(come(k, kNow + hours(100)));
  const std::string person = enrolled(store, Token::Role::device, "alice@example.com", "a");
  const std::string blocked = must(come(k));
  must(store.set_device_state(blocked, Store::DeviceState::blocked, kNow));
  must(store.seen({{"device/" + seen, kNow + hours(50)}}));
  EXPECT_FALSE(must(store.forget_idle(kNow, kNow + hours(168))));
  EXPECT_TRUE(must(store.forget_idle(kNow + hours(50), kNow + hours(218))));
  const Model model = must(store.model());
  EXPECT_EQ(model.device(idle), nullptr);
  for (const std::string& kept : {seen, never, person, blocked}) EXPECT_NE(model.device(kept), nullptr);
}

TEST_F(AService, is_listed_with_its_keys_and_not_among_people) {
  const FreshToken k = key("ci", "runners");
  must(come(k));
  const Model model = must(store.model());
  const auto list = [&](const char* kind, UnixTime now = kNow) { return must(items(model, {}, kind, now)); };
  EXPECT_EQ(list("user").size(), 2u);
  const Json ci = list("service")[1];
  EXPECT_EQ(ci, (Json{{"name", "ci"}, {"state", "active"}, {"role", "member"}, {"groups", {"family"}}, {"keys", 1}, {"devices", 1}}));
  const Json shown = list("key")[0];
  EXPECT_EQ(shown["id"], id_of(k));
  EXPECT_EQ(shown["service"], "ci");
  EXPECT_EQ(shown["name"], "runners");
  EXPECT_EQ(shown["state"], "active");
  EXPECT_EQ(shown["devices"], 1);
  EXPECT_EQ(list("key", k.expires)[0]["state"], "expired");
}

}  // namespace tg::controller::controller_service_test
