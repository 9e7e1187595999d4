// The HTTP API without a socket: who may ask what (row 28 of the threats), preconditions, retries, pages.
#include "cmd/controller/api.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <sstream>

#include "controller_support.h"
#include "core/encoding.h"

namespace tg::controller::controller_api_test {

// World is a small company with everything that a path can name.
struct World {
  Folder folder;
  Store store = must(Store::open(folder / "controller.db"));
  Pki pki = must(Pki::create(kNow));
  Vault vault = must(Vault::of_key(Buffer(32, 5)));
  int changed = 0;
  Api api{AdminApi{store, pki, vault, {"tg.example.com", 8443}, [] { return std::vector<OnlineAgent>(); }, [this] { ++changed; }, [] { return Json::object(); },
                   [](const Json&) { return Json{{"events", Json::array()}, {"reached", 0}, {"done", true}, {"last", 0}}; }, {}},
          store, vault};
  std::string alices, bobs;       // devices; bob has a session
  std::string key, token, request;   // of the service, of bob, of bob: their ids

  World() {
    must(store.sign_audit_with({"tg-test", Buffer(32, 9), true}));
    DesiredState s = home();
    s.networks.push_back({"empty", {}});
    s.connectors.push_back({"home-2", "home", {}});
    s.relays = {{"relay-1", "relay.example.com:8444", {}}};
    s.policies.emplace_back().name = "sensitive";
    s.policies.emplace_back().name = "asked";
    s.policies.back().approval = std::chrono::hours(4);
    s.groups[1].members = {"bob@example.com"};
    s.resources.push_back(resource("Vault", "vault.home.int", "guests"));
    s.resources.back().policy = "asked";
    s.services = {{"ci", {}}};
    IdentityProviderSpec provider;
    provider.name = "company";
    provider.issuer = "https://id.example.com";
    provider.client_id = "tg";
    provider.domains = {"example.com"};
    s.identity_providers = {provider};
    for (const auto& [email, role] : {std::pair("owner@example.com", Role::owner), {"admin@example.com", Role::admin}, {"other-admin@example.com", Role::admin},
                                      {"auditor@example.com", Role::auditor}, {"member@example.com", Role::member}}) {
      UserSpec user{email, {}};
      user.role = role;
      s.users.push_back(user);
    }
    must(store.apply(s, false, kNow));
    alices = enrolled(store, Token::Role::device, "alice@example.com", "key of alice");
    SignIn in;
    in.person = {.email = "bob@example.com"};
    in.name = "laptop";
    in.key = "key of bob";
    in.lifetime = std::chrono::hours(1);
    bobs = must(store.sign_in(in, kNow)).device;
    key = hex(Bytes(must(store.new_key("ci", "", kNow, std::chrono::hours(24))).id).first(4));
    token = hex(Bytes(must(store.new_api_token("bob@example.com", "", Scopes::everything(), kNow, std::chrono::hours(24))).id).first(4));
    RequestRecord wish;
    wish.user = "bob@example.com";
    wish.device = bobs;
    wish.resource = must(store.model()).resources[1].resource.id;
    wish.wanted = std::chrono::hours(1);
    request = must(store.new_request(wish, kNow));
  }

  static Caller as(const std::string& user, Role role, Scopes scopes = Scopes::everything()) { return {user, "192.0.2.7", user, role, std::move(scopes)}; }
  static Caller root() { return {"root", "socket", "", Role::owner, Scopes::everything()}; }

  HttpReply ask(const std::optional<Caller>& who, const std::string& method, const std::string& target, const Json& body = {},
                std::vector<std::pair<std::string, std::string>> headers = {}) {
    HttpAsked asked{method, "/api/v1" + target.substr(0, target.find('?')), "", std::move(headers), "", true};
    if (const auto mark = target.find('?'); mark != target.npos) asked.query = target.substr(mark + 1);
    if (!body.is_null()) {
      asked.body = body.dump();
      asked.headers.emplace_back("content-type", "application/json");
    }
    return api.answer(asked, who, kNow);
  }
  static Json body(const HttpReply& reply) { return Json::parse(reply.body); }
  static std::string header(const HttpReply& reply, std::string_view name) {
    for (const auto& [n, value] : reply.headers) {
      if (n == name) return value;
    }
    return "";
  }
};
struct TheApi : testing::Test, World {};
using AnAdmin = TheApi;
using AMember = TheApi;

// One line for each endpoint: who may do it at the least, with a body where it takes one. "own": others may do it to what is theirs.
constexpr const char* kMatrix = R"(
member  GET    /me
auditor GET    /status
auditor GET    /state
admin   PUT    /state                                {"networks":[{"name":"home"}]}
auditor GET    /audit?newest=1
auditor GET    /audit/verification
auditor GET    /events
auditor GET    /networks
auditor GET    /networks/home
admin   POST   /networks                             {"name":"x-ROLE"}
admin   PATCH  /networks/home                        {"rename":"home"}
admin   DELETE /networks/empty
auditor GET    /connectors
auditor GET    /connectors/home-1
admin   POST   /connectors                           {"name":"x-ROLE","network":"home"}
admin   PATCH  /connectors/home-1                    {"network":"home"}
admin   DELETE /connectors/home-2
auditor GET    /relays
auditor GET    /relays/relay-1
admin   POST   /relays                               {"name":"x-ROLE","address":"r-ROLE.example.com:1"}
admin   PATCH  /relays/relay-1                       {"address":"relay.example.com:8444"}
admin   DELETE /relays/relay-1
auditor GET    /identity-providers
auditor GET    /identity-providers/company
owner   POST   /identity-providers                   {"name":"x-ROLE","issuer":"https://ROLE.example.org","client_id":"x","domains":["ROLE.example.org"]}
owner   PATCH  /identity-providers/company           {"client_id":"tg"}
owner   DELETE /identity-providers/company
owner   PUT    /identity-providers/company/secret    {"secret":"s"}
owner   DELETE /identity-providers/company/secret
auditor GET    /policies
auditor GET    /policies/sensitive
admin   POST   /policies                             {"name":"x-ROLE"}
admin   PATCH  /policies/sensitive                   {"mfa":false}
admin   DELETE /policies/sensitive
own     GET    /users
own     GET    /users/ROLE@example.com
admin   POST   /users                                {"email":"x-ROLE@example.com"}
admin   PATCH  /users/bob@example.com                {"state":"active"}
admin   DELETE /users/bob@example.com
admin   PUT    /users/alice@example.com/password     {"salt":"00000000000000000000000000000000","n":32768,"r":8,"p":1,"verifier":"0000000000000000000000000000000000000000000000000000000000000000"}
admin   DELETE /users/alice@example.com/password
admin   POST   /users/alice@example.com/totp
admin   DELETE /users/alice@example.com/totp
auditor GET    /services
auditor GET    /services/ci
admin   POST   /services                             {"name":"x-ROLE"}
admin   PATCH  /services/ci                          {"state":"active"}
admin   DELETE /services/ci
auditor GET    /keys
auditor GET    /keys/KEY
admin   POST   /keys                                 {"service":"ci","expires":"1d"}
admin   PATCH  /keys/KEY                             {"rename":"x"}
admin   DELETE /keys/KEY
auditor GET    /groups
auditor GET    /groups/family
admin   POST   /groups                               {"name":"x-ROLE"}
admin   PATCH  /groups/family                        {"policy":""}
admin   DELETE /groups/guests
auditor GET    /resources
auditor GET    /resources/NAS
admin   POST   /resources                            {"name":"x-ROLE","network":"home","address":"ROLE.home.int"}
admin   PATCH  /resources/NAS                        {"icmp":true}
admin   DELETE /resources/NAS
own     GET    /devices
own     GET    /devices/DEVICE
admin   PATCH  /devices/DEVICE                       {"state":"pending"}
own     DELETE /devices/DEVICE
own     GET    /sessions
own     GET    /sessions/DEVICE
own     DELETE /sessions/DEVICE
own     GET    /requests
own     GET    /requests/REQUEST
admin   POST   /requests/REQUEST/approve             {}
admin   POST   /requests/REQUEST/deny
admin   POST   /enrolment-tokens                     {"role":"device","subject":"alice@example.com","expires":"10m"}
own     GET    /api-tokens
own     GET    /api-tokens/APITOKEN
own     POST   /api-tokens                           {"user":"ROLE@example.com","scopes":["*:read"],"expires":"1d"}
own     DELETE /api-tokens/APITOKEN
)";

struct Line {
  std::string least, method, target, body;
};
std::vector<Line> matrix() {
  std::vector<Line> out;
  std::istringstream in(kMatrix);
  for (std::string text; std::getline(in, text);) {
    std::istringstream words(text);
    Line line;
    if (!(words >> line.least >> line.method >> line.target)) continue;
    std::getline(words >> std::ws, line.body);
    out.push_back(std::move(line));
  }
  return out;
}

std::string with(std::string text, const std::string& word, const std::string& value) {
  for (std::size_t at; (at = text.find(word)) != text.npos;) text.replace(at, word.size(), value);
  return text;
}

TEST(TheMatrix, has_every_endpoint_once) {
  std::multiset<std::string> listed, there;
  for (const Line& line : matrix()) {
    const ApiMatch match = find_endpoint(line.method, "/api/v1" + line.target.substr(0, line.target.find('?')));
    listed.insert(match.endpoint == nullptr ? "nothing at " + line.target : match.endpoint->operation);
  }
  for (const ApiEndpoint& e : api_endpoints()) there.insert(e.operation);
  EXPECT_EQ(listed, there);
}

std::string filled(const World& w, std::string text, const std::string& role) {
  for (const auto& [word, value] : {std::pair("ROLE", role), {"DEVICE", w.bobs}, {"APITOKEN", w.token}, {"REQUEST", w.request}, {"KEY", w.key}}) {
    text = with(std::move(text), word, value);
  }
  return text;
}

TEST(TheMatrix, lets_each_role_do_what_is_its_own_and_nothing_else) {
  const std::pair<const char*, Role> roles[] = {{"member", Role::member}, {"auditor", Role::auditor}, {"admin", Role::admin}, {"owner", Role::owner}};
  for (const Line& line : matrix()) {
    World world;
    bool gone = false;             // somebody before deleted it
    for (const auto& [name, role] : roles) {
      const std::string target = filled(world, line.target, name);
      const Json body = line.body.empty() ? Json() : Json::parse(filled(world, line.body, name));
      const Caller who = World::as(std::string(name) + "@example.com", role);
      const bool reads = line.method == "GET", own = line.least == "own";
      const Role least = own ? (reads ? Role::auditor : Role::admin) : *role_named(line.least);
      const std::string what = std::string(name) + ": " + line.method + " " + target;

      EXPECT_EQ(world.ask(std::nullopt, line.method, target, body).status, 401) << what;
      Caller narrow = who;
      narrow.scopes = must(Scopes::parse({line.target.starts_with("/status") ? "users:read" : "status:read"}));
      if (line.target != "/me") {
        EXPECT_EQ(world.ask(narrow, line.method, target, body).status, 403) << what << " without its scope";
      }
      narrow.scopes = must(Scopes::parse({"*:read"}));
      if (!reads) {
        EXPECT_EQ(world.ask(narrow, line.method, target, body).status, 403) << what << " with scopes to read";
      }

      const HttpReply reply = world.ask(who, line.method, target, body);
      const bool one = std::count(line.target.begin(), line.target.end(), '/') > 1;
      const bool himself = target.find(std::string("/users/") + name) != target.npos;
      int status = line.method == "POST" && line.target.find("/requests/") == line.target.npos ? 201 : 200;
      if (role < least && !own) status = 403;
      if (role < least && own && one && !himself) status = 404;      // another's is as if it were not there
      if (role >= least && gone) status = 404;
      EXPECT_EQ(reply.status, status) << what << " " << reply.body;
      gone = gone || (line.method == "DELETE" && reply.status == 200 && line.target.find("/totp") == line.target.npos &&
                      line.target.find("/password") == line.target.npos && line.target.find("/secret") == line.target.npos);
    }
  }
}

TEST_F(AMember, sees_what_is_his_own_alone) {
  const Caller bob = as("bob@example.com", Role::member);
  const Json devices = body(ask(bob, "GET", "/devices"));
  ASSERT_EQ(devices["items"].size(), 1u);
  EXPECT_EQ(devices["items"][0]["id"], bobs);
  EXPECT_EQ(ask(bob, "GET", "/devices/" + bobs).status, 200);
  const auto refusal = [&](const std::string& device) { return with(body(ask(bob, "GET", "/devices/" + device))["detail"], device, "DEVICE"); };
  EXPECT_EQ(refusal(alices), refusal(std::string(16, '0'))) << "another's device and none are told alike";
  const Json users = body(ask(bob, "GET", "/users"));
  ASSERT_EQ(users["items"].size(), 1u);
  EXPECT_EQ(users["items"][0]["email"], "bob@example.com");
  EXPECT_EQ(ask(bob, "GET", "/users/alice@example.com").status, 404);
  EXPECT_EQ(ask(bob, "PATCH", "/users/bob@example.com", {{"role", "owner"}}).status, 403);
  EXPECT_EQ(ask(bob, "PATCH", "/devices/" + bobs, {{"state", "trusted"}}).status, 403) << "nobody trusts his own device";
  EXPECT_EQ(ask(bob, "DELETE", "/users/bob@example.com").status, 403);
  EXPECT_EQ(ask(bob, "DELETE", "/devices/" + alices).status, 404);
  EXPECT_EQ(ask(bob, "DELETE", "/devices/" + bobs).status, 200);
  EXPECT_EQ(must(store.model()).devices.size(), 1u);
}

TEST_F(AMember, makes_tokens_for_himself_alone_and_none_for_more_than_his_own) {
  const Caller bob = as("bob@example.com", Role::member);
  const auto made = [&](const Caller& who, const char* user, const char* scope) {
    return ask(who, "POST", "/api-tokens", {{"user", user}, {"scopes", {scope}}, {"expires", "1d"}}).status;
  };
  EXPECT_EQ(made(bob, "bob@example.com", "devices:read"), 201);
  EXPECT_EQ(made(bob, "Bob@Example.com", "devices:read"), 201);
  EXPECT_EQ(made(bob, "alice@example.com", "devices:read"), 403);
  EXPECT_EQ(made(bob, "owner@example.com", "devices:read"), 403);
  const Caller narrow = as("owner@example.com", Role::owner, must(Scopes::parse({"api-tokens:write", "users:read"})));
  EXPECT_EQ(made(narrow, "owner@example.com", "users:read"), 201);
  EXPECT_EQ(made(narrow, "owner@example.com", "users:write"), 403);
  EXPECT_EQ(made(narrow, "owner@example.com", "*:read"), 403);
  const Json made_by_bob = body(ask(bob, "GET", "/api-tokens"));
  EXPECT_EQ(made_by_bob["items"].size(), 3u) << "with the one that he had";
}

TEST_F(AnAdmin, finds_no_way_to_become_an_owner) {
  const Caller admin = as("admin@example.com", Role::admin);
  const Json proof = {{"salt", std::string(32, '0')}, {"n", 32768}, {"r", 8}, {"p", 1}, {"verifier", std::string(64, '0')}};
  const auto no = [&](const char* method, const std::string& target, const Json& what = {}) {
    const HttpReply reply = ask(admin, method, target, what);
    EXPECT_EQ(reply.status, 403) << method << " " << target << " " << what << " " << reply.body;
  };
  const auto before = must(store.model()).revision;
  no("PATCH", "/users/admin@example.com", {{"role", "owner"}});
  no("PATCH", "/users/bob@example.com", {{"role", "admin"}});
  no("PATCH", "/users/owner@example.com", {{"role", "member"}});
  no("PATCH", "/users/owner@example.com", {{"state", "blocked"}});
  no("PATCH", "/users/owner@example.com", {{"rename", "gone@example.com"}});
  no("PATCH", "/users/OWNER@example.com", {{"forget_accounts", true}});
  no("POST", "/users", {{"email", "new@example.com"}, {"role", "admin"}});
  no("POST", "/services", {{"name", "robot"}, {"role", "owner"}});
  no("DELETE", "/users/owner@example.com");
  no("DELETE", "/users/other-admin@example.com");
  for (const char* user : {"owner@example.com", "Owner@Example.com", "other-admin@example.com"}) {
    no("PUT", "/users/" + std::string(user) + "/password", proof);
    no("POST", "/users/" + std::string(user) + "/totp");
    no("DELETE", "/users/" + std::string(user) + "/totp");
    no("POST", "/api-tokens", {{"user", user}, {"scopes", {"*:write"}}, {"expires", "1d"}});
    no("POST", "/enrolment-tokens", {{"role", "device"}, {"subject", user}, {"expires", "1h"}});
  }
  Json state = body(ask(root(), "GET", "/state"));
  Json promoted = state;
  for (Json& u : promoted["users"]) {
    if (u["email"] == "admin@example.com") u["role"] = "owner";
  }
  no("PUT", "/state", promoted);
  Json without = state;
  Json::array_t kept;
  for (const Json& u : state["users"]) {
    if (u["email"] != "owner@example.com") kept.push_back(u);
  }
  without["users"] = kept;
  no("PUT", "/state?prune=true", without);
  Json other_provider = state;
  other_provider["identity_providers"][0]["issuer"] = "https://evil.example.com";
  no("PUT", "/state", other_provider);
  EXPECT_EQ(must(store.model()).revision, before) << "nothing of that was done";
  EXPECT_EQ(ask(admin, "PUT", "/state", state).status, 200) << "what changes none of that is his to do";
  EXPECT_EQ(ask(admin, "POST", "/api-tokens", {{"user", "admin@example.com"}, {"scopes", {"*:write"}}, {"expires", "1d"}}).status, 201);
}

TEST_F(AnAdmin, shuts_no_owner_out) {
  const Caller admin = as("admin@example.com", Role::admin);
  const std::string device = enrolled(store, Token::Role::device, "owner@example.com", "key of the owner");
  const std::string own = enrolled(store, Token::Role::device, "admin@example.com", "key of the admin");
  const auto short_of = [](const FreshToken& t) { return hex(Bytes(t.id).first(4)); };
  const std::string their_token = short_of(must(store.new_api_token("owner@example.com", "", Scopes::everything(), kNow, std::chrono::hours(24))));
  must(store.edit([](DesiredState& s) -> Result<> {
    s.services.push_back({"robot", {}});
    s.services.back().role = Role::owner;
    return {};
  }, kNow));
  const std::string their_key = short_of(must(store.new_key("robot", "", kNow, std::chrono::hours(24))));
  const auto revision = store.revision();
  EXPECT_EQ(ask(admin, "PATCH", "/devices/" + device, {{"state", "blocked"}}).status, 403);
  EXPECT_EQ(ask(admin, "DELETE", "/devices/" + device).status, 403);
  EXPECT_EQ(ask(admin, "DELETE", "/sessions/" + device).status, 404) << "it has none";
  EXPECT_EQ(ask(admin, "DELETE", "/api-tokens/" + their_token).status, 403);
  EXPECT_EQ(ask(admin, "DELETE", "/keys/" + their_key).status, 403);
  EXPECT_EQ(ask(admin, "POST", "/keys", {{"service", "robot"}, {"expires", "1d"}}).status, 403);
  EXPECT_EQ(store.revision(), revision);
  EXPECT_EQ(ask(admin, "DELETE", "/devices/" + own).status, 200) << "his own is his";
  EXPECT_EQ(ask(admin, "PATCH", "/devices/" + bobs, {{"state", "blocked"}}).status, 200);
}

TEST_F(AMember, finds_his_own_by_name_and_keeps_what_was_blocked) {
  const Caller bob = as("bob@example.com", Role::member);
  EXPECT_EQ(body(ask(bob, "GET", "/devices/laptop"))["id"], bobs) << "alice's has the same name";
  EXPECT_EQ(body(ask(bob, "GET", "/users/Bob@Example.com"))["email"], "bob@example.com");
  for (const char* kind : {"devices", "sessions", "api-tokens", "requests", "users"}) {
    const HttpReply theirs = ask(bob, "GET", std::string("/") + kind + "/alice@example.com"), none = ask(bob, "GET", std::string("/") + kind + "/nobody@example.com");
    EXPECT_EQ(theirs.status, 404);
    EXPECT_EQ(with(theirs.body, "alice@", "X"), with(none.body, "nobody@", "X")) << kind;
  }
  must(store.set_device_state(bobs, Store::DeviceState::blocked, kNow));
  EXPECT_EQ(ask(bob, "DELETE", "/devices/" + bobs).status, 403);
  EXPECT_EQ(must(store.model()).devices.size(), 2u);
}

TEST_F(TheApi, lets_no_token_make_one_that_outlives_it) {
  Caller bob = as("bob@example.com", Role::member);
  bob.until = kNow + std::chrono::hours(2);
  const auto made = [&](const char* expires) {
    return ask(bob, "POST", "/api-tokens", {{"user", "bob@example.com"}, {"scopes", {"*:read"}}, {"expires", expires}}).status;
  };
  EXPECT_EQ(made("1h"), 201);
  EXPECT_EQ(made("2h"), 201);
  EXPECT_EQ(made("3h"), 403);
}

TEST_F(TheApi, refuses_every_wrong_type_of_every_field_and_lives_on) {
  const Json wrong[] = {nullptr, true, -1, 7, 1e300, "", "x", Json::array(), Json::array({1}), Json::array({"x", nullptr}), Json::object(), Json{{"a", 1}}};
  for (const Line& line : matrix()) {
    const ApiMatch match = find_endpoint(line.method, "/api/v1" + line.target.substr(0, line.target.find('?')));
    if (match.endpoint->takes.empty() || line.method == "DELETE") continue;
    Json good = line.body.empty() ? Json::object() : Json::parse(filled(*this, line.body, "owner"));
    for (const ApiField& first : match.endpoint->takes) {
      for (const Json& value : wrong) {
        Json body = good;
        body[first.name] = value;
        EXPECT_LT(ask(root(), line.method, filled(*this, line.target, "owner"), body).status, 500) << line.target << " " << body;
        for (const ApiField& second : match.endpoint->takes) {   // what is wrong first must not hide what comes after
          Json both = body;
          both[second.name] = second.name == std::string_view("claims") ? Json::object() : Json("1h");
          EXPECT_LT(ask(root(), line.method, filled(*this, line.target, "owner"), both).status, 500) << line.target << " " << both;
        }
      }
    }
  }
  for (const Json& value : wrong) EXPECT_LT(ask(root(), "PUT", "/state", value).status, 500);
  EXPECT_EQ(ask(root(), "PUT", "/state?prune=true", Json::object()).status, 400) << "nothing is most likely a mistake";
  EXPECT_EQ(ask(root(), "PUT", "/state?prune=true&dry_run=true", Json::object()).status, 200) << "but one may ask what it would do";
}

TEST_F(TheApi, answers_questions_about_the_record_without_parameters) {
  EXPECT_EQ(body(ask(root(), "GET", "/audit"))["entries"][0]["number"], 1);
  EXPECT_EQ(body(ask(root(), "GET", "/audit?most=1&after=1"))["entries"][0]["number"], 2);
}

TEST_F(TheApi, makes_changes_shows_and_deletes) {
  const HttpReply made = ask(root(), "POST", "/resources", {{"name", "Wiki box"}, {"network", "home"}, {"address", "wiki.home.int"}, {"tcp", {"443"}}});
  EXPECT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(header(made, "Location"), "/api/v1/resources/Wiki%20box");
  EXPECT_EQ(body(made)["item"]["rules"], "tcp 443; udp all; icmp");
  EXPECT_EQ(body(made)["changes"][0]["verb"], "create");
  EXPECT_EQ(changed, 1);
  EXPECT_EQ(body(ask(root(), "GET", "/resources/Wiki%20box")), body(made)["item"]);
  const HttpReply renamed = ask(root(), "PATCH", "/resources/Wiki%20box", {{"rename", "Wiki"}});
  EXPECT_EQ(body(renamed)["item"]["name"], "Wiki");
  EXPECT_EQ(ask(root(), "POST", "/resources", {{"name", "Wiki"}, {"network", "home"}, {"address", "x.home.int"}}).status, 409);
  EXPECT_FALSE(body(ask(root(), "PATCH", "/resources/Wiki", {{"icmp", false}}, {{"prefer", "return=minimal"}})).contains("item"));
  EXPECT_EQ(ask(root(), "DELETE", "/resources/Wiki").status, 200);
  EXPECT_EQ(ask(root(), "GET", "/resources/Wiki").status, 404);
}

TEST_F(TheApi, says_what_is_wrong_as_rfc_9457_does) {
  const HttpReply missing = ask(root(), "GET", "/users/nobody@example.com");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.content_type, "application/problem+json");
  const Json b = body(missing);
  EXPECT_EQ(b["status"], 404);
  EXPECT_EQ(b["title"], "Not Found");
  EXPECT_EQ(b["code"], "not_found");
  EXPECT_EQ(b["type"], "about:blank");
  EXPECT_NE(b["detail"].get<std::string>().find("there is no user \"nobody@example.com\""), std::string::npos);
  EXPECT_EQ(header(ask(std::nullopt, "GET", "/users"), "WWW-Authenticate"), "Bearer realm=\"tg\"");
  EXPECT_EQ(header(ask(root(), "PUT", "/users"), "Allow"), "GET, POST");
  EXPECT_EQ(ask(root(), "PUT", "/users").status, 405);
  EXPECT_EQ(ask(root(), "GET", "/planets").status, 404);
  EXPECT_EQ(ask(root(), "PATCH", "/users/bob@example.com", {{"colour", "red"}}).status, 400);
  EXPECT_EQ(ask(root(), "GET", "/users", {{"a", 1}}).status, 400) << "a body that is not looked at";
  EXPECT_EQ(ask(root(), "GET", "/users?limit=%").status, 400);
  HttpAsked form{"POST", "/api/v1/users", "", {{"content-type", "application/x-www-form-urlencoded"}}, R"({"email":"x@example.com"})", true};
  EXPECT_EQ(api.answer(form, root(), kNow).status, 415);
  form.headers = {{"content-type", "application/json; charset=utf-8"}};
  form.body = "{";
  EXPECT_EQ(api.answer(form, root(), kNow).status, 400);
  form.body = R"({"email":"x@example.com"})";
  EXPECT_EQ(api.answer(form, root(), kNow).status, 201);
}

TEST_F(TheApi, changes_only_what_is_still_as_it_was_seen) {
  const std::string seen = header(ask(root(), "GET", "/resources/NAS"), "ETag");
  ASSERT_TRUE(seen.starts_with('"') && seen.ends_with('"'));
  EXPECT_EQ(ask(root(), "PATCH", "/resources/NAS", {{"icmp", false}}, {{"if-match", seen}}).status, 200);
  const HttpReply late = ask(root(), "PATCH", "/resources/NAS", {{"icmp", true}}, {{"if-match", seen}});
  EXPECT_EQ(late.status, 412);
  EXPECT_EQ(ask(root(), "DELETE", "/resources/NAS", {}, {{"if-match", seen}}).status, 412);
  EXPECT_FALSE(must(store.model()).resources[0].resource.protocols.icmp);
  EXPECT_EQ(ask(root(), "PATCH", "/resources/NAS", {{"icmp", true}}, {{"if-match", "*"}}).status, 200);
  EXPECT_EQ(ask(root(), "PATCH", "/resources/NAS", {{"icmp", true}}, {{"if-match", "\"x\", " + seen}}).status, 200) << "one of several";
  EXPECT_EQ(ask(root(), "PATCH", "/resources/NAS", {{"icmp", true}}, {{"if-match", "W/" + seen}}).status, 412) << "a weak one is none";
  EXPECT_EQ(header(ask(root(), "GET", "/resources/NAS"), "ETag"), seen) << "as it was before";
  EXPECT_EQ(ask(root(), "POST", "/users", {{"email", "x@example.com"}}, {{"if-match", seen}}).status, 412);

  const std::string state = header(ask(root(), "GET", "/state"), "ETag");
  const Json whole = body(ask(root(), "GET", "/state"));
  EXPECT_EQ(ask(root(), "PATCH", "/resources/NAS", {{"policy", "asked"}}).status, 200);
  EXPECT_EQ(ask(root(), "PUT", "/state?prune=true", whole, {{"if-match", state}}).status, 412) << "or that would be undone";
  EXPECT_EQ(ask(root(), "PUT", "/state?prune=true", whole).status, 200);
}

TEST_F(TheApi, an_etag_is_of_what_was_said_and_not_of_who_is_here) {
  const std::string before = header(ask(root(), "GET", "/devices/" + bobs), "ETag");
  must(store.seen({{"device/" + bobs, kNow + std::chrono::hours(1)}}));
  EXPECT_EQ(header(ask(root(), "GET", "/devices/" + bobs), "ETag"), before);
  must(store.set_device_state(bobs, Store::DeviceState::trusted, kNow));
  EXPECT_NE(header(ask(root(), "GET", "/devices/" + bobs), "ETag"), before);
}

TEST_F(TheApi, does_once_what_is_sent_twice) {
  const Json wanted = {{"role", "device"}, {"subject", "bob@example.com"}, {"expires", "1h"}};
  const auto post = [&](const Caller& who, const Json& what, const char* key) { return ask(who, "POST", "/enrolment-tokens", what, {{"idempotency-key", key}}); };
  const HttpReply first = post(root(), wanted, "k1");
  const HttpReply again = post(root(), wanted, "k1");
  EXPECT_EQ(first.status, 201);
  EXPECT_EQ(again.status, 201);
  EXPECT_EQ(body(again), body(first)) << "the very same token";
  EXPECT_EQ(header(again, "Idempotency-Replayed"), "true");
  Json other = wanted;
  other["subject"] = "alice@example.com";
  EXPECT_EQ(post(root(), other, "k1").status, 422) << "another request with the same key";
  EXPECT_NE(body(post(root(), wanted, "k2")), body(first));
  EXPECT_NE(body(post(as("admin@example.com", Role::admin), wanted, "k1")), body(first)) << "somebody else's key";
  EXPECT_EQ(post(root(), wanted, "").status, 400);
  EXPECT_EQ(post(root(), wanted, std::string(256, 'k').c_str()).status, 400);
  EXPECT_EQ(must(store.audit_state()).problem, "");

  const HttpReply user = ask(root(), "POST", "/users", {{"email", "new@example.com"}}, {{"idempotency-key", "k3"}});
  EXPECT_EQ(user.status, 201);
  const HttpReply same = ask(root(), "POST", "/users", {{"email", "new@example.com"}}, {{"idempotency-key", "k3"}});
  EXPECT_EQ(same.status, 201);
  EXPECT_EQ(header(same, "Location"), header(user, "Location"));
  EXPECT_EQ(ask(root(), "POST", "/users", {{"email", "new@example.com"}}).status, 409);
}

TEST_F(TheApi, whose_answer_was_lost_says_so) {
  const Json wanted = {{"email", "new@example.com"}};
  ask(root(), "POST", "/users", wanted, {{"idempotency-key", "k"}});
  Database db = must(Database::open(folder / "controller.db"));
  must(db.run("UPDATE once SET answer = NULL", {}));   // it was killed in between
  const HttpReply again = ask(root(), "POST", "/users", wanted, {{"idempotency-key", "k"}});
  EXPECT_EQ(again.status, 409);
  EXPECT_NE(again.body.find("done already"), std::string::npos);
}

TEST_F(TheApi, tells_lists_in_pages_that_miss_nothing_when_something_goes) {
  for (int i = 0; i < 25; ++i) must(store.edit([&](DesiredState& s) -> Result<> {
    s.groups.push_back({"g" + std::to_string(100 + i), {}, {}});
    return {};
  }, kNow));
  std::vector<std::string> seen;
  std::string target = "/groups?limit=10";
  while (true) {
    const Json page = body(ask(root(), "GET", target));
    ASSERT_TRUE(page.contains("items")) << page;
    for (const Json& item : page["items"]) seen.push_back(item["name"]);
    if (page["next"].is_null()) break;
    // The last one of the page is deleted before the next is asked for.
    ASSERT_EQ(ask(root(), "DELETE", "/groups/" + seen.back()).status, 200);
    target = "/groups?limit=10&cursor=" + page["next"].get<std::string>();
  }
  EXPECT_EQ(seen.size(), 27u);
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), seen.size());
  for (const char* bad : {"/groups?limit=0", "/groups?limit=10001", "/groups?cursor=x", "/groups?cursor=W10", "/groups?cursor="}) {
    EXPECT_EQ(ask(root(), "GET", bad).status, 400) << bad;
  }
  EXPECT_EQ(ask(root(), "GET", "/groups?cursor=WzFd").status, 200) << "of another kind than names, and harmless";
}

TEST_F(TheApi, applies_a_state_or_says_why_not) {
  Json state = body(ask(root(), "GET", "/state"));
  EXPECT_EQ(body(ask(root(), "PUT", "/state", state))["changes"], Json::array());
  state["tests"] = Json::array({Json{{"user", "bob@example.com"}, {"can", {"nas.home.int:22"}}, {"cannot", Json::array()}}});
  const HttpReply failed = ask(root(), "PUT", "/state", state);
  EXPECT_EQ(failed.status, 409);
  EXPECT_EQ(body(failed)["code"], "failed");
  EXPECT_EQ(body(failed)["failures"].size(), 1u);
  state["tests"] = Json::array();
  state["resources"][0]["network"] = "nowhere";
  const HttpReply impossible = ask(root(), "PUT", "/state", state);
  EXPECT_EQ(impossible.status, 409);
  EXPECT_FALSE(body(impossible)["problems"].empty());
}

}  // namespace tg::controller::controller_api_test
