#include "net/network_monitor.h"

#include <linux/fib_rules.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <ctime>

#include "net/netlink_message.h"

namespace tg::net {
namespace {

// What a route's message says of its table and interface.
struct Place {
  std::uint32_t table = 0;
  int index = 0;
};
Place place_of(const rtmsg& fixed, Bytes attributes) {
  Place p{fixed.rtm_table, 0};
  while (const auto a = next_attribute(attributes)) {
    if (a->type == RTA_TABLE) p.table = a->u32();
    if (a->type == RTA_OIF) p.index = static_cast<int>(a->u32());
  }
  return p;
}

}  // namespace

Result<NetworkMonitor> NetworkMonitor::open() {
  NetworkMonitor m;
  m.fd_ = Fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!m.fd_) return tl::unexpected(os_error(errno, "open rtnetlink"));
  sockaddr_nl at{};
  at.nl_family = AF_NETLINK;
  at.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE |
                 RTMGRP_IPV4_RULE;
  if (bind(m.fd(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
    return tl::unexpected(os_error(errno, "watch the network for changes"));
  }
  return m;
}

NetworkMonitor::Changes NetworkMonitor::drain() {
  Changes out;
  std::array<std::uint8_t, 32768> in;
  for (;;) {
    const ssize_t n = recv(fd(), in.data(), in.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == ENOBUFS) {
      out = {true, true, true, true};
      continue;
    }
    if (n <= 0) return out;
    Bytes rest = Bytes(in).first(static_cast<std::size_t>(n));
    while (const auto m = next_message(rest)) {
      Bytes attributes;
      switch (m->header.nlmsg_type) {
        case RTM_NEWLINK:
        case RTM_DELLINK:
          if (const auto f = m->fixed<ifinfomsg>(attributes)) (f->ifi_index != index_ ? out.links : out.own) = true;
          break;
        case RTM_NEWADDR:
        case RTM_DELADDR:
          if (const auto f = m->fixed<ifaddrmsg>(attributes)) {
            (static_cast<int>(f->ifa_index) != index_ ? out.addresses : out.own) = true;
          }
          break;
        case RTM_NEWROUTE:
        case RTM_DELROUTE:
          if (const auto f = m->fixed<rtmsg>(attributes)) {
            const Place p = place_of(*f, attributes);
            // IPv6 tells of every cached route of a destination too.
            const bool cached = (f->rtm_flags & RTM_F_CLONED) != 0;
            if (cached) break;
            const bool ours = is_own(p.table) || (index_ != 0 && p.index == index_);
            (ours ? out.own : out.routes) = true;
          }
          break;
        case RTM_NEWRULE:
        case RTM_DELRULE:
          if (const auto f = m->fixed<fib_rule_hdr>(attributes)) {
            std::uint32_t table = f->table;
            while (const auto a = next_attribute(attributes)) {
              if (a->type == FRA_TABLE) table = a->u32();
            }
            (is_own(table) ? out.own : out.routes) = true;
          }
          break;
        default: break;
      }
    }
  }
}

Duration time_asleep() noexcept {
  timespec with{}, without{};
  clock_gettime(CLOCK_MONOTONIC, &without);
  clock_gettime(CLOCK_BOOTTIME, &with);
  return std::chrono::seconds(with.tv_sec - without.tv_sec) + std::chrono::nanoseconds(with.tv_nsec - without.tv_nsec);
}

}  // namespace tg::net
