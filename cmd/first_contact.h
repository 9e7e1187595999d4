// What an agent says to a controller outside of its control stream: before it has an identity, or beside it.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/ip.h"
#include "core/json.h"
#include "core/result.h"
#include "net/dial.h"
#include "net/tls.h"

namespace tg::cmd {

// MakeResolver makes what finds addresses of names, for one Loop.
using MakeResolver = std::function<net::ResolveHost(net::Loop&)>;

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

// Turn is what is done about a message that is not the last: how long to wait for more, and what to say (null: nothing).
struct Turn {
  std::chrono::seconds wait;
  Json say;
};
// Meanwhile is called with each message, and returns nothing for the last.
using Meanwhile = std::function<std::optional<Result<Turn>>(const Json&)>;

// ask_first asks, on an event loop of its own, until the last message has come. Errors: those that the controller names in an
// "error" (denied, expired, exhausted, …; denied for one that is unknown); unreachable; denied when it is not the controller;
// timed_out when a wait that Meanwhile allowed is over; its own.
Result<Reply> ask_first(const Asked& asked, const MakeResolver& dns, std::chrono::seconds timeout, const Meanwhile& meanwhile = {});

}  // namespace tg::cmd
