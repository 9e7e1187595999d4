// How a command declares itself. CLI11 is behind it and in no header: wherever it is included, it takes seconds to compile.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/result.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace tg::cmd {

// Run does the command's work once its options are parsed, and returns the exit status. Data goes to stdout, words to
// stderr. An Error is printed by main as "tg: TEXT" and becomes its exit_code().
using Run = std::function<Result<int>()>;

// Option is a handle of a declared option. It owns nothing and is good as long as the command line is.
class Option {
 public:
  explicit Option(CLI::Option& option) : option_(&option) {}

  Option& required(bool yes = true);
  Option& type_name(const std::string& unit);             // what its value is, in --help: "SECONDS"
  Option& capture_default_str();                          // --help shows as default what its variable holds now
  Option& default_str(const std::string& text);
  enum class Told : bool { no, yes };                     // in --help
  Option& in_range(unsigned least, unsigned most, Told told = Told::yes);
  Option& one_of(const std::vector<std::string>& values);

 private:
  CLI::Option* option_;
};

// Command is a handle of a declared command, likewise. Every option gets, without further work, the environment variable
// TG_NAME (upper case, '-' as '_') and the key "name" of the file given by --config. What an option is stored in must live
// as long as the command line.
class Command {
 public:
  explicit Command(CLI::App& app) : app_(&app) {}
  CLI::App& app() const noexcept { return *app_; }

  Command add_command(const std::string& name, const std::string& help, Run run) const;
  Command add_group(const std::string& name, const std::string& help) const;       // which does nothing without a command
  void allow_command() const;                                                       // a command that may have one below it
  Command command(const std::string& name) const;                                   // that was declared

  // A name without dashes is the next word. A vector takes an option that is repeated; a bool one that says true or false.
  Option add_option(const std::string& name, std::string& value, const std::string& help) const;
  Option add_option(const std::string& name, std::vector<std::string>& value, const std::string& help) const;
  Option add_option(const std::string& name, unsigned& value, const std::string& help) const;
  Option add_option(const std::string& name, bool& value, const std::string& help) const;
  void add_flag(const std::string& name, bool& value, const std::string& help) const;
  bool given(const std::string& option) const;            // false also for one that it does not have

  void footer(const std::string& text) const;
  void exit_status(const std::string& text) const;        // replaces the table that its --help ends with

 private:
  CLI::App* app_;
};

}  // namespace tg::cmd
