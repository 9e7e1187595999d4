// tg client logout
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include <fmt/format.h>

#include "cmd/agent_identity.h"
#include "cmd/client/commands.h"
#include "core/json.h"
#include "core/text.h"
#include "net/files.h"

namespace tg::client {
namespace {

struct Logout {
  Common common;
  bool yes = false;
};

// agent.json goes first: without it, what is there counts as nothing.
constexpr const char* kForgotten[] = {"agent.json", "key.pem", "chain.pem", "root.pem", "addresses", "addresses.lent", "view.json",
                                      "client.log", "control.sock", "resolv.conf.original", "resolv.conf.taken"};

Result<> forget(const std::string& state) {
  const auto lock = net::lock_state_dir(state, "client");
  if (!lock) return tl::unexpected(lock.error());
  for (const char* file : kForgotten) {
    for (const char* suffix : {"", ".new"}) {
      const std::string path = state + "/" + file + suffix;
      if (::unlink(path.c_str()) != 0 && errno != ENOENT) return tl::unexpected(net::os_error(errno, "remove " + path));
    }
  }
  return {};
}

// Asks a person at a terminal; where there is none, the command itself is the answer.
bool agreed(const Logout& o) {
  if (o.yes || ::isatty(STDIN_FILENO) == 0 || ::isatty(STDERR_FILENO) == 0) return true;
  std::fputs("This device forgets who it is, and comes back only by a sign-in or with a new token of an administrator. Go on? [y/N] ",
             stderr);
  std::string line;
  std::getline(std::cin, line);
  const std::string said = lower(line);
  return said == "y" || said == "yes";
}

Result<int> logout(const Logout& o) {
  const std::string& state = o.common.state;
  const bool anything = net::state_dir_used(state);
  const auto known = cmd::AgentIdentity::load(state);
  if (!known && known.error().code == Errc::denied) return tl::unexpected(known.error());
  // A damaged identity is one too.
  const bool logged_in = known || known.error().code != Errc::login_needed;
  if (logged_in && !agreed(o)) {
    std::fputs("tg: nothing was changed\n", stderr);
    return 1;
  }
  if (anything) {
    const auto down = bring_down(o.common);
    if (!down) return tl::unexpected(down.error());
    if (auto forgotten = forget(state); !forgotten) return pass_on(forgotten);
  }
  if (o.common.json) {
    Json out = {{"state", "logged-out"}, {"was_logged_in", logged_in}};
    if (known) out["device"] = known->self().id;
    cmd::print_json(out);
  } else if (logged_in) {
    std::fputs(fmt::format("tg: logged out; the controller still lists this device: an administrator removes it with\n"
                           "tg: tg controller device delete {}\n", known ? known->self().id : "ID").c_str(), stderr);
  } else {
    std::fputs("tg: this device was not logged in\n", stderr);
  }
  return 0;
}

}  // namespace

void add_logout(cmd::Command client) {
  auto o = std::make_shared<Logout>();
  cmd::Command c = client.add_command("logout", "End the client and forget this device's identity",
                                      [o] { return logout(*o); });
  o->common.add_to(c, std::chrono::seconds(10));
  c.add_flag("--yes", o->yes, "Do not ask, even at a terminal");
  c.footer(
      "Removes the key, the certificate, the addresses lent to names and the log from the state directory,\n"
      "once the client is down. Only a sign-in or a new token lets the device in again. The controller is not told: an\n"
      "administrator removes the device there. Without a terminal nothing is asked.");
}

}  // namespace tg::client
