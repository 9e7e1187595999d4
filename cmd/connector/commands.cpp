#include <cstdio>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "cmd/command.h"
#include "cmd/connector/agent.h"
#include "cmd/system_dns.h"
#include "net/files.h"
#include "net/local_socket.h"
#include "net/log.h"

namespace tg::connector {
namespace {

struct Flags {
  Options options;
  std::string listen;
  bool json = false;
  bool verbose = false;
};

Result<int> run(Flags& f) {
  if (f.verbose) net::set_log_level(net::Level::debug);
  if (!f.listen.empty()) {
    auto at = Endpoint::parse(f.listen);
    if (!at) return fail(Errc::invalid_argument, fmt::format("--listen {}: {}", f.listen, at.error().text));
    f.options.listen = *at;
  }
  auto dns = cmd::parse_dns(f.options.dns);
  if (!dns) return pass_on(dns);
  const auto lock = net::lock_state_dir(f.options.state, "connector");
  if (!lock) return tl::unexpected(lock.error());
  auto identity = cmd::AgentIdentity::obtain(f.options.state, f.options.token, Token::Role::connector,
                                             cmd::resolver_for(*dns), f.options.timeout);
  if (!identity) return pass_on(identity);
  net::Loop loop;
  Agent agent(loop, f.options, std::move(*identity), std::move(*dns));
  if (auto started = agent.start(); !started) return pass_on(started);
  cmd::confine({net::Right::net_raw}, f.options.state);
  loop.run();
  return 0;
}

Result<Json> ask(const Flags& f) {
  return net::local_request(f.options.state + "/control.sock", "connector", {{"type", "status"}}, f.options.timeout);
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
  fmt::print("connector  {} of network {}: {}\n", j.value("name", ""), j.value("network", ""), j.value("state", ""));
  const Json& controller = j["controller"];
  fmt::print("controller {}: {}\n", controller.value("address", ""),
             controller.value("connected", false) ? std::string("connected") : controller.value("problem", ""));
  for (const Json& r : j["relays"]) {
    fmt::print("relay      {}: {}\n", r.value("relay", ""), r.value("connected", false) ? "connected" : "not connected");
  }
  for (const Json& d : j["direct"]) fmt::print("direct     {}\n", d.get<std::string>());
  for (const Json& d : j["dns"]) fmt::print("dns        {}\n", d.get<std::string>());
  fmt::print("clients    {} tunnels, {} flows\n", j.value("tunnels", 0), j.value("flows", 0));
  return 0;
}

Result<int> health(const Flags& f) {
  auto s = ask(f);
  if (!s) return pass_on(s);
  const std::string state = s->value("state", "");
  if (f.json) cmd::print_json({{"healthy", state == "online"}, {"state", state}});
  if (state == "online") return 0;
  return fail(Errc::unreachable, fmt::format("the connector is {}", state));
}

}  // namespace

void add_commands(CLI::App& app) {
  static Flags f;   // the command line's values live as long as the process
  CLI::App* connector = app.add_subcommand("connector", "Give clients access to the Resources of this network");
  connector->require_subcommand(1);

  CLI::App* run_command = cmd::add_command(*connector, "run", "Run the connector in the foreground; it only dials out", [] { return run(f); });
  cmd::add_state_option(*run_command, f.options.state, "connector");
  cmd::add_config_option(*run_command);
  run_command->add_option("--token", f.options.token, "Token of 'tg controller connector token NAME'; needed once")->type_name("TOKEN");
  run_command->add_option("--dns", f.options.dns, "DNS server of the private network; may be repeated (default: those of /etc/resolv.conf)")
      ->type_name("IP[:PORT]");
  run_command->add_option("--listen", f.listen, "Also accept clients directly here (default: relayed only)")->type_name("IP:PORT");
  run_command->add_flag("--verbose", f.verbose, "Say more");
  cmd::add_timeout_option(*run_command, f.options.timeout, std::chrono::seconds(20));

  CLI::App* status_command = cmd::add_command(*connector, "status", "Say how the running connector does", [] { return status(f); });
  CLI::App* health_command =
      cmd::add_command(*connector, "health", "Exit 0 when the running connector can serve, 3 when not", [] { return health(f); });
  for (CLI::App* c : {status_command, health_command}) {
    cmd::add_state_option(*c, f.options.state, "connector");
    cmd::add_json_option(*c, f.json);
    cmd::add_timeout_option(*c, f.options.timeout, std::chrono::seconds(5));
  }
}

}  // namespace tg::connector
