#include "cmd/command.h"

#include <sys/resource.h>

#include <cstdio>
#include <csignal>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cmd/completion.h"
#include "cmd/help.h"
#include "cmd/settings.h"
#include "core/json.h"
#include "core/text.h"
#include "net/log.h"

namespace tg::cmd {
namespace {

void add_version(Command app) {
  static bool json = false;
  const Command version = app.add_command("version", "Print the version", []() -> Result<int> {
    if (json) {
      print_json({{"version", TG_VERSION}});
    } else {
      std::puts("tg " TG_VERSION);
    }
    return 0;
  });
  add_json_option(version, json);
}

}  // namespace

int report(const Error& e) {
  std::fputs(fmt::format("tg: {}\n", printable(e.text, 2000)).c_str(), stderr);
  return exit_code(e.code);
}

void add_state_option(Command command, std::string& state, const std::string& role) {
  state = "/var/lib/tg/" + role;
  command.add_option("--state", state, "State directory: keys, log, socket").type_name("DIR").capture_default_str();
}

void add_config_option(Command command) {
  command.app().add_option("--config", "TOML file to read options from")->type_name("FILE");
}

void add_json_option(Command command, bool& json) {
  command.add_flag("--json", json, "Print JSON with a schema_version");
}

void add_threads_option(Command command, unsigned& threads) {
  command.add_option("--threads", threads, "Threads that carry traffic (default: one for each processor)")
      .type_name("N")
      .in_range(1, 256);
}

void add_timeout_option(Command command, std::chrono::seconds& timeout, std::chrono::seconds standard) {
  timeout = standard;
  command.app()
      .add_option_function<unsigned>(
          "--timeout", [&timeout](unsigned s) { timeout = std::chrono::seconds(s); },
          "The longest to wait for anything")
      ->type_name("SECONDS")
      ->check(CLI::Range(1u, 86400u, "a number of seconds from 1 to 86400").description(""))
      ->default_str(std::to_string(standard.count()));
}

void print_json(nlohmann::json object) {
  object["schema_version"] = 1;
  std::puts(object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

void confine(std::initializer_list<net::Right> keep, const std::string& state) {
  if (auto done = net::confine(keep, state); !done) {
    net::log(net::Level::warning, "not every right could be given up: {}", done.error().text);
  }
}

void declare_commands(Command tg) {
  begin_help();
  CLI::App& app = tg.app();
  app.require_subcommand(1);
  app.set_version_flag("--version", "tg " TG_VERSION);
  controller::add_commands(tg);
  connector::add_commands(tg);
  client::add_commands(tg);
  relay::add_commands(tg);
  add_version(tg);
  add_completion(tg);
  name_variables(app);
  finish_help(app);
}

int run_command_line(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  // A flow takes a descriptor or two, and the soft limit is often 1024.
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  CLI::App app{"tg: access to private Resources by name, without joining the private network", "tg"};
  declare_commands(Command(app));
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (const auto mistake = command_mistake(app, words)) return report({Errc::invalid_argument, *mistake});
  auto arguments = with_settings(app, words);
  if (!arguments) return report(arguments.error());
  std::reverse(arguments->begin(), arguments->end());   // CLI11 takes them from the back
  try {
    app.parse(*arguments);
  } catch (const CLI::RuntimeError& e) {
    return e.get_exit_code();
  } catch (const CLI::Success& e) {   // --help, --version
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    std::string text = e.what();
    if (const auto end = text.find('\n'); end != std::string::npos) text.resize(end);
    return report({Errc::invalid_argument, fmt::format("{}; see 'tg {}--help'", text, chosen_command(app, words))});
  }
  return 0;
}

}  // namespace tg::cmd
