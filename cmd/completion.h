// Completion scripts for shells, made from the commands as they are declared.
#pragma once

#include "cmd/declare.h"

namespace tg::cmd {

// add_completion declares `tg completion {bash,zsh,fish}` for every command of `app`.
void add_completion(Command tg);

}  // namespace tg::cmd
