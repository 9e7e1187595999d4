// tg connector: run, status, health.
#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "cmd/agent_command.h"
#include "cmd/connector/agent.h"
#include "core/json.h"
#include "core/text.h"

namespace tg::connector {
namespace {

constexpr std::chrono::milliseconds kProbe = std::chrono::seconds(2);   // for DNS servers to answer before `status` does

struct Run {
  cmd::AgentOptions agent;
  std::string listen;
  unsigned events_buffer = 64;   // MiB
  unsigned threads = net::processors();
};

Result<int> run(const Run& o) {
  Options options{o.agent.state, {}, o.agent.dns.empty(), {}, o.agent.metrics, o.threads};
  options.events.total = std::size_t{o.events_buffer} << 20;
  if (!o.listen.empty()) {
    auto at = Endpoint::parse(o.listen);
    if (!at) return fail(Errc::invalid_argument, fmt::format("--listen {}: {}", o.listen, at.error().text));
    options.listen = *at;
  }
  auto entered = cmd::enter_agent(o.agent, Token::Role::connector);
  if (!entered) return pass_on(entered);
  net::Loop loop;
  Agent agent(loop, options, std::move(entered->identity), std::move(entered->dns));
  if (auto started = agent.start(); !started) return pass_on(started);
  cmd::confine({net::Right::net_raw, net::Right::threads}, options.state);
  loop.run();
  return 0;
}

// `probe`: how long the DNS servers may take that are asked first; 0: they are not asked.
Result<Json> ask_with_probe(const cmd::Ask& ask, std::chrono::milliseconds probe) {
  return cmd::ask_agent("connector", ask, {{"probe_ms", probe.count()}});
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
  fmt::print("controller {}\n", cmd::controller_line(j));
  if (j.contains("clock")) fmt::print("clock      {}\n", text_or(j, "clock", ""));
  if (j.contains("rules_as_of")) fmt::print("rules      {}\n", cmd::rules_text(j));
  for (const Json& r : j["relays"]) {
    fmt::print("relay      {}: {}\n", text_or(r, "relay", ""),
               r.value("connected", false) ? "connected" : "not connected");
  }
  for (const Json& d : j["direct"]) fmt::print("direct     {}\n", d.get<std::string>());
  for (const Json& d : j["dns"]) fmt::print("dns        {}\n", dns_line(d));
  fmt::print("clients    {} tunnels, {} flows\n", number_or(j, "tunnels", 0), number_or(j, "flows", 0));
  const Json none = Json::object();
  const Json& events = j.contains("events") ? j["events"] : none;
  if (number_or(events, "waiting", 0) > 0) fmt::print("events     {} wait for the controller\n", number_or(events, "waiting", 0));
  if (const auto problem = text_or(events, "problem", ""); !problem.empty()) fmt::print("events     {}\n", printable(problem));
}

std::string healthy(const Json& j) {
  return fmt::format("{} tunnels, {} flows", number_or(j, "tunnels", 0), number_or(j, "flows", 0));
}

std::string sick(const Json& j) {
  const std::string state = text_or(j, "state", "");
  if (state == "offline") return "controller: " + text_or(j["controller"], "problem", "not connected");
  if (state == "unreachable") return "connected to no relay, and without --listen: no client can reach it";
  return state;
}

}  // namespace

void add_commands(cmd::Command app) {
  cmd::Command connector = app.add_group("connector", "Give clients access to the Resources of this network");

  auto o = std::make_shared<Run>();
  cmd::Command c = connector.add_command("run", "Run the connector in the foreground; it only dials out",
                                         [o] { return run(*o); });
  cmd::add_agent_options(c, o->agent, "connector", "DNS server of the private network");
  c.add_option("--listen", o->listen, "Also accept clients directly here (default: relayed only)")
      .type_name("IP:PORT");
  c.add_option("--events-buffer", o->events_buffer,
               "How much of the record of flows may wait on the disk for the controller; then the oldest goes")
      .type_name("MIB")
      .in_range(2, 1u << 20)
      .capture_default_str();
  cmd::add_threads_option(c, o->threads);

  cmd::add_ask(connector, "connector", "status",
               "Say how the running connector does, and whether its DNS servers answer", [](const cmd::Ask& ask) {
                 auto s = ask_with_probe(ask, std::min<std::chrono::milliseconds>(kProbe, ask.timeout / 2));
                 return cmd::say_status("connector", ask, std::move(s), print_status);
               });
  cmd::add_ask(connector, "connector", "health", "Say in one line whether clients can use the running connector",
               [](const cmd::Ask& ask) {
                 return cmd::say_health(ask, ask_with_probe(ask, std::chrono::milliseconds(0)), healthy, sick);
               });
}

}  // namespace tg::connector
