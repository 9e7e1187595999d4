#include "net/udp_server.h"

#include "net/datagrams.h"

namespace tg::net {
namespace {

constexpr int kBatchesPerTurn = 4;

}  // namespace

struct UdpServer::State {
  Fd fd;
  Received received;
  Watch watch{};               // destroyed before the socket
  bool receiving = false;
  OutgoingDatagrams answers{};   // that wait for the end of the batch

  void receive() {
    for (int i = 0; i < kBatchesPerTurn && receive_batch(); ++i) continue;
  }

  // receive_batch returns whether there may be more.
  bool receive_batch() {
    const auto batch = receive_datagrams(fd.get());
    if (!batch) return false;
    receiving = true;
    for (const Datagram& d : *batch) {
      if (watch) received(d.bytes, d.from);   // the owner may have destroyed it
    }
    receiving = false;
    answers.send(fd.get());
    return watch && batch->size() == kDatagramsAtOnce;
  }

  void answer(Bytes datagram, const SockAddr& to) {
    answers.add(datagram, &to);
    if (!receiving) answers.send(fd.get());
  }
};

UdpServer::UdpServer(Loop& loop, Fd socket, Received received)
    : state_(new State{std::move(socket), std::move(received)}) {
  State* s = state_.get();
  s->watch = Watch(loop, s->fd.get(), [weak = std::weak_ptr(state_)] {
    if (const auto alive = weak.lock()) alive->receive();
  });
  s->watch.want_read(true);
}

UdpServer::~UdpServer() {
  if (state_) state_->watch = {};
}
UdpServer::UdpServer(UdpServer&&) noexcept = default;
UdpServer& UdpServer::operator=(UdpServer&&) noexcept = default;

UdpServer::Answer UdpServer::answer() const {
  return [weak = std::weak_ptr(state_)](Bytes datagram, const SockAddr& to) {
    if (const auto s = weak.lock()) s->answer(datagram, to);
  };
}

}  // namespace tg::net
