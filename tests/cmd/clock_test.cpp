// A machine whose clock is not the controller's. A process cannot be given a false CLOCK_REALTIME (time namespaces have
// only the monotonic clocks), so it is the controller that lives at another time: a small one of this test's own, with
// the true certificates of that time.
#include "cmd/clock.h"

#include <atomic>
#include <thread>

#include "cmd/controller_link.h"
#include "controller_agent.h"
#include "net/acceptor.h"

namespace tg::controller::clock_test {

using cmd::AgentIdentity;
using cmd::clock_problem;
using cmd::ControllerLink;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// OtherTime is a controller whose clock is ahead of this machine's by `ahead`. It lets everybody in.
class OtherTime {
 public:
  explicit OtherTime(seconds ahead, std::string strange = {})
      : ahead_(ahead), strange_(std::move(strange)), pki_(must(Pki::create(now()))),
        context_(must(net::TlsContext::server(must(pki_.own("controller", kControllerId, now())), net::kAlpnControl,
                                              false))) {
    net::Fd listener = must(net::tcp_listen(must(Endpoint::parse("127.0.0.1:0"))));
    at_ = {"127.0.0.1", net::local_endpoint(listener.get()).port};
    acceptor_ = net::Acceptor(loop_, std::move(listener),
                              [this](net::Fd fd, const Endpoint&) { admit(std::move(fd)); });
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~OtherTime() { stop(); }

  void stop() {
    if (!thread_.joinable()) return;
    loop_.post([this] { loop_.stop(); });
    thread_.join();
  }
  Token token() const {
    return {Token::Role::device, now() + minutes(10), Buffer(16, 1), Buffer(32, 2), pki_.pin(), at_};
  }
  std::size_t hellos() const { return hellos_; }
  const std::string& refusal() const { return refusal_; }   // after stop(): what an agent refused with

 private:
  struct Peer {
    std::unique_ptr<net::Tls> tls;
    ControlReader reader;
  };
  UnixTime now() const { return net::Loop::wall() + ahead_; }

  void admit(net::Fd fd) {
    peers_.push_back(std::make_unique<Peer>());
    Peer* p = peers_.back().get();
    p->tls = std::make_unique<net::Tls>(
        loop_, std::move(fd), context_,
        net::Tls::Callbacks{[] {}, [this, p](Bytes b) { heard(*p, b); }, {}, [](const Error&) {}});
  }
  void heard(Peer& p, Bytes bytes) {
    p.reader.feed(bytes);
    for (auto next = p.reader.next(); next && *next; next = p.reader.next()) {
      const Json& m = **next;
      if (m["type"] == "enroll") {
        const Issued issued = must(pki_.issue(m["role"].get<std::string>(), "0123456789abcdef", m["csr"], now()));
        say(p, {{"type", "enrolled"}, {"chain", issued.chain}});
      }
      if (m["type"] == "hello") {
        ++hellos_;
        say(p, {{"type", "snapshot"}, {"items", {{"resource/1", nullptr}}}});
        if (!strange_.empty()) say(p, {{"type", strange_}});
      }
      if (m["type"] == "error") refusal_ = m["text"];
    }
  }
  void say(Peer& p, Json message) {
    message["time"] = now().time_since_epoch().count();
    p.tls->write(control_frame(message));
  }

  seconds ahead_;
  std::string strange_;
  net::Loop loop_;
  Pki pki_;
  net::TlsContext context_;
  HostPort at_;
  net::Acceptor acceptor_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::atomic<std::size_t> hellos_ = 0;
  std::string refusal_;
  std::thread thread_;
};

struct AClock : testing::Test {
  Folder state;
  net::Loop loop;
  Turner turner{loop};

  Result<AgentIdentity> obtain(const OtherTime& controller) {
    const auto nobody = [](net::Loop&) { return [](const std::string&, auto) {}; };
    return AgentIdentity::obtain(state.path(), controller.token().to_string(), Token::Role::device, nobody, seconds(20));
  }
  std::unique_ptr<ControllerLink> link(AgentIdentity& identity) {
    return std::make_unique<ControllerLink>(
        loop, identity, [](const std::string&, auto) {}, [] { return Json::object(); },
        ControllerLink::Callbacks{[] {}, [] {}});
  }
};

TEST_F(AClock, is_compared_in_words_that_say_what_to_do) {
  const auto off = [](seconds own) { return clock_problem(kNow + own, kNow); };
  EXPECT_EQ(off(seconds(0)), "");
  EXPECT_EQ(off(seconds(60)), "");
  EXPECT_EQ(off(seconds(-60)), "");
  EXPECT_EQ(off(seconds(61)),
            "this machine's clock is 61 seconds ahead of the controller's; set it (timedatectl set-ntp true)");
  EXPECT_EQ(off(minutes(-3)),
            "this machine's clock is 3 minutes behind the controller's; set it (timedatectl set-ntp true)");
  EXPECT_NE(off(hours(-5)).find(" 5 hours behind "), std::string::npos);
  EXPECT_NE(off(hours(24 * 400)).find(" 400 days ahead of "), std::string::npos);
  EXPECT_EQ(cmd::told_time({{"time", -5}}), std::nullopt);
  EXPECT_EQ(cmd::told_time({{"time", std::numeric_limits<std::int64_t>::max()}}), std::nullopt);
  EXPECT_EQ(cmd::told_time({{"time", "noon"}}), std::nullopt);
  EXPECT_EQ(cmd::told_time({{"time", 1'800'000'000}}), kNow);
}

TEST_F(AClock, that_is_hours_off_is_told_at_the_first_contact_which_is_kept) {
  const std::pair<seconds, std::string> cases[] = {{minutes(5 * 60 + 30), "5 hours behind"},
                                                   {-minutes(30 * 60 + 30), "30 hours ahead of"}};
  for (const auto& [ahead, words] : cases) {
    std::filesystem::remove(state / "agent.json");
    const OtherTime controller(ahead);
    const auto got = obtain(controller);
    ASSERT_FALSE(got) << words;
    EXPECT_EQ(got.error().code, Errc::unreachable);
    EXPECT_EQ(exit_code(got.error().code), 3);
    EXPECT_EQ(got.error().text, "this machine's clock is " + words + " the controller's; set it (timedatectl set-ntp "
                                "true), and start again; until then no certificate is valid here");
    EXPECT_TRUE(AgentIdentity::load(state.path())) << "the token is spent";
  }
}

TEST_F(AClock, that_is_hours_off_is_told_at_each_later_contact) {
  const OtherTime controller(minutes(5 * 60 + 30));
  ASSERT_FALSE(obtain(controller));
  AgentIdentity identity = must(AgentIdentity::load(state.path()));
  const auto line = link(identity);
  ASSERT_TRUE(turner.until([&] { return line->problem() != "not connected yet"; }));
  EXPECT_FALSE(line->up());
  EXPECT_TRUE(line->problem().starts_with("the peer's certificate is valid only from 20")) << line->problem();
  EXPECT_TRUE(line->problem().ends_with(" UTC on: this machine's clock is behind; set it (timedatectl set-ntp true)"))
      << line->problem();
}

TEST_F(AClock, that_certificates_forgive_is_told_all_the_same) {
  const OtherTime controller(seconds(30 * 60 + 30));
  AgentIdentity identity = must(obtain(controller));
  testing::internal::CaptureStderr();
  const auto line = link(identity);
  const bool up = turner.until([&] { return line->up(); });
  const std::string log = testing::internal::GetCapturedStderr();
  ASSERT_TRUE(up) << line->problem();
  EXPECT_EQ(line->clock(),
            "this machine's clock is 30 minutes behind the controller's; set it (timedatectl set-ntp true)");
  EXPECT_NE(log.find("warning " + line->clock()), std::string::npos) << log;
}

TEST_F(AClock, that_is_right_is_not_spoken_of) {
  const OtherTime controller(seconds(0));
  AgentIdentity identity = must(obtain(controller));
  const auto line = link(identity);
  ASSERT_TRUE(turner.until([&] { return line->up(); })) << line->problem();
  EXPECT_EQ(line->clock(), "");
}

TEST_F(AClock, has_nothing_to_do_with_a_message_of_an_unknown_type_which_is_refused) {
  OtherTime controller(seconds(0), "dance\n");
  AgentIdentity identity = must(obtain(controller));
  const auto line = link(identity);
  EXPECT_TRUE(turner.until([&] { return line->problem().ends_with("sent an unknown message \"dance\\x0a\""); }))
      << line->problem();
  EXPECT_FALSE(line->up());
  EXPECT_TRUE(line->view().contains("resource/1")) << "what was understood is kept";
  EXPECT_TRUE(turner.until([&] { return controller.hellos() >= 2; })) << "it comes back";
  controller.stop();
  EXPECT_EQ(controller.refusal(), "unknown message \"dance\\x0a\"");
}

}  // namespace tg::controller::clock_test
