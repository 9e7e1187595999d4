#include "cmd/controller/admin_api.h"
#include "cmd/controller/api_client.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "cmd/controller/desired_json.h"
#include "cmd/controller/edits.h"
#include "cmd/controller/secrets.h"
#include "cmd/controller/serve.h"
#include "cmd/controller/state_dir.h"
#include "cmd/controller/table.h"
#include "controller_support.h"
#include "core/encoding.h"
#include "core/json.h"
#include "net/files.h"

namespace tg::controller::controller_admin_test {

std::string error_of(const Result<>& r) {
  return r ? "" : std::string(to_string(r.error().code)) + ": " + r.error().text;
}

TEST(DesiredJson, comes_back_as_it_went) {
  DesiredState state = home();
  state.resources[0].alias = "nas.tg";
  state.resources[0].protocols = {Ports({{22, 22}, {8000, 8100}}), Ports::none(), false};
  state.resources.push_back(resource("LAN", "10.0.0.0/8", "guests"));
  state.services = {{"ci", {}}, {"old", {}, true, Role::admin}};
  state.users[0].role = Role::owner;
  state.groups[1].members = {"ci"};
  state.tests = {{"ci", {must(parse_target("nas.home.int:22"))}, {}, {}}};
  const DesiredState back = must(desired_from_json(must(Result<Json>(Json::parse(to_json(state).dump())))));
  EXPECT_TRUE(plan(state, back, true).empty());
  EXPECT_TRUE(plan(back, state, true).empty());
}

TEST(DesiredJson, is_checked_like_a_file) {
  for (const char* text : {R"(7)", R"({"networks":7})", R"({"networks":[7]})", R"({"networks":[{"name":"a/b"}]})",
                           R"({"users":[{"email":"x"}]})", R"({"services":[{"name":"a@b"}]})", R"({"services":[{}]})",
                           R"({"users":[{"email":"a@b","role":"root"}]})", R"({"users":[{"email":"a@b","role":1}]})",
                           R"({"services":[{"name":"ci","role":""}]})",
                           R"({"resources":[{"name":"a","network":"b","address":"10.0.0.1/8","groups":[],)"
                           R"("protocols":{"tcp":"all","udp":"all","icmp":true}}]})",
                           R"({"resources":[{"name":"a","network":"b","address":"x.int","alias":"x","groups":[],)"
                           R"("protocols":{"tcp":"all","udp":"all","icmp":true}}]})",
                           R"({"resources":[{"name":"a","network":"b","address":"x.int","groups":[]}]})"}) {
    const auto read = desired_from_json(Json::parse(text));
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, Errc::malformed) << text;
  }
}

TEST(Changes, come_back_as_they_went) {
  for (const Change& c : plan({}, home(), false)) EXPECT_EQ(must(change_from_json(to_json(c))), c);
  EXPECT_FALSE(change_from_json({{"verb", "eat"}, {"kind", "user"}, {"name", "x"}}));
}

TEST(Edits, make_change_and_delete_entries_of_every_kind) {
  DesiredState s = home();
  must(create_entry(s, "network", "office", {}));
  must(create_entry(s, "connector", "office-1", {{"network", "office"}}));
  must(create_entry(s, "user", "Carol@Example.com", {}));
  must(create_entry(s, "group", "staff", {{"members", {"carol@example.com", "CAROL@example.com"}}}));
  EXPECT_EQ(s.groups.back().members, std::vector<std::string>{"carol@example.com"});
  must(create_entry(s, "resource", "Wiki", {{"network", "office"}, {"address", "Wiki.Corp.Internal."},
                                            {"alias", "wiki.tg"}, {"groups", {"staff"}},
                                            {"tcp", {"443", "80"}}, {"udp", "none"}, {"icmp", false}}));
  EXPECT_EQ(s.resources.back().address.text(), "wiki.corp.internal");
  EXPECT_EQ(s.resources.back().protocols.to_string(), "tcp 80, 443");
  must(update_entry(s, "resource", "Wiki", {{"alias", ""}, {"tcp", "all"}}));
  EXPECT_EQ(s.resources.back().alias, "");
  EXPECT_TRUE(s.resources.back().protocols.tcp.is_all());
  EXPECT_EQ(s.resources.back().address.text(), "wiki.corp.internal") << "what is not named stays";
  must(update_entry(s, "group", "staff", {{"add", {"bob@example.com", "carol@example.com"}},
                                          {"remove", {"carol@example.com"}}}));
  EXPECT_EQ(s.groups.back().members, std::vector<std::string>{"bob@example.com"});
  must(create_entry(s, "service", "CI", {}));
  must(update_entry(s, "group", "staff", {{"add", {"CI"}}}));
  EXPECT_EQ(s.groups.back().members, (std::vector<std::string>{"bob@example.com", "CI"})) << "names of services keep their case";
  must(update_entry(s, "service", "CI", {{"state", "blocked"}}));
  EXPECT_TRUE(s.services.back().blocked);
  must(delete_entry(s, "service", "CI"));
  EXPECT_EQ(s.groups.back().members, std::vector<std::string>{"bob@example.com"});
  EXPECT_EQ(error_of(create_entry(s, "service", "ci@example.com", {})),
            "invalid_argument: the name \"ci@example.com\" must not contain \"@\": that is how people are told from services");
  EXPECT_EQ(error_of(update_entry(s, "group", "staff", {{"add", {"nobody"}}})),
            "not_found: group staff: members: there is no service \"nobody\"");
  std::erase(s.groups.back().members, "nobody");
  must(update_entry(s, "connector", "office-1", {{"network", "home"}}));
  must(delete_entry(s, "user", "BOB@example.com"));
  EXPECT_TRUE(s.groups.back().members.empty());
  must(delete_entry(s, "group", "staff"));
  EXPECT_TRUE(s.resources.back().groups.empty());
  must(delete_entry(s, "resource", "Wiki"));
  must(delete_entry(s, "network", "office"));
  EXPECT_TRUE(problems(s).empty());
}

TEST(Edits, give_roles_and_list_who_has_one) {
  DesiredState s = home();
  s.users.push_back({"carol@example.com", {}, true});
  must(update_entry(s, "user", "bob@example.com", {{"role", "admin"}}));
  must(create_entry(s, "service", "ci", {{"role", "auditor"}}));
  must(create_entry(s, "user", "dora@example.com", {{"role", "owner"}}));
  EXPECT_EQ(s.users[1].role, Role::admin);
  EXPECT_EQ(s.services[0].role, Role::auditor);
  EXPECT_EQ(s.users[3].role, Role::owner);
  must(update_entry(s, "user", "bob@example.com", {{"state", "blocked"}}));
  EXPECT_TRUE(s.users[1].blocked && s.users[1].role == Role::admin) << "what is not named stays";
  EXPECT_TRUE(s.users[2].by_sign_in);
  must(update_entry(s, "user", "carol@example.com", {{"role", "auditor"}}));
  EXPECT_FALSE(s.users[2].by_sign_in) << "an administrator has named her";
  must(update_entry(s, "user", "carol@example.com", {{"role", "member"}}));
  EXPECT_FALSE(s.users[2].by_sign_in);
  for (const Json& bad : {Json("root"), Json("Admin")}) {
    EXPECT_EQ(error_of(update_entry(s, "user", "bob@example.com", {{"role", bad}})),
              "invalid_argument: role must be member, auditor, admin or owner");
  }
  EXPECT_FALSE(update_entry(s, "service", "ci", {{"role", 1}}));
  EXPECT_EQ(s.users[1].role, Role::admin);
  const Json guest = {{"email", "eve@example.com"}, {"by_sign_in", true}, {"role", "admin"}};
  EXPECT_FALSE(must(desired_from_json({{"users", Json::array({guest})}})).users.at(0).by_sign_in);
}

TEST(Edits, say_what_is_wrong_and_what_to_do) {
  DesiredState s = home();
  EXPECT_EQ(error_of(create_entry(s, "network", "home", {})), "conflict: the network \"home\" exists already");
  EXPECT_EQ(error_of(create_entry(s, "network", "a/b", {})),
            "invalid_argument: the name \"a/b\" must not contain \"/\"");
  EXPECT_EQ(error_of(create_entry(s, "user", "x", {})), "invalid_argument: \"x\" is not an e-mail address");
  EXPECT_EQ(error_of(create_entry(s, "planet", "x", {})), "invalid_argument: there is no kind \"planet\"");
  EXPECT_EQ(error_of(delete_entry(s, "user", "x@y")),
            "not_found: there is no user \"x@y\"; see: tg controller user list");
  EXPECT_EQ(error_of(delete_entry(s, "network", "home")),
            "conflict: network \"home\" still has the connector \"home-1\"; delete that first");
  EXPECT_EQ(error_of(update_entry(s, "resource", "NAS", {{"address", "10.0.0.1/8"}})).substr(0, 25),
            "invalid_argument: address");
  EXPECT_EQ(error_of(update_entry(s, "resource", "NAS", {{"tcp", {"80-"}}})).substr(0, 23), "invalid_argument: tcp: ");
  EXPECT_EQ(error_of(update_entry(s, "resource", "NAS", {{"alias", "nas"}})),
            "invalid_argument: alias: \"nas\" needs at least one dot, as in \"nas.tg\"");
  s = home();
  EXPECT_EQ(error_of(update_entry(s, "resource", "NAS", {{"groups", {"nobody"}}})),
            "not_found: resource NAS: groups: there is no group \"nobody\"");
  s = home();
  EXPECT_EQ(error_of(create_entry(s, "resource", "X", {{"network", "home"}})).substr(0, 40),
            "invalid_argument: address is needed: a n");
}

TEST(Vault, opens_what_it_sealed_under_the_same_name_and_key_only) {
  Folder folder;
  const Vault vault = must(Vault::open(folder / "master.key", true));
  struct stat info {};
  ASSERT_EQ(::stat((folder / "master.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const Buffer secret = random_bytes(100);
  const Buffer sealed = vault.seal("ca", secret);
  EXPECT_EQ(must(vault.unseal("ca", sealed)), secret);
  EXPECT_EQ(must(must(Vault::open(folder / "master.key", false)).unseal("ca", sealed)), secret);
  EXPECT_EQ(vault.unseal("grant-key", sealed).error().code, Errc::denied);
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    Buffer bent = sealed;
    bent[i] ^= 1;
    EXPECT_FALSE(vault.unseal("ca", bent)) << i;
  }
  EXPECT_FALSE(vault.unseal("ca", Bytes(sealed).first(27)));
  EXPECT_NE(vault.seal("ca", secret), sealed) << "another nonce each time";
  EXPECT_TRUE(must(vault.unseal("ca", vault.seal("ca", {}))).empty());
}

TEST(Vault, says_what_is_missing) {
  Folder folder;
  EXPECT_EQ(Vault::open(folder / "master.key", false).error().code, Errc::not_found);
  must(net::write_file(folder / "master.key", "short"));
  EXPECT_EQ(Vault::open(folder / "master.key", true).error().code, Errc::malformed);
}

TEST(ControllerSecrets, stay_the_same_and_are_not_in_the_database_in_clear) {
  Folder folder;
  const Vault vault = must(Vault::open(folder / "master.key", true));
  std::string root_key;
  {
    Store store = must(Store::open(folder / "controller.db"));
    const Secrets first = must(load_secrets(store, vault, kNow));
    const Secrets second = must(load_secrets(store, vault, kNow));
    EXPECT_TRUE(first.fresh);
    EXPECT_FALSE(second.fresh);
    EXPECT_EQ(first.keys.grant_key.public_key(), second.keys.grant_key.public_key());
    EXPECT_EQ(first.keys.ticket_key, second.keys.ticket_key);
    EXPECT_EQ(first.pki.instance(), second.pki.instance());
    EXPECT_TRUE(must(load_secrets(store, vault, kNow +
                                  std::chrono::hours(24 * 200))).pki.files().issuing != first.pki.files().issuing);
    root_key = first.pki.files().root_key;
    EXPECT_EQ(load_secrets(store, must(Vault::open(folder / "another.key", true)), kNow).error().code, Errc::denied);
  }
  const std::string database = must(net::read_file(folder / "controller.db"));
  EXPECT_EQ(database.find(root_key.substr(40, 30)), std::string::npos);
  EXPECT_EQ(database.find("PRIVATE KEY"), std::string::npos);
}

TEST(ControllerStateDir, belongs_to_one_controller_at_a_time) {
  Folder folder;
  const std::string path = folder / "a/b/state";
  auto first = std::make_unique<StateDir>(must(StateDir::open(path + "/")));
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  const auto second = StateDir::open(path);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::conflict);
  EXPECT_EQ(exit_code(second.error().code), 6);
  EXPECT_NE(second.error().text.find("process " + std::to_string(::getpid())), std::string::npos)
      << second.error().text;
  first.reset();
  ::chmod(path.c_str(), 0755);
  EXPECT_TRUE(StateDir::open(path));
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u) << "made private again";
  must(net::write_file(folder / "file", ""));
  EXPECT_EQ(StateDir::open(folder / "file").error().code, Errc::conflict);
}

// A controller on a thread of its own, as commands find it.
struct AdminTest : testing::Test {
  Folder folder;
  std::string state = folder / "state";
  net::Loop loop;
  std::unique_ptr<Controller> controller;
  std::thread thread;

  void SetUp() override {
    ServeOptions options;
    options.state = state;
    options.listen = "127.0.0.1:0";
    options.relay_listen = "127.0.0.1:0";
    options.public_address = "tg.example.com";
    controller = must(Controller::start(loop, options));
    thread = std::thread([this] { loop.run(); });
  }
  void TearDown() override {
    loop.post([this] { loop.stop(); });
    thread.join();
    controller.reset();
  }
  Result<Json> ask(const Json& request) { return ask_controller(state, request, std::chrono::seconds(20)); }
  Result<Json> apply(const DesiredState& s, bool dry_run = false, bool prune = false) {
    return ask({{"type", "apply"}, {"state", to_json(s)}, {"dry_run", dry_run}, {"prune", prune}});
  }
};
using AnAdministrator = AdminTest;

TEST_F(AnAdministrator, applies_plans_and_lists) {
  EXPECT_EQ(must(apply(home(), true))["changes"].size(), 7u);
  EXPECT_EQ(must(apply(home()))["changes"].size(), 7u);
  EXPECT_EQ(must(apply(home()))["changes"].size(), 0u);
  for (const auto& [kind, count] : {std::pair("network", 1u), std::pair("connector", 1u), std::pair("user", 2u),
                                    std::pair("group", 2u),
                                    std::pair("resource", 1u), std::pair("device", 0u)}) {
    EXPECT_EQ(must(ask({{"type", "list"}, {"kind", kind}}))["items"].size(), count) << kind;
  }
  EXPECT_EQ(ask({{"type", "list"}, {"kind", "planet"}}).error().code, Errc::unsupported);
  EXPECT_EQ(must(ask({{"type", "show"}, {"kind", "user"}, {"name", "Alice@example.com"}}))["item"]["groups"],
            Json({"family"}));
  EXPECT_EQ(ask({{"type", "show"}, {"kind", "user"}, {"name", "nobody@x"}}).error().code, Errc::not_found);
  const Json status = must(ask({{"type", "status"}}))["status"];
  EXPECT_EQ(status["instance"], controller->instance());
  EXPECT_EQ(status["connectors"], Json({{"total", 1}, {"online", 0}}));
}

TEST_F(AnAdministrator, gets_tokens_that_say_where_the_controller_is_and_how_to_know_it) {
  must(apply(home()));
  const Json answer = must(ask({{"type", "token"}, {"role", "connector"}, {"subject", "home-1"}, {"expires", "10m"}}));
  const Token t = must(Token::parse(answer["token"].get<std::string>()));
  EXPECT_EQ(t.role, Token::Role::connector);
  EXPECT_EQ(t.controller.to_string(), "tg.example.com:" + std::to_string(controller->listening().port));
  EXPECT_EQ("tg-" + hex(t.ca_pin).substr(0, 8), controller->instance());
  EXPECT_EQ(t.expires.time_since_epoch().count(), answer["expires"].get<std::int64_t>());
  EXPECT_TRUE(ask({{"type", "token"}, {"role", "device"}, {"subject", "ALICE@example.com"}, {"expires", "10m"}}));
  EXPECT_EQ(ask({{"type", "token"}, {"role", "device"}, {"subject", "nobody@x"}, {"expires", "10m"}}).error().code,
            Errc::not_found);
  EXPECT_EQ(ask({{"type", "token"}, {"role", "admin"}, {"subject", "x"}, {"expires", "10m"}}).error().code,
            Errc::malformed);
}

TEST_F(AnAdministrator, makes_changes_and_deletes_one_thing_at_a_time) {
  must(apply(home()));
  const auto edit = [&](const char* verb, const char* kind, const char* name, const Json& fields = Json::object()) {
    return ask({{"type", verb}, {"kind", kind}, {"name", name}, {"fields", fields}});
  };
  EXPECT_EQ(must(edit("create", "user", "carol@example.com"))["changes"][0]["verb"], "create");
  EXPECT_EQ(edit("create", "user", "carol@example.com").error().code, Errc::conflict);
  EXPECT_EQ(must(edit("update", "group", "family", {{"add", {"carol@example.com"}}}))["changes"].size(), 1u);
  EXPECT_EQ(must(edit("delete", "user", "carol@example.com"))["changes"].size(), 2u) << "the group, and the user";
  EXPECT_EQ(edit("delete", "network", "home").error().code, Errc::conflict);
  EXPECT_EQ(edit("create", "device", "x").error().code, Errc::unsupported);
  EXPECT_EQ(edit("delete", "device", "x").error().code, Errc::not_found);
  EXPECT_EQ(edit("update", "resource", "NAS", 7).error().code, Errc::malformed);
}

TEST_F(AnAdministrator, renames_entries_and_hears_why_not) {
  must(apply(home()));
  const auto rename = [&](const char* kind, const char* name, const Json& fields) {
    return ask({{"type", "update"}, {"kind", kind}, {"name", name}, {"fields", fields}});
  };
  const Json done = must(rename("user", "ALICE@example.com", {{"rename", "Alice@Example.org"}}))["changes"];
  EXPECT_EQ(done, Json::array({{{"verb", "update"}, {"kind", "user"}, {"name", "alice@example.com"},
                                {"detail", "name alice@example.com -> alice@example.org"}}}));
  EXPECT_EQ(must(rename("network", "home", {{"rename", "home"}}))["changes"], Json::array());
  EXPECT_EQ(rename("network", "nowhere", {{"rename", "x"}}).error().code, Errc::not_found);
  EXPECT_EQ(rename("user", "bob@example.com", {{"rename", "alice@example.org"}}).error().code, Errc::conflict);
  EXPECT_EQ(rename("user", "bob@example.com", {{"rename", "bob"}}).error().text,
            "rename: \"bob\" is not an e-mail address");
  EXPECT_EQ(rename("group", "family", {{"rename", "a/b"}}).error().code, Errc::invalid_argument);
  EXPECT_EQ(rename("group", "family", {{"rename", "us"}, {"members", Json::array()}}).error().code,
            Errc::invalid_argument);
}

TEST_F(AnAdministrator, is_refused_what_is_too_much_and_the_controller_lives_on) {
  DesiredState s = home();
  for (int i = 0; i < 20'001; ++i) {
    s.resources.push_back(resource("R" + std::to_string(i), "h" + std::to_string(i) + ".int", "family"));
  }
  const auto applied = apply(s);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code, Errc::exhausted);
  EXPECT_EQ(must(ask({{"type", "list"}, {"kind", "resource"}}))["items"].size(), 0u);
}

TEST_F(AnAdministrator, hears_of_requests_that_make_no_sense) {
  EXPECT_EQ(ask({{"type", "reboot"}}).error().code, Errc::unsupported);
  EXPECT_EQ(ask({{"type", "apply"}}).error().code, Errc::malformed);
  EXPECT_EQ(ask({{"type", "apply"}, {"state", 7}, {"dry_run", false}, {"prune", false}}).error().code, Errc::malformed);
  EXPECT_EQ(ask({{"type", "show"}}).error().code, Errc::unsupported);
}

TEST_F(AnAdministrator, may_ask_several_things_on_one_connection) {
  const net::Fd fd = must(net::unix_connect(StateDir::admin_socket(state)));
  ::fcntl(fd.get(), F_SETFL, 0);
  const std::string both = "GET /api/v1/status HTTP/1.1\r\nHost: x\r\n\r\nGET /api/v1/users HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  ASSERT_EQ(::write(fd.get(), both.data(), both.size()), static_cast<ssize_t>(both.size()));
  std::string heard;
  char chunk[4096];
  for (ssize_t n; (n = ::read(fd.get(), chunk, sizeof chunk)) > 0;) heard.append(chunk, static_cast<std::size_t>(n));
  const auto second = heard.find("HTTP/1.1 200 OK", 1);
  ASSERT_NE(second, heard.npos) << heard;
  EXPECT_LT(heard.find("\"instance\""), second);
  EXPECT_GT(heard.find("\"items\""), second);
}

TEST_F(AnAdministrator, finds_a_private_socket_and_another_controller_finds_the_lock) {
  struct stat info {};
  ASSERT_EQ(::stat(StateDir::admin_socket(state).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  net::Loop other;
  ServeOptions options;
  options.state = state;
  const auto second = Controller::start(other, options);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::conflict);
}

TEST_F(AnAdministrator, is_told_the_address_when_a_port_is_in_use) {
  net::Loop other;
  ServeOptions options;
  options.state = folder / "other";
  options.listen = controller->listening().to_string();
  const auto second = Controller::start(other, options);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::conflict);
  EXPECT_NE(second.error().text.find(controller->listening().to_string()), std::string::npos) << second.error().text;
  EXPECT_NE(second.error().text.find("see --listen"), std::string::npos);
  options.listen = "nonsense";
  EXPECT_EQ(Controller::start(other, options).error().code, Errc::invalid_argument);
}

TEST(AController, is_given_a_grace_of_twelve_hours_at_most) {
  Folder folder;
  net::Loop loop;
  ServeOptions options;
  options.state = folder / "state";
  options.listen = "127.0.0.1:0";
  options.relay_listen = "127.0.0.1:0";
  for (const char* grace : {"13h", "nonsense", "5"}) {
    options.grace = grace;
    const auto started = Controller::start(loop, options);
    ASSERT_FALSE(started) << grace;
    EXPECT_EQ(started.error().code, Errc::invalid_argument);
    EXPECT_EQ(started.error().text.substr(0, 7), "--grace");
  }
  options.grace = "12h";
  EXPECT_TRUE(Controller::start(loop, options));
}

TEST(AskController, says_how_to_start_one_when_none_runs) {
  Folder folder;
  const auto answer = ask_controller(folder / "state", {{"type", "status"}}, std::chrono::seconds(1));
  ASSERT_FALSE(answer);
  EXPECT_EQ(exit_code(answer.error().code), 3);
  EXPECT_EQ(answer.error().text, "tg controller is not running (nobody answers on " + (folder / "state") +
            "/control.sock); start it with: tg controller serve --state " + (folder / "state"));
}

TEST(Table, aligns_columns_by_characters_and_escapes_controls) {
  EXPECT_EQ(table({"NAME", "ID"}, {{"Büro", "1"}, {"a\x1b[2J", ""}}), "NAME      ID\nBüro      1\na\\x1b[2J  -\n");
}

}  // namespace tg::controller::controller_admin_test
