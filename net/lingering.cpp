#include "net/lingering.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

namespace tg::net {
namespace {

constexpr Duration kEvery = std::chrono::seconds(1);

bool waits_for_its_peer(const Fd& fd) noexcept {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  return info.tcpi_state == TCP_FIN_WAIT1 || info.tcpi_state == TCP_CLOSING || info.tcpi_state == TCP_LAST_ACK;
}

}  // namespace

LingeringSockets::LingeringSockets(Loop& loop) : look_(loop, [this] { look(); }) {}

void LingeringSockets::keep(Fd fd) {
  if (!waits_for_its_peer(fd)) return;
  if (sockets_.size() >= kMost) sockets_.pop_front();
  if (sockets_.empty()) look_.after(kEvery);
  sockets_.push_back(std::move(fd));
}

void LingeringSockets::reset() {
  for (const Fd& fd : sockets_) set_reset_on_close(fd.get());
  sockets_.clear();
}

void LingeringSockets::look() {
  std::erase_if(sockets_, [](const Fd& fd) { return !waits_for_its_peer(fd); });
  if (!sockets_.empty()) look_.after(kEvery);
}

}  // namespace tg::net
