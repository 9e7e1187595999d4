// tg client up: the agent itself, in the foreground or in the background.
#include <cstdio>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "cmd/client/agent.h"
#include "cmd/client/background.h"
#include "cmd/client/commands.h"
#include "cmd/system_dns.h"
#include "core/json.h"
#include "core/text.h"
#include "net/files.h"
#include "net/log.h"

namespace tg::client {
namespace {

struct Up {
  Common common;
  Options options;
  bool foreground = false;
  bool verbose = false;
};

Result<Cidr> range_of(const Up& o) {
  const auto range = Cidr::parse(o.options.range);
  if (!range) return fail(Errc::invalid_argument, "--range: " + range.error().text);
  if (!range->base().is_v4() || range->prefix() < 8 || range->prefix() > 30) {
    return fail(Errc::invalid_argument,
                fmt::format("--range {}: must be an IPv4 network between /8 and /30", o.options.range));
  }
  if (AddressPool(*range, Targets::own_networks()).capacity() == 0) {
    return fail(Errc::invalid_argument,
                fmt::format("--range {}: has only addresses that tg itself uses; choose another", o.options.range));
  }
  return *range;
}

// serve is the agent: it returns when that has ended.
Result<int> serve(const Up& o, const Cidr& range, const std::function<void()>& online) {
  if (o.verbose) net::set_log_level(net::Level::debug);
  const auto lock = net::lock_state_dir(o.options.state, "client");
  if (!lock) return tl::unexpected(lock.error());
  if (auto repaired = System::repair(o.options.state); !repaired) return pass_on(repaired);
  net::set_socket_mark(net::kOwnMark);
  auto identity = cmd::AgentIdentity::obtain(o.options.state, o.options.token, Token::Role::device,
                                             cmd::resolver_for(cmd::system_dns()), o.options.timeout);
  if (!identity) return pass_on(identity);
  net::Loop loop;
  Agent agent(loop, o.options, std::move(*identity), range, online);
  if (auto started = agent.start(); !started) return pass_on(started);
  cmd::confine({net::Right::net_admin, net::Right::net_bind_service, net::Right::any_file}, o.options.state);
  loop.run();
  return 0;
}

Result<int> up(Up& o) {
  o.options.state = o.common.state;
  o.options.timeout = o.common.timeout;
  const auto range = range_of(o);
  if (!range) return tl::unexpected(range.error());
  if (!net::is_interface_name(o.options.interface)) {   // said before a token is spent
    return fail(Errc::invalid_argument,
                fmt::format("--interface: \"{}\" is no name of an interface: 1 to 15 characters", o.options.interface));
  }
  if (o.foreground) return serve(o, *range, [] {});
  if (auto running = o.common.ask({{"type", "status"}})) {
    return fail(Errc::conflict, fmt::format("the client runs already ({}); 'tg client down' ends it",
                                            text_or(*running, "state", "")));
  }
  // Made here, so that what is wrong with it is told, and the log has a place; the child locks it again.
  if (const auto made = net::lock_state_dir(o.options.state, "client"); !made) return tl::unexpected(made.error());
  auto started = start_in_background(
      o.options.state + "/client.log", o.common.timeout,
      [&](const std::function<void()>& online) { return serve(o, *range, online); },
      [&]() -> std::string {
        const auto s = o.common.ask({{"type", "status"}});
        return s ? text_or(*s, "problem", "it is not online yet") : s.error().text;
      });
  if (!started) return pass_on(started);
  auto s = o.common.ask({{"type", "status"}});
  if (s && s->contains("clock")) {
    std::fputs(fmt::format("tg: warning: {}\n", printable(text_or(*s, "clock", ""))).c_str(), stderr);
  }
  if (o.common.json && s) {
    s->erase("type");
    cmd::print_json(*s);
  } else if (s) {
    std::fputs(
        fmt::format("tg: online as {}, {} Resources\n", text_or(*s, "user", ""), number_or(*s, "resources", 0)).c_str(),
        stderr);
  }
  return 0;
}

}  // namespace

void add_up(CLI::App& client) {
  auto o = std::make_shared<Up>();
  CLI::App* c = cmd::add_command(client, "up", "Start the client; returns once it is online, or says why not",
                                 [o] { return up(*o); });
  o->common.add_to(*c, std::chrono::seconds(20));
  c->add_option("--token", o->options.token, "Token of 'tg controller device token USER'; needed once")
      ->type_name("TOKEN");
  c->add_flag("--foreground", o->foreground, "Stay in the foreground, for service managers and containers");
  c->add_option("--range", o->options.range, "Addresses that stand for names")
      ->type_name("CIDR")
      ->capture_default_str();
  c->add_option("--interface", o->options.interface, "Name of the network interface")
      ->type_name("NAME")
      ->capture_default_str();
  c->add_flag("--verbose", o->verbose, "Log more, for finding out what goes wrong");
}

}  // namespace tg::client
