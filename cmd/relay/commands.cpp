// tg relay: run, status, health.
#include <cstdio>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "cmd/command.h"
#include "cmd/help.h"
#include "cmd/relay/agent.h"
#include "cmd/system_dns.h"
#include "core/json.h"
#include "net/files.h"
#include "net/local_socket.h"
#include "net/log.h"

namespace tg::relay {
namespace {

constexpr std::uint16_t kPort = 8444;

struct Run {
  Options options;
  std::string listen = "0.0.0.0:8444";
  std::vector<std::string> dns;
  bool verbose = false;
};

// Ask is what `status` and `health` can be told.
struct Ask {
  std::string state;
  bool json = false;
  std::chrono::seconds timeout{};
};

Result<int> run(Run& f) {
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

Result<Json> ask(const Ask& o) {
  return net::local_request(o.state + "/control.sock", "relay", {{"type", "status"}}, o.timeout);
}

Result<int> status(const Ask& o) {
  auto s = ask(o);
  if (!s && o.json && s.error().code == Errc::unreachable) {
    cmd::print_json({{"role", "relay"}, {"state", "not-running"}});
    return exit_code(Errc::unreachable);
  }
  if (!s) return pass_on(s);
  s->erase("type");
  if (o.json) {
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

// For service managers and containers, whose health checks know 0 and 1 only.
Result<int> health(const Ask& o) {
  const auto s = ask(o);
  const std::string state = s ? text_or(*s, "state", "") : "not-running";
  const bool healthy = state == "online";
  if (o.json) {
    cmd::print_json({{"healthy", healthy}, {"state", state}});
    return healthy ? 0 : 1;
  }
  if (!s) return fail(Errc::io, "unhealthy: " + s.error().text);
  if (!healthy) return fail(Errc::io, "unhealthy: the relay is " + state);
  fmt::print("healthy: {} connectors, {} connections\n", number_or(*s, "connectors", 0), number_or(*s, "joined", 0));
  return 0;
}

}  // namespace

void add_commands(CLI::App& app) {
  static Run f;   // the command line's values live as long as the process
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
  run_command->add_flag("--verbose", f.verbose, "Log more, for finding out what goes wrong");
  cmd::add_timeout_option(*run_command, f.options.timeout, std::chrono::seconds(20));
  run_command->footer("The controller embeds a relay; this is for more of them, elsewhere. Name it in the desired state, with\n"
                      "the address at which agents find it:\n\n"
                      "  [[relay]]\n"
                      "  name = \"relay-1\"\n"
                      "  address = \"relay.example.com:8444\"");

  const auto add_asking = [&](const std::string& name, const std::string& help, Result<int> (*ask_it)(const Ask&)) {
    auto o = std::make_shared<Ask>();
    CLI::App* c = cmd::add_command(*relay, name, help, [o, ask_it] { return ask_it(*o); });
    cmd::add_state_option(*c, o->state, "relay");
    cmd::add_config_option(*c);
    cmd::add_json_option(*c, o->json);
    cmd::add_timeout_option(*c, o->timeout, std::chrono::seconds(5));
    return c;
  };
  add_asking("status", "Say how the running relay does", status);
  CLI::App* health_command = add_asking("health", "Say in one line whether the running relay can be used", health);
  cmd::set_exit_status(*health_command, "0 healthy, 1 not, 2 wrong usage");
}

}  // namespace tg::relay
