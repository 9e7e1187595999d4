#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cmd/command.h"

namespace tg::relay {

void add_commands(CLI::App&) {}

}  // namespace tg::relay
