// tg client login
#include <unistd.h>

#include <cstdio>

#include <fmt/format.h>

#include "cmd/agent_identity.h"
#include "cmd/client/commands.h"
#include "cmd/client/system.h"
#include "cmd/prompt.h"
#include "cmd/qr.h"
#include "cmd/system_dns.h"
#include "core/controller_address.h"
#include "core/encoding.h"
#include "core/json.h"
#include "core/password.h"
#include "core/text.h"
#include "net/files.h"

namespace tg::client {
namespace {

constexpr std::chrono::seconds kReach(20);      // to hear where to sign in
constexpr std::chrono::seconds kLastWord(15);   // for the controller to say what became of a code that is over

struct Login {
  Common common;
  std::string controller;
  std::string provider;
  std::string user;
};

void say(const std::string& text) { std::fputs(text.c_str(), stderr); }

// show tells the person what to do, and returns how long to wait for him.
std::chrono::seconds show(const Login& o, const Json& m) {
  constexpr std::int64_t kLongest = 24 * 3600;
  // By the controller's clock: this machine's may be off.
  const std::chrono::seconds good(std::clamp<std::int64_t>(number_or(m, "expires", 0) - std::clamp<std::int64_t>(number_or(m, "time", 0), 0, 1ll << 40), 1, kLongest));
  const UnixTime now = net::Loop::wall();
  const std::string url = printable(text_or(m, "url", ""), 2048);
  const std::string complete = printable(text_or(m, "complete_url", ""), 2048);
  const std::string code = printable(text_or(m, "code", ""), 64);
  const auto left = std::min(good, o.common.timeout);
  const auto patience = std::min<std::chrono::seconds>(left + kLastWord, o.common.timeout);
  if (o.common.json) {
    cmd::print_json({{"state", "waiting"}, {"provider", text_or(m, "provider", "")}, {"url", url}, {"complete_url", complete},
                     {"code", code}, {"expires", number_or(m, "expires", 0)}});
    std::fflush(stdout);
    return patience;
  }
  if (::isatty(STDERR_FILENO) == 1) say("\n" + cmd::qr_text(complete.empty() ? url : complete));
  say(fmt::format("\nTo sign in at {}, open this page in any browser, on this machine or another one:\n\n    {}\n\n"
                  "{}\n\n    {}\n\nWaiting until {} (Ctrl-C gives up) …\n",
                  printable(text_or(m, "provider", "")), complete.empty() ? url : complete,
                  complete.empty() ? "and type there the code" : "and see that it shows the code", code, utc_text(now + left)));
  return patience;
}

// password_turn says what scrypt makes of the password, as the controller wants it.
Result<cmd::Turn> password_turn(const Login& o, const Json& m, const std::string& password) {
  const auto number = [&](const char* key) { return static_cast<std::uint64_t>(std::max<std::int64_t>(number_or(m, key, 0), 0)); };
  auto salt = unhex(text_or(m, "salt", ""));
  if (!salt) return pass_on(salt);
  auto key = password_key(password, *salt, {number("n"), number("r"), number("p")});
  if (!key) return pass_on(key);
  return cmd::Turn{std::min(kReach, o.common.timeout), {{"type", "password"}, {"key", hex(*key)}}};
}

Result<cmd::Turn> code_turn(const Login& o) {
  auto code = cmd::ask_line("Code");
  if (!code) return pass_on(code);
  return cmd::Turn{std::min(kReach, o.common.timeout), {{"type", "code"}, {"code", *code}}};
}

Result<int> login(const Login& o) {
  std::optional<ControllerAddress> at;
  if (!o.controller.empty()) {
    auto address = ControllerAddress::parse(o.controller);
    if (!address) {
      return fail(Errc::invalid_argument, address.error().text + "; 'tg controller status' on the server shows the whole address");
    }
    at = std::move(*address);
  }
  if (!o.user.empty() && !o.provider.empty()) {
    return fail(Errc::invalid_argument, "--user signs in with a password, --provider at an identity provider: choose one");
  }
  // A client that runs holds the directory, and its identity does not change then.
  const auto running = o.common.ask({{"type", "status"}});
  net::Fd lock;
  if (!running) {
    auto locked = net::lock_state_dir(o.common.state, "client");
    if (!locked) return pass_on(locked);
    lock = std::move(*locked);
    if (auto repaired = System::repair(o.common.state); !repaired) return pass_on(repaired);
  } else if (auto known = cmd::AgentIdentity::load(o.common.state); !known) {
    return pass_on(known);   // a client runs on what is no longer there
  } else {
    net::set_socket_mark(net::kOwnMark);   // past the Resources
  }
  std::string password;
  if (!o.user.empty()) {   // before anybody waits for it
    auto typed = cmd::ask_secret("Password of " + printable(o.user));
    if (!typed) return pass_on(typed);
    password = std::move(*typed);
  }
  const auto meanwhile = [&](const Json& m) -> std::optional<Result<cmd::Turn>> {
    const std::string type = text_or(m, "type", "");
    if (type == "sign_in_at") return cmd::Turn{show(o, m), nullptr};
    if (type == "password_for") return password_turn(o, m, password);
    if (type == "code_wanted") return code_turn(o);
    return std::nullopt;
  };
  const Json how = o.user.empty() ? Json{{"provider", o.provider}} : Json{{"user", o.user}};
  auto session = cmd::AgentIdentity::sign_in(o.common.state, at, how, cmd::resolver_for(cmd::system_dns()),
                                             std::min(kReach, o.common.timeout), meanwhile);
  if (!session && session.error().code == Errc::timed_out && !o.user.empty()) {
    return fail(Errc::unreachable, "the controller does not answer any more; try again");
  }
  if (!session && session.error().code == Errc::timed_out) {
    return fail(Errc::expired, fmt::format("nobody has signed in within {} s (see --timeout)", o.common.timeout.count()));
  }
  if (!session) return pass_on(session);
  if (o.common.json) {
    cmd::print_json({{"state", "signed-in"}, {"user", session->user}, {"until", session->until.time_since_epoch().count()},
                     {"new_device", session->new_device}});
    return 0;
  }
  say(fmt::format("tg: signed in as {} until {}\n", printable(session->user), utc_text(session->until)));
  if (!running) say("tg: next: sudo tg client up\n");
  return 0;
}

}  // namespace

void add_login(cmd::Command client) {
  auto o = std::make_shared<Login>();
  cmd::Command c = client.add_command("login", "Sign in with a browser, at the controller's identity provider, or with a password",
                                      [o] { return login(*o); });
  o->common.add_to(c, std::chrono::seconds(600));
  c.add_option("CONTROLLER", o->controller, "HOST:PORT#PIN, as 'tg controller status' shows it; needed once");
  c.add_option("--provider", o->provider, "Which identity provider, where the controller has several").type_name("NAME");
  c.add_option("--user", o->user, "Sign in with a password of tg's own, which is asked for (or read from standard input)").type_name("EMAIL");
  c.footer("Shows an address, a code and, at a terminal, a QR code, and waits until somebody has signed in with them, in\n"
           "a browser on any machine. A machine that is not enrolled becomes a device of whoever signs in; one that is\n"
           "gets a new session, also while the client runs: then everything goes on at once.\n"
           "With --json, two lines: {\"state\":\"waiting\",\"complete_url\":…,\"code\":…} and then\n"
           "{\"state\":\"signed-in\",…}.");
  c.exit_status("0 signed in, 1 failed, 2 wrong usage, 3 the controller or the provider does not answer,\n"
                "  4 nobody signed in in time, 5 denied, 6 conflict: the device belongs to another controller, or another command\n"
                "  of tg is at work in its directory");
}

}  // namespace tg::client
