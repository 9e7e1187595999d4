#include "net/tcp_flow.h"

#include <sys/socket.h>

#include <cerrno>

namespace tg::net {

TcpFlow::TcpFlow(Loop& loop, Fd fd, TunnelLink& link, StreamId id, std::function<void()> ended)
    : loop_(loop), link_(link), fd_(std::move(fd)), id_(id), ended_(std::move(ended)) {
  set_nodelay(fd_.get());
  watch_ = Watch(loop, fd_.get(), [this] { on_readable(); }, [this] { on_writable(); });
  watch_.want_read(true);
}

TcpFlow::~TcpFlow() { watch_ = {}; }

void TcpFlow::on_readable() {
  watch_.want_read(false);   // until pull() has emptied the socket
  link_.tunnel().readable(id_);
  link_.kick();
}

Pull TcpFlow::pull(MutBytes out) {
  if (out.empty()) return {.more = true};
  const ssize_t n = ::recv(fd_.get(), out.data(), out.size(), 0);
  if (n > 0) {
    from_socket_ += static_cast<std::uint64_t>(n);
    const bool more = static_cast<std::size_t>(n) == out.size();
    if (!more) watch_.want_read(true);
    return {.size = static_cast<std::size_t>(n), .more = more};
  }
  if (n == 0) {
    socket_ended_ = true;
    finish_if_over();
    return {.fin = true};
  }
  if (errno == EAGAIN || errno == EINTR) {
    watch_.want_read(true);
    return {};
  }
  failed();
  return {};
}

void TcpFlow::data(Bytes bytes) {
  if (pending_.size() == pending_at_) {
    const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return failed();
    if (n > 0) {
      to_socket_ += static_cast<std::uint64_t>(n);
      link_.tunnel().consumed(id_, static_cast<std::size_t>(n));
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    if (bytes.empty()) return;
    watch_.want_write(true);
  }
  if (pending_at_ > pending_.size() / 2) {   // what was sent goes, so that a steady trickle does not pile up
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(pending_at_));
    pending_at_ = 0;
  }
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
}

void TcpFlow::on_writable() {
  const Bytes rest = Bytes(pending_).subspan(pending_at_);
  const ssize_t n = ::send(fd_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) return failed();
  to_socket_ += static_cast<std::uint64_t>(n);
  pending_at_ += static_cast<std::size_t>(n);
  link_.tunnel().consumed(id_, static_cast<std::size_t>(n));
  link_.kick();
  if (pending_at_ < pending_.size()) return;
  Buffer().swap(pending_);
  pending_at_ = 0;
  watch_.want_write(false);
  if (stream_ended_ && !shut_) {
    shut_ = true;
    ::shutdown(fd_.get(), SHUT_WR);
    finish_if_over();
  }
}

void TcpFlow::fin() {
  stream_ended_ = true;
  if (pending_at_ < pending_.size()) return;   // the rest first
  shut_ = true;
  ::shutdown(fd_.get(), SHUT_WR);
  finish_if_over();
}

void TcpFlow::finish_if_over() {
  if (!socket_ended_ || !shut_ || over_) return;
  over_ = Timer(loop_, [this] {
    const auto ended = std::move(ended_);
    ended();   // destroys this
  });
  over_.after(Duration::zero());
}

void TcpFlow::failed() {
  link_.tunnel().reset(id_, Code::reset);
  link_.kick();
  const auto ended = std::move(ended_);
  ended();   // destroys this
}

void TcpFlow::reset() { set_reset_on_close(fd_.get()); }

}  // namespace tg::net
