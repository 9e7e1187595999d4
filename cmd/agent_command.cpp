#include "cmd/agent_command.h"

#include <fmt/format.h>

#include "cmd/metrics_server.h"
#include "cmd/system_dns.h"
#include "core/json.h"
#include "core/text.h"
#include "net/local_socket.h"

namespace tg::cmd {

void add_agent_options(Command command, AgentOptions& options, const std::string& role, const std::string& dns_help) {
  add_state_option(command, options.state, role);
  add_config_option(command);
  command.add_option("--token", options.token, fmt::format("Token of 'tg controller {} token NAME'; needed once", role))
      .type_name("TOKEN");
  command.add_option("--dns", options.dns, dns_help + "; may be repeated (default: those of /etc/resolv.conf)")
      .type_name("IP[:PORT]");
  add_metrics_option(command, options.metrics);
  add_log_options(command, options.log);
  add_timeout_option(command, options.timeout, std::chrono::seconds(20));
}

Result<Entered> enter_agent(const AgentOptions& options, Token::Role role) {
  begin_log(options.log);
  auto dns = parse_dns(options.dns);
  if (!dns) return pass_on(dns);
  auto lock = net::lock_state_dir(options.state, std::string(to_string(role)));
  if (!lock) return pass_on(lock);
  auto identity = AgentIdentity::obtain(options.state, options.token, role, resolver_for(*dns), options.timeout);
  if (!identity) return pass_on(identity);
  return Entered{std::move(*lock), std::move(*dns), std::move(*identity)};
}

Command add_ask(Command parent, const std::string& role, const std::string& name, const std::string& help,
                  std::function<Result<int>(const Ask&)> run) {
  auto ask = std::make_shared<Ask>();
  Command c = parent.add_command(name, help, [ask, run = std::move(run)] { return run(*ask); });
  add_state_option(c, ask->state, role);
  add_config_option(c);
  add_json_option(c, ask->json);
  add_timeout_option(c, ask->timeout, std::chrono::seconds(5));
  if (name == "health") c.exit_status("0 healthy, 1 not, 2 wrong usage");
  return c;
}

Result<Json> ask_agent(const std::string& role, const Ask& ask, const Json& more) {
  Json request = {{"type", "status"}};
  request.update(more);
  return net::local_request(ask.state + "/control.sock", role, request, ask.timeout);
}

Result<int> say_status(const std::string& role, const Ask& ask, Result<Json> status, void (*print)(const Json&)) {
  if (!status && ask.json && status.error().code == Errc::unreachable) {
    print_json({{"role", role}, {"state", "not-running"}});
    return exit_code(Errc::unreachable);
  }
  if (!status) return pass_on(status);
  status->erase("type");
  if (ask.json) print_json(*status);
  else print(*status);
  return 0;
}

Result<int> say_health(const Ask& ask, const Result<Json>& status, std::string (*healthy)(const Json&),
                       std::string (*sick)(const Json&)) {
  const std::string state = status ? text_or(*status, "state", "") : "not-running";
  const bool well = state == "online";
  if (ask.json) {
    print_json({{"healthy", well}, {"state", state}});
    return well ? 0 : 1;
  }
  if (!status) return fail(Errc::io, "unhealthy: " + status.error().text);
  if (!well) return fail(Errc::io, "unhealthy: " + sick(*status));
  fmt::print("healthy: {}\n", healthy(*status));
  return 0;
}

std::string controller_line(const Json& status) {
  const Json& c = status["controller"];
  return text_or(c, "address", "") + ": " + (c.value("connected", false) ? "connected" : text_or(c, "problem", ""));
}

std::string rules_text(const Json& status) {
  return "what the controller said until " + utc_text(UnixTime(std::chrono::seconds(number_or(status, "rules_as_of", 0))));
}

}  // namespace tg::cmd
