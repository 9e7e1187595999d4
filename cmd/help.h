// What --help shows, and what is said to somebody who mistyped a command.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace CLI { class App; }

namespace tg::cmd {

// command_path returns the words that name `command` without "tg": "client up"; "" for tg itself.
std::string command_path(const CLI::App& command);

// finish_help gives every command below `app` one look: options with their units and defaults, then examples and exit
// statuses. Called once, when all commands are declared.
void finish_help(CLI::App& app);

// begin_help forgets what set_exit_status was told of the commands of an App before this one: a command is known by its
// address, which another may have had.
void begin_help();

// set_exit_status replaces the table of exit statuses that --help of `command` ends with.
void set_exit_status(CLI::App& command, const std::string& text);

// command_mistake says what is wrong with the words of `arguments` that should name a command, in one line with what
// was probably meant; nothing when they name one, or ask for help or the version.
std::optional<std::string> command_mistake(CLI::App& app, const std::vector<std::string>& arguments);

}  // namespace tg::cmd
