#include "cmd/connector/recorder.h"

#include <utility>

#include "net/loop.h"

namespace tg::connector {

std::uint64_t Recorder::new_flow() {
  const std::lock_guard lock(mutex_);
  return ++flow_ == 0 ? ++flow_ : flow_;
}

void Recorder::count(const ConnectionEvent& e) {
  switch (e.kind) {
    case ConnectionEvent::Kind::established: ++counts_.established[e.protocol]; break;
    case ConnectionEvent::Kind::denied: ++counts_.denied[e.reason]; break;
    case ConnectionEvent::Kind::failed: ++counts_.failed[e.reason]; break;
    case ConnectionEvent::Kind::closed:
    case ConnectionEvent::Kind::lost: break;
  }
}

void Recorder::record(ConnectionEvent e) {
  {
    const std::lock_guard lock(mutex_);
    count(e);
    const bool denied = e.kind == ConnectionEvent::Kind::denied;
    if (denied || e.kind == ConnectionEvent::Kind::failed) {
      const auto left_out = (denied ? denied_ : failed_).take(e.device, net::Loop::now());
      if (!left_out) return;
      e.more = *left_out;
    }
    e.time = std::chrono::duration_cast<Milliseconds>(std::chrono::system_clock::now().time_since_epoch());
    const bool nothing_before = kept_.events.empty();
    if (kept_.events.size() < kMost) kept_.events.push_back(std::move(e));
    else kept_.lost += 1 + e.more;
    if (!nothing_before) return;
  }
  news_();
}

Recorder::Taken Recorder::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(kept_, {});
}

Recorder::Counts Recorder::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace tg::connector
