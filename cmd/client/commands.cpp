#include <cstdio>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "cmd/client/agent.h"
#include "cmd/client/background.h"
#include "cmd/command.h"
#include "cmd/system_dns.h"
#include "net/files.h"
#include "net/log.h"

namespace tg::client {
namespace {

struct Flags {
  Options options;
  std::chrono::seconds timeout{};
  std::string host;
  bool foreground = false;
  bool verbose = false;
  bool json = false;
};

// serve is the agent itself: it returns when it has ended.
Result<int> serve(const Flags& f, const std::function<void()>& online) {
  if (f.verbose) net::set_log_level(net::Level::debug);
  const auto range = Cidr::parse(f.options.range);
  if (!range) return fail(Errc::invalid_argument, "--range: " + range.error().text);
  if (!range->base().is_v4() || range->prefix() < 8 || range->prefix() > 30) {
    return fail(Errc::invalid_argument, fmt::format("--range {}: must be an IPv4 network between /8 and /30", f.options.range));
  }
  const auto lock = net::lock_state_dir(f.options.state, "client");
  if (!lock) return tl::unexpected(lock.error());
  if (auto repaired = System::repair(f.options.state); !repaired) return pass_on(repaired);
  net::set_socket_mark(net::kOwnMark);
  auto identity = cmd::AgentIdentity::obtain(f.options.state, f.options.token, Token::Role::device,
                                             cmd::resolver_for(cmd::system_dns()), f.options.timeout);
  if (!identity) return pass_on(identity);
  net::Loop loop;
  Agent agent(loop, f.options, std::move(*identity), *range, online);
  if (auto started = agent.start(); !started) return pass_on(started);
  cmd::confine({net::Right::net_admin, net::Right::net_bind_service, net::Right::any_file}, f.options.state);
  loop.run();
  return 0;
}

std::string socket_of(const Flags& f) { return f.options.state + "/control.sock"; }

Result<Json> ask(const Flags& f, const Json& request) { return net::local_request(socket_of(f), "client", request, f.timeout); }

Result<int> up(Flags& f) {
  f.options.timeout = f.timeout;
  if (f.foreground) return serve(f, [] {});
  if (auto running = ask(f, {{"type", "status"}})) {
    return fail(Errc::conflict, fmt::format("the client runs already ({}); 'tg client down' ends it", running->value("state", "")));
  }
  // Made here, so that what is wrong with it is told, and the log has a place; the child locks it again.
  if (const auto made = net::lock_state_dir(f.options.state, "client"); !made) return tl::unexpected(made.error());
  auto started = start_in_background(f.options.state + "/client.log", f.timeout,
                                     [&f](const std::function<void()>& online) { return serve(f, online); },
                                     [&f]() -> std::string {
                                       const auto s = ask(f, {{"type", "status"}});
                                       return s ? s->value("problem", "it is not online yet") : s.error().text;
                                     });
  if (!started) return pass_on(started);
  const auto s = ask(f, {{"type", "status"}});
  if (f.json && s) {
    Json j = *s;
    j.erase("type");
    cmd::print_json(j);
  } else if (s) {
    std::fputs(fmt::format("tg: online as {}, {} Resources\n", s->value("user", ""), s->value("resources", 0)).c_str(), stderr);
  }
  return 0;
}

Result<int> down(const Flags& f) {
  const auto answer = ask(f, {{"type", "down"}});
  if (!answer && answer.error().code != Errc::unreachable) return tl::unexpected(answer.error());
  // Where no client ever ran there is nothing to take out, and nothing to leave.
  const bool ever_ran = net::state_dir_used(f.options.state);
  // The lock goes with the process.
  const Instant until = net::Loop::now() + f.timeout;
  while (ever_ran) {
    const auto lock = net::lock_state_dir(f.options.state, "client");
    if (lock) {
      if (auto repaired = System::repair(f.options.state); !repaired) return pass_on(repaired);
      break;
    }
    if (lock.error().code != Errc::conflict) return tl::unexpected(lock.error());
    if (net::Loop::now() > until) return fail(Errc::timed_out, "the client does not end; " + lock.error().text);
    pause_briefly();
  }
  if (f.json) cmd::print_json({{"state", "down"}, {"was_running", answer.has_value()}});
  else std::fputs(answer ? "tg: down\n" : "tg: the client was not running\n", stderr);
  return 0;
}

Result<int> status(const Flags& f) {
  auto s = ask(f, {{"type", "status"}});
  if (!s) {
    if (f.json && s.error().code == Errc::unreachable) {
      cmd::print_json({{"role", "client"}, {"state", "not-running"}});
      return exit_code(Errc::unreachable);
    }
    return pass_on(s);
  }
  Json& j = *s;
  j.erase("type");
  const bool online = j.value("state", "") == "online";
  if (f.json) {
    cmd::print_json(j);
    return online ? 0 : exit_code(Errc::unreachable);
  }
  fmt::print("client     {}{}\n", j.value("state", ""), online ? "" : ": " + j.value("problem", ""));
  fmt::print("user       {}\n", j.value("user", "unknown"));
  fmt::print("controller {}: {}\n", j["controller"].value("address", ""),
             j["controller"].value("connected", false) ? "connected" : "not connected");
  fmt::print("resources  {}\n", j.value("resources", 0));
  fmt::print("interface  {}, range {}\n", j.value("interface", ""), j.value("range", ""));
  if (j.contains("dns")) {
    std::string upstream;
    for (const Json& u : j["dns"]["upstream"]) upstream += (upstream.empty() ? "" : ", ") + u.get<std::string>();
    fmt::print("dns        {}; everything else goes to {}\n", j["dns"].value("owner", ""), upstream.empty() ? "nobody" : upstream);
  }
  for (const Json& t : j["tunnels"]) {
    if (t.value("state", "") == "up") {
      fmt::print("tunnel     {} ({}): {} by {}, {:.1f} ms, {} flows\n", t.value("connector", ""), t.value("network", ""),
                 t.value("path", ""), t.value("address", ""), t.value("round_trip_ms", 0.0), t.value("flows", 0));
    } else {
      fmt::print("tunnel     {} ({}): down: {}\n", t.value("connector", ""), t.value("network", ""), t.value("problem", ""));
    }
  }
  return online ? 0 : exit_code(Errc::unreachable);
}

Result<int> resources(const Flags& f) {
  const auto answer = ask(f, {{"type", "resources"}});
  if (!answer) return tl::unexpected(answer.error());
  const Json& list = (*answer)["resources"];
  if (f.json) {
    cmd::print_json({{"resources", list}});
    return 0;
  }
  std::size_t name = 4, address = 7, alias = 5, local = 5;
  for (const Json& r : list) {
    name = std::max(name, r.value("name", "").size());
    address = std::max(address, r.value("address", "").size());
    alias = std::max(alias, r.value("alias", "").size());
    local = std::max(local, r.value("local", "").size());
  }
  fmt::print("{:<{}}  {:<{}}  {:<{}}  {:<{}}  {:<6}  {}\n", "NAME", name, "ADDRESS", address, "ALIAS", alias, "LOCAL", local, "STATE", "PROTOCOLS");
  for (const Json& r : list) {
    fmt::print("{:<{}}  {:<{}}  {:<{}}  {:<{}}  {:<6}  {}\n", r.value("name", ""), name, r.value("address", ""), address,
               r.value("alias", "-"), alias, r.value("local", "-"), local, r.value("state", ""), r.value("protocols", ""));
  }
  return 0;
}

Result<int> explain(const Flags& f) {
  Json request = {{"type", "explain"}, {"host", f.host}};
  // A bare IPv6 address has colons but no port.
  if (f.host.find(':') != std::string::npos && !IpAddress::parse(f.host)) {
    const auto hp = HostPort::parse(f.host);
    if (!hp) return fail(Errc::invalid_argument, fmt::format("{}: {}", f.host, hp.error().text));
    request["host"] = hp->host;
    request["port"] = hp->port;
  }
  const auto answer = ask(f, request);
  if (!answer) return tl::unexpected(answer.error());
  Json j = *answer;
  j.erase("type");
  if (f.json) {
    cmd::print_json(j);
    return 0;
  }
  if (!j.value("matched", false)) {
    fmt::print("{}: {}\n", j.value("host", ""), j.value("text", ""));
    return 0;
  }
  const Json& w = j["winner"];
  fmt::print("{} belongs to the Resource {} ({}, network {})\n", j.value("host", ""), w.value("name", ""), w.value("address", ""),
             w.value("network", ""));
  fmt::print("why        {}\n", j.value("why", ""));
  for (const Json& o : j["others"]) fmt::print("also       {} ({})\n", o.value("name", ""), o.value("address", ""));
  if (j.contains("local")) fmt::print("local      {}\n", j.value("local", ""));
  fmt::print("dialled    {}, by a connector of {}\n", j.value("target", ""), w.value("network", ""));
  fmt::print("protocols  {}\n", w.value("protocols", ""));
  for (const auto& [protocol, allowed] : j["allowed"].items()) {
    fmt::print("{:<10} {}{}\n", protocol, j.contains("port") ? fmt::format("{} ", j["port"].get<int>()) : std::string(),
               allowed.get<bool>() ? "allowed" : "not allowed");
  }
  for (const Json& t : j["tunnels"]) {
    fmt::print("tunnel     {}: {}\n", t.value("connector", ""),
               t.value("state", "") == "up" ? t.value("path", "") + " by " + t.value("address", "") : "down: " + t.value("problem", ""));
  }
  return 0;
}

}  // namespace

void add_commands(CLI::App& app) {
  static Flags f;   // the command line's values live as long as the process
  CLI::App* client = app.add_subcommand("client", "Reach private Resources from this machine");
  client->require_subcommand(1);
  const auto common = [](CLI::App* c, std::chrono::seconds standard) {
    cmd::add_state_option(*c, f.options.state, "client");
    cmd::add_json_option(*c, f.json);
    cmd::add_timeout_option(*c, f.timeout, standard);
  };

  CLI::App* up_command = cmd::add_command(*client, "up", "Start the client; returns once it is online, or says why not", [] { return up(f); });
  common(up_command, std::chrono::seconds(20));
  cmd::add_config_option(*up_command);
  up_command->add_option("--token", f.options.token, "Token of 'tg controller device token USER'; needed once")->type_name("TOKEN");
  up_command->add_flag("--foreground", f.foreground, "Stay in the foreground, for service managers and containers");
  up_command->add_option("--range", f.options.range, "Addresses that stand for names")->type_name("CIDR")->capture_default_str();
  up_command->add_option("--interface", f.options.interface, "Name of the network interface")->type_name("NAME")->capture_default_str();
  up_command->add_flag("--verbose", f.verbose, "Say more");

  common(cmd::add_command(*client, "down", "End the client and take everything out of the system", [] { return down(f); }), std::chrono::seconds(10));
  common(cmd::add_command(*client, "status", "Say how the client does; exit 0 when online, 3 when not", [] { return status(f); }), std::chrono::seconds(5));
  common(cmd::add_command(*client, "resources", "List the Resources of this device", [] { return resources(f); }), std::chrono::seconds(5));
  CLI::App* explain_command =
      cmd::add_command(*client, "explain", "Say which Resource a host belongs to, and why", [] { return explain(f); });
  common(explain_command, std::chrono::seconds(5));
  explain_command->add_option("host", f.host, "Name or address, and a port if wanted")->required()->type_name("HOST[:PORT]");
}

}  // namespace tg::client
