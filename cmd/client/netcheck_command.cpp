// tg client netcheck
#include <cstdio>


#include "cmd/client/commands.h"
#include "cmd/client/netcheck.h"
#include "core/json.h"

namespace tg::client {
namespace {

struct NetcheckCommand {
  Common common;
  NetcheckOptions options;
};

Result<int> run(NetcheckCommand& o) {
  if (const auto range = Cidr::parse(o.options.range); !range) {
    return fail(Errc::invalid_argument, "--range: " + range.error().text);
  }
  o.options.state = o.common.state;
  o.options.timeout = o.common.timeout;
  const auto checks = netcheck(o.options);
  const int status = checks_status(checks);
  if (!o.common.json) {
    std::fputs(checks_text(checks).c_str(), stdout);
    return status;
  }
  Json list = Json::array();
  for (const Check& c : checks) list.push_back(to_json(c));
  cmd::print_json({{"state", status == 0 ? "ok" : "failed"}, {"checks", std::move(list)}});
  return status;
}

}  // namespace

void add_netcheck(cmd::Command client) {
  auto o = std::make_shared<NetcheckCommand>();
  cmd::Command c =
      client.add_command("netcheck", "Say what this network and this machine let tg do", [o] { return run(*o); });
  o->common.add_to(c, std::chrono::seconds(5));
  c.add_option("--range", o->options.range, "Addresses that stand for names, when the client is not running")
      .type_name("CIDR")
      .capture_default_str();
  c.footer(
      "Looks at the controller, its clock, relays, every path to every connector, the system's DNS servers,\n"
      "and what this machine allows. One line each: ok, warning (tg works, something does not), failed, or\n"
      "unchecked, which says why it could not be looked at. Works without a running client; then the device\n"
      "says hello to the controller for a moment. --timeout is for each step. tg needs TCP only; UDP is\n"
      "used for DNS. The exit status is 0 unless something failed, and then says what kind the first\n"
      "failure is.");
}

}  // namespace tg::client
