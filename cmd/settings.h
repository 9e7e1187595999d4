// Where an option's value comes from: the command line, else the environment, else the file of --config.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace CLI { class App; }

namespace tg::cmd {

// variable_of returns the environment variable of an option: "relay-listen" and "--relay-listen" have TG_RELAY_LISTEN.
std::string variable_of(std::string_view option);

// name_variables gives every option below `app` its environment variable.
void name_variables(CLI::App& app);

// with_settings returns `arguments` and behind them, as --key=value, what the file of --config (or TG_CONFIG) says and
// neither the arguments nor the environment do. The file may hold keys of every command of the role, so that one file
// serves them all. Errors: invalid_argument, as "FILE:LINE: what is wrong".
Result<std::vector<std::string>> with_settings(CLI::App& app, std::vector<std::string> arguments);

// chosen_command returns the words of `arguments` that name a command, each with a space behind it: "client up ".
std::string chosen_command(CLI::App& app, const std::vector<std::string>& arguments);

}  // namespace tg::cmd
