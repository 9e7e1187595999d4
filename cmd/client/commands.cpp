#include "cmd/client/commands.h"


#include "core/ip.h"
#include "core/json.h"
#include "core/resource.h"
#include "net/local_socket.h"

namespace tg::client {

void Common::add_to(cmd::Command command, std::chrono::seconds standard) {
  cmd::add_state_option(command, state, "client");
  cmd::add_config_option(command);
  cmd::add_json_option(command, json);
  cmd::add_timeout_option(command, timeout, standard);
}

Result<Json> Common::ask(const Json& request, std::chrono::seconds patience) const {
  return net::local_request(state + "/control.sock", "client", request, patience);
}

Result<HostPort> parse_target(const std::string& text) {
  // A bare IPv6 address has colons and no port.
  const bool bare = text.find(':') == std::string::npos || IpAddress::parse(text);
  auto out = bare ? Result<HostPort>(HostPort{text, 0}) : HostPort::parse(text);
  if (!out) return fail(Errc::invalid_argument, text + ": " + out.error().text);
  if (const auto host = parse_host(out->host); !host)
    return fail(Errc::invalid_argument, text + ": " + host.error().text);
  return out;
}

void add_commands(cmd::Command app) {
  cmd::Command client = app.add_group("client", "Reach private Resources from this machine");
  add_up(client);
  add_down(client);
  add_status(client);
  add_resources(client);
  add_explain(client);
  add_request(client);
  add_ping(client);
  add_dns(client);
  add_netcheck(client);
  add_report(client);
  add_login(client);
  add_logout(client);
  client.command("status").exit_status("0 online, 1 failed, 2 wrong usage, 3 not online or not running, 4 sign-in needed, 5 denied");
  client.command("dns").exit_status("0 NOERROR, 1 another answer (NXDOMAIN …), 2 wrong usage, 3 nobody answered, or not running,\n"
                                    "  5 denied");
  client.command("ping").exit_status("0 a reply came, 1 failed, 2 wrong usage, 3 no reply, or not running, 5 denied");
}

}  // namespace tg::client
