#include "cmd/declare.h"

#include <cstdio>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cmd/command.h"
#include "cmd/help.h"

namespace tg::cmd {

Option& Option::required(bool yes) { return option_->required(yes), *this; }
Option& Option::type_name(const std::string& unit) { return option_->type_name(unit), *this; }
Option& Option::capture_default_str() { return option_->capture_default_str(), *this; }
Option& Option::default_str(const std::string& text) { return option_->default_str(text), *this; }

Option& Option::in_range(unsigned least, unsigned most, Told told) {
  CLI::Range range(least, most);
  option_->check(told == Told::yes ? range : range.description(""));
  return *this;
}

Option& Option::one_of(const std::vector<std::string>& values) { return option_->check(CLI::IsMember(values)), *this; }

Command Command::add_command(const std::string& name, const std::string& help, Run run) const {
  CLI::App* command = app_->add_subcommand(name, help);
  command->final_callback([run = std::move(run)] {
    auto status = run();
    std::fflush(stdout);
    throw CLI::RuntimeError(status ? *status : report(status.error()));
  });
  return Command(*command);
}

Command Command::add_group(const std::string& name, const std::string& help) const {
  CLI::App* group = app_->add_subcommand(name, help);
  group->require_subcommand(1);
  return Command(*group);
}

void Command::allow_command() const { app_->require_subcommand(0, 1); }
Command Command::command(const std::string& name) const { return Command(*app_->get_subcommand(name)); }

Option Command::add_option(const std::string& name, std::string& value, const std::string& help) const {
  return Option(*app_->add_option(name, value, help));
}
Option Command::add_option(const std::string& name, std::vector<std::string>& value, const std::string& help) const {
  return Option(*app_->add_option(name, value, help));
}
Option Command::add_option(const std::string& name, unsigned& value, const std::string& help) const {
  return Option(*app_->add_option(name, value, help));
}
Option Command::add_option(const std::string& name, bool& value, const std::string& help) const {
  return Option(*app_->add_option(name, value, help));
}
void Command::add_flag(const std::string& name, bool& value, const std::string& help) const {
  app_->add_flag(name, value, help);
}

bool Command::given(const std::string& option) const {
  const CLI::Option* found = app_->get_option_no_throw(option);
  return found != nullptr && found->count() > 0;
}

void Command::footer(const std::string& text) const { app_->footer(text); }
void Command::exit_status(const std::string& text) const { set_exit_status(*app_, text); }

}  // namespace tg::cmd
