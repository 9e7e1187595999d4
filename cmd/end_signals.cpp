#include "cmd/end_signals.h"

#include <csignal>
#include <utility>

namespace tg::cmd {

void on_end(net::Loop& loop, std::function<void()> end) {
  struct sigaction hangup {};
  const bool nohup = ::sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler == SIG_IGN;
  const auto handle = [end = std::move(end), asked = false](int number) mutable {
    if (std::exchange(asked, true) && number == SIGHUP) return;
    end();
  };
  if (nohup) loop.on_signal({SIGTERM, SIGINT}, handle);
  else loop.on_signal({SIGTERM, SIGINT, SIGHUP}, handle);
}

}  // namespace tg::cmd
