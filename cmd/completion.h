// Completion scripts for shells, made from the commands as they are declared.
#pragma once

namespace CLI { class App; }

namespace tg::cmd {

// add_completion declares `tg completion {bash,zsh,fish}` for every command of `app`.
void add_completion(CLI::App& app);

}  // namespace tg::cmd
