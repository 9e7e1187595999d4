// What the commands of connector and relay have in common: an agent in the foreground, and questions to the one that runs.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cmd/agent_identity.h"
#include "cmd/command.h"
#include "cmd/log_options.h"
#include "core/ip.h"
#include "core/json_fwd.h"
#include "net/files.h"

namespace tg::cmd {

// AgentOptions is what every agent can be told.
struct AgentOptions {
  std::string state;
  std::string token;
  std::vector<std::string> dns;        // IP[:PORT]; empty: those of /etc/resolv.conf
  std::chrono::seconds timeout{20};    // for the first contact
  LogOptions log;
  std::string metrics;                 // IP:PORT; "": nowhere
};

// add_agent_options declares --state, --config, --token, --dns, --metrics, --verbose, --log-format and --timeout.
void add_agent_options(Command command, AgentOptions& options, const std::string& role, const std::string& dns_help);

// Entered is an agent that may begin: it alone has the state directory, and the controller has let it in at least once.
struct Entered {
  net::Fd lock;
  std::vector<Endpoint> dns;
  AgentIdentity identity;
};
// enter_agent errors: those of parse_dns, lock_state_dir and AgentIdentity::obtain.
Result<Entered> enter_agent(const AgentOptions& options, Token::Role role);

// Ask is what `status` and `health` can be told.
struct Ask {
  std::string state;
  bool json = false;
  std::chrono::seconds timeout{};
};

// add_ask declares `parent NAME`, a question to the running `role`.
Command add_ask(Command parent, const std::string& role, const std::string& name, const std::string& help,
                  std::function<Result<int>(const Ask&)> run);

// ask_agent returns the running agent's status. `more` is added to the request.
Result<Json> ask_agent(const std::string& role, const Ask& ask, const Json& more);

// say_status prints `status`, with `print` or as JSON; with --json an agent that does not run is an answer as well.
Result<int> say_status(const std::string& role, const Ask& ask, Result<Json> status, void (*print)(const Json&));

// say_health prints one line and returns 0 or 1: service managers and containers know no others. `healthy` says what an
// agent that is online does; `sick` why it is not, for a person.
Result<int> say_health(const Ask& ask, const Result<Json>& status, std::string (*healthy)(const Json&),
                       std::string (*sick)(const Json&));

// controller_line is "ADDRESS: connected", or why not, from the status of an agent.
std::string controller_line(const Json& status);
// rules_text says what an agent goes by that was started while the controller is away: its status has "rules_as_of" then.
std::string rules_text(const Json& status);

}  // namespace tg::cmd
