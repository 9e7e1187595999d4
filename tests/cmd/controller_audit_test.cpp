#include "cmd/controller/admin_api.h"

#include <sqlite3.h>

#include "cmd/controller/secrets.h"
#include "cmd/controller/vault.h"
#include "controller_support.h"
#include "core/encoding.h"
#include "core/json.h"

namespace tg::controller::controller_audit_test {

struct AuditTest : testing::Test {
  Folder folder;
  Store store = must(Store::open(folder / "controller.db"));
  AuditSigner signer{"tg-12345678", Buffer(32, 7)};   // as at every start but the first

  void SetUp() override { must(store.sign_audit_with({signer.instance, signer.seed, true})); }
  std::vector<Json> entries(std::uint64_t after = 0) {
    std::vector<Json> out;
    for (const std::string& text : must(store.audit(after, 1000))) out.push_back(Json::parse(text));
    return out;
  }
  static std::string said(const Json& e) {
    return e["who"].get<std::string>() + " " + e["action"].get<std::string>() + " " + e["kind"].get<std::string>() + " " +
           e["name"].get<std::string>();
  }
  std::vector<std::string> all(std::uint64_t after = 0) {
    std::vector<std::string> out;
    for (const Json& e : entries(after)) out.push_back(said(e));
    return out;
  }
  std::string problem() { return must(store.audit_state()).problem; }
  // tamper runs SQL behind the store's back.
  void tamper(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open((folder / "controller.db").c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
  }
};
using AnAuditLog = AuditTest;
using Texts = std::vector<std::string>;

TEST_F(AnAuditLog, has_an_entry_for_each_change_with_who_where_before_and_after) {
  const Stamp by(kNow, "root", "socket");
  must(store.apply(home(), false, by));
  EXPECT_EQ(all(), (Texts{"root create network home", "root create connector home-1", "root create user alice@example.com",
                          "root create user bob@example.com", "root create group family", "root create group guests",
                          "root create resource NAS"}));
  const Json made = entries().back();
  EXPECT_EQ(made["before"], nullptr);
  EXPECT_EQ(made["after"]["address"], "nas.home.int");
  EXPECT_EQ(made["time"], kNow.time_since_epoch().count());
  EXPECT_EQ(made["from"], "socket");

  const std::uint64_t before = store.audit_last();
  DesiredState changed = home();
  changed.resources[0].address = must(Address::parse("nas2.home.int"));
  changed.groups.pop_back();
  must(store.apply(changed, true, by));
  EXPECT_EQ(all(before), (Texts{"root update resource NAS", "root remove group guests"}));
  const auto last = entries(before);
  EXPECT_EQ(last[0]["before"]["address"], "nas.home.int");
  EXPECT_EQ(last[0]["after"]["address"], "nas2.home.int");
  EXPECT_EQ(last[0]["before"].size(), 1u) << "only what differs";
  EXPECT_EQ(last[1]["before"]["name"], "guests");
  EXPECT_EQ(last[1]["after"], nullptr);
  EXPECT_EQ(problem(), "");
}

TEST_F(AnAuditLog, has_of_a_list_what_went_and_what_came) {
  DesiredState s = home();
  for (int i = 0; i < 1000; ++i) s.users.push_back({"user" + std::to_string(i) + "@example.com", {}});
  for (std::size_t i = 2; i < s.users.size(); ++i) s.groups[1].members.push_back(s.users[i].email);
  must(store.apply(s, false, kNow));
  const std::uint64_t before = store.audit_last();
  s.groups[1].members.erase(s.groups[1].members.begin());
  s.groups[1].members.push_back("bob@example.com");
  must(store.apply(s, false, kNow));
  const auto list = entries(before);
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0]["before"], Json::parse(R"({"members":["user0@example.com"]})"));
  EXPECT_EQ(list[0]["after"], Json::parse(R"({"members":["bob@example.com"]})"));
}

TEST_F(AnAuditLog, knows_who_took_whose_place) {
  must(store.apply(home(), false, kNow));
  const std::string first = enrolled(store, Token::Role::connector, "home-1", "old key");
  const std::string second = enrolled(store, Token::Role::connector, "home-1", "new key");
  const Json last = entries().back();
  EXPECT_EQ(last["name"], "home-1");
  EXPECT_EQ(last["before"]["id"], first);
  EXPECT_EQ(last["before"]["key"], "old key");
  EXPECT_EQ(last["after"]["id"], second);
  EXPECT_EQ(last["after"]["key"], "new key");
}

TEST_F(AnAuditLog, knows_renamings_devices_and_tokens_and_no_secret) {
  must(store.apply(home(), false, kNow));
  const std::uint64_t before = store.audit_last();
  must(store.rename("user", "bob@example.com", "rob@example.com", {kNow, "root", "socket"}));
  const FreshToken token = must(store.new_token(Token::Role::device, "alice@example.com", {kNow, "root", "socket"},
                                                std::chrono::minutes(10)));
  const std::string id = must(store.enroll({token.id, token.secret, Token::Role::device, "laptop", "thumb"}, kNow, "192.0.2.7"));
  must(store.set_device_state(id, Store::DeviceState::blocked, {kNow, "root", "socket"}));
  must(store.remove_device(id, {kNow, "root", "socket"}));
  const std::string name = hex(Bytes(token.id).first(4));
  EXPECT_EQ(all(before), (Texts{"root rename user rob@example.com", "root token device alice@example.com",
                                "token " + name + " enroll device " + id, "root update device " + id,
                                "root remove device " + id}));
  const auto list = entries(before);
  EXPECT_EQ(list[0]["before"]["email"], "bob@example.com");
  EXPECT_EQ(list[1]["after"]["token"], name);
  EXPECT_EQ(list[2]["from"], "192.0.2.7");
  EXPECT_EQ(list[2]["after"]["user"], "alice@example.com");
  EXPECT_EQ(list[3]["after"]["state"], "blocked");
  EXPECT_EQ(list[4]["before"]["name"], "laptop");
  for (const std::string& text : must(store.audit(0, 1000))) {
    EXPECT_EQ(text.find(hex(token.secret)), std::string::npos);
    EXPECT_EQ(text.find(hex(token.id)), std::string::npos) << "its beginning is enough to find it";
  }
}

TEST_F(AnAuditLog, has_nothing_of_what_was_refused) {
  must(store.apply(home(), false, kNow));
  const std::uint64_t before = store.audit_last();
  EXPECT_FALSE(store.rename("user", "nobody@example.com", "x@example.com", kNow));
  EXPECT_FALSE(store.set_device_state("0000000000000000", Store::DeviceState::blocked, kNow));
  DesiredState impossible = home();
  impossible.resources[0].network = "nowhere";
  EXPECT_FALSE(store.apply(impossible, false, kNow));
  EXPECT_TRUE(must(store.apply(home(), false, kNow)).empty());
  EXPECT_EQ(store.audit_last(), before);
  EXPECT_EQ(problem(), "");
}

TEST_F(AnAuditLog, goes_on_after_a_restart_and_between_two_stores_on_one_file) {
  must(store.apply(home(), false, kNow));
  Store other = must(Store::open(folder / "controller.db"));
  must(other.sign_audit_with(signer));
  must(other.rename("group", "guests", "visitors", kNow));
  must(store.rename("group", "visitors", "guests", kNow));
  EXPECT_EQ(problem(), "");
  EXPECT_EQ(entries().size(), 9u);
}

// Row 24 of the threats.
TEST_F(AnAuditLog, tells_what_was_done_behind_its_back) {
  must(store.apply(home(), false, kNow));
  const AuditHead whole = must(store.audit_state()).head;
  struct {
    const char* sql;
    const char* problem;
  } const cases[] = {
      {"UPDATE audit SET text = replace(text, 'nas.home.int', 'nas.evil.int')", "entry 7 of the audit log was altered"},
      {"UPDATE audit SET hash = zeroblob(32) WHERE number = 3", "entry 3 of the audit log was altered"},
      {"DELETE FROM audit WHERE number = 2", "entry 3 of the audit log comes where 2 should"},
      {"DELETE FROM audit WHERE number = 7", "the audit log ends at entry 6 and should end at entry 7"},
      {"DELETE FROM audit", "the audit log ends at entry 0 and should end at entry 7"},
      {"INSERT INTO audit VALUES (8, '{\"number\":8}', zeroblob(32))", "entry 8 of the audit log was altered"},
      {"UPDATE audit_head SET signature = zeroblob(64)", "the end of the audit log is not signed by this controller"},
      {"DELETE FROM audit_head", "the audit log ends at entry 7 and should end at entry 0"},
      {"DELETE FROM audit; DELETE FROM audit_head", "the end of the audit log is not signed by this controller"},
      {"DELETE FROM audit WHERE number = 7; UPDATE audit_head SET number = 6, hash = (SELECT hash FROM audit WHERE number = 6)",
       "the end of the audit log is not signed by this controller"},
  };
  for (const auto& c : cases) {
    tamper("CREATE TABLE kept AS SELECT * FROM audit; CREATE TABLE kept_head AS SELECT * FROM audit_head;");
    tamper(c.sql);
    EXPECT_NE(problem().find(c.problem), std::string::npos) << c.sql << ": " << problem();
    tamper("DELETE FROM audit; DELETE FROM audit_head; INSERT INTO audit SELECT * FROM kept; "
           "INSERT INTO audit_head SELECT * FROM kept_head; DROP TABLE kept; DROP TABLE kept_head;");
    ASSERT_EQ(problem(), "") << c.sql;
  }
  EXPECT_EQ(must(store.audit_state(whole)).problem, "");
  EXPECT_EQ(must(store.audit_state(AuditHead{3, Buffer(32, 1)})).problem,
            "the audit log does not go through the entry 3 that was noted: it was written anew");
  EXPECT_NE(must(store.audit_state(AuditHead{300, Buffer(32, 1)})).problem, "");
}

TEST_F(AnAuditLog, that_was_altered_is_never_taken_for_whole_again) {
  must(store.apply(home(), false, kNow));
  tamper("DELETE FROM audit WHERE number = 7; UPDATE audit_head SET number = 6, hash = (SELECT hash FROM audit WHERE number = 6), "
         "signature = x''");
  for (int start = 0; start < 2; ++start) {
    Store again = must(Store::open(folder / "controller.db"));
    const auto signing = again.sign_audit_with(signer);
    ASSERT_FALSE(signing) << start;
    EXPECT_EQ(signing.error().code, Errc::failed);
    must(again.rename("group", start == 0 ? "guests" : "visitors", start == 0 ? "visitors" : "guests", kNow));
    EXPECT_EQ(must(again.audit_state()).problem, "the end of the audit log is not signed by this controller") << start;
  }
}

TEST_F(AnAuditLog, that_was_altered_meanwhile_is_not_signed_by_the_next_change) {
  must(store.apply(home(), false, kNow));
  // An earlier end, without its signature: all hashes fit.
  tamper("DELETE FROM audit WHERE number > 5; UPDATE audit_head SET number = 5, hash = (SELECT hash FROM audit WHERE number = 5)");
  must(store.rename("group", "guests", "visitors", kNow));
  EXPECT_EQ(problem(), "the end of the audit log is not signed by this controller");
  must(store.rename("group", "visitors", "guests", kNow));
  EXPECT_EQ(problem(), "the end of the audit log is not signed by this controller");
}

TEST_F(AnAuditLog, that_was_emptied_is_not_taken_for_a_new_one) {
  must(store.apply(home(), false, kNow));
  tamper("DELETE FROM audit; DELETE FROM audit_head");
  Store again = must(Store::open(folder / "controller.db"));
  EXPECT_FALSE(again.sign_audit_with(signer));
  must(again.rename("group", "guests", "visitors", kNow));
  EXPECT_EQ(must(again.audit_state()).problem, "the end of the audit log is not signed by this controller");
}

TEST_F(AnAuditLog, without_an_entry_is_whole) { EXPECT_EQ(problem(), ""); }

TEST_F(AnAuditLog, is_told_in_pieces) {
  const Pki pki = must(Pki::create(kNow));
  must(store.apply(home(), false, kNow));
  const Vault vault = must(Vault::of_key(Buffer(32, 5)));
  const AdminApi api{store, pki, vault, {"tg.example.com", 8443}, [] { return std::vector<OnlineAgent>(); }, [] {}, [] { return Json(); }};
  const auto ask = [&](const Json& request) { return api.answer(Json::parse(request.dump()), kNow); };   // as it travels
  const auto numbers = [&](const Json& request) {
    const Json answer = ask(request);
    EXPECT_EQ(answer["type"], "ok") << answer;
    EXPECT_EQ(answer["last"], 7);
    std::vector<int> out;
    for (const Json& e : answer["entries"]) out.push_back(e["number"]);
    return out;
  };
  EXPECT_EQ(numbers({{"type", "audit"}, {"newest", 3}}), (std::vector<int>{5, 6, 7}));
  EXPECT_EQ(numbers({{"type", "audit"}, {"newest", 100}}).size(), 7u);
  EXPECT_EQ(numbers({{"type", "audit"}, {"after", 2}, {"most", 2}}), (std::vector<int>{3, 4}));
  EXPECT_EQ(numbers({{"type", "audit"}, {"after", 7}, {"most", 2}}), std::vector<int>{});
  EXPECT_EQ(numbers({{"type", "audit"}}).size(), 7u);
  const Json checked = ask({{"type", "verify_audit"}});
  EXPECT_EQ(checked["problem"], "");
  EXPECT_EQ(ask({{"type", "verify_audit"}, {"number", 7}, {"hash", checked["hash"]}})["problem"], "");
  EXPECT_EQ(ask({{"type", "verify_audit"}, {"number", 7}, {"hash", "00"}})["type"], "error");
}

}  // namespace tg::controller::controller_audit_test
