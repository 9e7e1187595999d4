// tg relay: run, status, health.
#include <cstdio>

#include <fmt/format.h>

#include "cmd/agent_command.h"
#include "cmd/relay/agent.h"
#include "core/json.h"

namespace tg::relay {
namespace {

constexpr std::uint16_t kPort = 8444;

struct Run {
  cmd::AgentOptions agent;
  std::string listen = "0.0.0.0:8444";
  unsigned threads = net::processors();
};

Result<int> run(const Run& o) {
  const auto at = Endpoint::parse(o.listen, kPort);
  if (!at) return fail(Errc::invalid_argument, fmt::format("--listen {}: {}", o.listen, at.error().text));
  auto entered = cmd::enter_agent(o.agent, Token::Role::relay);
  if (!entered) return pass_on(entered);
  net::Loop loop;
  Agent agent(loop, {o.agent.state, *at, o.agent.dns.empty(), o.agent.metrics, o.threads}, std::move(entered->identity), std::move(entered->dns));
  if (auto started = agent.start(); !started) return pass_on(started);
  cmd::confine({net::Right::net_bind_service, net::Right::threads}, o.agent.state);
  loop.run();
  return 0;
}

void print_status(const Json& j) {
  fmt::print("relay      {}: {}\n", text_or(j, "name", ""), text_or(j, "state", ""));
  fmt::print("agents     {}, which they reach as {}\n", text_or(j, "listen", ""), text_or(j, "address", ""));
  fmt::print("controller {}\n", cmd::controller_line(j));
  if (j.contains("rules_as_of")) fmt::print("rules      {}\n", cmd::rules_text(j));
  if (j.contains("clock")) fmt::print("clock      {}\n", text_or(j, "clock", ""));
  fmt::print("serves     {} connectors, {} connections\n", number_or(j, "connectors", 0), number_or(j, "joined", 0));
}

std::string healthy(const Json& j) {
  return fmt::format("{} connectors, {} connections", number_or(j, "connectors", 0), number_or(j, "joined", 0));
}

std::string sick(const Json& j) { return "the relay is " + text_or(j, "state", ""); }

}  // namespace

void add_commands(cmd::Command app) {
  cmd::Command relay = app.add_group("relay", "Pass ciphertext between clients and connectors");

  auto o = std::make_shared<Run>();
  cmd::Command c = relay.add_command("run", "Run a relay of its own in the foreground", [o] { return run(*o); });
  cmd::add_agent_options(c, o->agent, "relay", "DNS server that knows the controller");
  c.add_option("--listen", o->listen, "Where clients and connectors connect to")
      .type_name("IP:PORT")
      .capture_default_str();
  cmd::add_threads_option(c, o->threads);
  c.footer("The controller embeds a relay; this is for more of them, elsewhere. Name it in the desired state, with\n"
           "the address at which agents find it:\n\n"
           "  [[relay]]\n"
           "  name = \"relay-1\"\n"
           "  address = \"relay.example.com:8444\"");

  cmd::add_ask(relay, "relay", "status", "Say how the running relay does", [](const cmd::Ask& ask) {
    return cmd::say_status("relay", ask, cmd::ask_agent("relay", ask, Json::object()), print_status);
  });
  cmd::add_ask(relay, "relay", "health", "Say in one line whether the running relay can be used", [](const cmd::Ask& ask) {
    return cmd::say_health(ask, cmd::ask_agent("relay", ask, Json::object()), healthy, sick);
  });
}

}  // namespace tg::relay
