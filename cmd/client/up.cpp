// tg client up: the agent itself, in the foreground or in the background.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "cmd/agent_command.h"
#include "cmd/client/agent.h"
#include "cmd/client/background.h"
#include "cmd/client/commands.h"
#include "cmd/log_options.h"
#include "cmd/metrics_server.h"
#include "cmd/secret_option.h"
#include "cmd/system_dns.h"
#include "core/json.h"
#include "core/text.h"
#include "net/files.h"
#include "net/tun.h"

namespace tg::client {
namespace {

struct Up {
  Common common;
  Options options;
  std::string key;             // a file, "-" for standard input, or a key itself
  bool foreground = false;
  cmd::LogOptions log;
};

// read_key makes the key of a service account the token with which this machine is let in.
Result<> read_key(Up& o) {
  if (o.key.empty()) return {};
  if (!o.options.token.empty()) return fail(Errc::invalid_argument, "--token is for a person's device and --key for a service's: give one");
  auto secret = cmd::secret_of("--key", o.key, net::Loop::now() + o.common.timeout);
  if (!secret) return pass_on(secret);
  const auto key = Token::parse(secret->text);
  if (key && key->role == Token::Role::service) {
    o.options.token = std::move(secret->text);
    o.options.ends_when_removed = o.foreground;
    return {};
  }
  const std::string why = !key                            ? "is no key, or a part of one is missing"
                          : key->role == Token::Role::api ? "is an API token, which lets no machine in"
                                                          : fmt::format("is a token for a {}", to_string(key->role));
  return fail(Errc::invalid_argument, fmt::format("--key: {} {}; 'tg controller key create SERVICE' on the server makes one", secret->where, why));
}

// A key is for many machines: on a command line everybody sees it.
Result<> check_token(const Up& o) {
  const auto token = Token::parse(o.options.token);
  if (!token || token->role != Token::Role::service) return {};
  return fail(Errc::invalid_argument, "--token: this is the key of a service; give the name of its file, --key FILE, or the key in TG_KEY");
}

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

// may_make_tun asks the kernel, which refuses a TUN of no kind with EINVAL, but only to whom it would not refuse any
// (drivers/net/tun.c, tun_set_iff): nothing is made, and no token is spent on a machine that cannot use it.
Result<> may_make_tun(const std::string& interface) {
  const net::Fd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request{};
  if (fd && ::ioctl(fd.get(), TUNSETIFF, &request) != 0 && errno == EINVAL) return {};
  auto tun = net::Tun::open({.name = interface});   // says why not
  if (!tun) return pass_on(tun);
  return {};
}

struct Entered {
  net::Fd lock;
  cmd::AgentIdentity identity;
};

// enter takes the state directory, repairs what a killed client left, and has the controller let this machine in, if
// it has not done so before.
Result<Entered> enter(const Up& o) {
  auto lock = net::lock_state_dir(o.options.state, "client");
  if (!lock) return pass_on(lock);
  if (auto repaired = System::repair(o.options.state); !repaired) return pass_on(repaired);
  net::set_socket_mark(net::kOwnMark);
  auto identity = cmd::AgentIdentity::obtain(o.options.state, o.options.token, Token::Role::device,
                                             cmd::resolver_for(cmd::system_dns()), o.options.timeout);
  if (!identity) return pass_on(identity);
  return Entered{std::move(*lock), std::move(*identity)};
}

// serve is the agent: it returns when that has ended.
Result<int> serve(const Up& o, const Cidr& range, const Arrived& arrived) {
  cmd::begin_log(o.log);
  auto entered = enter(o);
  if (!entered) return pass_on(entered);
  net::Loop loop;
  Agent agent(loop, o.options, std::move(entered->identity), range, arrived);
  if (auto started = agent.start(); !started) return pass_on(started);
  cmd::confine({net::Right::net_admin, net::Right::net_bind_service, net::Right::any_file}, o.options.state);
  loop.run();
  if (agent.ended()) return tl::unexpected(*agent.ended());
  return 0;
}

// why_not asks the client that is not online in time. Where its line says what to do, that is behind a semicolon.
std::string why_not(const Up& o) {
  const auto s = o.common.ask({{"type", "status"}});
  std::string why = s ? text_or(*s, "problem", "it is about to be") : "it is still starting";
  if (why.find("; ") == std::string::npos) why += "; 'sudo tg client netcheck' looks at what is in the way";
  return fmt::format("not online after {} s: {}", o.common.timeout.count(), why);
}

Result<int> up(Up& o) {
  o.options.state = o.common.state;
  o.options.timeout = o.common.timeout;
  if (auto good = check_token(o); !good) return pass_on(good);
  if (auto read = read_key(o); !read) return pass_on(read);
  const auto range = range_of(o);
  if (!range) return tl::unexpected(range.error());
  if (!net::is_interface_name(o.options.interface)) {   // said before a token is spent
    return fail(Errc::invalid_argument,
                fmt::format("--interface: \"{}\" is no name of an interface: 1 to 15 characters", o.options.interface));
  }
  if (o.foreground) {
    if (auto may = may_make_tun(o.options.interface); !may) return pass_on(may);
    return serve(o, *range, [](const std::string&) {});
  }
  if (auto running = o.common.ask({{"type", "status"}})) {
    return fail(Errc::conflict, fmt::format("the client runs already ({}); 'tg client down' ends it",
                                            text_or(*running, "state", "")));
  }
  if (auto may = may_make_tun(o.options.interface); !may) return pass_on(may);
  // Here, so that what goes wrong with the first contact is told as it is; the child enters again, and spends no token.
  o.options.ends_when_refused = true;
  const Instant until = net::Loop::now() + o.common.timeout;
  if (const auto entered = enter(o); !entered) return tl::unexpected(entered.error());
  auto started = start_in_background(
      o.options.state + "/client.log", until,
      [&](const Arrived& arrived) { return serve(o, *range, arrived); }, [&] { return why_not(o); });
  if (!started) return pass_on(started);
  auto s = o.common.ask({{"type", "status"}});
  if (s && s->contains("clock")) {
    std::fputs(fmt::format("tg: warning: {}\n", printable(text_or(*s, "clock", ""))).c_str(), stderr);
  }
  if (o.common.json && s) {
    s->erase("type");
    cmd::print_json(*s);
  } else if (s && s->contains("rules_as_of")) {
    std::fputs(fmt::format("tg: {}; going by {}, as {}, {} Resources\n", printable(text_or(*s, "problem", "")), cmd::rules_text(*s),
                           text_or(*s, "user", ""), number_or(*s, "resources", 0)).c_str(), stderr);
  } else if (s) {
    std::fputs(
        fmt::format("tg: online as {}, {} Resources\n", text_or(*s, "user", ""), number_or(*s, "resources", 0)).c_str(),
        stderr);
  }
  return 0;
}

}  // namespace

void add_up(cmd::Command client) {
  auto o = std::make_shared<Up>();
  cmd::Command c = client.add_command("up", "Start the client; returns once it is online, or says why not",
                                      [o] { return up(*o); });
  o->common.add_to(c, std::chrono::seconds(20));
  c.add_option("--token", o->options.token, "Token of 'tg controller device token USER', needed once; or see 'tg client login'")
      .type_name("TOKEN");
  c.add_option("--key", o->key, "Key of 'tg controller key create SERVICE': in a file, - for standard input; TG_KEY may hold it")
      .type_name("FILE");
  c.add_flag("--foreground", o->foreground, "Stay in the foreground, for service managers and containers");
  c.add_option("--range", o->options.range, "Addresses that stand for names")
      .type_name("CIDR")
      .capture_default_str();
  c.add_option("--interface", o->options.interface, "Name of the network interface")
      .type_name("NAME")
      .capture_default_str();
  c.add_option("--capture", o->options.capture, "How TCP is captured: by a packet filter table of tg's own, or by rewriting packets")
      .one_of({kCaptureAuto, kCaptureSplit, kCaptureRewrite})
      .type_name("WAY")
      .capture_default_str();
  cmd::add_metrics_option(c, o->options.metrics);
  cmd::add_log_options(c, o->log);
}

}  // namespace tg::client
