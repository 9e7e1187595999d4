// Notice when this host's network changes.
#pragma once

#include <functional>

#include "net/loop.h"
#include "net/socket.h"

namespace tg::net {

// LinkWatch calls back when an interface goes up or down, or an address or route comes or goes (rtnetlink(7)). Several changes
// that happen together may be told as one or as many.
class LinkWatch {
 public:
  LinkWatch() = default;
  static Result<LinkWatch> start(Loop& loop, std::function<void()> changed);

 private:
  Fd fd_;
  Watch watch_;   // destroyed before fd_
};

}  // namespace tg::net
