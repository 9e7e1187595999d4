// What every command of tg has in common: how it is declared, how it ends, how it prints.
#pragma once

#include <chrono>
#include <initializer_list>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "cmd/declare.h"
#include "core/result.h"
#include "net/confine.h"

namespace tg::cmd {

// Common options. `role` is "controller", "connector", "client" or "relay"; the state directory is /var/lib/tg/ROLE by
// default. What an option is stored in belongs to one command alone: declaring it sets the default.
void add_state_option(Command command, std::string& state, const std::string& role);
void add_config_option(Command command);
void add_json_option(Command command, bool& json);
// --timeout SECONDS: the longest that the command waits for anything.
// add_threads_option declares --threads; `threads` holds what there is without it.
void add_threads_option(Command command, unsigned& threads);
void add_timeout_option(Command command, std::chrono::seconds& timeout, std::chrono::seconds standard);

// print_json prints one line of JSON with "schema_version": 1 added to the object.
void print_json(nlohmann::json object);

// confine gives up what a role needs no more once it runs (see net/confine.h), and warns where the kernel can't.
void confine(std::initializer_list<net::Right> keep, const std::string& state);

// report prints an error as every command does, and returns its exit status.
int report(const Error& e);

// declare_commands adds every command to `tg`, with help, variables and exit statuses.
void declare_commands(Command tg);

// run_command_line declares every command, parses, runs, and returns the exit status of the process.
int run_command_line(int argc, char** argv);

}  // namespace tg::cmd

// Each role declares its commands below `app`.
namespace tg::controller { void add_commands(cmd::Command app); }
namespace tg::connector { void add_commands(cmd::Command app); }
namespace tg::client { void add_commands(cmd::Command app); }
namespace tg::relay { void add_commands(cmd::Command app); }
