#include "net/link_watch.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>

namespace tg::net {

Result<LinkWatch> LinkWatch::start(Loop& loop, std::function<void()> changed) {
  LinkWatch out;
  out.fd_ = Fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!out.fd_) return tl::unexpected(os_error(errno, "watch the network"));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR;
  if (::bind(out.fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return tl::unexpected(os_error(errno, "watch the network"));
  }
  out.watch_ = Watch(loop, out.fd_.get(), [fd = out.fd_.get(), changed = std::move(changed)] {
    char message[32768];
    // What it says does not matter, nor that some was lost (ENOBUFS): look anew.
    while (::recv(fd, message, sizeof message, 0) > 0 || errno == ENOBUFS) {
    }
    changed();
  });
  out.watch_.want_read(true);
  return out;
}

}  // namespace tg::net
