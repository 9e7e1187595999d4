// Examples for --help, by command.
#pragma once

#include <string_view>

namespace tg::cmd {

// examples_of returns the lines that --help of `command` ("client ping") shows as examples, each with its line end; ""
// for a command that has none.
std::string_view examples_of(std::string_view command) noexcept;

}  // namespace tg::cmd
