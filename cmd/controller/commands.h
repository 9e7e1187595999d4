// What the controller's commands share.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cmd/command.h"
#include "cmd/controller/api_client.h"
#include "core/desired_state.h"
#include "core/json.h"

namespace tg::controller {

// Common is what every command takes that asks a running controller: the one of this machine, or with an API token another.
struct Common {
  std::string state;
  std::string controller, api_token, controller_ca;
  bool json = false;
  std::chrono::seconds timeout{10};

  void add_to(cmd::Command command);
  // ask sends a question to the running controller; see ask_controller. What an error says of a field, it says of the option.
  Result<Json> ask(const Json& question) const;
  // patience is for how many milliseconds --follow waits for news at a time: 5000, or half of the timeout.
  int patience() const { return std::min(5000, static_cast<int>(timeout.count()) * 500); }

 private:
  mutable std::optional<Whom> whom_;      // what the options name is read once
};

// state_of asks the running controller for what is true now.
Result<DesiredState> state_of(const Common& common);
// touched_by returns the names of the Resources that were created or changed: what overlaps are told of.
std::set<std::string> touched_by(const std::vector<Change>& changes);

// print_changes prints the changes of an answer, each on a line of stdout, or the JSON.
Result<> print_changes(const Common& common, const Json& answer, bool planned);

// add_audit_commands declares audit and audit verify below `controller`.
void add_audit_commands(cmd::Command controller);
// add_event_commands declares events below `controller`.
void add_event_commands(cmd::Command controller);

// add_backup_commands declares backup and restore.
void add_backup_commands(cmd::Command controller);

// add_password_commands declares password and totp below `user`.
void add_password_commands(cmd::Command user);

// add_entry_commands declares {list, show, create, update, delete} of every kind below `controller`, and the tokens.
void add_entry_commands(cmd::Command controller);

}  // namespace tg::controller
