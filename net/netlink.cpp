#include "net/netlink.h"

#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>

#include <cerrno>

#include <fmt/format.h>

#include "net/netlink_message.h"

namespace tg::net {
namespace {

Route::Kind kind_of(std::uint8_t type) noexcept {
  switch (type) {
    case RTN_UNICAST: return Route::Kind::unicast;
    case RTN_BLACKHOLE:
    case RTN_UNREACHABLE:
    case RTN_PROHIBIT: return Route::Kind::discard;
    case RTN_THROW: return Route::Kind::pass;
    default: return Route::Kind::local;
  }
}

// The settings of net.ipv4.conf.INTERFACE, by their numbers in linux/ip.h, which begin with 1.
std::uint32_t ipv4_setting(Bytes settings, std::size_t number) noexcept {
  std::uint32_t value = 0;
  if (settings.size() >= number * sizeof value) std::memcpy(&value, settings.data() + (number - 1) * sizeof value, sizeof value);
  return value;
}

bool takes_own(Bytes families) noexcept {
  while (const auto family = next_attribute(families)) {
    if (family->type != AF_INET) continue;
    Bytes rest = family->value;
    while (const auto a = next_attribute(rest)) {
      if (a->type != IFLA_INET_CONF) continue;
      return ipv4_setting(a->value, IPV4_DEVCONF_ACCEPT_LOCAL) == 1 && ipv4_setting(a->value, IPV4_DEVCONF_RP_FILTER) == 2;
    }
  }
  return false;
}

std::optional<Link> link_of(const Message& m) {
  Bytes rest;
  const auto fixed = m.fixed<ifinfomsg>(rest);
  if (!fixed || m.header.nlmsg_type != RTM_NEWLINK) return std::nullopt;
  Link l;
  l.index = fixed->ifi_index;
  l.up = (fixed->ifi_flags & IFF_UP) != 0;
  l.running = (fixed->ifi_flags & IFF_RUNNING) != 0;
  l.loopback = (fixed->ifi_flags & IFF_LOOPBACK) != 0;
  while (const auto a = next_attribute(rest)) {
    if (a->type == IFLA_IFNAME) l.name = a->text();
    if (a->type == IFLA_MTU) l.mtu = a->u32();
    if (a->type == IFLA_TXQLEN) l.queue_length = a->u32();
    if (a->type == IFLA_AF_SPEC) l.takes_own = takes_own(a->value);
  }
  return l;
}

std::optional<LinkAddress> address_of(const Message& m) {
  Bytes rest;
  const auto fixed = m.fixed<ifaddrmsg>(rest);
  if (!fixed || m.header.nlmsg_type != RTM_NEWADDR) return std::nullopt;
  std::optional<IpAddress> address, local;
  while (const auto a = next_attribute(rest)) {
    if (a->type == IFA_ADDRESS) address = a->address();
    if (a->type == IFA_LOCAL) local = a->address();   // differs from IFA_ADDRESS on point-to-point links
  }
  if (!local) local = address;
  if (!local) return std::nullopt;
  return LinkAddress{static_cast<int>(fixed->ifa_index), *local, fixed->ifa_prefixlen};
}

std::optional<Route> route_of(const Message& m) {
  Bytes rest;
  const auto fixed = m.fixed<rtmsg>(rest);
  if (!fixed || m.header.nlmsg_type != RTM_NEWROUTE || (fixed->rtm_flags & RTM_F_CLONED) != 0) return std::nullopt;
  Route r;
  r.table = fixed->rtm_table;
  r.kind = kind_of(fixed->rtm_type);
  r.protocol = fixed->rtm_protocol;
  IpAddress to;
  while (const auto a = next_attribute(rest)) {
    switch (a->type) {
      case RTA_DST: to = a->address().value_or(to); break;
      case RTA_OIF: r.index = static_cast<int>(a->u32()); break;
      case RTA_GATEWAY: r.gateway = a->address(); break;
      case RTA_TABLE: r.table = a->u32(); break;
      case RTA_PREFSRC:
        if (const auto source = a->address(); source && source->is_v4()) r.source = source->v4();
        break;
      case RTA_MULTIPATH: {   // the first way speaks for all
        rtnexthop hop{};
        if (a->value.size() < sizeof hop) break;
        std::memcpy(&hop, a->value.data(), sizeof hop);
        r.index = hop.rtnh_ifindex;
        break;
      }
      default: break;
    }
  }
  r.to = Cidr(to, fixed->rtm_dst_len);
  return r;
}

std::optional<Rule> rule_of(const Message& m) {
  Bytes rest;
  const auto fixed = m.fixed<fib_rule_hdr>(rest);
  if (!fixed || m.header.nlmsg_type != RTM_NEWRULE) return std::nullopt;
  Rule r;
  r.table = fixed->table;
  const bool inverted = (fixed->flags & FIB_RULE_INVERT) != 0;
  while (const auto a = next_attribute(rest)) {
    if (a->type == FRA_PRIORITY) r.priority = a->u32();
    if (a->type == FRA_TABLE) r.table = a->u32();
    if (a->type == FRA_FWMARK) r.mark = a->u32();
  }
  r.but_mark = inverted;
  return r;
}

Buffer route_message(std::uint16_t type, std::uint16_t flags, const Route& r) {
  rtmsg body{};
  body.rtm_family = AF_INET;
  body.rtm_dst_len = static_cast<std::uint8_t>(r.to.prefix());
  body.rtm_table = r.table < 256 ? static_cast<std::uint8_t>(r.table) : static_cast<std::uint8_t>(RT_TABLE_UNSPEC);
  body.rtm_protocol = r.protocol;
  body.rtm_scope = r.gateway || r.kind != Route::Kind::unicast ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  if (type == RTM_DELROUTE) body.rtm_scope = RT_SCOPE_NOWHERE;   // of any scope
  body.rtm_type = RTN_UNICAST;
  if (r.kind == Route::Kind::pass) body.rtm_type = RTN_THROW;
  if (r.kind == Route::Kind::discard) body.rtm_type = RTN_UNREACHABLE;
  if (r.kind == Route::Kind::local) {
    body.rtm_type = RTN_LOCAL;
    body.rtm_scope = RT_SCOPE_HOST;
  }
  NetlinkWriter w(type, flags, body);
  w.address(RTA_DST, r.to.base());
  w.u32(RTA_TABLE, r.table);
  if (r.index != 0) w.u32(RTA_OIF, static_cast<std::uint32_t>(r.index));
  if (r.gateway) w.address(RTA_GATEWAY, *r.gateway);
  if (r.source) w.address(RTA_PREFSRC, *r.source);
  return w.take();
}

Buffer rule_message(std::uint16_t type, std::uint16_t flags, const Rule& r) {
  fib_rule_hdr body{};
  body.family = AF_INET;
  body.action = FR_ACT_TO_TBL;
  body.table = r.table < 256 ? static_cast<std::uint8_t>(r.table) : static_cast<std::uint8_t>(RT_TABLE_UNSPEC);
  if (r.but_mark) body.flags = FIB_RULE_INVERT;
  NetlinkWriter w(type, flags, body);
  if (r.mark != 0) w.u32(FRA_FWMARK, r.mark);
  w.u32(FRA_PRIORITY, r.priority);
  w.u32(FRA_TABLE, r.table);
  w.u8(FRA_PROTOCOL, kOwnProtocol);
  return w.take();
}

Buffer address_message(std::uint16_t type, std::uint16_t flags, const LinkAddress& a) {
  ifaddrmsg body{};
  body.ifa_family = a.address.is_v4() ? AF_INET : AF_INET6;
  body.ifa_prefixlen = static_cast<std::uint8_t>(a.prefix);
  body.ifa_index = static_cast<unsigned>(a.index);
  NetlinkWriter w(type, flags, body);
  w.address(IFA_LOCAL, a.address);
  w.address(IFA_ADDRESS, a.address);
  return w.take();
}

template <class T, class Parse>
Result<std::vector<T>> parse_all(Result<std::vector<Buffer>> datagrams, Parse parse) {
  if (!datagrams) return pass_on(datagrams);
  std::vector<T> out;
  for (const Buffer& d : *datagrams) {
    Bytes rest = d;
    while (const auto m = next_message(rest)) {
      if (auto item = parse(*m)) out.push_back(std::move(*item));
    }
  }
  return out;
}

}  // namespace

Result<Netlink> Netlink::open() {
  auto socket = NetlinkSocket::open(NETLINK_ROUTE);
  if (!socket) return pass_on(socket);
  return Netlink(std::move(*socket));
}

Result<std::vector<Link>> Netlink::links() {
  NetlinkWriter w(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{});
  return parse_all<Link>(socket_.dump(w.take(), "list the interfaces"), link_of);
}

Result<std::vector<LinkAddress>> Netlink::addresses() {
  NetlinkWriter w(RTM_GETADDR, NLM_F_DUMP, ifaddrmsg{});
  return parse_all<LinkAddress>(socket_.dump(w.take(), "list the addresses"), address_of);
}

Result<std::vector<Route>> Netlink::routes() {
  rtmsg body{};
  body.rtm_family = AF_INET;
  return parse_all<Route>(socket_.dump(NetlinkWriter(RTM_GETROUTE, NLM_F_DUMP, body).take(), "list the routes"), route_of);
}

Result<std::vector<Rule>> Netlink::rules() {
  fib_rule_hdr body{};
  body.family = AF_INET;
  return parse_all<Rule>(socket_.dump(NetlinkWriter(RTM_GETRULE, NLM_F_DUMP, body).take(), "list the routing rules"), rule_of);
}

Result<> Netlink::change_link(int index, const LinkChange& c) {
  const std::string what = fmt::format("set up interface {}", index);
  ifinfomsg body{};
  body.ifi_index = index;
  if (c.no_ipv6) {
    // A message of its own: a kernel without IPv6 refuses it, and then there is no address to prevent.
    NetlinkWriter w(RTM_SETLINK, NLM_F_ACK, body);
    const std::size_t families = w.begin(IFLA_AF_SPEC | NLA_F_NESTED);
    const std::size_t inet6 = w.begin(AF_INET6 | NLA_F_NESTED);
    w.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    w.end(inet6);
    w.end(families);
    if (auto done = socket_.change(w.take(), what, EAFNOSUPPORT); !done) return done;
  }
  if (c.takes_own) {
    NetlinkWriter w(RTM_SETLINK, NLM_F_ACK, body);
    const std::size_t families = w.begin(IFLA_AF_SPEC | NLA_F_NESTED);
    const std::size_t inet = w.begin(AF_INET | NLA_F_NESTED);
    const std::size_t settings = w.begin(IFLA_INET_CONF | NLA_F_NESTED);
    w.u32(IPV4_DEVCONF_ACCEPT_LOCAL, *c.takes_own ? 1 : 0);
    w.u32(IPV4_DEVCONF_RP_FILTER, *c.takes_own ? 2 : 0);
    w.end(settings);
    w.end(inet);
    w.end(families);
    if (auto done = socket_.change(w.take(), what); !done) return done;
  }
  if (c.up) {
    body.ifi_change = IFF_UP;
    body.ifi_flags = *c.up ? IFF_UP : 0;
  }
  NetlinkWriter w(RTM_NEWLINK, NLM_F_ACK, body);
  if (!c.name.empty()) w.bytes(IFLA_IFNAME, {reinterpret_cast<const std::uint8_t*>(c.name.c_str()), c.name.size() + 1});
  if (c.mtu) w.u32(IFLA_MTU, *c.mtu);
  if (c.queue_length) w.u32(IFLA_TXQLEN, *c.queue_length);
  return socket_.change(w.take(), what);
}

Result<> Netlink::add_address(const LinkAddress& a) {
  return socket_.change(address_message(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, a),
                fmt::format("add the address {}/{}", a.address.to_string(), a.prefix), EEXIST);
}

Result<> Netlink::remove_address(const LinkAddress& a) {
  return socket_.change(address_message(RTM_DELADDR, NLM_F_ACK, a),
                fmt::format("remove the address {}/{}", a.address.to_string(), a.prefix), EADDRNOTAVAIL);
}

Result<> Netlink::add_route(const Route& r) {
  return socket_.change(route_message(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, r),
                fmt::format("add the route {} to table {}", r.to.to_string(), r.table));
}

Result<> Netlink::remove_route(const Route& r) {
  return socket_.change(route_message(RTM_DELROUTE, NLM_F_ACK, r),
                fmt::format("remove the route {} from table {}", r.to.to_string(), r.table), ESRCH);
}

Result<> Netlink::add_rule(const Rule& r) {
  return socket_.change(rule_message(RTM_NEWRULE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, r),
                fmt::format("add the routing rule {} to table {}", r.priority, r.table), EEXIST);
}

Result<> Netlink::remove_rule(const Rule& r) {
  return socket_.change(rule_message(RTM_DELRULE, NLM_F_ACK, r), fmt::format("remove the routing rule {}", r.priority), ENOENT);
}

Result<std::vector<IpAddress>> local_addresses() {
  auto netlink = Netlink::open();
  if (!netlink) return pass_on(netlink);
  auto links = netlink->links();
  auto addresses = netlink->addresses();
  if (!links) return pass_on(links);
  if (!addresses) return pass_on(addresses);
  std::vector<IpAddress> out;
  for (const LinkAddress& a : *addresses) {
    const auto on = std::find_if(links->begin(), links->end(), [&](const Link& l) { return l.index == a.index; });
    if (on == links->end() || !on->loopback) out.push_back(a.address);
  }
  return out;
}

}  // namespace tg::net
