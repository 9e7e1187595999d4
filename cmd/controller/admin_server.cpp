#include "cmd/controller/admin_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace tg::controller {
namespace {

bool may_ask(int fd) {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return false;
  return who.uid == 0 || who.uid == ::geteuid();
}

}  // namespace

struct AdminServer::Connection {
  net::Fd fd;
  ControlReader reader;
  Buffer out;
  std::size_t sent = 0;
  bool last = false;       // nothing more is read
  net::Watch watch;
};

AdminServer::AdminServer(net::Loop& loop, net::Fd listener, Answer answer)
    : loop_(loop), listener_(std::move(listener)), answer_(std::move(answer)) {
  accepting_ = net::Watch(loop_, listener_.get(), [this] { accept_all(); });
  accepting_.want_read(true);
}
AdminServer::~AdminServer() = default;

void AdminServer::accept_all() {
  for (;;) {
    net::Fd fd = net::accept_from(listener_.get());
    if (!fd) return;
    if (connections_.size() >= kConnections || !may_ask(fd.get())) continue;
    auto made = std::make_unique<Connection>();
    Connection* c = made.get();
    c->fd = std::move(fd);
    c->watch = net::Watch(loop_, c->fd.get(), [this, c] { read(*c); }, [this, c] { write(*c); });
    c->watch.want_read(true);
    connections_.emplace(c, std::move(made));
  }
}

void AdminServer::drop(Connection& c) { connections_.erase(&c); }

void AdminServer::read(Connection& c) {
  std::array<std::uint8_t, 65536> chunk;
  const ssize_t n = ::recv(c.fd.get(), chunk.data(), chunk.size(), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return drop(c);
  c.reader.feed(Bytes(chunk).first(static_cast<std::size_t>(n)));
  for (;;) {
    auto request = c.reader.next();
    if (!request) {
      c.last = true;
      break;
    }
    if (!*request) break;
    const Buffer frame = control_frame(answer_(**request));
    c.out.insert(c.out.end(), frame.begin(), frame.end());
  }
  write(c);
}

void AdminServer::write(Connection& c) {
  while (c.sent < c.out.size()) {
    const ssize_t n = ::send(c.fd.get(), c.out.data() + c.sent, c.out.size() - c.sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) return drop(c);
    if (n < 0) break;
    c.sent += static_cast<std::size_t>(n);
  }
  const bool done = c.sent == c.out.size();
  if (done && c.last) return drop(c);
  if (done) {
    c.out.clear();
    c.sent = 0;
  }
  // A peer that does not take its answers is not asked for more questions.
  c.watch.want_write(!done);
  c.watch.want_read(done && !c.last);
}

}  // namespace tg::controller
