// What every command of tg has in common: how it is declared, how it ends, how it prints.
#pragma once

#include <chrono>
#include <functional>
#include <initializer_list>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "core/result.h"
#include "net/confine.h"

namespace CLI { class App; }

namespace tg::cmd {

// Run does the command's work once its options are parsed, and returns the exit status. Data goes to stdout, words to
// stderr. An Error is printed by main as "tg: TEXT" and becomes its exit_code().
using Run = std::function<Result<int>()>;

// add_command declares `parent NAME` with its help line. Every option added to it gets, without further work, the
// environment variable TG_NAME (upper case, '-' as '_') and the key "name" of the file given by --config.
CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& help, Run run);

// Common options. `role` is "controller", "connector", "client" or "relay"; the state directory is /var/lib/tg/ROLE by
// default. What an option is stored in belongs to one command alone: declaring it sets the default.
void add_state_option(CLI::App& command, std::string& state, const std::string& role);
void add_config_option(CLI::App& command);
void add_json_option(CLI::App& command, bool& json);
// --timeout SECONDS: the longest that the command waits for anything.
void add_timeout_option(CLI::App& command, std::chrono::seconds& timeout, std::chrono::seconds standard);

// print_json prints one line of JSON with "schema_version": 1 added to the object.
void print_json(nlohmann::json object);

// confine gives up what a role needs no more once it runs (see net/confine.h), and warns where the kernel can't.
void confine(std::initializer_list<net::Right> keep, const std::string& state);

// declare_commands adds every command of tg to `app`, with help, variables and exit statuses.
void declare_commands(CLI::App& app);

// run_command_line declares every command, parses, runs, and returns the exit status of the process.
int run_command_line(int argc, char** argv);

}  // namespace tg::cmd

// Each role declares its commands below `app`.
namespace tg::controller { void add_commands(CLI::App& app); }
namespace tg::connector { void add_commands(CLI::App& app); }
namespace tg::client { void add_commands(CLI::App& app); }
namespace tg::relay { void add_commands(CLI::App& app); }
