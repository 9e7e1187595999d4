// API tokens, the roles of those for whom they speak, and changes that are made once.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "cmd/agent_identity.h"
#include "cmd/controller/admin_api.h"
#include "cmd/controller/edits.h"
#include "controller_support.h"
#include "core/encoding.h"
#include "core/json.h"

namespace tg::controller::controller_api_tokens_test {

using std::chrono::hours;
using std::chrono::seconds;

Scopes scopes(const std::vector<std::string>& words) { return must(Scopes::parse(words)); }

struct ApiTokenTest : testing::Test {
  Folder folder;
  Store store = must(Store::open(folder / "controller.db"));
  void SetUp() override {
    DesiredState s = home();
    s.services = {{"ci", {}, false, Role::admin}};
    s.users[0].role = Role::auditor;
    must(store.apply(s, false, kNow));
  }

  FreshToken token(const std::string& user = "alice@example.com", const std::string& name = "") {
    return must(store.new_api_token(user, name, scopes({"users:read", "groups:write"}), kNow, hours(24)));
  }
  static std::string id_of(const FreshToken& t) { return hex(Bytes(t.id).first(4)); }
  std::optional<ApiCaller> caller(const FreshToken& t, UnixTime now = kNow) { return must(store.api_caller(t.id, t.secret, now)); }
  std::optional<UnixTime> last_used(const FreshToken& t) {
    for (const ApiTokenRecord& r : must(store.model()).api_tokens) {
      if (r.id == id_of(t)) return r.last_used;
    }
    return std::nullopt;
  }
  void sql(const char* text) {
    sqlite3* raw = nullptr;
    ASSERT_EQ(sqlite3_open((folder / "controller.db").c_str(), &raw), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(raw, text, nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(raw);
  }
};
using AnApiToken = ApiTokenTest;
using AChangeMadeOnce = ApiTokenTest;
using ARole = ApiTokenTest;

TEST_F(AnApiToken, says_for_whom_it_speaks_and_what_it_may_ask) {
  const FreshToken alice = token(), ci = token("ci", "deploy");
  const auto who = caller(alice);
  ASSERT_TRUE(who);
  EXPECT_EQ(who->token, id_of(alice));
  EXPECT_EQ(who->user, "alice@example.com");
  EXPECT_EQ(who->role, Role::auditor);
  EXPECT_EQ(who->scopes, scopes({"groups:write", "users:read"}));
  ASSERT_TRUE(caller(ci));
  EXPECT_EQ(caller(ci).value().user, "ci");
  EXPECT_EQ(caller(ci).value().role, Role::admin);
  must(store.rename("user", "alice@example.com", "alice@example.org", kNow));
  EXPECT_EQ(caller(alice).value().user, "alice@example.org") << "it is the person's, whatever he is called";
}

TEST_F(AnApiToken, opens_nothing_when_it_is_wrong_unknown_over_or_gone) {
  const FreshToken t = token();
  FreshToken wrong = t, unknown = t, cut = t;
  wrong.secret[31] ^= 1;
  unknown.id[0] ^= 1;
  cut.secret.resize(31);
  for (const FreshToken& bad : {wrong, unknown, cut}) EXPECT_FALSE(caller(bad));
  EXPECT_FALSE(last_used(t)) << "what was refused is no use";
  EXPECT_TRUE(caller(t, t.expires - seconds(1)));
  EXPECT_FALSE(caller(t, t.expires));
  EXPECT_EQ(must(store.model()).api_tokens.size(), 1u) << "it is listed as expired until somebody deletes it";
  must(store.remove_api_token(id_of(t), kNow));
  EXPECT_FALSE(caller(t));
  EXPECT_TRUE(must(store.model()).api_tokens.empty());
  EXPECT_EQ(store.remove_api_token(id_of(t), kNow).error().text, "there is no api-token \"" + id_of(t) + "\"; see: tg controller api-token list");
}

TEST_F(AnApiToken, of_somebody_blocked_opens_nothing_and_goes_with_him) {
  const FreshToken t = token();
  const auto put = [&](const char* state) {
    must(store.edit([&](DesiredState& s) { return update_entry(s, "user", "alice@example.com", {{"state", state}}); }, kNow));
  };
  put("blocked");
  EXPECT_FALSE(caller(t));
  put("active");
  EXPECT_TRUE(caller(t));
  must(store.edit([&](DesiredState& s) { return delete_entry(s, "user", "alice@example.com"); }, kNow));
  EXPECT_FALSE(caller(t));
  EXPECT_TRUE(must(store.model()).api_tokens.empty());
}

TEST_F(AnApiToken, of_somebody_whose_role_changes_has_the_new_one) {
  const FreshToken t = token();
  must(store.edit([](DesiredState& s) { return update_entry(s, "user", "alice@example.com", {{"role", "owner"}}); }, kNow));
  EXPECT_EQ(caller(t).value().role, Role::owner);
}

TEST_F(AnApiToken, notes_its_use_once_a_minute_and_changes_nothing_by_it) {
  const FreshToken t = token();
  const std::uint64_t revision = must(store.model()).revision;
  const std::uint64_t entries = store.audit_last();
  ASSERT_TRUE(caller(t, kNow + seconds(5)));
  EXPECT_EQ(last_used(t), kNow + seconds(5));
  ASSERT_TRUE(caller(t, kNow + seconds(64)));
  EXPECT_EQ(last_used(t), kNow + seconds(5));
  ASSERT_TRUE(caller(t, kNow + seconds(65)));
  EXPECT_EQ(last_used(t), kNow + seconds(65));
  ASSERT_TRUE(caller(t, kNow));
  EXPECT_EQ(last_used(t), kNow) << "the clock was set back";
  EXPECT_EQ(must(store.model()).revision, revision);
  EXPECT_EQ(store.audit_last(), entries);
}

TEST_F(AnApiToken, is_for_somebody_who_is_there_and_named_once_by_him) {
  const auto made = [&](const std::string& user, const std::string& name) {
    const auto r = store.new_api_token(user, name, Scopes::everything(), kNow, hours(1));
    return r ? "" : std::string(to_string(r.error().code)) + ": " + r.error().text;
  };
  EXPECT_EQ(made("nobody@example.com", ""), "not_found: there is no user \"nobody@example.com\"; see: tg controller user list");
  EXPECT_EQ(made("nobody", ""), "not_found: there is no service \"nobody\"; see: tg controller service list");
  EXPECT_EQ(made("ci", "deploy"), "");
  EXPECT_EQ(made("ci", "deploy"), "conflict: service \"ci\" has an API token \"deploy\" already");
  EXPECT_EQ(made("bob@example.com", "deploy"), "");
  EXPECT_EQ(made("ci", ""), "");
  EXPECT_EQ(made("ci", ""), "") << "many may have no name";
  const Model model = must(store.model());
  ASSERT_EQ(model.api_tokens.size(), 4u);
  EXPECT_EQ(model.api_tokens[0].user, "bob@example.com");
  EXPECT_EQ(model.api_tokens[0].expires, kNow + hours(1));
  EXPECT_EQ(model.api_tokens[0].created, kNow);
  EXPECT_EQ(model.api_tokens[3].user, "ci");
}

TEST_F(AnApiToken, is_one_of_a_hundred_at_most) {
  for (std::size_t i = 0; i < Store::kApiTokensMax; ++i) token();
  const auto more = store.new_api_token("alice@example.com", "", Scopes::everything(), kNow, hours(1));
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, Errc::exhausted);
  EXPECT_EQ(more.error().text, "user \"alice@example.com\" has 100 API tokens; delete one that is not needed");
  token("ci");
}

TEST_F(AnApiToken, is_in_the_audit_log_and_its_secret_nowhere) {
  const FreshToken t = token("ci", "deploy");
  must(store.remove_api_token(id_of(t), Stamp(kNow, "root", "here")));
  std::vector<Json> seen;
  for (const std::string& text : must(store.audit(0, 100))) {
    const Json e = *parse_json(text);
    if (e["kind"] == "api-token") seen.push_back(e);
    EXPECT_EQ(text.find(hex(t.secret)), std::string::npos);
  }
  ASSERT_EQ(seen.size(), 2u);
  const Json what = {{"user", "ci"}, {"name", "deploy"}, {"scopes", {"groups:write", "users:read"}},
                     {"expires", (kNow + hours(24)).time_since_epoch().count()}};
  EXPECT_EQ(seen[0]["action"], "create");
  EXPECT_EQ(seen[0]["name"], id_of(t));
  EXPECT_EQ(seen[0]["after"], what);
  EXPECT_EQ(seen[1]["action"], "remove");
  EXPECT_EQ(seen[1]["before"], what);
  EXPECT_EQ(seen[1]["who"], "root");
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string content((std::istreambuf_iterator<char>(file)), {});
    EXPECT_EQ(content.find(as_text(t.secret)), std::string::npos) << entry.path();
  }
}

TEST_F(AnApiToken, has_no_scope_that_this_tg_does_not_know) {
  const FreshToken t = token();
  sql("UPDATE api_token SET scopes = 'planets:write *:write'; UPDATE user SET role = 9");
  ASSERT_TRUE(caller(t));
  EXPECT_TRUE(caller(t).value().scopes.words().empty());
  EXPECT_EQ(caller(t).value().role, Role::member);
  EXPECT_TRUE(must(store.model()).api_tokens.at(0).scopes.words().empty());
  EXPECT_EQ(must(store.model()).users.at(0).role, Role::member);
}

TEST_F(AnApiToken, lets_no_machine_in) {
  const FreshToken t = token();
  for (const auto role : {Token::Role::device, Token::Role::connector, Token::Role::relay, Token::Role::service, Token::Role::api}) {
    EXPECT_FALSE(store.enroll({t.id, t.secret, role, "x", "key"}, kNow)) << to_string(role);
  }
  EXPECT_EQ(store.enroll({t.id, t.secret, Token::Role::api, "x", "key"}, kNow).error().text, "this is an API token, which lets no machine in");
  EXPECT_TRUE(must(store.model()).devices.empty());
  const FreshToken device = must(store.new_token(Token::Role::device, "alice@example.com", kNow, hours(1)));
  EXPECT_FALSE(caller(device)) << "and nobody asks with a token for a machine";
  const Token text{Token::Role::api, t.expires, t.id, t.secret, Buffer(32, 3), {"127.0.0.1", 1}};
  const auto nobody = [](net::Loop&) { return [](const std::string&, auto) {}; };
  const auto got = cmd::AgentIdentity::obtain(folder / "agent", text.to_string(), Token::Role::device, nobody, seconds(1));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().text, "--token: this is an API token, which lets no machine in");
}

TEST_F(AnApiToken, is_made_listed_and_deleted_by_an_administrator) {
  const Pki pki = must(Pki::create(kNow));
  const Vault vault = must(Vault::of_key(Buffer(32, 5)));
  int changes = 0;
  AdminApi api{store, pki, vault, {"tg.example.com", 8443}, [] { return std::vector<OnlineAgent>(); }, [&] { ++changes; }, [] { return Json(); }};
  UnixTime now = kNow;
  const auto ask = [&](const Json& request) { return api.answer(Json::parse(request.dump()), now); };   // as it travels
  const auto refused = [&](const Json& request) {
    const Json answer = ask(request);
    EXPECT_EQ(answer["type"], "error") << answer;
    return answer["text"].get<std::string>();
  };
  Json wanted = {{"type", "api_token"}, {"user", "Alice@Example.com"}, {"name", "laptop"}, {"scopes", {"users:read", "*:read"}},
                 {"expires", "90d"}};
  const Json made = ask(wanted);
  ASSERT_EQ(made["type"], "ok") << made;
  const Token t = must(Token::parse(made["token"].get<std::string>()));
  EXPECT_EQ(t.role, Token::Role::api);
  EXPECT_EQ(t.controller.to_string(), "tg.example.com:8443") << "where there is no API of its own address";
  EXPECT_EQ(t.ca_pin, pki.pin());
  EXPECT_EQ(t.expires, kNow + hours(24 * 90));
  EXPECT_EQ(made["expires"], t.expires.time_since_epoch().count());
  EXPECT_EQ(made["id"], hex(Bytes(t.id).first(4)));
  EXPECT_EQ(must(store.api_caller(t.id, t.secret, kNow)).value().scopes, scopes({"*:read"}));
  api.api_address = HostPort{"api.example.com", 443};
  Json second = wanted;
  second["name"] = "phone";
  EXPECT_EQ(must(Token::parse(ask(second)["token"].get<std::string>())).controller.to_string(), "api.example.com:443");

  EXPECT_NE(refused(wanted).find("has an API token \"laptop\" already"), std::string::npos);
  const std::pair<Json, const char*> bad[] = {
      {{{"scopes", {"planets:read"}}}, "scopes: \"planets:read\" is no scope"}, {{{"scopes", Json::array()}}, "scopes: at least one scope"},
      {{{"expires", "0s"}}, "expires: 0s is no time"}, {{{"expires", "soon"}}, "expires: "}, {{{"name", "a/b"}}, "name: "},
      {{{"user", "nobody@example.com"}}, "there is no user"}, {{{"scopes", "*:read"}}, "scopes"}};
  for (const auto& [change, text] : bad) {
    Json request = second;
    request["name"] = "other";
    request.update(change);
    EXPECT_NE(refused(request).find(text), std::string::npos) << refused(request);
  }
  EXPECT_NE(refused({{"type", "token"}, {"role", "api"}, {"subject", "alice@example.com"}, {"expires", "10m"}})
                .find("is not device, connector or relay"), std::string::npos);

  now = kNow + hours(24 * 90);
  const Json items = ask({{"type", "list"}, {"kind", "api-token"}})["items"];
  ASSERT_EQ(items.size(), 2u);
  for (const Json& item : items) EXPECT_EQ(item["state"], "expired");
  const Json shown = ask({{"type", "show"}, {"kind", "api-token"}, {"name", "laptop"}})["item"];
  EXPECT_EQ(shown["id"], made["id"]);
  EXPECT_EQ(shown["user"], "alice@example.com");
  EXPECT_EQ(shown["scopes"], Json({"*:read"}));
  EXPECT_EQ(shown["last_used"], kNow.time_since_epoch().count());
  EXPECT_EQ(ask({{"type", "show"}, {"kind", "api-token"}, {"name", made["id"]}})["item"], shown);
  for (const char* verb : {"create", "update"}) {
    EXPECT_NE(refused({{"type", verb}, {"kind", "api-token"}, {"name", "laptop"}}).find("an API token is made for somebody"), std::string::npos);
  }
  EXPECT_EQ(refused({{"type", "delete"}, {"kind", "api-token"}, {"name", "x"}}), "there is no api-token \"x\"; see: tg controller api-token list");
  const Json gone = ask({{"type", "delete"}, {"kind", "api-token"}, {"name", "laptop"}})["changes"];
  EXPECT_EQ(gone, Json::array({{{"verb", "remove"}, {"kind", "api-token"}, {"name", made["id"]}, {"detail", "of alice@example.com"}}}));
  EXPECT_EQ(must(store.model()).api_tokens.size(), 1u);
  EXPECT_EQ(changes, 0) << "it concerns no agent";
}

TEST_F(ARole, is_kept_planned_noted_and_listed) {
  DesiredState s = desired(must(store.model()));
  EXPECT_EQ(s.users[0].role, Role::auditor);
  EXPECT_EQ(s.users[1].role, Role::member);
  EXPECT_EQ(s.services[0].role, Role::admin);
  s.users[0].role = Role::member;
  s.users[1].role = Role::owner;
  s.services[0].role = Role::auditor;
  std::vector<std::string> lines;
  for (const Change& c : must(store.apply(s, true, kNow))) lines.push_back(to_string(c));
  EXPECT_EQ(lines, (std::vector<std::string>{"~ user alice@example.com: role auditor -> member", "~ user bob@example.com: role member -> owner",
                                             "~ service ci: role admin -> auditor"}));
  EXPECT_TRUE(plan(desired(must(store.model())), s, true).empty());
  const auto entries = must(store.audit(store.audit_last() - 2, 10));
  ASSERT_EQ(entries.size(), 2u);
  const Json bob = *parse_json(entries[0]);
  EXPECT_EQ(bob["before"].value("role", Json()), Json());
  EXPECT_EQ(bob["after"].value("role", ""), "owner");
  const Json users = must(items(must(store.model()), {}, "user", kNow));
  EXPECT_EQ(users[0].value("role", ""), "member");
  EXPECT_EQ(users[1].value("role", ""), "owner");
  EXPECT_EQ(must(items(must(store.model()), {}, "service", kNow))[0].value("role", ""), "auditor");
}

TEST_F(ARole, that_changes_takes_no_grant_away) {
  const std::string device = enrolled(store, Token::Role::device, "alice@example.com", "key");
  for (const char* role : {"owner", "member"}) {
    must(store.edit([&](DesiredState& s) { return update_entry(s, "user", "alice@example.com", {{"role", role}}); }, kNow));
    EXPECT_TRUE(must(store.model()).revocations.empty()) << role;
  }
  EXPECT_TRUE(must(store.model()).device(device)->let_in(kNow));
}

Stamp once(std::uint8_t key, std::uint8_t asked = 1, UnixTime at = kNow) {
  Stamp out(at, "root", "here");
  out.once = Once{Buffer(32, key), Buffer(32, asked)};
  return out;
}

TEST_F(AChangeMadeOnce, is_kept_with_the_change_and_only_with_one) {
  const auto rename = [&](const char* to, const Stamp& by) { return store.rename("group", "guests", to, by); };
  EXPECT_FALSE(must(store.done_once(Buffer(32, 1))));
  must(rename("visitors", once(1)));
  const auto done = must(store.done_once(Buffer(32, 1)));
  ASSERT_TRUE(done);
  EXPECT_EQ(done->asked, Buffer(32, 1));
  EXPECT_FALSE(done->answer);
  EXPECT_FALSE(rename("others", once(2))) << "there is no such group any more";
  must(store.apply(desired(must(store.model())), true, once(3)));
  EXPECT_FALSE(store.new_token(Token::Role::device, "nobody@example.com", once(4), hours(1)));
  for (const std::uint8_t key : {2, 3, 4}) EXPECT_FALSE(must(store.done_once(Buffer(32, key)))) << int{key};
  must(store.new_token(Token::Role::device, "alice@example.com", once(5), hours(1)));
  must(store.new_api_token("ci", "", Scopes::everything(), once(6), hours(1)));
  must(store.new_key("ci", "", once(7), hours(1)));
  for (const std::uint8_t key : {5, 6, 7}) EXPECT_TRUE(must(store.done_once(Buffer(32, key)))) << int{key};
}

TEST_F(AChangeMadeOnce, stays_what_it_was_under_the_same_stamp) {
  must(store.rename("group", "guests", "a", once(1, 1)));
  must(store.rename("group", "a", "b", once(1, 2)));
  EXPECT_EQ(must(store.done_once(Buffer(32, 1))).value().asked, Buffer(32, 1));
  EXPECT_EQ(desired(must(store.model())).groups.front().name, "b");
}

TEST_F(AChangeMadeOnce, has_the_answer_until_it_is_forgotten) {
  must(store.rename("group", "guests", "a", once(1)));
  must(store.rename("group", "a", "b", once(2, 1, kNow + seconds(1))));
  const std::uint64_t revision = must(store.model()).revision, entries = store.audit_last();
  const Buffer answer = {1, 2, 3};
  must(store.keep_answer(Buffer(32, 1), answer));
  must(store.keep_answer(Buffer(32, 9), answer));
  EXPECT_EQ(must(store.done_once(Buffer(32, 1))).value().answer, answer);
  EXPECT_FALSE(must(store.done_once(Buffer(32, 2))).value().answer);
  EXPECT_FALSE(must(store.done_once(Buffer(32, 9)))) << "nothing was done by that name";
  store = must(Store::open(folder / "controller.db"));
  EXPECT_EQ(must(store.done_once(Buffer(32, 1))).value().answer, answer);
  must(store.forget_once(kNow + seconds(1)));
  EXPECT_FALSE(must(store.done_once(Buffer(32, 1))));
  EXPECT_TRUE(must(store.done_once(Buffer(32, 2))));
  EXPECT_EQ(must(store.model()).revision, revision);
  EXPECT_EQ(store.audit_last(), entries);
}

}  // namespace tg::controller::controller_api_tokens_test
