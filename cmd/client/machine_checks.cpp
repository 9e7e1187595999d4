// The part of `tg client netcheck` that needs no network.
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include <fmt/format.h>

#include "cmd/client/netcheck.h"
#include "cmd/client/system.h"
#include "core/json.h"
#include "dns/resolv_conf.h"
#include "net/collisions.h"
#include "net/files.h"

namespace tg::client {
namespace {

constexpr std::uint32_t kLeastMtu = 1280;   // RFC 8200 section 5; below it something is odd
constexpr int kNetAdmin = 12;               // CAP_NET_ADMIN, capabilities(7)

bool may_administer_network() {
  const auto status = net::read_file("/proc/self/status");
  const std::size_t at = status ? status->find("CapEff:\t") : std::string::npos;
  if (at == std::string::npos) return ::geteuid() == 0;
  std::uint64_t capabilities = 0;
  std::from_chars(status->data() + at + 8, status->data() + at + 24, capabilities, 16);
  return (capabilities >> kNetAdmin & 1) != 0;
}

Check tun_check(const Json& agent) {
  if (!agent.is_null()) return {"tun", Check::State::ok, text_or(agent, "interface", "") + " is there"};
  const net::Fd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  const int err = errno;
  if (!fd && (err == ENOENT || err == ENODEV || err == ENXIO)) {
    return {"tun", Check::State::failed,
            "/dev/net/tun is missing: load the module with `modprobe tun`, or start the container with --device "
            "/dev/net/tun",
            Errc::unsupported};
  }
  if (fd && may_administer_network()) return {"tun", Check::State::ok, "an interface can be made"};
  if (::geteuid() != 0) return {"tun", Check::State::unchecked, "this user may not make an interface; run with sudo"};
  return {"tun", Check::State::failed, "no right to make an interface: CAP_NET_ADMIN is missing", Errc::denied};
}

// Asks the kernel for the generation of its rule set (linux/netfilter/nf_tables.h): nothing is changed.
std::string nftables_problem() {
  const net::Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!fd) return std::strerror(errno);
  struct {
    nlmsghdr head{};
    nfgenmsg body{};
  } request;
  request.head.nlmsg_len = sizeof request;
  request.head.nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN;
  request.head.nlmsg_flags = NLM_F_REQUEST;
  const timeval second{1, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
  if (::send(fd.get(), &request, sizeof request, 0) < 0) return std::strerror(errno);
  alignas(nlmsghdr) char answer[1024];
  const ssize_t n = ::recv(fd.get(), answer, sizeof answer, 0);
  if (n < static_cast<ssize_t>(sizeof(nlmsghdr))) return "no answer";
  nlmsghdr head;
  std::memcpy(&head, answer, sizeof head);
  if (head.nlmsg_type != NLMSG_ERROR) return {};
  int error = 0;
  std::memcpy(&error, answer + NLMSG_HDRLEN, sizeof error);
  return error == 0 ? std::string() : std::strerror(-error);
}

Check nftables_check() {
  const std::string problem = nftables_problem();
  if (problem.empty()) return {"nftables", Check::State::ok, "usable"};
  if (::geteuid() != 0) return {"nftables", Check::State::unchecked, "run with sudo"};
  return {"nftables", Check::State::ok, fmt::format("not usable ({}); TCP is captured by rewrite", problem)};
}

Check mtu_check(const std::vector<net::Route>& routes, const std::vector<net::Link>& links) {
  for (const net::Route& r : routes) {
    if (r.to.prefix() != 0 || r.table != net::kTableMain || r.kind != net::Route::Kind::unicast) continue;
    const auto link = std::find_if(links.begin(), links.end(), [&](const net::Link& l) { return l.index == r.index; });
    if (link == links.end()) continue;
    Check c{"uplink", link->mtu < kLeastMtu ? Check::State::warning : Check::State::ok,
            fmt::format("{}{}, MTU {}", link->name, r.gateway ? " by " + r.gateway->to_string() : "", link->mtu)};
    if (c.state == Check::State::warning) c.text += ": small; large transfers may stall";
    c.more = {{"interface", link->name}, {"mtu", link->mtu}};
    return c;
  }
  return {"uplink", Check::State::warning, "there is no default route"};
}

Check range_check(const std::string& text, const Json& agent, const std::vector<net::Route>& routes,
                  const std::vector<net::LinkAddress>& addresses, const std::vector<net::Link>& links) {
  const auto range = Cidr::parse(agent.is_null() ? text : text_or(agent, "range", text));
  if (!range) return {"range", Check::State::failed, "--range: " + range.error().text, Errc::invalid_argument};
  const net::Routes::Config config;
  const std::string own = agent.is_null() ? "" : text_or(agent, "interface", "");
  const auto link = std::find_if(links.begin(), links.end(), [&](const net::Link& l) { return l.name == own; });
  const std::vector<Cidr> ours{*range, config.peers, Cidr(IpAddress(dns::kOwnResolvers[0]), 29)};
  const auto found =
      net::collisions(ours, routes, addresses, links, config.table, link == links.end() ? 0 : link->index);
  if (found.told.empty()) return {"range", Check::State::ok, range->to_string() + " is nobody else's here"};
  return {"range", Check::State::failed, found.told.front() + "; choose another range with --range", Errc::conflict};
}

Check resolv_conf_check(const Json& agent) {
  const auto text = net::read_file(kResolvConf);
  if (!text) return {"resolv.conf", Check::State::failed, text.error().text, text.error().code};
  const bool ours = dns::is_ours(*text);
  if (agent.is_null() && ours) {
    return {"resolv.conf", Check::State::failed, "leads to tg, which does not run; 'tg client down' gives it back",
            Errc::conflict};
  }
  if (!agent.is_null() && !ours) {
    return {"resolv.conf", Check::State::failed, "does not lead to tg: somebody else has written it", Errc::conflict};
  }
  return {"resolv.conf", Check::State::ok, ours ? "leads to tg" : "is the system's own"};
}

}  // namespace

std::vector<Check> machine_checks(const NetcheckOptions& options, const Json& agent) {
  std::vector<Check> out{tun_check(agent), nftables_check(), resolv_conf_check(agent)};
  auto netlink = net::Netlink::open();
  if (!netlink) {
    out.push_back({"uplink", Check::State::unchecked, netlink.error().text});
    return out;
  }
  const auto routes = netlink->routes();
  const auto addresses = netlink->addresses();
  const auto links = netlink->links();
  if (!routes || !addresses || !links) {
    out.push_back({"uplink", Check::State::unchecked, "the routes of this machine cannot be read"});
    return out;
  }
  out.push_back(mtu_check(*routes, *links));
  out.push_back(range_check(options.range, agent, *routes, *addresses, *links));
  return out;
}

}  // namespace tg::client
