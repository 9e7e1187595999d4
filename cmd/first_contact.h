// What an agent says to a controller outside of its control stream: one question, before it has an identity or beside it.
#pragma once

#include <functional>
#include <string>

#include "cmd/agent_identity.h"
#include "core/ip.h"
#include "core/json.h"
#include "core/result.h"
#include "net/tls.h"

namespace tg::cmd {

// Asked is a question to a controller. The context says whom to believe: a pinned root, or the one of an identity.
struct Asked {
  HostPort controller;
  net::TlsContext context;
  const Json& question;
  std::string known_by;      // what the controller is believed by, for messages: "token", "address"; "identity"
};

// Reply is the last thing that it said.
struct Reply {
  Json message;
  std::string root;          // PEM of the pinned root; "" without a pin
  std::string clock;         // why the controller's certificate is not valid by this machine's clock; "" when it is
};

// Meanwhile is called with each message before the last, and returns how long there is to wait for more.
using Meanwhile = std::function<std::chrono::seconds(const Json&)>;

// ask_first asks, on an event loop of its own, until a message of another type than `meanwhile_type` comes. Errors: those that
// the controller names in an "error" (denied, expired, exhausted, …; denied for one that is unknown); unreachable; denied when it
// is not the controller; timed_out when a wait that Meanwhile allowed is over.
Result<Reply> ask_first(const Asked& asked, const MakeResolver& dns, std::chrono::seconds timeout,
                        const std::string& meanwhile_type = {}, const Meanwhile& meanwhile = {});

}  // namespace tg::cmd
