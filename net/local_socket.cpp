#include "net/local_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include <fmt/format.h>

#include "net/acceptor.h"

namespace tg::net {

struct LocalServer::State {
  struct Peer {
    Fd fd;
    Watch watch;
    ControlReader reader;
    Buffer out;
  };

  Loop& loop;
  std::string path;
  Handler handler;
  Acceptor accepting{};
  std::map<std::uint64_t, Peer> peers{};
  std::uint64_t next = 1;
  std::shared_ptr<State*> self = std::make_shared<State*>(this);   // for replies that come late

  ~State() { ::unlink(path.c_str()); }

  void accepted(Fd fd) {
    ucred who{};
    socklen_t size = sizeof who;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0 || (who.uid != 0 && who.uid != ::geteuid())) return;
    const std::uint64_t number = next++;
    Peer& peer = peers[number];
    peer.fd = std::move(fd);
    peer.watch = Watch(loop, peer.fd.get(), [this, number] { read(number); }, [this, number] { write(number); });
    peer.watch.want_read(true);
  }

  void read(std::uint64_t number) {
    Peer& peer = peers.at(number);
    std::uint8_t chunk[65536];
    const ssize_t n = ::recv(peer.fd.get(), chunk, sizeof chunk, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return drop(number);
    peer.reader.feed({chunk, static_cast<std::size_t>(n)});
    for (;;) {
      const auto it = peers.find(number);
      if (it == peers.end()) return;
      const auto message = it->second.reader.next();
      if (!message) return drop(number);
      if (!*message) return;
      handler(**message, [weak = std::weak_ptr<State*>(self), number](const Json& answer) {
        if (const auto state = weak.lock()) (*state)->send(number, answer);
      });
    }
  }

  void send(std::uint64_t number, const Json& answer) {
    const auto it = peers.find(number);
    if (it == peers.end()) return;
    const Buffer frame = control_frame(answer);
    it->second.out.insert(it->second.out.end(), frame.begin(), frame.end());
    write(number);
  }

  void write(std::uint64_t number) {
    Peer& peer = peers.at(number);
    const ssize_t n = ::send(peer.fd.get(), peer.out.data(), peer.out.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
      loop.post([weak = std::weak_ptr<State*>(self), number] {
        if (const auto state = weak.lock()) (*state)->drop(number);
      });
      return;
    }
    if (n > 0) peer.out.erase(peer.out.begin(), peer.out.begin() + n);
    peer.watch.want_write(!peer.out.empty());
  }

  void drop(std::uint64_t number) { peers.erase(number); }
};

LocalServer::LocalServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
LocalServer::~LocalServer() = default;

Result<std::unique_ptr<LocalServer>> LocalServer::start(Loop& loop, const std::string& path, Handler handler) {
  auto listener = unix_listen(path);
  if (!listener) return pass_on(listener);
  std::unique_ptr<State> state(new State{loop, path, std::move(handler)});
  state->accepting = Acceptor(loop, std::move(*listener), [s = state.get()](Fd fd, const Endpoint&) { s->accepted(std::move(fd)); });
  return std::unique_ptr<LocalServer>(new LocalServer(std::move(state)));
}

Json local_error(const Error& error) {
  return {{"type", "error"}, {"code", static_cast<int>(error.code)}, {"text", error.text}};
}

Result<Json> local_request(const std::string& path, const std::string& role, const Json& request, std::chrono::seconds timeout) {
  auto fd = unix_connect(path);
  if (!fd && fd.error().code == Errc::denied) {
    return fail(Errc::denied, fmt::format("{} belongs to somebody else; run with sudo", path));
  }
  if (!fd) return fail(Errc::unreachable, fmt::format("tg {} is not running (nobody answers on {})", role, path));
  const Instant end = Loop::now() + timeout;
  const auto wait = [&](short what) {
    pollfd p{fd->get(), what, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Loop::now()).count();
    return left > 0 && ::poll(&p, 1, static_cast<int>(left)) > 0;
  };
  const auto late = [&] { return fail(Errc::timed_out, fmt::format("tg {} did not answer within {} s", role, timeout.count())); };
  const Buffer frame = control_frame(request);
  for (Bytes rest = frame; !rest.empty();) {
    if (!wait(POLLOUT)) return late();
    const ssize_t n = ::send(fd->get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return fail(Errc::unreachable, fmt::format("tg {} hung up", role));
    if (n > 0) rest = rest.subspan(static_cast<std::size_t>(n));
  }
  ControlReader reader;
  for (;;) {
    auto message = reader.next();
    if (!message) return pass_on(message);
    if (*message) {
      const Json& m = **message;
      if (m["type"] != "error") return m;
      const int code = m.contains("code") && m["code"].is_number_integer() ? m["code"].get<int>() : static_cast<int>(Errc::io);
      return fail(static_cast<Errc>(code), text_or(m, "text", "unknown error"));
    }
    if (!wait(POLLIN)) return late();
    std::uint8_t chunk[65536];
    const ssize_t n = ::recv(fd->get(), chunk, sizeof chunk, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
      return fail(Errc::unreachable, fmt::format("tg {} ended before it answered", role));
    }
    if (n > 0) reader.feed({chunk, static_cast<std::size_t>(n)});
  }
}

}  // namespace tg::net
