#include "cmd/completion.h"

#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cmd/command.h"
#include "cmd/help.h"

namespace tg::cmd {
namespace {

// What may follow a command's words.
struct Choice {
  std::string word;   // "up", "--token"
  std::string text;   // its help
  bool value = false;      // an option that takes one
  bool file = false;       // and that is a file or a directory
};

struct Entry {
  std::string path;   // "client up"; "" for tg itself
  std::vector<Choice> choices;
  bool takes_file = false;   // as an argument
};

bool names_file(const CLI::Option& o) {
  const std::string type = o.get_type_name() + " " + o.get_single_name();
  return type.find("FILE") != std::string::npos || type.find("DIR") != std::string::npos;
}

void collect(CLI::App& app, std::vector<Entry>& out) {
  Entry command;
  command.path = command_path(app);
  const auto below = app.get_subcommands([](CLI::App*) { return true; });
  for (const CLI::App* sub : below) command.choices.push_back({sub->get_name(), sub->get_description()});
  for (const CLI::Option* o : app.get_options()) {
    const bool value = o->get_type_size() != 0;
    if (o->get_lnames().empty()) command.takes_file = command.takes_file || names_file(*o);
    else
      command.choices.push_back({"--" + o->get_lnames().front(), o->get_description(), value, value && names_file(*o)});
  }
  out.push_back(std::move(command));
  for (CLI::App* sub : below) collect(*sub, out);
}

std::string in_quotes(std::string_view text) {   // in a shell's single quotes
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += "'\\''";
    else out += c;
  }
  return out + "'";
}

// The patterns for shells' case: every path but tg's own; every option that takes a value, files or not.
std::string paths(const std::vector<Entry>& all) {
  std::vector<std::string> out;
  for (const Entry& c : all) {
    if (!c.path.empty()) out.push_back(in_quotes(c.path));
  }
  return fmt::format("{}", fmt::join(out, "|"));
}

std::string options(const std::vector<Entry>& all, bool file) {
  std::set<std::string> out;
  for (const Entry& c : all) {
    for (const Choice& choice : c.choices) {
      if (choice.value && choice.file == file) out.insert(choice.word);
    }
  }
  return fmt::format("{}", fmt::join(out, "|"));
}

// The part that bash and zsh share: finds the command among the words from `first` to before `last`.
std::string find_command(const std::vector<Entry>& all, std::string_view words, int first, std::string_view last) {
  return fmt::format(
      "  for ((i = {}; i < {}; i++)); do\n"
      "    w=${{command:+$command }}${{{}[i]}}\n"
      "    case $w in\n"
      "      {}) command=$w ;;\n"
      "    esac\n"
      "  done\n",
      first, last, words, paths(all));
}

std::string bash(CLI::App& app) {
  std::vector<Entry> all;
  collect(app, all);
  std::string cases;
  for (const Entry& c : all) {
    std::string words;
    for (const Choice& choice : c.choices) words += (words.empty() ? "" : " ") + choice.word;
    cases += fmt::format("    {}) next={}{} ;;\n", in_quotes(c.path), in_quotes(words),
                         c.takes_file ? "; compopt -o default" : "");
  }
  return fmt::format(
      "# tg completion bash: source this file\n"
      "_tg() {{\n"
      "  local command= next= w i\n"
      "  COMPREPLY=()\n"
      "{}"
      "  case ${{COMP_WORDS[COMP_CWORD-1]}} in\n"
      "    {}) compopt -o default; return ;;\n"
      "    {}) return ;;\n"
      "  esac\n"
      "  case $command in\n{}  esac\n"
      "  COMPREPLY=($(compgen -W \"$next\" -- \"${{COMP_WORDS[COMP_CWORD]}}\"))\n"
      "}}\n"
      "complete -F _tg tg\n",
      find_command(all, "COMP_WORDS", 1, "COMP_CWORD"), options(all, true), options(all, false), cases);
}

std::string zsh(CLI::App& app) {
  std::vector<Entry> all;
  collect(app, all);
  std::string cases;
  for (const Entry& c : all) {
    cases += fmt::format("    {})\n", in_quotes(c.path));
    for (const Choice& choice : c.choices) {
      cases += fmt::format("      {}+=({})\n", choice.word.starts_with("--") ? "options" : "commands",
                           in_quotes(choice.word + ":" + choice.text));
    }
    if (c.takes_file) cases += "      files=1\n";
    cases += "      ;;\n";
  }
  return fmt::format(
      "#compdef tg\n"
      "# tg completion zsh: source this file, or put it into a directory of $fpath as _tg\n"
      "_tg() {{\n"
      "  local command= files= w i\n"
      "  local -a commands options\n"
      "  local -i found=1\n"
      "{}"
      "  case $words[CURRENT-1] in\n"
      "    {}) _files; return ;;\n"
      "    {}) return 1 ;;\n"
      "  esac\n"
      "  case $command in\n{}  esac\n"
      "  [[ -n $files && $words[CURRENT] != -* ]] && {{ _files; return; }}\n"
      "  _describe -t commands 'command' commands && found=0\n"
      "  _describe -o -t options 'option' options && found=0\n"
      "  return found\n"
      "}}\n"
      "if [[ $funcstack[1] == _tg ]]; then\n"
      "  _tg \"$@\"\n"
      "else\n"
      "  (( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit -u; }}\n"
      "  compdef _tg tg\n"
      "fi\n",
      find_command(all, "words", 2, "CURRENT"), options(all, true), options(all, false), cases);
}

std::string fish(CLI::App& app) {
  std::vector<Entry> all;
  collect(app, all);
  std::string known, out;
  for (const Entry& c : all) {
    if (!c.path.empty()) known += " " + in_quotes(c.path);
    for (const Choice& choice : c.choices) {
      const bool option = choice.word.starts_with("--");
      out += fmt::format("complete -c tg -n \"__tg_at '{}'\" {} {}{} -d {}\n", c.path, option ? "-l" : "-a",
                         option ? choice.word.substr(2) : choice.word,
                         !choice.value ? "" : choice.file ? " -r -F" : " -x", in_quotes(choice.text));
    }
    if (c.takes_file) out += fmt::format("complete -c tg -n \"__tg_at '{}'\" -F\n", c.path);
  }
  return fmt::format(
      "# tg completion fish: source this file\n"
      "function __tg_at\n"
      "  set -l command ''\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    set -l longer (string trim -- \"$command $word\")\n"
      "    contains -- $longer{}; and set command $longer\n"
      "  end\n"
      "  test \"$command\" = \"$argv[1]\"\n"
      "end\n"
      "complete -c tg -f\n{}",
      known, out);
}

}  // namespace

void add_completion(Command tg) {
  const Command completion = tg.add_group("completion", "Print a completion script for a shell");
  const auto add = [&](const std::string& shell, std::string (*script)(CLI::App&)) {
    completion.add_command(shell, "Print the script for " + shell, [tg, script]() -> Result<int> {
      std::fputs(script(tg.app()).c_str(), stdout);
      return 0;
    });
  };
  add("bash", bash);
  add("zsh", zsh);
  add("fish", fish);
}

}  // namespace tg::cmd
