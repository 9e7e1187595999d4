#include "cmd/connector/recorder.h"

#include "net/loop.h"

namespace tg::connector {

void Recorder::count(const ConnectionEvent& e) {
  switch (e.kind) {
    case ConnectionEvent::Kind::established: ++counts_.established[e.protocol]; break;
    case ConnectionEvent::Kind::denied: ++counts_.denied[e.reason]; break;
    case ConnectionEvent::Kind::failed: ++counts_.failed[e.reason]; break;
    case ConnectionEvent::Kind::closed:
      counts_.up += e.up;
      counts_.down += e.down;
      break;
    case ConnectionEvent::Kind::lost: break;
  }
}

void Recorder::record(ConnectionEvent e) {
  count(e);
  const bool denied = e.kind == ConnectionEvent::Kind::denied;
  if (denied || e.kind == ConnectionEvent::Kind::failed) {
    const auto left_out = (denied ? denied_ : failed_).take(e.device, net::Loop::now());
    if (!left_out) return;
    e.more = *left_out;
  }
  e.time = std::chrono::duration_cast<Milliseconds>(std::chrono::system_clock::now().time_since_epoch());
  keep_(e);
}

}  // namespace tg::connector
