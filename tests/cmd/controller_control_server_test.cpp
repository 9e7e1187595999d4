#include "cmd/controller/control_server.h"

#include <sys/stat.h>

#include <sstream>

#include "cmd/controller/serve.h"
#include "controller_agent.h"
#include "core/json.h"
#include "core/text.h"

namespace tg::controller::controller_control_server_test {

struct Machine {
  std::string key = must(net::new_key_pem());
  std::string id;
  net::Credentials credentials;
  net::TlsContext context() const { return must(net::TlsContext::client(credentials, net::kAlpnControl)); }
};

struct ControlTest : testing::Test {
  Folder folder;
  net::Loop loop;
  Turner turner{loop};
  std::unique_ptr<Controller> controller;

  void SetUp() override { start({}); must(controller->store().apply(home(), false, net::Loop::wall())); }

  void start(ControlSettings settings) {
    controller.reset();
    ServeOptions options;
    options.state = folder / "state";
    options.listen = "127.0.0.1:0";
    options.relay_listen = "127.0.0.1:0";
    options.control = settings;
    controller = must(Controller::start(loop, options));
  }
  std::unique_ptr<Agent> dial(const net::TlsContext& context) {
    return std::make_unique<Agent>(loop, controller->listening(), context);
  }
  std::unique_ptr<Agent> dial(const Machine& machine) { return dial(machine.context()); }
  net::TlsContext pinned() { return must(net::TlsContext::pinned(must(pki()).pin(), net::kAlpnControl)); }
  Result<Pki> pki() {
    Store store = must(Store::open(folder / "state/controller.db"));
    Vault vault = must(Vault::open(folder / "state/master.key", false));
    auto secrets = load_secrets(store, vault, net::Loop::wall());
    if (!secrets) return pass_on(secrets);
    return std::move(secrets->pki);
  }
  FreshToken token(Token::Role role, const std::string& subject) {
    return must(controller->store().new_token(role, subject, net::Loop::wall(), std::chrono::minutes(10)));
  }
  static Json enrolment(const FreshToken& t, const std::string& role, const std::string& key) {
    return {{"type", "enroll"}, {"token_id", hex(t.id)}, {"secret", hex(t.secret)}, {"role", role}, {"name", "laptop"},
            {"csr", must(net::make_csr(key))}};
  }
  // enroll lets a machine in over the wire.
  Machine enroll(const std::string& role, const std::string& subject) {
    Machine m;
    const auto agent = dial(pinned());
    EXPECT_TRUE(turner.until([&] { return agent->open; }));
    agent->say(enrolment(token(*role_from(role), subject), role, m.key));
    EXPECT_TRUE(turner.until([&] { return agent->last("enrolled") != nullptr; })) << role;
    const Json& answer = *agent->last("enrolled");
    m.credentials = {m.key, answer["chain"], answer["root"]};
    m.id = must(net::leaf_identity(answer["chain"].get<std::string>())).id;
    return m;
  }
  // up connects and says hello, and waits for the snapshot.
  std::unique_ptr<Agent> up(const Machine& machine, const std::vector<std::string>& direct = {},
                            const std::string& process = "the only one") {
    auto agent = dial(machine);
    EXPECT_TRUE(turner.until([&] { return agent->open || agent->closed; }));
    agent->hello(direct, process);
    EXPECT_TRUE(turner.until([&] { return agent->last("snapshot") != nullptr || agent->closed; }));
    return agent;
  }
  void apply_now(const DesiredState& state) {
    must(controller->store().apply(state, true, net::Loop::wall()));
    controller->control().changed();
  }
  static bool all(const std::vector<std::unique_ptr<Agent>>& agents, bool Agent::*what) {
    return std::all_of(agents.begin(), agents.end(), [&](const auto& a) { return (*a).*what; });
  }
  static std::size_t lines_with(const std::string& log, std::string_view words) {
    std::size_t n = 0;
    for (std::size_t at = log.find(words); at != std::string::npos; at = log.find(words, at + 1)) ++n;
    return n;
  }
  static std::vector<std::string> keys(const View& v) {
    std::vector<std::string> out;
    for (const auto& [key, value] : v) out.push_back(key);
    return out;
  }
};
using AControlServer = ControlTest;

TEST_F(AControlServer, shows_itself_to_somebody_who_knows_only_the_pin) {
  const auto agent = dial(pinned());
  ASSERT_TRUE(turner.until([&] { return agent->open; })) << agent->why.text;
  ASSERT_TRUE(agent->peer());
  EXPECT_EQ(net::to_uri(*agent->peer()), "tg://" + controller->instance() + "/controller/main");
  EXPECT_EQ(agent->root(), must(pki()).files().root);
  const auto other = dial(must(net::TlsContext::pinned(Buffer(32, 1), net::kAlpnControl)));
  ASSERT_TRUE(turner.until([&] { return other->closed; }));
  EXPECT_FALSE(other->open);
}

TEST_F(AControlServer, enrolls_a_device_and_tells_it_what_it_may_reach) {
  const Machine laptop = enroll("device", "alice@example.com");
  EXPECT_EQ(must(net::leaf_identity(laptop.credentials.chain)).role, "device");
  const auto agent = up(laptop);
  const std::string connector = must(controller->store().model()).connectors[0].id;
  EXPECT_EQ(keys(agent->view), (std::vector<std::string>{"connector/" + connector, "grant/home", "resource/1",
                                                         "self"}));
  EXPECT_EQ(agent->view["self"]["user"], "alice@example.com");
  EXPECT_EQ(agent->view["self"]["device"], laptop.id);
  const Json& snapshot = *agent->last("snapshot");
  EXPECT_NEAR(static_cast<double>(snapshot["time"].get<std::int64_t>()),
              static_cast<double>(net::Loop::wall().time_since_epoch().count()), 5);
  EXPECT_GT(snapshot["revision"].get<std::uint64_t>(), 0u);
  const ConnectorInfo info = must(connector_from_json(agent->view["connector/" + connector]));
  EXPECT_FALSE(info.online);
  ASSERT_EQ(info.relays.size(), 1u);
  EXPECT_EQ(info.relays[0].address, controller->relay_address().to_string());
}

TEST_F(AControlServer, binds_the_grant_to_the_key_that_the_device_connects_with) {
  const Machine laptop = enroll("device", "alice@example.com");
  const Machine box = enroll("connector", "home-1");
  const auto agent = up(laptop);
  const auto connector = up(box);
  const ConnectorSelf self = must(connector_self_from_json(connector->view["self"]));
  const std::string jws = agent->view["grant/home"];
  const auto now = net::Loop::wall();
  EXPECT_TRUE(Grant::verify(jws, self.grant_key, self.issuer, "home", must(net::key_thumbprint(laptop.key)), now));
  EXPECT_FALSE(Grant::verify(jws, self.grant_key, self.issuer, "home", must(net::key_thumbprint(box.key)), now));
}

TEST_F(AControlServer, tells_devices_when_a_connector_comes_and_goes) {
  const Machine laptop = enroll("device", "alice@example.com");
  const Machine box = enroll("connector", "home-1");
  const auto agent = up(laptop);
  const std::string key = "connector/" + box.id;
  auto connector = up(box, {"192.168.1.88:7000", "0.0.0.0:7000", "nonsense", "[2001:db8::1]:7000"});
  ASSERT_TRUE(turner.until([&] { return agent->view[key]["online"] == true; }));
  EXPECT_EQ(must(connector_from_json(agent->view[key])).direct,
            (std::vector<std::string>{"192.168.1.88:7000", "[2001:db8::1]:7000"}));
  EXPECT_TRUE(controller->control().is_online("connector", box.id));
  connector->hello({"10.0.0.1:7000"});
  const auto direct = [&] { return must(connector_from_json(agent->view[key])).direct; };
  ASSERT_TRUE(turner.until([&] { return direct() == std::vector<std::string>{"10.0.0.1:7000"}; }));
  connector.reset();
  ASSERT_TRUE(turner.until([&] { return agent->view[key]["online"] == false; }));
}

TEST_F(AControlServer, tells_a_change_at_once_and_only_to_those_whom_it_concerns) {
  const Machine alices = enroll("device", "alice@example.com");
  const Machine bobs = enroll("device", "bob@example.com");
  const Machine box = enroll("connector", "home-1");
  const auto alice = up(alices);
  const auto bob = up(bobs);
  const auto connector = up(box);
  ASSERT_TRUE(turner.until([&] { return alice->view["connector/" + box.id]["online"] == true; }));
  EXPECT_EQ(keys(bob->view), std::vector<std::string>{"self"});

  DesiredState more = home();
  more.resources.push_back(resource("Printer", "10.0.0.9", "family"));
  const Instant start = net::Loop::now();
  apply_now(more);
  const auto told = [&](bool there) {
    return alice->view.contains("resource/2") == there && connector->view.contains("resource/2") == there;
  };
  ASSERT_TRUE(turner.until([&] { return told(true); }));
  EXPECT_LT(net::Loop::now() - start, std::chrono::seconds(1));
  const Json& delta = *alice->last("delta");
  EXPECT_EQ(delta["set"].size(), 2u) << "the Resource and the grant, nothing else: " << delta;
  EXPECT_EQ(delta["revision"], must(controller->store().model()).revision);
  EXPECT_EQ(bob->count("delta"), 0u);

  apply_now(home());
  ASSERT_TRUE(turner.until([&] { return told(false); }));
}

TEST_F(AControlServer, tells_everybody_also_in_a_storm_of_changes) {
  ControlSettings settings;
  settings.push_interval = Duration(0);
  settings.telling = Duration(0);
  start(settings);
  std::vector<std::unique_ptr<Agent>> agents;
  for (int i = 0; i < 6; ++i) agents.push_back(up(enroll("device", "alice@example.com")));
  DesiredState state = home();
  int number = 0;
  net::Timer storm(loop, [&] {
    state.resources[0].alias = "a" + std::to_string(++number) + ".home.int";
    apply_now(state);
    storm.after(Duration(0));
  });
  storm.after(Duration(0));
  ASSERT_TRUE(turner.until([&] {
    return std::all_of(agents.begin(), agents.end(), [](const auto& a) { return a->count("delta") > 1; });
  })) << "each turn of the Loop is one agent's, and brings another change";
  storm.cancel();
  EXPECT_GT(number, 6);
  ASSERT_TRUE(turner.until([&] {
    return std::all_of(agents.begin(), agents.end(), [&](const auto& a) { return a->view["resource/1"]["alias"] == state.resources[0].alias; });
  }));
}

TEST_F(AControlServer, voids_the_old_grant_at_the_connector_and_gives_a_good_one) {
  const Machine laptop = enroll("device", "alice@example.com");
  const Machine box = enroll("connector", "home-1");
  DesiredState two = home();
  two.resources.push_back(resource("Printer", "10.0.0.9", "family"));
  apply_now(two);
  const auto agent = up(laptop);
  const auto connector = up(box);
  const ConnectorSelf self = must(connector_self_from_json(connector->view["self"]));
  const auto grant = [&] {
    return must(Grant::verify(agent->view["grant/home"].get<std::string>(), self.grant_key, self.issuer, "home",
                              must(net::key_thumbprint(laptop.key)), net::Loop::wall()));
  };
  const Grant old = grant();
  EXPECT_TRUE(old.covers(2));
  apply_now(home());
  const std::string revoked = "revoked/" + laptop.id;
  ASSERT_TRUE(turner.until([&] { return connector->view.contains(revoked) && !agent->view.contains("resource/2"); }));
  const auto least = connector->view[revoked].get<Generation>();
  EXPECT_LT(old.generation, least) << "void";
  EXPECT_EQ(grant().generation, least) << "good";
  EXPECT_FALSE(grant().covers(2));
  EXPECT_TRUE(grant().covers(1));
}

TEST_F(AControlServer, sends_away_a_device_that_is_blocked_or_deleted_and_lets_it_in_no_more) {
  const Machine laptop = enroll("device", "alice@example.com");
  const Machine box = enroll("connector", "home-1");
  const auto connector = up(box);
  auto agent = up(laptop);
  must(controller->store().set_device_state(laptop.id, Store::DeviceState::blocked, net::Loop::wall()));
  controller->control().changed();
  ASSERT_TRUE(turner.until([&] { return agent->closed && connector->view.contains("revoked/" + laptop.id); }));
  ASSERT_NE(agent->last("error"), nullptr);
  EXPECT_EQ((*agent->last("error"))["code"], "denied");
  EXPECT_EQ((*agent->last("error"))["text"], "this device is blocked; ask an administrator");
  agent = up(laptop);
  EXPECT_EQ(agent->last("snapshot"), nullptr);
  must(controller->store().set_device_state(laptop.id, Store::DeviceState::pending, net::Loop::wall()));
  controller->control().changed();
  agent = up(laptop);
  EXPECT_NE(agent->last("snapshot"), nullptr);
  must(controller->store().remove_device(laptop.id, net::Loop::wall()));
  controller->control().changed();
  ASSERT_TRUE(turner.until([&] { return agent->closed; }));
  agent = up(laptop);
  ASSERT_NE(agent->last("error"), nullptr) << "its certificate is good for another day, it is not";
  EXPECT_EQ((*agent->last("error"))["text"], "this device has been removed; ask an administrator for a new token or key, or 'sudo tg client logout' and sign in anew");
}

TEST_F(AControlServer, sends_away_a_connector_that_is_deleted) {
  const Machine box = enroll("connector", "home-1");
  const auto connector = up(box);
  DesiredState without = home();
  without.connectors.clear();
  apply_now(without);
  ASSERT_TRUE(turner.until([&] { return connector->closed; }));
  EXPECT_EQ((*connector->last("error"))["code"], "removed");
}

TEST_F(AControlServer, sends_away_the_old_machine_when_a_connector_is_enrolled_again) {
  const Machine first = enroll("connector", "home-1");
  const auto old = up(first);
  const Machine second = enroll("connector", "home-1");
  EXPECT_NE(first.id, second.id) << "what was stolen of the first is worth nothing, also to a relay";
  ASSERT_TRUE(turner.until([&] { return old->closed; }));
  EXPECT_EQ((*old->last("error"))["text"],
            "this connector has been removed, or another machine was let in in its place; ask an administrator for a new "
            "token");
  EXPECT_NE(up(second)->last("snapshot"), nullptr);
}

TEST_F(AControlServer, tells_the_new_stream_of_a_process_and_closes_the_one_before_without_a_word) {
  const Machine laptop = enroll("device", "alice@example.com");
  const auto before = up(laptop, {}, "one");
  const auto after = up(laptop, {}, "one");
  ASSERT_TRUE(turner.until([&] { return before->closed; }));
  EXPECT_EQ(before->last("error"), nullptr) << "its network changed";
  EXPECT_FALSE(after->closed);
  EXPECT_EQ(controller->control().online().size(), 1u);
}

TEST_F(AControlServer, gives_a_new_process_the_place_of_the_one_before_and_says_so_to_that) {
  const Machine laptop = enroll("device", "alice@example.com");
  const auto before = up(laptop, {}, "one");
  const auto after = up(laptop, {}, "two");   // the machine was restarted, perhaps: nobody may have to wait
  EXPECT_NE(after->last("snapshot"), nullptr);
  ASSERT_TRUE(turner.until([&] { return before->closed; }));
  ASSERT_NE(before->last("error"), nullptr);
  EXPECT_EQ((*before->last("error"))["code"], "conflict");
  const std::string text = (*before->last("error"))["text"];
  EXPECT_NE(text.find("from 127.0.0.1"), std::string::npos) << text;
}

TEST_F(AControlServer, does_not_let_two_processes_with_one_identity_take_turns) {
  const Machine laptop = enroll("device", "alice@example.com");
  const auto first = up(laptop, {}, "one");
  auto second = up(laptop, {}, "two");
  ASSERT_TRUE(turner.until([&] { return first->closed; }));
  testing::internal::CaptureStderr();
  for (int i = 0; i < 3; ++i) {
    const auto back = up(laptop, {}, "one");
    const Json* error = back->last("error");
    EXPECT_TRUE(error != nullptr && (*error)["code"] == "conflict") << "two lives";
    EXPECT_EQ(back->last("snapshot"), nullptr);
  }
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(lines_with(log, "is used by two processes at once"), 1) << log;
  EXPECT_FALSE(second->closed);
  const auto moved = up(laptop, {}, "two");
  EXPECT_NE(moved->last("snapshot"), nullptr) << "the one that has the place may reconnect";
  second.reset();
  moved->say({{"type", "goodbye"}});
  ASSERT_TRUE(turner.until([&] { return controller->control().online().empty(); }));
  EXPECT_NE(up(laptop, {}, "one")->last("snapshot"), nullptr) << "the other is gone";
}

// Row 23 of the threats; what a terminal shows: Table.aligns_columns_by_characters_and_escapes_controls.
TEST_F(AControlServer, writes_no_line_of_its_log_that_a_peer_has_made_up) {
  const std::string evil = "x\n2026-01-01T00:00:00Z info forged\x1b[2J\r\x7f\u009b31m" + std::string(5000, 'y');
  testing::internal::CaptureStderr();
  Json named = enrolment(token(Token::Role::device, "alice@example.com"), "device", Machine().key);
  named["name"] = evil;
  for (const Json& said : {named, Json{{"type", evil}}, Json{{"type", "enroll"}, {"role", evil}}}) {
    const auto stranger = dial(pinned());
    ASSERT_TRUE(turner.until([&] { return stranger->open; }));
    stranger->say(said);
    ASSERT_TRUE(turner.until([&] { return stranger->closed || stranger->last("enrolled") != nullptr; }));
  }
  const Machine laptop = enroll("device", "alice@example.com");
  const auto first = up(laptop, {}, "one");
  const auto second = up(laptop, {evil}, evil);      // takes its place, which the log tells
  for (const Json& said : {Json{{"type", "error"}, {"text", evil}}, Json{{"type", evil}}}) {
    const auto agent = up(laptop, {}, evil);
    agent->say(said);
    ASSERT_TRUE(turner.until([&] { return agent->closed; }));
  }
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("forged"), std::string::npos) << "it is told, as what it is";
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_EQ(line, printable(line, line.size())) << "something moves a cursor";
    EXPECT_FALSE(line.starts_with("2026-01-01")) << line;
    EXPECT_LT(line.size(), 2500u);
  }
}

TEST_F(AControlServer, tells_the_log_of_a_process_that_only_came_for_a_visit) {
  const Machine laptop = enroll("device", "alice@example.com");
  const auto first = up(laptop, {}, "one");
  testing::internal::CaptureStderr();
  auto visitor = up(laptop, {}, "two");
  ASSERT_TRUE(turner.until([&] { return first->closed; }));
  visitor->say({{"type", "goodbye"}});
  ASSERT_TRUE(turner.until([&] { return controller->control().online().empty(); }));
  EXPECT_NE(up(laptop, {}, "one")->last("snapshot"), nullptr);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(lines_with(log, "takes the place of the one from 127.0.0.1"), 1) << log;
  EXPECT_EQ(lines_with(log, "is used by two processes at once, from one that has left and from 127.0.0.1"), 1) << log;
}

TEST_F(AControlServer, refuses_a_hello_that_names_no_process_so_that_no_thief_goes_unseen) {
  const Machine laptop = enroll("device", "alice@example.com");
  const auto first = up(laptop, {}, "one");
  const auto thief = up(laptop, {}, "");
  EXPECT_EQ(thief->last("snapshot"), nullptr);
  EXPECT_EQ((*thief->last("error"))["code"], "protocol");
  EXPECT_FALSE(first->closed);
}

TEST_F(AControlServer, lets_in_everybody_of_an_office_that_comes_at_once_behind_one_address) {
  ControlSettings tight;
  tight.strangers_per_source = 4;
  start(tight);
  const Machine laptop = enroll("device", "alice@example.com");
  const Machine tablet = enroll("device", "alice@example.com");
  // Whoever has shown a certificate is no stranger any more: those who come after it send it away no more.
  const auto first = dial(laptop);
  const auto second = dial(tablet);
  ASSERT_TRUE(turner.until([&] { return first->open && second->open; }));
  std::vector<std::unique_ptr<Agent>> strangers;
  for (int i = 0; i < 8; ++i) {
    strangers.push_back(dial(pinned()));
    ASSERT_TRUE(turner.until([&] { return strangers.back()->open; }));
  }
  EXPECT_FALSE(first->closed || second->closed);
  first->hello({}, "one");
  second->hello({}, "two");
  EXPECT_TRUE(turner.until([&] { return first->last("snapshot") && second->last("snapshot"); }));
}

TEST_F(AControlServer, keeps_of_one_agent_only_the_newest_stream_that_has_not_said_hello) {
  const Machine laptop = enroll("device", "alice@example.com");
  std::vector<std::unique_ptr<Agent>> silent;
  for (int i = 0; i < 5; ++i) {
    silent.push_back(dial(laptop));
    ASSERT_TRUE(turner.until([&] { return silent.back()->open; }));
  }
  ASSERT_TRUE(turner.until([&] { return controller->control().streams() == 1; }));
  EXPECT_FALSE(silent.back()->closed);
  silent.back()->hello({}, "one");
  EXPECT_TRUE(turner.until([&] { return silent.back()->last("snapshot") != nullptr; }));
}

TEST_F(AControlServer, lets_in_whose_certificate_was_made_while_its_clock_was_ahead) {
  Machine laptop = enroll("device", "alice@example.com");
  const auto made_ahead = [&](std::chrono::hours ahead, bool issuer_too) {
    Pki then = must(pki());
    const UnixTime at = net::Loop::wall() + ahead;
    if (issuer_too) {
      EXPECT_TRUE(must(then.renew_issuing(at + std::chrono::hours(24 * 200))));
      EXPECT_TRUE(must(then.renew_issuing(at)));
    }
    laptop.credentials.chain = must(then.issue("device", laptop.id, must(net::make_csr(laptop.key)), at)).chain;
    return up(laptop);
  };
  const auto agent = made_ahead(std::chrono::hours(48), false);
  ASSERT_NE(agent->last("snapshot"), nullptr) << agent->why.text;
  agent->say({{"type", "renew"}, {"csr", must(net::make_csr(laptop.key))}});
  ASSERT_TRUE(turner.until([&] { return agent->last("renewed") != nullptr; }));
  EXPECT_LE(must(net::leaf_identity((*agent->last("renewed"))["chain"])).not_before, net::Loop::wall());
  EXPECT_NE(made_ahead(std::chrono::hours(24 * 89), false)->last("snapshot"), nullptr);
  EXPECT_NE(made_ahead(std::chrono::hours(24 * 89), true)->last("snapshot"), nullptr);
  EXPECT_EQ(made_ahead(std::chrono::hours(24 * 91), false)->last("snapshot"), nullptr) << "as those that are late";
}

TEST_F(AControlServer, refuses_a_blocked_device_whatever_the_dates_of_its_certificate) {
  Machine laptop = enroll("device", "alice@example.com");
  must(controller->store().set_device_state(laptop.id, Store::DeviceState::blocked, net::Loop::wall()));
  controller->control().changed();
  const UnixTime ahead = net::Loop::wall() + std::chrono::hours(48);
  laptop.credentials.chain = must(must(pki()).issue("device", laptop.id, must(net::make_csr(laptop.key)), ahead)).chain;
  const auto agent = up(laptop);
  ASSERT_NE(agent->last("error"), nullptr);
  EXPECT_EQ((*agent->last("error"))["code"], "denied");
}

TEST_F(AControlServer, renews_its_own_certificate_when_its_clock_was_set_back) {
  const auto begins = [&] {
    const auto agent = dial(pinned());   // which does not look at dates
    EXPECT_TRUE(turner.until([&] { return agent->open; }));
    return agent->peer()->not_before;
  };
  const UnixTime now = net::Loop::wall();
  const UnixTime first = begins();
  controller->renew_certificates(now + std::chrono::hours(1));
  EXPECT_EQ(begins(), first) << "not due";
  controller->renew_certificates(now + std::chrono::hours(24));
  EXPECT_GT(begins(), now) << "a day ahead, and from there";
  controller->renew_certificates(now);
  EXPECT_LE(begins(), now) << "back again";
}

TEST_F(AControlServer, ends_the_stream_of_whom_it_cannot_tell_everything_and_lives_on) {
  const Machine laptop = enroll("device", "alice@example.com");
  const Machine bobs = enroll("device", "bob@example.com");
  ControlSettings terse;
  terse.stream.told = 500;
  start(terse);
  const auto alice = up(laptop);
  ASSERT_NE(alice->last("error"), nullptr);
  EXPECT_EQ((*alice->last("error"))["code"], "exhausted");
  EXPECT_NE(up(bobs)->last("snapshot"), nullptr) << "who reaches nothing";
}

TEST_F(AControlServer, tells_the_new_name_of_a_user_and_of_a_network_to_agents_that_stay) {
  const Machine laptop = enroll("device", "alice@example.com");
  const Machine box = enroll("connector", "home-1");
  const auto agent = up(laptop);
  const auto connector = up(box);
  must(controller->store().rename("user", "alice@example.com", "alice@example.org", net::Loop::wall()));
  must(controller->store().rename("network", "home", "house", net::Loop::wall()));
  controller->control().changed();
  ASSERT_TRUE(turner.until([&] {
    return agent->view.contains("grant/house") && connector->view["self"]["network"] == "house";
  }));
  EXPECT_EQ(agent->view["self"]["user"], "alice@example.org");
  const ConnectorSelf self = must(connector_self_from_json(connector->view["self"]));
  const Grant grant = must(Grant::verify(agent->view["grant/house"].get<std::string>(), self.grant_key, self.issuer,
                                         "house", must(net::key_thumbprint(laptop.key)), net::Loop::wall()));
  EXPECT_EQ(grant.user, "alice@example.org");
  EXPECT_FALSE(agent->closed || connector->closed);
}

TEST_F(AControlServer, tells_connectors_the_grace_that_was_set) {
  const Machine box = enroll("connector", "home-1");
  ControlSettings settings;
  settings.grace = std::chrono::hours(8);
  start(settings);
  EXPECT_EQ(must(connector_self_from_json(up(box)->view["self"])).grace, std::chrono::hours(8));
}

TEST_F(AControlServer, renews_a_certificate_for_the_same_key_and_for_no_other) {
  Machine laptop = enroll("device", "alice@example.com");
  auto agent = up(laptop);
  agent->say({{"type", "renew"}, {"csr", must(net::make_csr(laptop.key))}});
  ASSERT_TRUE(turner.until([&] { return agent->last("renewed") != nullptr; }));
  laptop.credentials.chain = (*agent->last("renewed"))["chain"];
  agent = up(laptop);
  ASSERT_NE(agent->last("snapshot"), nullptr);
  agent->say({{"type", "renew"}, {"csr", must(net::make_csr(must(net::new_key_pem())))}});
  ASSERT_TRUE(turner.until([&] { return agent->closed; }));
  EXPECT_EQ(agent->last("renewed"), nullptr) << "a thief would have it to himself from then on";
  EXPECT_EQ((*agent->last("error"))["code"], "denied");
}

TEST_F(AControlServer, answers_pings_with_the_time) {
  const auto agent = up(enroll("device", "alice@example.com"));
  agent->say({{"type", "ping"}});
  ASSERT_TRUE(turner.until([&] { return agent->last("pong") != nullptr; }));
  EXPECT_TRUE((*agent->last("pong"))["time"].is_number());
}

TEST_F(AControlServer, says_why_a_token_is_no_good) {
  const auto refused = [&](const Json& message) {
    const auto agent = dial(pinned());
    EXPECT_TRUE(turner.until([&] { return agent->open; }));
    agent->say(message);
    EXPECT_TRUE(turner.until([&] { return agent->closed; }));
    const Json* e = agent->last("error");
    return e == nullptr ? std::string() : (*e)["code"].get<std::string>() + ": " + (*e)["text"].get<std::string>();
  };
  const std::string key = must(net::new_key_pem());
  const FreshToken good = token(Token::Role::device, "alice@example.com");
  FreshToken wrong = good;
  wrong.secret[0] ^= 1;
  EXPECT_EQ(refused(enrolment(wrong, "device", key)),
            "denied: the token is not known here: it may be mistyped, or from another controller; ask for a new one");
  EXPECT_EQ(refused(enrolment(good, "connector", key)), "denied: the token is for a device, not for a connector");
  Json bad_csr = enrolment(good, "device", key);
  bad_csr["csr"] = "nonsense";
  EXPECT_EQ(refused(bad_csr), "malformed: the certificate request is not PKCS#10 in PEM");
  Json bad_id = enrolment(good, "device", key);
  bad_id["token_id"] = 7;
  EXPECT_EQ(refused(bad_id).substr(0, 10), "malformed:");
  const FreshToken old = must(controller->store().new_token(Token::Role::device, "alice@example.com",
                                                            kNow - std::chrono::hours(24 * 300),
                                                                std::chrono::minutes(10)));
  if (net::Loop::wall() > old.expires) {
    EXPECT_EQ(refused(enrolment(old, "device", key)).substr(0, 29), "expired: the token expired at");
  }
  const auto agent = dial(pinned());
  ASSERT_TRUE(turner.until([&] { return agent->open; }));
  agent->say(enrolment(good, "device", key));
  ASSERT_TRUE(turner.until([&] { return agent->last("enrolled") != nullptr; })) << "no refusal has spent it";
  EXPECT_EQ(refused(enrolment(good, "device", key)),
            "denied: the token has been used already: each lets in one machine, once; ask for a new one");
}

TEST_F(AControlServer, lets_exactly_one_of_a_thousand_in_with_one_token) {
  ControlSettings roomy;
  roomy.strangers_per_source = 2000;
  start(roomy);
  const FreshToken t = token(Token::Role::device, "alice@example.com");
  const Json message = enrolment(t, "device", must(net::new_key_pem()));
  const net::TlsContext context = pinned();
  constexpr std::size_t kAgents = 1000;
  constexpr std::size_t kAtOnce = 200;    // of the open files that a test may have
  std::size_t in = 0;
  std::size_t refused = 0;
  for (std::size_t done = 0; done < kAgents; done += kAtOnce) {
    std::vector<std::unique_ptr<Agent>> agents;
    for (std::size_t i = 0; i < kAtOnce; ++i) agents.push_back(dial(context));
    ASSERT_TRUE(turner.until([&] { return all(agents, &Agent::open); }, std::chrono::seconds(60)));
    for (auto& a : agents) a->say(message);
    ASSERT_TRUE(turner.until([&] { return all(agents, &Agent::closed); }, std::chrono::seconds(60)));
    for (auto& a : agents) {
      in += a->count("enrolled");
      refused += a->count("error");
    }
  }
  EXPECT_EQ(in, 1u);
  EXPECT_EQ(refused, kAgents - 1);
  EXPECT_EQ(must(controller->store().model()).devices.size(), 1u);
}

TEST_F(AControlServer, hears_nothing_but_enroll_from_a_stranger) {
  for (const char* type : {"hello", "ping", "renew", "goodbye", "snapshot"}) {
    const auto agent = dial(pinned());
    ASSERT_TRUE(turner.until([&] { return agent->open; }));
    agent->say({{"type", type}});
    ASSERT_TRUE(turner.until([&] { return agent->closed; }));
    ASSERT_NE(agent->last("error"), nullptr);
    EXPECT_EQ((*agent->last("error"))["text"], "without a certificate only \"enroll\" and \"sign_in\" are answered") << type;
  }
}

// Row 16 of the threats, with what stands around it.
TEST_F(AControlServer, takes_no_more_than_64_KiB_from_a_stranger) {
  const auto announced = dial(pinned());
  ASSERT_TRUE(turner.until([&] { return announced->open; }));
  const std::uint8_t length[] = {0x00, 0x01, 0x00, 0x01};   // 65,537 bytes are to follow
  announced->say_raw(length);
  ASSERT_TRUE(turner.until([&] { return announced->closed; }));
  ASSERT_NE(announced->last("error"), nullptr);
  EXPECT_EQ((*announced->last("error"))["code"], "protocol");
}

TEST_F(AControlServer, waits_only_so_long_for_a_stranger_and_for_hello) {
  ControlSettings hasty;
  hasty.stream.patience = std::chrono::milliseconds(100);
  const Machine laptop = enroll("device", "alice@example.com");
  start(hasty);
  const auto stranger = dial(pinned());
  const auto silent = dial(laptop);
  EXPECT_TRUE(turner.until([&] { return stranger->closed && silent->closed; }));
  EXPECT_TRUE(stranger->open && silent->open);
  EXPECT_TRUE(turner.until([&] { return controller->control().streams() == 0; }));
}

TEST_F(AControlServer, ends_the_oldest_stranger_of_a_source_for_one_too_many_but_no_agent) {
  const Machine laptop = enroll("device", "alice@example.com");
  ControlSettings tight;
  tight.strangers_per_source = 3;
  start(tight);
  const auto agent = up(laptop);
  ASSERT_NE(agent->last("snapshot"), nullptr);
  std::vector<std::unique_ptr<Agent>> strangers;
  for (int i = 0; i < 3; ++i) {
    strangers.push_back(dial(pinned()));
    ASSERT_TRUE(turner.until([&] { return strangers.back()->open; }));
  }
  const auto one_more = dial(pinned());
  ASSERT_TRUE(turner.until([&] { return one_more->open && strangers[0]->closed; }));
  EXPECT_FALSE(strangers[1]->closed || strangers[2]->closed || one_more->closed || agent->closed);
  EXPECT_EQ(controller->control().streams(), 4u);
  const auto another = up(enroll("device", "bob@example.com"));   // in spite of three that hold on to theirs
  EXPECT_NE(another->last("snapshot"), nullptr);
  EXPECT_FALSE(agent->closed);
}

TEST_F(AControlServer, ends_the_oldest_stranger_of_all_for_one_too_many) {
  ControlSettings tight;
  tight.strangers = 2;
  start(tight);
  std::vector<std::unique_ptr<Agent>> strangers;
  for (int i = 0; i < 4; ++i) {
    strangers.push_back(dial(pinned()));
    ASSERT_TRUE(turner.until([&] { return strangers.back()->open; })) << i;
  }
  ASSERT_TRUE(turner.until([&] { return strangers[0]->closed && strangers[1]->closed; }, ControlSettings().stream.patience / 2));
  EXPECT_FALSE(strangers[2]->closed || strangers[3]->closed);
  EXPECT_EQ(controller->control().streams(), 2u);
}

TEST_F(AControlServer, ends_a_stream_that_says_what_nobody_understands_or_too_much) {
  const Machine laptop = enroll("device", "alice@example.com");
  auto agent = up(laptop);
  agent->say({{"type", "reboot"}});
  ASSERT_TRUE(turner.until([&] { return agent->closed; }));
  EXPECT_EQ((*agent->last("error"))["text"], "unknown message \"reboot\"");
  agent = up(laptop);
  for (int i = 0; i < 200; ++i) agent->say({{"type", "ping"}});
  ASSERT_TRUE(turner.until([&] { return agent->closed; }));
  EXPECT_EQ((*agent->last("error"))["code"], "exhausted");
  agent = dial(laptop);
  ASSERT_TRUE(turner.until([&] { return agent->open; }));
  agent->say({{"type", "renew"}, {"csr", ""}});
  ASSERT_TRUE(turner.until([&] { return agent->closed; }));
  EXPECT_EQ((*agent->last("error"))["text"], "\"hello\" comes first");
}

TEST_F(AControlServer, refuses_agents_of_another_controller) {
  Machine stranger;
  const Pki other = must(Pki::create(net::Loop::wall()));
  const Issued leaf = must(other.issue("device", "0123456789abcdef", must(net::make_csr(stranger.key)),
                                       net::Loop::wall()));
  stranger.credentials = {stranger.key, leaf.chain, must(pki()).files().root};
  const auto agent = dial(stranger);
  ASSERT_TRUE(turner.until([&] { return agent->closed; }));
  EXPECT_EQ(agent->last("snapshot"), nullptr);
}

TEST_F(AControlServer, lets_a_relay_in_and_tells_everybody_of_it_from_then_on) {
  DesiredState wanted = home();
  wanted.relays = {{"relay-1", "203.0.113.80:8444", {}}};
  apply_now(wanted);
  const Machine laptop = enroll("device", "alice@example.com");
  const Machine box = enroll("connector", "home-1");
  const auto agent = up(laptop);
  const auto connector = up(box);
  const auto ways = [&] { return must(connector_from_json(agent->view["connector/" + box.id])).relays.size(); };
  EXPECT_EQ(ways(), 1u) << "nobody runs it yet";
  const Machine relay = enroll("relay", "relay-1");
  ASSERT_TRUE(turner.until([&] { return ways() == 2; }));
  const auto running = up(relay);
  EXPECT_EQ(must(relay_self_from_json(running->view["self"])).name, "relay-1");
  ASSERT_TRUE(turner.until([&] { return must(connector_self_from_json(connector->view["self"])).relays.size() == 2; }));
  running->say({{"type", "renew"}, {"csr", must(net::make_csr(relay.key))}});
  ASSERT_TRUE(turner.until([&] { return running->last("renewed") != nullptr; }));
  apply_now(home());
  ASSERT_TRUE(turner.until([&] { return running->closed && ways() == 1; }));
  EXPECT_EQ((*running->last("error"))["code"], "removed");
}

TEST_F(AControlServer, gives_controllers_and_relays_that_it_did_not_let_in_no_control_stream) {
  for (const char* role : {"relay", "controller"}) {
    Machine m;
    m.credentials = must(must(pki()).own(role, "main", net::Loop::wall()));
    const auto agent = dial(m);
    ASSERT_TRUE(turner.until([&] { return agent->closed; })) << role;
    EXPECT_EQ(agent->last("snapshot"), nullptr);
  }
}

TEST_F(AControlServer, says_goodbye_before_it_goes_and_knows_everybody_when_it_is_back) {
  const Machine laptop = enroll("device", "alice@example.com");
  const auto agent = up(laptop);
  bool gone = false;
  controller->goodbye([&] { gone = true; });
  ASSERT_TRUE(turner.until([&] { return gone && agent->closed; }));
  EXPECT_NE(agent->last("goodbye"), nullptr);
  start({});
  const auto again = up(laptop);
  EXPECT_EQ(keys(again->view), keys(agent->view));
  EXPECT_TRUE(must(controller->store().model()).device(laptop.id)->last_seen);
}

TEST_F(AControlServer, survives_a_storm_of_changes_and_ends_with_everybody_right) {
  const Machine laptop = enroll("device", "alice@example.com");
  const Machine box = enroll("connector", "home-1");
  const auto agent = up(laptop);
  const auto connector = up(box);
  for (int i = 0; i < 50; ++i) {
    DesiredState s = home();
    if (i % 2 == 0) s.resources.push_back(resource("R" + std::to_string(i), "10.0.0." + std::to_string(i), "family"));
    apply_now(s);
    turner.until([] { return true; });
  }
  const auto settled = [&] {
    return agent->view.contains("resource/1") && agent->view.size() == 4 && connector->view.size() == 3;
  };
  ASSERT_TRUE(turner.until(settled)) << json_text(agent->view);
  const ConnectorSelf self = must(connector_self_from_json(connector->view["self"]));
  const auto last = Grant::verify(agent->view["grant/home"].get<std::string>(), self.grant_key, self.issuer, "home",
                                  must(net::key_thumbprint(laptop.key)), net::Loop::wall());
  ASSERT_TRUE(last) << last.error().text;
  EXPECT_EQ(last->resources, std::vector<ResourceId>{1});
  EXPECT_GE(last->issued.time_since_epoch().count(), connector->view["revoked/" + laptop.id].get<std::int64_t>());
}

TEST_F(AControlServer, keeps_what_a_connector_tells_of_flows_under_the_name_of_its_certificate) {
  const Machine box = enroll("connector", "home-1");
  const auto connector = up(box);
  EXPECT_EQ(connector->view["self"]["events"], true);
  const Json event = {{"kind", "denied"}, {"time_ms", 1}, {"protocol", "tcp"}, {"host", "nas.home.int"}, {"port", 22},
                      {"connector", "somebody else"}, {"connector_id", "00000000000000ff"}, {"network", "office"}};
  connector->say({{"type", "events"}, {"spool", "00000000000000aa"}, {"first", 7}, {"events", {event}}});
  ASSERT_TRUE(turner.until([&] { return connector->last("events_kept") != nullptr; }));
  EXPECT_EQ((*connector->last("events_kept"))["through"], 7);
  EXPECT_EQ((*connector->last("events_kept"))["spool"], "00000000000000aa");
  EventStore kept = must(EventStore::open(folder / "state/events.db"));
  const EventPage page = must(kept.after({}, 0, 10));
  ASSERT_EQ(page.events.size(), 1u);
  EXPECT_EQ(page.events[0]["connector"], "home-1");
  EXPECT_EQ(page.events[0]["connector_id"], box.id);
  EXPECT_EQ(page.events[0]["network"], "home");
}

TEST_F(AControlServer, takes_events_of_nobody_else_and_none_that_are_nonsense) {
  const Machine laptop = enroll("device", "alice@example.com"), box = enroll("connector", "home-1");
  const Json events = {{"type", "events"}, {"spool", "00000000000000aa"}, {"first", 1}, {"events", {Json::object()}}};
  const auto device = up(laptop);
  device->say(events);
  ASSERT_TRUE(turner.until([&] { return device->closed; }));
  EXPECT_EQ((*device->last("error"))["text"], "unknown message \"events\"");
  const auto connector = up(box);
  connector->say(events);
  ASSERT_TRUE(turner.until([&] { return connector->last("events_kept") != nullptr; })) << "one that is nonsense is passed over";
  Json wrong = events;
  wrong["spool"] = 1;
  connector->say(wrong);
  ASSERT_TRUE(turner.until([&] { return connector->closed; }));
  EXPECT_EQ((*connector->last("error"))["code"], "protocol");
  EXPECT_EQ(must(EventStore::open(folder / "state/events.db")).last(), 0u);
}

}  // namespace tg::controller::controller_control_server_test
