// The commands of `tg client`, one file each, and what they share.
#pragma once

#include <chrono>
#include <string>

#include "cmd/command.h"
#include "core/ip.h"
#include "core/json.h"

namespace tg::client {

// Common holds what every command of the client can be told: --state, --config, --json and --timeout.
struct Common {
  std::string state;
  bool json = false;
  std::chrono::seconds timeout{};

  // add_to declares the options; this must live as long as the command line.
  void add_to(cmd::Command command, std::chrono::seconds standard);
  // ask puts one question to the running client. Errors: unreachable when none runs; timed_out; the answer's own.
  Result<Json> ask(const Json& request) const { return ask(request, timeout); }
  Result<Json> ask(const Json& request, std::chrono::seconds patience) const;
};

// bring_down ends the running client, waits until it is gone, and takes out what a killed one left in the system.
// Returns whether one was running. Errors: timed_out when it does not end; those of System::repair.
Result<bool> bring_down(const Common& common);

// parse_target reads HOST[:PORT] as a person types it; without a port the port is 0. Errors: invalid_argument.
Result<HostPort> parse_target(const std::string& text);

// Each declares one command below `client`.
void add_up(cmd::Command client);
void add_down(cmd::Command client);
void add_status(cmd::Command client);
void add_resources(cmd::Command client);
void add_explain(cmd::Command client);
void add_request(cmd::Command client);
void add_ping(cmd::Command client);
void add_dns(cmd::Command client);
void add_netcheck(cmd::Command client);
void add_report(cmd::Command client);
void add_login(cmd::Command client);
void add_logout(cmd::Command client);

}  // namespace tg::client
