// tg relay: run, status, health.
#include <cstdio>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "cmd/command.h"
#include "cmd/relay/agent.h"
#include "cmd/system_dns.h"
#include "net/files.h"
#include "net/local_socket.h"
#include "net/log.h"

namespace tg::relay {
namespace {

constexpr std::uint16_t kPort = 8444;

struct Flags {
  Options options;
  std::string listen = "0.0.0.0:8444";
  std::vector<std::string> dns;
  bool json = false;
  bool verbose = false;
};

Result<int> run(Flags& f) {
  if (f.verbose) net::set_log_level(net::Level::debug);
  auto at = Endpoint::parse(f.listen, kPort);
  if (!at) return fail(Errc::invalid_argument, fmt::format("--listen {}: {}", f.listen, at.error().text));
  f.options.listen = *at;
  auto dns = cmd::parse_dns(f.dns);
  if (!dns) return pass_on(dns);
  const auto lock = net::lock_state_dir(f.options.state, "relay");
  if (!lock) return tl::unexpected(lock.error());
  auto identity = cmd::AgentIdentity::obtain(f.options.state, f.options.token, Token::Role::relay,
                                             cmd::resolver_for(*dns), f.options.timeout);
  if (!identity) return pass_on(identity);
  net::Loop loop;
  Agent agent(loop, f.options, std::move(*identity), std::move(*dns));
  if (auto started = agent.start(); !started) return pass_on(started);
  cmd::confine({net::Right::net_bind_service}, f.options.state);
  loop.run();
  return 0;
}

Result<Json> ask(const Flags& f) {
  return net::local_request(f.options.state + "/control.sock", "relay", {{"type", "status"}}, f.options.timeout);
}

Result<int> status(const Flags& f) {
  auto s = ask(f);
  if (!s) return pass_on(s);
  s->erase("type");
  if (f.json) {
    cmd::print_json(*s);
    return 0;
  }
  const Json& j = *s;
  fmt::print("relay      {}: {}\n", text_or(j, "name", ""), text_or(j, "state", ""));
  fmt::print("agents     {}, which they reach as {}\n", text_or(j, "listen", ""), text_or(j, "address", ""));
  const Json& controller = j["controller"];
  fmt::print("controller {}: {}\n", text_or(controller, "address", ""),
             controller.value("connected", false) ? "connected" : text_or(controller, "problem", ""));
  fmt::print("serves     {} connectors, {} connections\n", number_or(j, "connectors", 0), number_or(j, "joined", 0));
  return 0;
}

Result<int> health(const Flags& f) {
  auto s = ask(f);
  if (!s) return pass_on(s);
  const std::string state = text_or(*s, "state", "");
  if (f.json) cmd::print_json({{"healthy", state == "online"}, {"state", state}});
  if (state == "online") return 0;
  return fail(Errc::unreachable, fmt::format("the relay is {}", state));
}

}  // namespace

void add_commands(CLI::App& app) {
  static Flags f;   // the command line's values live as long as the process
  CLI::App* relay = app.add_subcommand("relay", "Pass ciphertext between clients and connectors");
  relay->require_subcommand(1);

  CLI::App* run_command = cmd::add_command(*relay, "run", "Run a relay of its own in the foreground", [] { return run(f); });
  cmd::add_state_option(*run_command, f.options.state, "relay");
  cmd::add_config_option(*run_command);
  run_command->add_option("--token", f.options.token, "Token of 'tg controller relay token NAME'; needed once")
      ->type_name("TOKEN");
  run_command->add_option("--listen", f.listen, "Where clients and connectors connect to")
      ->type_name("IP:PORT")
      ->capture_default_str();
  run_command->add_option("--dns", f.dns, "DNS server that knows the controller; may be repeated (default: those of "
                                          "/etc/resolv.conf)")
      ->type_name("IP[:PORT]");
  run_command->add_flag("--verbose", f.verbose, "Say more");
  cmd::add_timeout_option(*run_command, f.options.timeout, std::chrono::seconds(20));
  run_command->footer("The controller embeds a relay; this is for more of them, elsewhere. Name it in the desired state, with\n"
                      "the address at which agents find it:\n\n"
                      "  [[relay]]\n"
                      "  name = \"relay-1\"\n"
                      "  address = \"relay.example.com:8444\"");

  CLI::App* status_command = cmd::add_command(*relay, "status", "Say how the running relay does", [] { return status(f); });
  CLI::App* health_command =
      cmd::add_command(*relay, "health", "Exit 0 when the running relay can serve, 3 when not", [] { return health(f); });
  for (CLI::App* c : {status_command, health_command}) {
    cmd::add_state_option(*c, f.options.state, "relay");
    cmd::add_config_option(*c);
    cmd::add_json_option(*c, f.json);
    cmd::add_timeout_option(*c, f.options.timeout, std::chrono::seconds(5));
  }
}

}  // namespace tg::relay
