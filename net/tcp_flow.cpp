#include "net/tcp_flow.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tg::net {
namespace {

// A silent peer is asked whether it is still there (RFC 9293 section 3.8.4). One that knows nothing of the connection
// any more, since it was started anew or its program is long gone, says so to the first question. One that says nothing
// is given up after kAsk * (1 + kAsks) = 2 h 5 min: no earlier than RFC 5382 REQ-5 has a NAT keep an idle connection.
constexpr int kAsk = 5 * 60;   // seconds
constexpr int kAsks = 24;
constexpr std::size_t kGathered = 64;   // parts that are sent at once
// What is read ahead of one socket; and what makes it worth while to have memory for that. The memory is given back when the socket
// has no more.
constexpr std::size_t kAheadOfOne = 112 * 1024, kAheadLeast = 16 * 1024;
// How long a stream may take nothing of what was received before the socket failed.
constexpr Duration kStalled = std::chrono::seconds(3);
// How often a socket is looked at for errors that always has something else to tell.
constexpr Duration kWatchAgain = std::chrono::seconds(1);

void prepare(int fd) noexcept {
  set_nodelay(fd);
  const auto set = [fd](int level, int option, int value) { ::setsockopt(fd, level, option, &value, sizeof value); };
  set(IPPROTO_TCP, TCP_KEEPIDLE, kAsk);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kAsk);
  set(IPPROTO_TCP, TCP_KEEPCNT, kAsks);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set_reset_on_close(fd);             // until both FINs: what ends otherwise, by a crash too, must not pass for a whole
  set(SOL_SOCKET, SO_OOBINLINE, 1);   // an urgent byte is a byte of the stream (RFC 6093 section 3.1)
}

ssize_t send_parts(int fd, std::span<iovec> parts) noexcept {
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  return ::sendmsg(fd, &message, MSG_NOSIGNAL);
}

}  // namespace

TcpFlow::TcpFlow(Loop& loop, Fd fd, TunnelLink& link, StreamId id, std::function<void()> ended,
                 DeviceQuota::Hold kept)
    : loop_(loop), link_(link), fd_(std::move(fd)), id_(id), ended_(std::move(ended)), kept_(std::move(kept)) {
  prepare(fd_.get());
  watch_ = Watch(loop, fd_.get(), [this] { on_readable(); }, [this] { on_writable(); }, [this] { on_error(); });
  watch_.want_read(true);
  watch_.want_error(true);   // while the stream takes nothing, or after EOF, nobody reads
}

TcpFlow::~TcpFlow() {
  watch_ = {};
  if (waits_) link_.forget_batch(*this);
}

void TcpFlow::on_readable() {
  watch_.want_read(false);   // until pull() has emptied the socket
  link_.tunnel().readable(id_);
  link_.kick();
}

// read_ahead returns how much may be read beyond what the tunnel asked for: it goes out without another word of the peer.
std::size_t TcpFlow::read_ahead(std::size_t asked) const noexcept {
  const Tunnel& tunnel = link_.tunnel();
  const std::size_t credit = tunnel.credit(id_);
  return std::min({kAheadOfOne, kAhead / std::max<std::size_t>(tunnel.streams(), 1), credit - std::min(credit, asked)});
}

// receive reads what the tunnel asked for and, once a socket had all of that, more at once: each call costs, and has the sender's
// kernel told of the room. errno as recv(2).
ssize_t TcpFlow::receive(MutBytes out) {
  if (ahead_at_ < ahead_end_) {
    const std::size_t size = std::min(out.size(), ahead_end_ - ahead_at_);
    std::memcpy(out.data(), ahead_.get() + ahead_at_, size);
    ahead_at_ += size;
    return static_cast<ssize_t>(size);
  }
  const std::size_t room = ahead_ ? std::min(read_ahead(out.size()), ahead_room_) : 0;
  iovec parts[] = {{out.data(), out.size()}, {ahead_.get(), room}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = room > 0 ? 2 : 1;
  const ssize_t n = ::recvmsg(fd_.get(), &message, 0);
  if (n <= 0) return n;
  const std::size_t taken = std::min(out.size(), static_cast<std::size_t>(n));
  ahead_at_ = 0;
  ahead_end_ = static_cast<std::size_t>(n) - taken;
  if (taken < out.size()) ahead_.reset();
  else if (!ahead_ && (ahead_room_ = read_ahead(out.size())) >= kAheadLeast) ahead_.reset(new std::uint8_t[ahead_room_]);
  return static_cast<ssize_t>(taken);
}

Pull TcpFlow::pull(MutBytes out) {
  if (out.empty()) return {.more = true};
  const ssize_t n = receive(out);
  if (n > 0) {
    from_socket_ += static_cast<std::uint64_t>(n);
    if (broken_) {
      stalled_.after(kStalled);
      return {.size = static_cast<std::size_t>(n), .more = true};
    }
    const bool more = static_cast<std::size_t>(n) == out.size() || ahead_ != nullptr;
    if (!more) watch_.want_read(true);
    return {.size = static_cast<std::size_t>(n), .more = more};
  }
  if (n == 0 && !broken_) {
    ahead_.reset();
    socket_ended_ = true;
    finish_if_over();
    return {.fin = true};
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR) && !broken_) {
    ahead_.reset();
    watch_.want_read(true);
    return {};
  }
  failed();
  return {};
}

void TcpFlow::data(Bytes bytes) {
  if (broken_) return;   // nobody is there to take it
  iovec part{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
  if (!waits_) waits_ = link_.wait_for_batch(*this);
  if (!waits_) {
    send({&part, 1});
    return;
  }
  gathered_.push_back(part);
  if (gathered_.size() >= kGathered) send_gathered();
}

void TcpFlow::batch_over() {
  waits_ = false;
  send_gathered();
}

void TcpFlow::send_gathered() {
  if (gathered_.empty()) return;
  std::vector<iovec> parts;
  parts.swap(gathered_);
  if (send(parts)) shut_when_sent();
}

// send gives the socket what it takes, and keeps the rest. False when the flow has failed: this may be gone.
bool TcpFlow::send(std::span<iovec> parts) {
  std::size_t taken = 0;
  if (pending_.size() == pending_at_) {
    const ssize_t n = send_parts(fd_.get(), parts);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
      broken();
      return false;
    }
    if (n > 0) {
      taken = static_cast<std::size_t>(n);
      to_socket_ += taken;
      link_.tunnel().consumed(id_, taken);
      link_.kick();
    }
  }
  std::size_t rest = 0;
  for (const iovec& p : parts) rest += p.iov_len;
  rest -= taken;
  if (rest == 0) return true;
  watch_.want_write(true);
  if (!kept_.add(rest)) {
    failed(Code::exhausted);
    return false;
  }
  for (const iovec& p : parts) {
    const std::size_t gone = std::min(taken, p.iov_len);
    taken -= gone;
    keep({static_cast<const std::uint8_t*>(p.iov_base) + gone, p.iov_len - gone});
  }
  return true;
}

// keep makes room by throwing away what was sent. Only where that is too little for an eighth to stay free, so that a byte is
// moved a few times at most, does it take more memory.
void TcpFlow::keep(Bytes bytes) {
  if (pending_.size() + bytes.size() > pending_.capacity()) {
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(pending_at_));
    pending_at_ = 0;
    const std::size_t size = pending_.size() + bytes.size();
    if (size > pending_.capacity() - pending_.capacity() / 8) pending_.reserve(size + size / 2);
  }
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
}

void TcpFlow::on_writable() {
  const Bytes rest = Bytes(pending_).subspan(pending_at_);
  const ssize_t n = ::send(fd_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) return broken();
  to_socket_ += static_cast<std::uint64_t>(n);
  pending_at_ += static_cast<std::size_t>(n);
  kept_.remove(static_cast<std::size_t>(n));
  link_.tunnel().consumed(id_, static_cast<std::size_t>(n));
  link_.kick();
  const Bytes left = Bytes(pending_).subspan(pending_at_);
  if (left.size() <= pending_.capacity() / 2) {
    Buffer(left.begin(), left.end()).swap(pending_);
    pending_at_ = 0;
  }
  if (pending_at_ < pending_.size()) return;
  watch_.want_write(false);
  shut_when_sent();
}

void TcpFlow::fin() {
  stream_ended_ = true;
  if (!broken_) shut_when_sent();
}

void TcpFlow::shut_when_sent() {
  if (!stream_ended_ || shut_ || !gathered_.empty() || pending_at_ < pending_.size()) return;
  shut_ = true;
  ::shutdown(fd_.get(), SHUT_WR);
  finish_if_over();
}

void TcpFlow::finish_if_over() {
  if (!socket_ended_ || !shut_ || over_) return;
  clear_reset_on_close(fd_.get());
  over_ = Timer(loop_, [this] {
    const auto ended = std::move(ended_);
    ended();   // destroys this
  });
  over_.after(Duration::zero());
}

void TcpFlow::on_error() {
  watch_.want_error(false);
  if (over_) return;
  if (connect_error(fd_.get()) != 0) return broken();
  // Both of the socket's directions are shut, or there is urgent data, until somebody reads: it can still fail.
  if (!watch_again_) watch_again_ = Timer(loop_, [this] { watch_.want_error(true); });
  watch_again_.after(kWatchAgain);
}

// broken: the socket has failed. What it had received before goes first: a server may answer and reset in one breath.
void TcpFlow::broken() {
  broken_ = true;
  watch_ = {};
  watch_again_ = {};
  std::uint8_t next = 0;
  const bool left = ahead_at_ < ahead_end_ || (!socket_ended_ && ::recv(fd_.get(), &next, 1, MSG_PEEK) > 0);
  if (!left) return failed();
  link_.tunnel().readable(id_);
  link_.kick();
  stalled_ = Timer(loop_, [this] { failed(); });
  stalled_.after(kStalled);
}

void TcpFlow::failed(Code code) {
  failure_ = code;
  link_.tunnel().reset(id_, code);
  link_.kick();
  const auto ended = std::move(ended_);
  ended();   // destroys this
}

Fd TcpFlow::release() noexcept {
  watch_ = {};
  return std::move(fd_);
}

void TcpFlow::reset() {
  if (!gathered_.empty() && pending_at_ == pending_.size()) {   // it came before the reset
    const ssize_t n = send_parts(fd_.get(), gathered_);
    if (n > 0) to_socket_ += static_cast<std::uint64_t>(n);
    gathered_.clear();
  }
  // Its destructor says RST; what the kernel still holds after both FINs is the peer's.
}

}  // namespace tg::net
