// Asking a person at a terminal.
#pragma once

#include <string>

#include "core/result.h"

namespace tg::cmd {

// ask_secret asks for `what` ("Password") at the terminal, and shows nothing of what is typed; ask_line shows it. Without a
// terminal nothing is asked, and the next line of standard input is taken. Errors: invalid_argument when there is none.
Result<std::string> ask_secret(const std::string& what);
Result<std::string> ask_line(const std::string& what);

// at_terminal says whether standard input is one.
bool at_terminal();

}  // namespace tg::cmd
