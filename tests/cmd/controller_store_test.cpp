#include "cmd/controller/store.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include "controller_support.h"

namespace tg::controller::controller_store_test {

struct StoreTest : testing::Test {
  Folder folder;
  Store store = must(Store::open(folder / "controller.db"));

  ResourceId id_of(const std::string& name) {
    for (const ResourceRecord& r : must(store.model()).resources) {
      if (r.resource.name == name) return r.resource.id;
    }
    return 0;
  }
  Generation generation(const std::string& device) {
    for (const Revocation& r : must(store.model()).revocations) {
      if (r.device == device) return r.generation;
    }
    return 0;
  }
};

using AStore = StoreTest;

TEST_F(AStore, keeps_everything_across_a_restart) {
  DesiredState wanted = home();
  wanted.resources[0].alias = "nas.tg";
  wanted.resources[0].protocols = {Ports({{22, 22}, {8000, 8100}}), Ports::none(), false};
  wanted.relays = {{"relay-1", "relay.example.com:8444", {}}};
  must(store.apply(wanted, false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-1");
  store = must(Store::open(folder / "controller.db"));
  const Model model = must(store.model());
  EXPECT_TRUE(plan(desired(model), wanted, true).empty());
  ASSERT_EQ(model.resources.size(), 1u);
  EXPECT_EQ(model.resources[0].resource.protocols.to_string(), wanted.resources[0].protocols.to_string());
  EXPECT_EQ(model.resources[0].resource.alias, "nas.tg");
  ASSERT_NE(model.device(device), nullptr);
  EXPECT_EQ(model.device(device)->user, "alice@example.com");
  EXPECT_EQ(model.device(device)->key, "key-1");
}

TEST_F(AStore, takes_the_state_of_the_first_tg_a_step_further) {
  must(store.apply(home(), false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-1");
  sqlite3* raw = nullptr;
  ASSERT_EQ(sqlite3_open((folder / "controller.db").c_str(), &raw), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(raw, 
                         "DROP TABLE web_session; DROP TABLE api_token; DROP TABLE once; ALTER TABLE user DROP COLUMN role; "
                         "DROP TABLE request; DROP INDEX group_policy; DROP INDEX resource_policy; ALTER TABLE \"group\" DROP COLUMN policy; "
                         "ALTER TABLE resource DROP COLUMN policy; DROP TABLE policy; ALTER TABLE device DROP COLUMN trusted; "
                         "ALTER TABLE token DROP COLUMN trusted; "
                         "DROP VIEW member; DROP VIEW told_now; DROP TABLE session; DROP TABLE group_claim; DROP TABLE told; DROP TABLE account; "
                         "DROP TABLE \"identity-provider\"; ALTER TABLE user DROP COLUMN by_sign_in; ALTER TABLE user DROP COLUMN blocked; "
                         "DROP TABLE password; DROP TABLE totp; "
                         "ALTER TABLE device DROP COLUMN signs_in; DROP INDEX device_service_key; ALTER TABLE device DROP COLUMN service_key; "
                         "DROP INDEX token_expires; DROP TABLE service_key; ALTER TABLE user DROP COLUMN service; "
                         "DROP TABLE relay; DROP TABLE audit; DROP TABLE audit_head; DROP TABLE grant_floor; PRAGMA user_version = 1; "
                         "DROP TABLE revocation; CREATE TABLE revocation (device TEXT PRIMARY KEY, before INTEGER NOT NULL); "
                         "INSERT INTO revocation VALUES ('00000000000000d1', 1800000000); "
                         "ALTER TABLE connector ADD COLUMN next_key TEXT NOT NULL DEFAULT ''; "
                         "ALTER TABLE device ADD COLUMN next_key TEXT NOT NULL DEFAULT ''", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(raw);
  store = must(Store::open(folder / "controller.db"));
  EXPECT_TRUE(plan(desired(must(store.model())), home(), true).empty());
  EXPECT_TRUE(must(store.model()).device(device)->let_in(kNow + std::chrono::hours(100'000)));
  EXPECT_TRUE(must(store.model()).device(device)->service_key.empty());
  DesiredState wanted = home();
  wanted.relays = {{"relay-1", "relay.example.com:8444", {}}};
  must(store.apply(wanted, false, kNow));
  EXPECT_EQ(must(store.model()).relays.size(), 1u);
}

TEST_F(AStore, lets_two_relays_change_places_and_one_take_the_address_of_another) {
  DesiredState wanted = home();
  wanted.relays = {{"a", "a.example.com:1", {}}, {"b", "b.example.com:1", {}}};
  must(store.apply(wanted, true, kNow));
  std::swap(wanted.relays[0].address, wanted.relays[1].address);
  must(store.apply(wanted, true, kNow));
  wanted.relays = {{"c", "a.example.com:1", {}}};
  must(store.apply(wanted, true, kNow));
  EXPECT_EQ(desired(must(store.model())).relays.at(0).name, "c");
}

TEST_F(AStore, has_private_files) {
  for (const char* file : {"controller.db", "controller.db-wal", "controller.db-shm"}) {
    struct stat info {};
    ASSERT_EQ(::stat((folder / file).c_str(), &info), 0) << file;
    EXPECT_EQ(info.st_mode & 0777, 0600u) << file;
  }
}

TEST_F(AStore, refuses_the_state_of_a_newer_tg) {
  sqlite3* raw = nullptr;
  ASSERT_EQ(sqlite3_open((folder / "controller.db").c_str(), &raw), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(raw, "PRAGMA user_version = 99", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(raw);
  const auto again = Store::open(folder / "controller.db");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::unsupported);
  EXPECT_NE(again.error().text.find("newer tg (its version is 99, this tg knows 8)"), std::string::npos)
      << again.error().text;
}

TEST_F(AStore, says_so_when_a_file_is_no_database) {
  FILE* f = std::fopen((folder / "other.db").c_str(), "w");
  for (int i = 0; i < 1000; ++i) std::fputs("not a database ", f);
  std::fclose(f);
  const auto opened = Store::open(folder / "other.db");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::io);
}

TEST_F(AStore, does_nothing_when_the_same_state_is_applied_again) {
  EXPECT_FALSE(must(store.apply(home(), true, kNow)).empty());
  const std::uint64_t revision = store.revision();
  EXPECT_TRUE(must(store.apply(home(), true, kNow)).empty());
  EXPECT_EQ(must(store.model()).revision, revision);
}

TEST_F(AStore, plans_without_changing_anything) {
  const std::uint64_t revision = store.revision();
  const auto planned = must(store.plan(home(), true));
  EXPECT_EQ(planned, must(store.plan(home(), true)));
  EXPECT_EQ(must(store.model()).revision, revision);
  EXPECT_TRUE(must(store.model()).networks.empty());
  EXPECT_EQ(planned, must(store.apply(home(), true, kNow)));
}

TEST_F(AStore, keeps_what_a_file_does_not_name_unless_told_to_prune) {
  must(store.apply(home(), false, kNow));
  DesiredState less = home();
  less.resources.clear();
  less.users.pop_back();
  EXPECT_TRUE(must(store.apply(less, false, kNow)).empty());
  EXPECT_EQ(must(store.apply(less, true, kNow)).size(), 2u);
  EXPECT_TRUE(must(store.model()).resources.empty());
  ASSERT_EQ(must(store.model()).users.size(), 1u);
  EXPECT_EQ(must(store.model()).users[0].email, "alice@example.com");
}

TEST_F(AStore, never_gives_a_resource_id_out_twice) {
  must(store.apply(home(), false, kNow));
  const ResourceId first = id_of("NAS");
  DesiredState without = home();
  without.resources.clear();
  must(store.apply(without, true, kNow));
  must(store.apply(home(), true, kNow));
  EXPECT_GT(id_of("NAS"), first);
}

TEST_F(AStore, keeps_the_id_of_a_resource_that_is_changed) {
  must(store.apply(home(), false, kNow));
  const ResourceId before = id_of("NAS");
  DesiredState other = home();
  other.resources[0].address = must(Address::parse("nas2.home.int"));
  must(store.apply(other, false, kNow));
  EXPECT_EQ(id_of("NAS"), before);
}

TEST_F(AStore, changes_nothing_at_all_when_one_step_fails) {
  must(store.apply(home(), false, kNow));
  DesiredState bad = home();
  bad.networks.push_back({"office", {}});
  bad.resources.push_back(resource("Printer", "10.0.0.9", "family", "nowhere"));
  const auto applied = store.apply(bad, false, kNow);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code, Errc::conflict);
  EXPECT_EQ(must(store.model()).networks, std::vector<std::string>{"home"});
}

TEST_F(AStore, rolls_back_a_transaction_that_is_not_committed) {
  Database db = must(Database::open(folder / "plain.db"));
  must(db.script("CREATE TABLE t (n INTEGER)"));
  {
    auto transaction = must(Transaction::begin(db));
    must(db.run("INSERT INTO t VALUES (1)"));
  }
  int rows = 0;
  must(db.each("SELECT n FROM t", {}, [&](const Row&) { ++rows; }));
  EXPECT_EQ(rows, 0);
}

TEST_F(AStore, voids_grants_of_whoever_may_reach_less) {
  must(store.apply(home(), false, kNow));
  const std::string alice = enrolled(store, Token::Role::device, "alice@example.com", "key-a");
  const std::string bob = enrolled(store, Token::Role::device, "bob@example.com", "key-b");
  DesiredState more = home();
  more.resources.push_back(resource("Printer", "10.0.0.9", "guests"));
  must(store.apply(more, true, kNow));
  EXPECT_EQ(generation(alice), 0u) << "nobody lost anything";
  must(store.apply(home(), true, kNow));
  EXPECT_EQ(generation(alice), 0u) << "the Printer was never hers";
  DesiredState without = home();
  without.groups[0].members.clear();
  must(store.apply(without, true, kNow));
  EXPECT_EQ(generation(alice), 1u);
  EXPECT_EQ(generation(bob), 0u);
}

TEST_F(AStore, voids_grants_of_a_device_that_is_blocked_or_deleted_or_whose_user_is) {
  must(store.apply(home(), false, kNow));
  const std::string blocked = enrolled(store, Token::Role::device, "alice@example.com", "key-1");
  const std::string deleted = enrolled(store, Token::Role::device, "alice@example.com", "key-2");
  const std::string orphan = enrolled(store, Token::Role::device, "bob@example.com", "key-3");
  must(store.set_device_state(blocked, Store::DeviceState::blocked, kNow));
  EXPECT_EQ(generation(blocked), 1u);
  EXPECT_EQ(generation(deleted), 0u);
  must(store.remove_device(deleted, kNow));
  EXPECT_EQ(generation(deleted), 1u);
  DesiredState without = home();
  without.users.pop_back();
  must(store.apply(without, true, kNow));
  EXPECT_EQ(generation(orphan), 1u);
  EXPECT_EQ(must(store.model()).device(orphan), nullptr);
  EXPECT_EQ(store.remove_device("0123456789abcdef", kNow).error().code, Errc::not_found);
}

TEST_F(AStore, voids_every_grant_that_was_issued_before_the_change_also_after_a_restart) {
  must(store.apply(home(), false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-1");
  for (Generation i = 0; i < 5; ++i) {
    EXPECT_EQ(generation(device), i);
    must(store.set_device_state(device, Store::DeviceState::blocked, kNow - std::chrono::hours(i)));   // whatever the clock says
    must(store.set_device_state(device, Store::DeviceState::pending, kNow));
    if (i == 2) store = must(Store::open(folder / "controller.db"));
  }
}

TEST_F(AStore, forgets_revocations_of_devices_that_are_gone_once_no_grant_can_meet_them) {
  must(store.apply(home(), false, kNow));
  const std::string gone = enrolled(store, Token::Role::device, "alice@example.com", "key-1");
  const std::string here = enrolled(store, Token::Role::device, "alice@example.com", "key-2");
  must(store.set_device_state(here, Store::DeviceState::blocked, kNow));
  must(store.remove_device(gone, kNow));
  DesiredState more = home();
  more.users.push_back({"carol@example.com", {}});
  must(store.apply(more, false, kNow + std::chrono::hours(24 * 6)));
  EXPECT_EQ(generation(gone), 1u);
  must(store.apply(home(), true, kNow + std::chrono::hours(24 * 8)));
  EXPECT_EQ(generation(gone), 0u);
  EXPECT_EQ(generation(here), 1u) << "its next grant counts on from there";
}

TEST_F(AStore, voids_all_grants_when_it_takes_the_place_of_a_newer_state) {
  must(store.apply(home(), false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key-1");
  must(store.set_device_state(device, Store::DeviceState::blocked, kNow));
  EXPECT_EQ(must(store.model()).grant_floor, 0u);
  must(store.void_all_grants());
  const Generation floor = must(store.model()).grant_floor;
  EXPECT_GT(floor, Generation{1'000'000'000});
  must(store.set_device_state(device, Store::DeviceState::pending, kNow));
  must(store.set_device_state(device, Store::DeviceState::blocked, kNow));
  EXPECT_EQ(generation(device), floor + 1) << "revocations count on from there";
  must(store.set_device_state(device, Store::DeviceState::blocked, kNow));
  must(store.void_all_grants());
  EXPECT_EQ(must(store.model()).grant_floor, 2 * floor);
}

TEST_F(AStore, remembers_when_agents_were_seen_without_a_new_revision) {
  must(store.apply(home(), false, kNow));
  const std::string id = enrolled(store, Token::Role::device, "alice@example.com", "key");
  const std::uint64_t revision = must(store.model()).revision;
  must(store.seen({{"device/" + id, kNow}, {"connector/unknown", kNow}}));
  EXPECT_EQ(must(store.model()).device(id)->last_seen, kNow);
  EXPECT_EQ(must(store.model()).revision, revision);
}

TEST(PortsText, comes_back_as_it_was_written) {
  for (const Ports& p : {Ports::all(), Ports::none(), Ports({{22, 22}}), Ports({{0, 0}, {80, 90}, {65535, 65535}})}) {
    EXPECT_EQ(must(ports_from_text(p.to_string())), p) << p.to_string();
  }
  EXPECT_FALSE(ports_from_text("22, x"));
}

TEST_F(AStore, renames_an_entry_of_each_kind_and_leaves_its_id_and_enrolment) {
  must(store.apply(home(), false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key");
  const std::string connector = enrolled(store, Token::Role::connector, "home-1", "key");
  const ResourceId nas = id_of("NAS");
  must(store.rename("user", "alice@example.com", "alice@example.org", kNow));
  must(store.rename("group", "family", "us", kNow));
  must(store.rename("network", "home", "house", kNow));
  must(store.rename("connector", "home-1", "house-1", kNow));
  must(store.rename("resource", "NAS", "Disks", kNow));
  const Model model = must(store.model());
  EXPECT_EQ(model.device(device)->user, "alice@example.org");
  EXPECT_EQ(model.connector(connector)->name, "house-1");
  EXPECT_EQ(model.connector(connector)->network, "house");
  EXPECT_EQ(model.connector(connector)->key, "key");
  EXPECT_EQ(id_of("Disks"), nas);
  EXPECT_EQ(model.resources[0].groups, std::vector<std::string>{"us"});
  EXPECT_TRUE(model.revocations.empty()) << "nobody has lost anything";
}

TEST_F(AStore, renames_nothing_to_a_name_that_is_taken_and_nothing_that_is_not_there) {
  must(store.apply(home(), false, kNow));
  EXPECT_EQ(store.rename("user", "alice@example.com", "bob@example.com", kNow).error().code, Errc::conflict);
  const auto missing = store.rename("group", "nobody", "somebody", kNow);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::not_found);
  EXPECT_EQ(missing.error().text, "there is no group \"nobody\"; see: tg controller group list");
  EXPECT_EQ(store.rename("planet", "a", "b", kNow).error().code, Errc::invalid_argument);
}

TEST_F(AStore, voids_grants_when_another_group_does_not_make_up_for_what_was_lost) {
  DesiredState s = home();
  s.resources.push_back(resource("Printer", "10.0.0.9", "family"));
  s.resources[0].groups = {"family", "guests"};
  s.groups[1].members = {"alice@example.com"};
  must(store.apply(s, true, kNow));
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key");
  const auto voided = [&] { return !must(store.model()).revocations.empty(); };
  s.resources[0].groups = {"guests"};
  must(store.apply(s, true, kNow));
  EXPECT_FALSE(voided()) << "the NAS is still reached as a guest";
  s.groups[0].members.clear();
  must(store.apply(s, true, kNow));
  EXPECT_TRUE(voided()) << "the printer is not";
}

}  // namespace tg::controller::controller_store_test
