#include "net/udp_server.h"

#include <sys/socket.h>

#include <array>
#include <span>
#include <vector>

namespace tg::net {
namespace {

constexpr std::size_t kBatch = 32;
constexpr int kBatchesPerTurn = 4;
constexpr std::size_t kDatagramMax = 65535;

// Where datagrams are read to, whichever socket they come from. Of memory that was never written to the kernel gives none.
std::uint8_t* slot(std::size_t number) {
  static const std::unique_ptr<std::uint8_t[]> bytes(new std::uint8_t[kBatch * kDatagramMax]);
  return bytes.get() + number * kDatagramMax;
}

}  // namespace

struct UdpServer::State {
  Fd fd;
  Received received;
  Watch watch{};               // destroyed before the socket
  bool receiving = false;
  // Answers that wait for the end of the batch.
  Buffer bytes{};
  struct Waiting {
    std::size_t at = 0, size = 0;
    SockAddr to;
  };
  std::vector<Waiting> waiting{};

  void receive() {
    for (int i = 0; i < kBatchesPerTurn && receive_batch(); ++i) continue;
  }

  // receive_batch returns whether there may be more.
  bool receive_batch() {
    std::array<mmsghdr, kBatch> messages{};
    std::array<iovec, kBatch> parts{};
    std::array<SockAddr, kBatch> from{};
    for (std::size_t i = 0; i < kBatch; ++i) {
      parts[i] = {slot(i), kDatagramMax};
      msghdr& h = messages[i].msg_hdr;
      h.msg_name = from[i].raw();
      h.msg_namelen = from[i].size;
      h.msg_iov = &parts[i];
      h.msg_iovlen = 1;
    }
    const int n = ::recvmmsg(fd.get(), messages.data(), kBatch, 0, nullptr);
    if (n <= 0) return false;
    receiving = true;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n) && watch; ++i) {   // the owner may have destroyed it
      from[i].size = messages[i].msg_hdr.msg_namelen;
      received({slot(i), messages[i].msg_len}, from[i]);
    }
    receiving = false;
    send();
    return watch && static_cast<std::size_t>(n) == kBatch;
  }

  void send() {
    std::array<mmsghdr, kBatch> messages{};
    std::array<iovec, kBatch> parts{};
    std::size_t count = 0;
    for (Waiting& w : waiting) {
      parts[count] = {bytes.data() + w.at, w.size};
      msghdr& h = messages[count].msg_hdr;
      h.msg_name = w.to.raw();
      h.msg_namelen = w.to.size;
      h.msg_iov = &parts[count];
      h.msg_iovlen = 1;
      if (++count < kBatch && &w != &waiting.back()) continue;
      send_all({messages.data(), count});
      messages = {};
      count = 0;
    }
    waiting.clear();
    bytes.clear();
  }

  // One that is refused, since its receiver is gone, say, does not keep the others.
  void send_all(std::span<mmsghdr> messages) {
    while (!messages.empty()) {
      const int n = ::sendmmsg(fd.get(), messages.data(), static_cast<unsigned>(messages.size()), MSG_NOSIGNAL);
      messages = messages.subspan(n > 0 ? static_cast<std::size_t>(n) : 1);
    }
  }

  void answer(Bytes datagram, const SockAddr& to) {
    if (!receiving) {
      ::sendto(fd.get(), datagram.data(), datagram.size(), MSG_NOSIGNAL, to.raw(), to.size);
      return;
    }
    waiting.push_back({bytes.size(), datagram.size(), to});
    bytes.insert(bytes.end(), datagram.begin(), datagram.end());
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
