#include "net/local_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include <fmt/format.h>

#include "core/json.h"
#include "core/text.h"
#include "net/acceptor.h"

namespace tg::net {
namespace {

constexpr std::size_t kTextMax = 64 * 1024;   // of an error: a file's mistakes are told together

// may_ask says whether the user at the other end is root, or that of this process.
bool may_ask(int fd) {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return false;
  return who.uid == 0 || who.uid == ::geteuid();
}

}  // namespace

struct LocalServer::State {
  struct Peer {
    Fd fd;
    ControlReader reader;
    Buffer out{};
    std::size_t sent = 0;     // of `out`
    bool answering = false;   // answer_all runs
    bool last = false;        // what is in `out` is all it gets
    Watch watch{};
  };

  Loop& loop;
  std::string path;
  Handler handler;
  std::size_t longest;
  Acceptor accepting{};
  std::map<std::uint64_t, Peer> peers{};
  std::uint64_t next = 1;
  std::shared_ptr<State*> self = std::make_shared<State*>(this);   // for what comes late

  ~State() { ::unlink(path.c_str()); }

  void accepted(Fd fd) {
    if (peers.size() >= kPeers || !may_ask(fd.get())) return;
    const std::uint64_t number = next++;
    Peer& peer = peers.emplace(number, Peer{std::move(fd), ControlReader(longest)}).first->second;
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
    answer_all(number);
  }

  // Answers what has come, for as long as the answers are taken. A handler's reply may drop the peer.
  void answer_all(std::uint64_t number) {
    for (;;) {
      const auto it = peers.find(number);
      if (it == peers.end()) return;
      Peer& peer = it->second;
      if (peer.answering || peer.last || !peer.out.empty()) return;
      const auto message = peer.reader.next();
      if (!message) {
        peer.last = true;
        return send(number, local_error(message.error()));
      }
      if (!*message) return;
      peer.answering = true;
      handler(**message, [weak = std::weak_ptr<State*>(self), number](const Json& answer) {
        if (const auto state = weak.lock()) (*state)->send(number, answer);
      });
      if (const auto still = peers.find(number); still != peers.end()) still->second.answering = false;
    }
  }

  void send(std::uint64_t number, const Json& answer) {
    const auto it = peers.find(number);
    if (it == peers.end()) return;
    auto frame = try_control_frame(answer);
    if (!frame) {
      const std::string text = "the answer is too long: " + frame.error().text;
      frame = control_frame(local_error({frame.error().code, text}));
    }
    it->second.out.insert(it->second.out.end(), frame->begin(), frame->end());
    write(number);
  }

  void write(std::uint64_t number) {
    Peer& peer = peers.at(number);
    while (peer.sent < peer.out.size()) {
      const ssize_t n = ::send(peer.fd.get(), peer.out.data() + peer.sent, peer.out.size() - peer.sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0) return drop_later(number);
      peer.sent += static_cast<std::size_t>(n);
    }
    const bool taken = peer.sent == peer.out.size();
    if (taken && peer.last) return drop_later(number);
    if (taken) {
      Buffer().swap(peer.out);
      peer.sent = 0;
    }
    peer.watch.want_write(!taken);
    peer.watch.want_read(taken);   // whoever does not take his answers is not asked for more questions
    if (taken) answer_all(number);
  }

  void drop(std::uint64_t number) { peers.erase(number); }
  void drop_later(std::uint64_t number) {
    Peer& peer = peers.at(number);
    peer.last = true;
    peer.watch.want_write(false);
    peer.watch.want_read(false);
    loop.post([weak = std::weak_ptr<State*>(self), number] {
      if (const auto state = weak.lock()) (*state)->drop(number);
    });
  }
};

LocalServer::LocalServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
LocalServer::~LocalServer() = default;

Result<std::unique_ptr<LocalServer>> LocalServer::start(Loop& loop, const std::string& path, Handler handler,
                                                        std::size_t longest) {
  auto listener = unix_listen(path);
  if (!listener) return pass_on(listener);
  std::unique_ptr<State> state(new State{loop, path, std::move(handler), longest});
  state->accepting = Acceptor(loop, std::move(*listener),
                              [s = state.get()](Fd fd, const Endpoint&) { s->accepted(std::move(fd)); });
  return std::unique_ptr<LocalServer>(new LocalServer(std::move(state)));
}

Json local_error(const Error& error) {
  return {{"type", "error"}, {"code", to_string(error.code)}, {"text", printable(error.text, kTextMax)}};
}

Result<Json> local_request(const std::string& path, const std::string& role, const Json& request,
                           std::chrono::seconds timeout) {
  const auto frame = try_control_frame(request);
  if (!frame) return fail(frame.error().code, "this is too long to be told: " + frame.error().text);
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
  const auto late = [&] {
    return fail(Errc::timed_out, fmt::format("tg {} did not answer within {} s; see --timeout", role, timeout.count()));
  };
  for (Bytes rest = *frame; !rest.empty();) {
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
      return fail(errc_named(text_or(m, "code", "")).value_or(Errc::io), text_or(m, "text", "unknown error"));
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
