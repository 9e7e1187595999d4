#include "cmd/settings.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <set>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cmd/toml.h"
#include "net/files.h"

namespace tg::cmd {
namespace {

// These say where to look or what to print; a file cannot.
bool is_setting(const CLI::Option& o) {
  const std::string name = o.get_single_name();
  return !o.get_lnames().empty() && name != "help" && name != "version" && name != "config";
}

CLI::App* descend(CLI::App& app, const std::vector<std::string>& arguments) {
  CLI::App* at = &app;
  for (const std::string& a : arguments) {
    const auto named = at->get_subcommands([&](CLI::App* sub) { return sub->get_name() == a; });
    if (!named.empty()) at = named.front();
  }
  return at;
}

// The keys that a file may have: the options of all commands of the role, so that one file serves them all.
void collect_keys(const CLI::App& app, std::set<std::string>& keys) {
  for (const CLI::Option* o : app.get_options()) {
    if (is_setting(*o)) keys.insert(o->get_single_name());
  }
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) collect_keys(*sub, keys);
}

std::set<std::string> keys_of_role(const CLI::App& app, const CLI::App* command) {
  while (command->get_parent() != nullptr && command->get_parent() != &app) command = command->get_parent();
  std::set<std::string> out;
  collect_keys(*command, out);
  return out;
}

std::string value_of(const std::vector<std::string>& arguments, const std::string& option) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == option && i + 1 < arguments.size()) return arguments[i + 1];
    if (arguments[i].starts_with(option + "=")) return arguments[i].substr(option.size() + 1);
  }
  return {};
}

bool given(const std::vector<std::string>& arguments, const std::string& option) {
  for (const std::string& a : arguments) {
    if (a == option || a.starts_with(option + "=")) return true;
  }
  return false;
}

Result<std::string> scalar(const toml::node& node, const std::string& where) {
  if (const auto* s = node.as_string()) return s->get();
  if (const auto* i = node.as_integer()) return std::to_string(i->get());
  if (const auto* b = node.as_boolean()) return std::string(b->get() ? "true" : "false");
  return fail(Errc::malformed, where + " must be a string, a number, true or false");
}

}  // namespace

std::string variable_of(std::string_view option) {
  std::string out = "TG_";
  for (const char c : option.substr(std::min(option.size(), option.find_first_not_of('-')))) {
    out += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return out;
}

void name_variables(CLI::App& app) {
  for (CLI::Option* o : app.get_options()) {
    if (is_setting(*o) || o->get_single_name() == "config") o->envname(variable_of(o->get_single_name()));
  }
  for (CLI::App* sub : app.get_subcommands([](CLI::App*) { return true; })) name_variables(*sub);
}

std::string chosen_command(CLI::App& app, const std::vector<std::string>& arguments) {
  std::string out;
  for (CLI::App* at = descend(app, arguments); at != &app; at = at->get_parent()) out = at->get_name() + " " + out;
  return out;
}

Result<std::vector<std::string>> with_settings(CLI::App& app, std::vector<std::string> arguments) {
  CLI::App* command = descend(app, arguments);
  if (command->get_option_no_throw("--config") == nullptr) return arguments;
  std::string file = value_of(arguments, "--config");
  if (file.empty()) {
    if (const char* variable = std::getenv("TG_CONFIG")) file = variable;
  }
  if (file.empty()) return arguments;

  const auto content = net::read_file(file);
  if (!content) return fail(Errc::invalid_argument, content.error().text);
  const auto settings = parse_toml(*content, file);
  if (!settings) return fail(Errc::invalid_argument, settings.error().text);
  const std::set<std::string> known = keys_of_role(app, command);
  for (const auto& [key, node] : *settings) {
    const std::string name(key.str());
    const std::string where = fmt::format("{}:{}: {}", file, node.source().begin.line, name);
    if (!known.contains(name)) {
      return fail(Errc::invalid_argument, fmt::format("{}: unknown key; there are {}", where, fmt::join(known, ", ")));
    }
    if (command->get_option_no_throw("--" + name) == nullptr) continue;   // another command's
    if (given(arguments, "--" + name) || std::getenv(variable_of(name).c_str()) != nullptr) continue;
    std::vector<const toml::node*> values{&node};
    if (const toml::array* list = node.as_array()) {
      values.clear();
      for (const toml::node& item : *list) values.push_back(&item);
    }
    for (const toml::node* value : values) {
      auto text = scalar(*value, where);
      if (!text) return fail(Errc::invalid_argument, text.error().text);
      arguments.push_back(fmt::format("--{}={}", name, *text));
    }
  }
  return arguments;
}

}  // namespace tg::cmd
