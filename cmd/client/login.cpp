// tg client login
#include <unistd.h>

#include <cstdio>

#include <fmt/format.h>

#include "cmd/agent_identity.h"
#include "cmd/client/commands.h"
#include "cmd/client/qr.h"
#include "cmd/client/system.h"
#include "cmd/system_dns.h"
#include "core/controller_address.h"
#include "core/json.h"
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
};

void say(const std::string& text) { std::fputs(text.c_str(), stderr); }

// show tells the person what to do, and returns how long to wait for him.
std::chrono::seconds show(const Login& o, const Json& m) {
  const UnixTime now = net::Loop::wall();
  const UnixTime expires(std::chrono::seconds(number_or(m, "expires", 0)));
  const std::string url = printable(text_or(m, "url", ""), 2048);
  const std::string complete = printable(text_or(m, "complete_url", ""), 2048);
  const std::string code = printable(text_or(m, "code", ""), 64);
  const auto left = std::min<std::chrono::seconds>(std::max(expires - now, std::chrono::seconds(1)), o.common.timeout);
  const auto patience = std::min<std::chrono::seconds>(left + kLastWord, o.common.timeout);
  if (o.common.json) {
    cmd::print_json({{"state", "waiting"}, {"provider", text_or(m, "provider", "")}, {"url", url}, {"complete_url", complete},
                     {"code", code}, {"expires", number_or(m, "expires", 0)}});
    std::fflush(stdout);
    return patience;
  }
  if (::isatty(STDERR_FILENO) == 1) say("\n" + qr_text(complete.empty() ? url : complete));
  say(fmt::format("\nTo sign in at {}, open this page in any browser, on this machine or another one:\n\n    {}\n\n"
                  "{}\n\n    {}\n\nWaiting until {} (Ctrl-C gives up) …\n",
                  printable(text_or(m, "provider", "")), complete.empty() ? url : complete,
                  complete.empty() ? "and type there the code" : "and see that it shows the code", code, utc_text(now + left)));
  return patience;
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
  // A client that runs holds the directory, and its identity does not change then.
  const auto running = o.common.ask({{"type", "status"}});
  net::Fd lock;
  if (!running) {
    auto locked = net::lock_state_dir(o.common.state, "client");
    if (!locked) return pass_on(locked);
    lock = std::move(*locked);
    if (auto repaired = System::repair(o.common.state); !repaired) return pass_on(repaired);
  } else {
    net::set_socket_mark(net::kOwnMark);   // past the Resources
  }
  auto session = cmd::AgentIdentity::sign_in(o.common.state, at, o.provider, cmd::resolver_for(cmd::system_dns()),
                                             std::min(kReach, o.common.timeout), [&](const Json& m) { return show(o, m); });
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
  cmd::Command c = client.add_command("login", "Sign in with a browser, at the controller's identity provider",
                                      [o] { return login(*o); });
  o->common.add_to(c, std::chrono::seconds(600));
  c.add_option("CONTROLLER", o->controller, "HOST:PORT#PIN, as 'tg controller status' shows it; needed once");
  c.add_option("--provider", o->provider, "Which identity provider, where the controller has several").type_name("NAME");
  c.footer("Shows an address, a code and, at a terminal, a QR code, and waits until somebody has signed in with them, in\n"
           "a browser on any machine. A machine that is not enrolled becomes a device of whoever signs in; one that is\n"
           "gets a new session, also while the client runs: then everything goes on at once.\n"
           "With --json, two lines: {\"state\":\"waiting\",\"complete_url\":…,\"code\":…} and then\n"
           "{\"state\":\"signed-in\",…}.");
  c.exit_status("0 signed in, 1 failed, 2 wrong usage, 3 the controller or the provider does not answer,\n"
                "  4 nobody signed in in time, 5 denied, 6 conflict: the device belongs to another controller");
}

}  // namespace tg::client
