#include "net/acceptor.h"

#include <cerrno>

namespace tg::net {
namespace {
constexpr int kPerTurn = 64;
constexpr Duration kPause = std::chrono::milliseconds(100);
}  // namespace

struct Acceptor::State {
  Fd listener;
  std::function<void(Fd, const Endpoint&)> accepted;
  Watch watch{};   // destroyed before the listener
  Timer pause{};
  bool wanted = true;

  void accept_some() {
    for (int i = 0; i < kPerTurn && wanted; ++i) {
      Endpoint peer;
      Fd fd = accept_from(listener.get(), &peer);
      if (fd) {
        accepted(std::move(fd), peer);
        continue;
      }
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        watch.want_read(false);
        pause.after(kPause);
      }
      return;
    }
  }
};

Acceptor::Acceptor(Loop& loop, Fd listener, std::function<void(Fd, const Endpoint&)> accepted)
    : state_(new State{std::move(listener), std::move(accepted)}) {
  State* s = state_.get();
  s->watch = Watch(loop, s->listener.get(), [s] { s->accept_some(); });
  s->pause = Timer(loop, [s] { s->watch.want_read(s->wanted); });
  s->watch.want_read(true);
}

void Acceptor::want(bool on) {
  if (!state_ || state_->wanted == on) return;
  state_->wanted = on;
  state_->watch.want_read(on);
}

int Acceptor::fd() const noexcept { return state_ ? state_->listener.get() : -1; }

}  // namespace tg::net
