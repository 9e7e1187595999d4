#include "net/dns_sockets.h"

#include <openssl/rand.h>
#include <sys/socket.h>

#include <cerrno>

#include "core/result.h"

namespace tg::net {
namespace {

constexpr std::size_t kReadSize = 65536;
constexpr int kReadsAtOnce = 64;   // a flood on one socket must not starve the others

bool again(int err) { return err == EAGAIN || err == EWOULDBLOCK || err == EINTR; }

}  // namespace

std::uint32_t random_u32() {
  std::array<std::uint8_t, 4> bytes{};
  TG_CHECK(RAND_bytes(bytes.data(), bytes.size()) == 1);
  return Reader(bytes).u32();
}

DnsSockets::DnsSockets(Loop& loop, dns::Asker& asker, std::function<void()> after)
    : loop_(loop), asker_(asker), after_(std::move(after)), buffer_(kReadSize) {
  timer_ = Timer(loop, [this] {
    asker_.on_timeout(Loop::now());
    done();
  });
}
DnsSockets::~DnsSockets() = default;

void DnsSockets::pump() {
  while (auto action = asker_.next_action()) {
    if (action->kind == dns::Action::Kind::drop) sockets_.erase(action->transaction);
    else start(*action);
  }
  timer_.at(asker_.next_deadline());
}

void DnsSockets::done() {
  pump();
  after_();
}

void DnsSockets::start(dns::Action& action) {
  const dns::Transaction t = action.transaction;
  auto socket = std::make_unique<Socket>();
  socket->server = action.server;
  socket->tcp = action.kind == dns::Action::Kind::tcp;
  if (socket->tcp) socket->out = std::move(action.bytes);
  const bool started = socket->tcp ? start_tcp(*socket, t) : start_udp(*socket, t, action.bytes);
  if (started) {
    sockets_.emplace(t, std::move(socket));
  } else {
    asker_.on_failed(t, Loop::now());   // pump() goes on with what follows from it
  }
}

bool DnsSockets::start_udp(Socket& s, dns::Transaction t, Bytes datagram) {
  auto fd = udp_connect(s.server);
  if (!fd) return false;
  s.fd = std::move(*fd);
  if (::send(s.fd.get(), datagram.data(), datagram.size(), MSG_NOSIGNAL) < 0 && !again(errno)) return false;
  s.watch = Watch(loop_, s.fd.get(), [this, t] { on_readable(t); });
  s.watch.want_read(true);
  return true;
}

bool DnsSockets::start_tcp(Socket& s, dns::Transaction t) {
  auto fd = tcp_connect(s.server);
  if (!fd) return false;
  s.fd = std::move(*fd);
  s.watch = Watch(loop_, s.fd.get(), [this, t] { on_readable(t); }, [this, t] { on_writable(t); });
  s.watch.want_write(true);
  return true;
}

void DnsSockets::on_writable(dns::Transaction t) {
  Socket& s = *sockets_.at(t);
  bool failed = !s.connected && connect_error(s.fd.get()) != 0;
  s.connected = true;
  if (!failed) {
    const ssize_t sent = ::send(s.fd.get(), s.out.data(), s.out.size(), MSG_NOSIGNAL);
    if (sent >= 0) s.out.erase(s.out.begin(), s.out.begin() + sent);
    failed = sent < 0 && !again(errno);
  }
  if (failed) {
    asker_.on_failed(t, Loop::now());
    return done();
  }
  if (!s.out.empty()) return;
  s.watch.want_write(false);
  s.watch.want_read(true);
}

// The asker may be through with `t` at any moment; the socket stays until pump() has seen the drop.
void DnsSockets::on_readable(dns::Transaction t) {
  Socket& s = *sockets_.at(t);
  const Instant now = Loop::now();
  for (int i = 0; i < kReadsAtOnce; ++i) {
    const ssize_t n = ::recv(s.fd.get(), buffer_.data(), buffer_.size(), 0);
    if (n < 0 && again(errno)) break;
    if (n < 0 || (n == 0 && s.tcp)) {
      asker_.on_failed(t, now);
      break;
    }
    const Bytes bytes = Bytes(buffer_).first(static_cast<std::size_t>(n));
    if (s.tcp) asker_.on_stream(t, bytes, now);
    else asker_.on_datagram(t, s.server, bytes, now);
  }
  done();
}

}  // namespace tg::net
