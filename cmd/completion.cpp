#include "cmd/completion.h"

#include <cstdio>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "cmd/command.h"

namespace tg::cmd {
namespace {

// visit calls `each` with every command's words ("client up", "" for tg itself) and what may follow them.
template <class Each>
void visit(CLI::App& app, const std::string& words, const Each& each) {
  std::string next;
  const auto subcommands = app.get_subcommands([](CLI::App*) { return true; });
  for (const CLI::App* sub : subcommands) next += sub->get_name() + " ";
  for (const CLI::Option* o : app.get_options()) {
    if (!o->get_lnames().empty()) next += "--" + o->get_lnames().front() + " ";
  }
  each(words, next);
  for (CLI::App* sub : subcommands) visit(*sub, words.empty() ? sub->get_name() : words + " " + sub->get_name(), each);
}

std::string bash(CLI::App& app) {
  std::string cases;
  visit(app, "", [&](const std::string& words, const std::string& next) {
    cases += fmt::format("    '{}') next='{}' ;;\n", words, next);
  });
  return fmt::format(
      "# tg completion bash: source this file\n"
      "_tg() {{\n"
      "  local words= next= w i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    w=${{COMP_WORDS[i]}}\n"
      "    [[ $w == -* ]] && break\n"
      "    words=${{words:+$words }}$w\n"
      "  done\n"
      "  case $words in\n{}  esac\n"
      "  COMPREPLY=($(compgen -W \"$next\" -- \"${{COMP_WORDS[COMP_CWORD]}}\"))\n"
      "}}\n"
      "complete -o default -F _tg tg\n",
      cases);
}

std::string fish(CLI::App& app) {
  std::string out = "# tg completion fish: source this file\ncomplete -c tg -f\n";
  visit(app, "", [&](const std::string& words, const std::string& next) {
    const std::string condition =
        words.empty() ? "__fish_use_subcommand" : fmt::format("test (string join ' ' (commandline -opc)[2..-1]) = '{}'", words);
    out += fmt::format("complete -c tg -n \"{}\" -a '{}'\n", condition, next);
  });
  return out;
}

}  // namespace

void add_completion(CLI::App& app) {
  CLI::App* completion = app.add_subcommand("completion", "Print a completion script for a shell");
  completion->require_subcommand(1);
  const auto print = [](const std::string& text) -> Result<int> {
    std::fputs(text.c_str(), stdout);
    return 0;
  };
  add_command(*completion, "bash", "source <(tg completion bash)", [&app, print] { return print(bash(app)); });
  add_command(*completion, "zsh", "source <(tg completion zsh)", [&app, print] {
    return print("autoload -U +X bashcompinit && bashcompinit\n" + bash(app));
  });
  add_command(*completion, "fish", "tg completion fish | source", [&app, print] { return print(fish(app)); });
}

}  // namespace tg::cmd
