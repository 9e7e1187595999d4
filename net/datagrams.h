// Datagrams by the batch: many are read with one call (recvmmsg(2)), and many leave with one (sendmmsg(2)).
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "core/bytes.h"
#include "net/socket.h"

namespace tg::net {

inline constexpr std::size_t kDatagramsAtOnce = 32;

struct Datagram {
  Bytes bytes;
  SockAddr from;
};

// receive_datagrams reads what has come to a socket that does not block, at most kDatagramsAtOnce. They are good until it is called
// again by the same thread, for whichever socket. The error is errno's value: EAGAIN when there is nothing.
tl::expected<std::span<const Datagram>, int> receive_datagrams(int fd);

// OutgoingDatagrams keeps what is to leave together, in order.
class OutgoingDatagrams {
 public:
  // add copies a datagram. `to`: null for a socket that has its peer.
  void add(Bytes datagram, const SockAddr* to = nullptr);
  bool empty() const noexcept { return kept_.empty(); }
  // send sends all, and keeps none. One that the kernel refuses is lost and does not keep the others, unless `refused`, which hears
  // of its errno, returns false: then the rest is lost too. Where there is no room, those that were to leave with it are lost.
  void send(int fd, const std::function<bool(int)>& refused = {});

 private:
  struct Kept {
    std::size_t at = 0, size = 0;   // in bytes_
    SockAddr to;
    bool has_to = false;
  };
  Buffer bytes_;
  std::vector<Kept> kept_;
};

}  // namespace tg::net
