// An agent's line to a real controller, which runs on a thread of its own.
#include "cmd/controller_link.h"

#include <thread>

#include "cmd/controller/serve.h"
#include "controller_agent.h"
#include "core/json.h"
#include "net/files.h"
#include "net/keys.h"

namespace tg::controller::controller_link_test {

using cmd::AgentIdentity;
using cmd::ControllerLink;

struct AControllerLink : testing::Test {
  Folder folder;
  std::optional<net::Loop> far;
  std::unique_ptr<Controller> controller;
  std::thread thread;
  net::Loop loop;
  Turner turner{loop};
  UnixTime now = net::Loop::wall();

  void SetUp() override {
    start("127.0.0.1:0");
    must(controller->store().apply(home(), false, now));
  }
  void start(const std::string& listen) {
    ServeOptions options;
    options.state = folder / "controller";
    options.listen = listen;
    options.relay_listen = "none";   // its port would be another one each time
    far.emplace();
    controller = must(Controller::start(*far, options));
    thread = std::thread([this] { far->run(); });
  }
  void TearDown() override { stop(); }
  void stop() {
    if (!thread.joinable()) return;
    far->post([this] { far->stop(); });
    thread.join();
    controller.reset();
  }
  Store open_store() { return must(Store::open(folder / "controller/controller.db")); }
  Secrets secrets(Store& store) {
    return must(load_secrets(store, must(Vault::open(folder / "controller/master.key", false)), now));
  }
  std::string text_of(Store& store, Token::Role role, const FreshToken& fresh) {
    return Token{role, fresh.expires, fresh.id, fresh.secret, secrets(store).pki.pin(), {"127.0.0.1", controller->listening().port}}
        .to_string();
  }
  // reload has the controller look at what somebody else changed in its store: it does so when it lets somebody in.
  void reload() { enroll(folder / ("other-" + std::to_string(++others))); }
  int others = 0;
  // obtain returns the id of the agent that a state directory is.
  static std::string obtain(const std::string& state, const std::string& token, Token::Role role = Token::Role::device) {
    const auto nobody = [](net::Loop&) { return [](const std::string&, auto) {}; };
    return must(AgentIdentity::obtain(state, token, role, nobody, std::chrono::seconds(20))).self().id;
  }
  // enroll makes a state directory for a device of alice.
  void enroll(const std::string& state) { enroll(state, Token::Role::device, "alice@example.com"); }
  void enroll_connector(const std::string& state) { enroll(state, Token::Role::connector, "home-1"); }
  void enroll(const std::string& state, Token::Role role, const std::string& subject) {
    Store store = open_store();
    std::filesystem::create_directory(state);
    obtain(state, text_of(store, role, must(store.new_token(role, subject, now, std::chrono::minutes(10)))), role);
  }
  struct Line {
    AgentIdentity identity;
    std::unique_ptr<ControllerLink> link;
  };
  // `good_for`: how old what it was told may be; nothing is kept without it.
  std::unique_ptr<Line> connect(const std::string& state, std::optional<std::chrono::seconds> good_for = {}) {
    auto line = std::make_unique<Line>(Line{must(AgentIdentity::load(state)), nullptr});
    line->link = std::make_unique<ControllerLink>(
        loop, line->identity, [](const std::string&, auto) {}, [] { return Json::object(); },
        ControllerLink::Callbacks{[] {}, [] {}}, kept_in(state, good_for));
    return line;
  }
  static std::optional<ControllerLink::KeptView> kept_in(const std::string& state, std::optional<std::chrono::seconds> good_for) {
    if (!good_for) return {};
    return ControllerLink::KeptView{state + "/view.json", [life = *good_for](const View&) { return life; }};
  }
  // tell lets an agent be told what concerns it, and ends it.
  void tell(const std::string& state) {
    const auto line = connect(state, kHour);
    ASSERT_TRUE(turner.until([&] { return line->link->up(); }));
    line->link->close();
  }
  // begin starts an agent, and returns it when its first attempt to reach the controller has ended.
  std::unique_ptr<Line> begin(const std::string& state) {
    auto line = connect(state, kHour);
    const std::string at_first = line->link->problem();
    EXPECT_TRUE(turner.until([&] { return line->link->problem() != at_first; }));
    return line;
  }
  static constexpr std::chrono::hours kHour{1};
};

TEST_F(AControllerLink, a_key_lets_a_device_in_anew_when_the_controller_does_not_know_it_any_more) {
  Store store = open_store();
  DesiredState wanted = home();
  wanted.services = {{"ci", {}}};
  must(store.apply(wanted, false, now));
  const std::string key = text_of(store, Token::Role::service, must(store.new_key("ci", "", now, std::chrono::hours(24))));
  const std::string state = folder / "device";
  std::filesystem::create_directory(state);
  const std::string id = obtain(state, key);
  EXPECT_EQ(obtain(state, key), id) << "as a service manager starts it again";
  const auto nobody = [](net::Loop&) { return [](const std::string&, auto) {}; };
  const auto refused = [&](const std::string& in) {
    const auto got = AgentIdentity::obtain(in, key, Token::Role::device, nobody, std::chrono::seconds(20));
    return got ? "" : std::string(to_string(got.error().code)) + ": " + got.error().text;
  };
  must(store.set_device_state(id, Store::DeviceState::blocked, now));
  reload();
  EXPECT_EQ(refused(state), "denied: this device is blocked; ask an administrator") << "blocking is not undone by a key";
  must(store.remove_device(id, now));
  reload();
  const std::string again = obtain(state, key);
  EXPECT_NE(again, id);
  EXPECT_EQ(must(store.model()).device(again)->user, "ci");

  const std::string of_alice = folder / "alice";
  enroll(of_alice);
  const std::string before = must(AgentIdentity::load(of_alice)).self().id;
  EXPECT_TRUE(refused(of_alice).starts_with("conflict: " + of_alice + " is the device of a person")) << refused(of_alice);
  EXPECT_EQ(must(AgentIdentity::load(of_alice)).self().id, before);

  stop();
  EXPECT_EQ(obtain(state, key), again) << "while the controller is away it is who it was";
}

TEST_F(AControllerLink, is_told_what_concerns_its_agent) {
  enroll(folder / "one");
  const auto line = connect(folder / "one");
  ASSERT_TRUE(turner.until([&] { return line->link->up(); })) << line->link->problem();
  EXPECT_TRUE(line->link->view().contains("resource/1"));
  EXPECT_EQ(line->link->problem(), "");
}

TEST_F(AControllerLink, says_that_another_process_has_its_identity_and_does_not_fight) {
  enroll(folder / "one");
  std::filesystem::copy(folder / "one", folder / "two");
  const auto first = connect(folder / "one");
  ASSERT_TRUE(turner.until([&] { return first->link->up(); }));
  testing::internal::CaptureStderr();
  const auto second = connect(folder / "two");
  EXPECT_TRUE(turner.until([&] { return second->link->up() && !first->link->up(); }));
  EXPECT_NE(first->link->problem().find("another tg process uses the identity of this device, from 127.0.0.1"),
            std::string::npos) << first->link->problem();
  EXPECT_EQ(first->link->refusal(), Errc::conflict);
  EXPECT_TRUE(first->link->view().empty());
  // The first attempt of the one that lost is after 2.5 to 5 s; until then, and after it, the other is left in peace.
  const Instant begin = net::Loop::now();
  bool peace = true;
  turner.until([&] {
    peace = peace && second->link->up();
    return net::Loop::now() - begin > std::chrono::milliseconds(7000);
  });
  EXPECT_TRUE(peace);
  EXPECT_FALSE(first->link->up());
  const std::string log = testing::internal::GetCapturedStderr();
  const auto count = [&](const std::string& text) {
    std::size_t n = 0;
    for (std::size_t at = log.find(text); at != std::string::npos; at = log.find(text, at + 1)) ++n;
    return n;
  };
  EXPECT_EQ(count("another tg process uses the identity"), 1u) << log;
  EXPECT_EQ(count("is used by two processes at once"), 1u) << log;
}

TEST_F(AControllerLink, is_let_in_at_once_after_a_restart) {
  enroll(folder / "one");
  auto line = connect(folder / "one");
  ASSERT_TRUE(turner.until([&] { return line->link->up(); }));
  line.reset();   // without a goodbye
  const auto again = connect(folder / "one");
  ASSERT_TRUE(turner.until([&] { return again->link->up(); }, std::chrono::seconds(4)));
  EXPECT_EQ(again->link->refusal(), std::nullopt);
}

TEST_F(AControllerLink, comes_back_in_its_own_time_when_the_controller_says_goodbye) {
  enroll(folder / "one");
  const auto line = connect(folder / "one");
  ASSERT_TRUE(turner.until([&] { return line->link->up(); }));
  far->post([&] { controller->goodbye([] {}); });
  const std::string said = "the controller is restarting";
  ASSERT_TRUE(turner.until([&] { return line->link->problem() == said; }));
  const Instant begin = net::Loop::now();
  ASSERT_TRUE(turner.until([&] { return line->link->problem() != said; }));   // let in, or refused
  const Duration took = net::Loop::now() - begin;
  EXPECT_GT(took, net::kGoodbyeRetry / 2 - std::chrono::milliseconds(10));
  EXPECT_LT(took, net::kGoodbyeRetry + std::chrono::milliseconds(500));
}

TEST_F(AControllerLink, renews_at_once_a_certificate_that_is_from_the_future) {
  enroll(folder / "one");
  {
    Store store = must(Store::open(folder / "controller/controller.db"));
    const Secrets secrets = must(load_secrets(store, must(Vault::open(folder / "controller/master.key", false)), now));
    const std::string csr = must(net::make_csr(must(net::read_file(folder / "one/key.pem"))));
    const std::string id = must(AgentIdentity::load(folder / "one")).self().id;
    const Issued ahead = must(secrets.pki.issue("device", id, csr, now + std::chrono::hours(48)));
    must(net::write_file(folder / "one/chain.pem", ahead.chain));
  }
  const auto line = connect(folder / "one");
  EXPECT_TRUE(line->identity.wants_renewal(now));
  ASSERT_TRUE(turner.until([&] { return line->link->up() && !line->identity.wants_renewal(now); }));
  EXPECT_FALSE(must(AgentIdentity::load(folder / "one")).wants_renewal(now)) << "and keeps it";
}

TEST_F(AControllerLink, begins_with_what_it_was_told_last_when_the_controller_is_away) {
  enroll(folder / "one");
  tell(folder / "one");
  stop();
  const auto line = begin(folder / "one");
  EXPECT_FALSE(line->link->up());
  EXPECT_TRUE(line->link->view().contains("resource/1"));
  ASSERT_TRUE(line->link->kept_as_of());
  EXPECT_LE(net::Loop::wall() - *line->link->kept_as_of(), std::chrono::seconds(20));
}

TEST_F(AControllerLink, does_not_begin_with_what_is_too_old_from_the_future_or_another_agents) {
  enroll(folder / "one");
  enroll(folder / "two");
  tell(folder / "one");
  std::filesystem::copy(folder / "one/view.json", folder / "two/view.json");
  stop();
  cmd::ViewFile file(folder / "one/view.json", "");
  for (const auto age : {std::chrono::seconds(3605), std::chrono::seconds(-120)}) {
    file.still(net::Loop::wall() - age);
    EXPECT_TRUE(begin(folder / "one")->link->view().empty()) << age.count();
  }
  file.still(net::Loop::wall() - std::chrono::seconds(3500));
  EXPECT_FALSE(begin(folder / "one")->link->view().empty());
  EXPECT_TRUE(begin(folder / "two")->link->view().empty());
}

TEST_F(AControllerLink, hears_the_controller_first) {
  enroll(folder / "one");
  const net::Identity self = must(AgentIdentity::load(folder / "one")).self();
  cmd::ViewFile(folder / "one/view.json", self.network + "/device/" + self.id).save({{"stale", 1}});
  const auto line = connect(folder / "one", kHour);
  bool stale = false;
  ASSERT_TRUE(turner.until([&] {
    stale = stale || line->link->view().contains("stale");
    return line->link->up();
  }));
  EXPECT_FALSE(stale);
  EXPECT_FALSE(line->link->kept_as_of());
  line->link->close();
  EXPECT_FALSE(cmd::ViewFile(folder / "one/view.json", self.network + "/device/" + self.id).load()->view.contains("stale"));
}

TEST_F(AControllerLink, keeps_each_change_at_once_or_nothing) {
  enroll(folder / "one");
  const net::Identity self = must(AgentIdentity::load(folder / "one")).self();
  const auto line = connect(folder / "one", kHour);
  ASSERT_TRUE(turner.until([&] { return line->link->up(); }));
  const cmd::ViewFile file(folder / "one/view.json", self.network + "/device/" + self.id);
  ASSERT_TRUE(file.load()) << "the first";
  for (int i = 0; i < 5; ++i) {
    const std::string name = "r" + std::to_string(i) + ".home.int";
    far->post([this, name] {
      DesiredState more = home();
      more.resources[0].address = must(Address::parse(name));
      must(controller->store().apply(more, true, now));
      controller->control().changed();
    });
    const View before = line->link->view();
    ASSERT_TRUE(turner.until([&] { return line->link->view() != before; }));
    const auto kept = file.load();
    EXPECT_TRUE(!kept || kept->view == line->link->view()) << i;
  }
  ASSERT_TRUE(turner.until([&] { return file.load().has_value(); }));
  EXPECT_EQ(file.load()->view, line->link->view());
}

// A connector, whose View has nothing with a date in it. A device is given new grants each time.
TEST_F(AControllerLink, keeps_what_it_was_told_while_a_controller_that_was_started_again_says_it_once_more) {
  enroll_connector(folder / "one");
  const std::string path = folder / "one/view.json";
  const auto line = connect(folder / "one", kHour);
  ASSERT_TRUE(turner.until([&] { return std::filesystem::exists(path); }));
  for (int i = 0; i < 3; ++i) {
    const std::string listening = controller->listening().to_string();
    stop();
    ASSERT_TRUE(turner.until([&] { return !line->link->up(); }));
    start(listening);
    line->link->check_now();
    ASSERT_TRUE(turner.until([&] { return line->link->up(); }));
    ASSERT_TRUE(std::filesystem::exists(path)) << i << ": whoever is killed now is told nothing if the controller goes, too";
  }
}

TEST_F(AControllerLink, keeps_again_what_somebody_took_away) {
  enroll_connector(folder / "one");
  const std::string path = folder / "one/view.json";
  const auto line = connect(folder / "one", kHour);
  ASSERT_TRUE(turner.until([&] { return std::filesystem::exists(path); }));
  ASSERT_TRUE(std::filesystem::remove(path));
  line->link->hello_again();
  ASSERT_TRUE(turner.until([&] { return std::filesystem::exists(path); }));
}

TEST_F(AControllerLink, keeps_nothing_of_an_agent_that_is_let_in_no_more) {
  enroll(folder / "one");
  const std::string id = must(AgentIdentity::load(folder / "one")).self().id;
  const auto line = connect(folder / "one", kHour);
  ASSERT_TRUE(turner.until([&] { return std::filesystem::exists(folder / "one/view.json"); })) << "soon, and not only at the end";
  far->post([&] {
    must(controller->store().set_device_state(id, Store::DeviceState::blocked, now));
    controller->control().changed();
  });
  ASSERT_TRUE(turner.until([&] { return line->link->refusal().has_value(); }));
  EXPECT_FALSE(std::filesystem::exists(folder / "one/view.json"));
  line->link->close();
  EXPECT_FALSE(std::filesystem::exists(folder / "one/view.json"));
}

}  // namespace tg::controller::controller_link_test
