// tg controller user {password,totp}
#include <unistd.h>

#include <cstdio>

#include <fmt/format.h>

#include "cmd/controller/commands.h"
#include "cmd/controller/vault.h"
#include "cmd/prompt.h"
#include "cmd/qr.h"
#include "core/encoding.h"
#include "core/json.h"
#include "core/password.h"

namespace tg::controller {
namespace {

struct Proof {
  Common common;
  std::string user;
  bool remove = false;
};

// typed_password asks twice at a terminal.
Result<std::string> typed_password() {
  auto first = cmd::ask_secret("New password");
  if (!first) return first;
  if (auto good = check_password(*first); !good) return pass_on(good);
  if (!cmd::at_terminal()) return first;
  auto second = cmd::ask_secret("Once more");
  if (second && *second != *first) return fail(Errc::invalid_argument, "the two are not the same; nothing was changed");
  return second;
}

// The controller gets what it keeps, and no password.
Result<int> password(const Proof& o) {
  Json request = {{"type", "password"}, {"name", o.user}};
  if (o.remove) request["remove"] = true;
  if (!o.remove) {
    auto typed = typed_password();
    if (!typed) return pass_on(typed);
    const Buffer salt = random_bytes(kPasswordSalt);
    const PasswordCost cost;
    auto key = password_key(*typed, salt, cost);
    if (!key) return pass_on(key);
    request.update({{"salt", hex(salt)}, {"n", cost.n}, {"r", cost.r}, {"p", cost.p}, {"verifier", hex(sha256(*key))}});
  }
  auto answer = o.common.ask(request);
  if (!answer) return pass_on(answer);
  if (o.common.json) cmd::print_json({{"user", o.user}, {"password", !o.remove}});
  else std::fputs(o.remove ? "the password is gone, and the sessions by it\n" : "the password is set\n", stderr);
  return 0;
}

Result<int> totp(const Proof& o) {
  auto answer = o.common.ask({{"type", "totp"}, {"name", o.user}, {"remove", o.remove}});
  if (!answer) return pass_on(answer);
  const std::string uri = text_or(*answer, "uri", "");
  if (o.common.json) {
    cmd::print_json({{"user", o.user}, {"totp", !o.remove}, {"uri", uri}});
  } else if (o.remove) {
    std::fputs("the second factor is gone, and the sessions by it\n", stderr);
  } else {
    std::puts(uri.c_str());
    if (::isatty(STDERR_FILENO) == 1) std::fputs(("\n" + cmd::qr_text(uri)).c_str(), stderr);
    std::fputs("for an authenticator app; it is not shown again, and every sign-in with the password asks for its code\n", stderr);
  }
  return 0;
}

void add(cmd::Command user, const char* name, const char* help, const char* remove, Result<int> (*run)(const Proof&)) {
  auto o = std::make_shared<Proof>();
  cmd::Command c = user.add_command(name, help, [o, run] { return run(*o); });
  o->common.add_to(c);
  c.add_option("EMAIL", o->user, "Whose").required();
  c.add_flag("--remove", o->remove, remove);
}

}  // namespace

void add_password_commands(cmd::Command user) {
  add(user, "password", "Set a user's password, which is asked for, or read from standard input", "Take it away", password);
  add(user, "totp", "Give a user a second factor (TOTP): prints what an authenticator app reads", "Take it away", totp);
}

}  // namespace tg::controller
