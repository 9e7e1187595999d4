// Sockets that are closed on both sides, and of which the kernel still holds something.
#pragma once

#include <deque>

#include "net/loop.h"
#include "net/socket.h"

namespace tg::net {

// LingeringSockets keeps TCP sockets whose both directions are shut until their peer has acknowledged everything: as a process ends
// it can then reset those of slow readers, who would wait for ever otherwise. Looks at them every second.
class LingeringSockets {
 public:
  static constexpr std::size_t kMost = 1024;    // above it the oldest goes on without us

  explicit LingeringSockets(Loop& loop);

  void keep(Fd fd);
  // reset sends RST to the peers of all.
  void reset();
  std::size_t size() const noexcept { return sockets_.size(); }

 private:
  void look();
  std::deque<Fd> sockets_;
  Timer look_;
};

}  // namespace tg::net
