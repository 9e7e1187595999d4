#include "net/datagrams.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

namespace tg::net {
namespace {

constexpr std::size_t kDatagramMax = 65535;

// Where a thread reads datagrams to. Of memory that was never written to the kernel gives none.
std::uint8_t* slot(std::size_t number) {
  thread_local const std::unique_ptr<std::uint8_t[]> bytes(new std::uint8_t[kDatagramsAtOnce * kDatagramMax]);
  return bytes.get() + number * kDatagramMax;
}

}  // namespace

tl::expected<std::span<const Datagram>, int> receive_datagrams(int fd) {
  thread_local std::array<Datagram, kDatagramsAtOnce> datagrams;
  std::array<mmsghdr, kDatagramsAtOnce> messages{};
  std::array<iovec, kDatagramsAtOnce> parts{};
  for (std::size_t i = 0; i < kDatagramsAtOnce; ++i) {
    parts[i] = {slot(i), kDatagramMax};
    msghdr& h = messages[i].msg_hdr;
    h.msg_name = datagrams[i].from.raw();
    h.msg_namelen = sizeof datagrams[i].from.storage;
    h.msg_iov = &parts[i];
    h.msg_iovlen = 1;
  }
  const int n = ::recvmmsg(fd, messages.data(), kDatagramsAtOnce, 0, nullptr);
  if (n < 0) return tl::unexpected(errno);
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    datagrams[i].bytes = {slot(i), messages[i].msg_len};
    datagrams[i].from.size = messages[i].msg_hdr.msg_namelen;
  }
  return std::span<const Datagram>(datagrams.data(), static_cast<std::size_t>(n));
}

void OutgoingDatagrams::add(Bytes datagram, const SockAddr* to) {
  kept_.push_back({bytes_.size(), datagram.size(), to != nullptr ? *to : SockAddr(), to != nullptr});
  bytes_.insert(bytes_.end(), datagram.begin(), datagram.end());
}

void OutgoingDatagrams::send(int fd, const std::function<bool(int)>& refused) {
  const Buffer bytes = std::exchange(bytes_, {});
  std::vector<Kept> kept = std::exchange(kept_, {});
  for (std::size_t at = 0; at < kept.size();) {
    std::array<mmsghdr, kDatagramsAtOnce> messages{};
    std::array<iovec, kDatagramsAtOnce> parts{};
    const std::size_t count = std::min(kept.size() - at, kDatagramsAtOnce);
    for (std::size_t i = 0; i < count; ++i) {
      Kept& k = kept[at + i];
      parts[i] = {const_cast<std::uint8_t*>(bytes.data()) + k.at, k.size};
      msghdr& h = messages[i].msg_hdr;
      if (k.has_to) {
        h.msg_name = k.to.raw();
        h.msg_namelen = k.to.size;
      }
      h.msg_iov = &parts[i];
      h.msg_iovlen = 1;
    }
    const int n = ::sendmmsg(fd, messages.data(), static_cast<unsigned>(count), MSG_NOSIGNAL);
    const int err = errno;
    if (n <= 0 && refused && !refused(err)) return;
    const bool full = err == EAGAIN || err == ENOBUFS;
    at += n > 0 ? static_cast<std::size_t>(n) : full ? count : 1;
  }
}

}  // namespace tg::net
