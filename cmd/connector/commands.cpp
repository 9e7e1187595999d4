#include <algorithm>
#include <cstdio>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "cmd/command.h"
#include "cmd/connector/agent.h"
#include "cmd/help.h"
#include "cmd/system_dns.h"
#include "core/json.h"
#include "net/files.h"
#include "net/local_socket.h"
#include "net/log.h"

namespace tg::connector {
namespace {

struct Run {
  Options options;
  std::string listen;
  bool verbose = false;
};

// Ask is what `status` and `health` can be told.
struct Ask {
  std::string state;
  bool json = false;
  std::chrono::seconds timeout{};
};

Result<int> run(Run& o) {
  if (o.verbose) net::set_log_level(net::Level::debug);
  if (!o.listen.empty()) {
    auto at = Endpoint::parse(o.listen);
    if (!at) return fail(Errc::invalid_argument, fmt::format("--listen {}: {}", o.listen, at.error().text));
    o.options.listen = *at;
  }
  auto dns = cmd::parse_dns(o.options.dns);
  if (!dns) return pass_on(dns);
  const auto lock = net::lock_state_dir(o.options.state, "connector");
  if (!lock) return tl::unexpected(lock.error());
  auto identity = cmd::AgentIdentity::obtain(o.options.state, o.options.token, Token::Role::connector,
                                             cmd::resolver_for(*dns), o.options.timeout);
  if (!identity) return pass_on(identity);
  net::Loop loop;
  Agent agent(loop, o.options, std::move(*identity), std::move(*dns));
  if (auto started = agent.start(); !started) return pass_on(started);
  cmd::confine({net::Right::net_raw}, o.options.state);
  loop.run();
  return 0;
}

// `probe`: how long the DNS servers may take that are asked first; 0: they are not asked.
Result<Json> ask(const Ask& o, std::chrono::milliseconds probe) {
  return net::local_request(o.state + "/control.sock", "connector", {{"type", "status"}, {"probe_ms", probe.count()}},
                            o.timeout);
}

std::string dns_line(const Json& d) {
  if (!d.contains("answers")) return text_or(d, "server", "");
  if (!d["answers"].get<bool>()) return text_or(d, "server", "") + ": does not answer";
  const std::string rcode = text_or(d, "rcode", "");
  return fmt::format("{}: answers in {:.1f} ms{}", text_or(d, "server", ""), d.value("ms", 0.0),
                     rcode == "NOERROR" || rcode == "NXDOMAIN" ? "" : " with " + rcode);
}

void print_status(const Json& j) {
  fmt::print("connector  {} of network {}: {}\n", text_or(j, "name", "unknown"), text_or(j, "network", "unknown"),
             text_or(j, "state", ""));
  const Json& controller = j["controller"];
  fmt::print("controller {}: {}\n", text_or(controller, "address", ""),
             controller.value("connected", false) ? std::string("connected") : text_or(controller, "problem", ""));
  for (const Json& r : j["relays"]) {
    fmt::print("relay      {}: {}\n", text_or(r, "relay", ""),
               r.value("connected", false) ? "connected" : "not connected");
  }
  for (const Json& d : j["direct"]) fmt::print("direct     {}\n", d.get<std::string>());
  for (const Json& d : j["dns"]) fmt::print("dns        {}\n", dns_line(d));
  fmt::print("clients    {} tunnels, {} flows\n", number_or(j, "tunnels", 0), number_or(j, "flows", 0));
}

Result<int> status(const Ask& o) {
  auto s = ask(o, std::min<std::chrono::milliseconds>(std::chrono::seconds(2), o.timeout / 2));
  if (!s) {
    if (o.json && s.error().code == Errc::unreachable) {
      cmd::print_json({{"role", "connector"}, {"state", "not-running"}});
      return exit_code(Errc::unreachable);
    }
    return pass_on(s);
  }
  s->erase("type");
  if (o.json) cmd::print_json(*s);
  else print_status(*s);
  return 0;
}

// For service managers and containers, whose health checks know 0 and 1 only.
Result<int> health(const Ask& o) {
  const auto s = ask(o, std::chrono::milliseconds(0));
  const std::string state = s ? text_or(*s, "state", "") : "not-running";
  const bool healthy = state == "online";
  if (o.json) {
    cmd::print_json({{"healthy", healthy}, {"state", state}});
    return healthy ? 0 : 1;
  }
  if (!s) return fail(Errc::io, "unhealthy: " + s.error().text);
  std::string why = state;
  if (state == "offline") why = "controller: " + text_or((*s)["controller"], "problem", "not connected");
  if (state == "unreachable") why = "connected to no relay, and without --listen: no client can reach it";
  if (!healthy) return fail(Errc::io, "unhealthy: " + why);
  fmt::print("healthy: {} tunnels, {} flows\n", number_or(*s, "tunnels", 0), number_or(*s, "flows", 0));
  return 0;
}

void add_run(CLI::App& connector) {
  auto o = std::make_shared<Run>();
  CLI::App* c = cmd::add_command(connector, "run", "Run the connector in the foreground; it only dials out",
                                 [o] { return run(*o); });
  cmd::add_state_option(*c, o->options.state, "connector");
  cmd::add_config_option(*c);
  c->add_option("--token", o->options.token, "Token of 'tg controller connector token NAME'; needed once")
      ->type_name("TOKEN");
  c->add_option("--dns", o->options.dns,
                "DNS server of the private network; may be repeated (default: those of /etc/resolv.conf)")
      ->type_name("IP[:PORT]");
  c->add_option("--listen", o->listen, "Also accept clients directly here (default: relayed only)")
      ->type_name("IP:PORT");
  c->add_flag("--verbose", o->verbose, "Log more, for finding out what goes wrong");
  cmd::add_timeout_option(*c, o->options.timeout, std::chrono::seconds(20));
}

CLI::App* add_asking(CLI::App& connector, const std::string& name, const std::string& help,
                     Result<int> (*run)(const Ask&)) {
  auto o = std::make_shared<Ask>();
  CLI::App* c = cmd::add_command(connector, name, help, [o, run] { return run(*o); });
  cmd::add_state_option(*c, o->state, "connector");
  cmd::add_config_option(*c);
  cmd::add_json_option(*c, o->json);
  cmd::add_timeout_option(*c, o->timeout, std::chrono::seconds(5));
  return c;
}

}  // namespace

void add_commands(CLI::App& app) {
  CLI::App* connector = app.add_subcommand("connector", "Give clients access to the Resources of this network");
  connector->require_subcommand(1);
  add_run(*connector);
  add_asking(*connector, "status", "Say how the running connector does, and whether its DNS servers answer", status);
  CLI::App* c =
      add_asking(*connector, "health", "Say in one line whether clients can use the running connector", health);
  cmd::set_exit_status(*c, "0 healthy, 1 not, 2 wrong usage");
}

}  // namespace tg::connector
