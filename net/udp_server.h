// A UDP socket that many ask and that answers them, in batches.
#pragma once

#include <functional>
#include <memory>

#include "core/bytes.h"
#include "net/loop.h"
#include "net/socket.h"

namespace tg::net {

// UdpServer hands over each datagram that comes to a bound socket, at most 128 a turn, and sends what is answered. Datagrams are
// read many with one call (recvmmsg(2)), and what is answered while they are handed over leaves with one (sendmmsg(2)). An answer
// for which the kernel has no room is lost, as on any network. Destroying it closes the socket.
class UdpServer {
 public:
  // Received is called with bytes that are good during the call.
  using Received = std::function<void(Bytes datagram, const SockAddr& from)>;
  UdpServer(Loop& loop, Fd socket, Received received);
  ~UdpServer();
  UdpServer(UdpServer&&) noexcept;
  UdpServer& operator=(UdpServer&&) noexcept;

  // Answer sends one datagram to `to`, also after the UdpServer is gone: then it does nothing.
  using Answer = std::function<void(Bytes datagram, const SockAddr& to)>;
  Answer answer() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tg::net
