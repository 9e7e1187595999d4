#include "net/http_server.h"

#include <sys/socket.h>

#include <cerrno>
#include <map>

#include "core/crowd.h"
#include "net/acceptor.h"

namespace tg::net {
namespace {

constexpr std::size_t kChunk = 16u << 10;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// user_at returns whose process is at the other end of a unix socket.
std::optional<unsigned> user_at(int fd) {
  ucred who{};
  socklen_t size = sizeof who;
  sockaddr_storage own{};
  socklen_t own_size = sizeof own;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_size) != 0 || own.ss_family != AF_UNIX) return std::nullopt;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return std::nullopt;
  return who.uid;
}

}  // namespace

struct HttpServer::State : std::enable_shared_from_this<HttpServer::State> {
  // Connection has either a Tls, or the socket itself with a Watch and what it has not taken yet.
  struct Connection {
    explicit Connection(HttpReader::BodyLimit limit) : reader(std::move(limit)) {}
    HttpPeer from;
    HttpReader reader;
    std::unique_ptr<Tls> tls;
    Fd fd;
    Watch watch;
    Buffer out;
    std::size_t sent = 0;
    Timer deadline;
    bool answering = false;      // a request is with the owner
    bool full = false;           // answers wait to be taken, and nothing is read or answered before that
    bool head_only = false;      // it was HEAD
    bool keep_alive = true;
    bool last = false;           // nothing is read any more, and it ends when all is sent
  };

  State(Loop& l, std::optional<TlsContext> t, Hooks h, const HttpLimits& b)
      : loop(l), tls(std::move(t)), hooks(std::move(h)), limits(b), idle(b.connections, b.per_source) {}

  Loop& loop;
  std::optional<TlsContext> tls;
  Hooks hooks;
  const HttpLimits limits;
  Acceptor accepting;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections;
  Crowd idle;                               // connections of which no request is with the owner
  std::uint64_t next = 1;

  Connection* find(std::uint64_t number) {
    const auto it = connections.find(number);
    return it == connections.end() ? nullptr : it->second.get();
  }

  void accepted(Fd fd, const Endpoint& peer) {
    const std::uint64_t number = next++;
    if (const auto gone = idle.add(number, source_of(peer.address).to_string())) drop(*gone);
    if (connections.size() >= limits.connections) {
      const auto oldest = idle.oldest();
      if (oldest == number) return idle.remove(number);   // all others are being answered
      drop(*oldest);
    }
    const HttpPeer from{peer.address, user_at(fd.get())};
    auto made = std::make_unique<Connection>([this, from](const HttpAsked& head) { return hooks.body_limit(head, from); });
    Connection& c = *made;
    connections.emplace(number, std::move(made));
    c.from = from;
    c.deadline = Timer(loop, [this, number] { drop(number); });
    c.deadline.after(limits.patience);
    set_nodelay(fd.get());
    if (tls) {
      c.tls = std::make_unique<Tls>(loop, std::move(fd), *tls,
                                    Tls::Callbacks{[] {}, [this, number](Bytes b) { took(number, b); }, [this, number] { room(number); },
                                                   [this, number](const Error&) { drop_later(number); }});
      return;
    }
    c.fd = std::move(fd);
    c.watch = Watch(loop, c.fd.get(), [this, number] { read(number); }, [this, number] { write(number); });
    c.watch.want_read(true);
  }

  void read(std::uint64_t number) {
    Connection* c = find(number);
    if (c == nullptr) return;
    std::uint8_t chunk[kChunk];
    const ssize_t n = ::recv(c->fd.get(), chunk, sizeof chunk, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return drop_later(number);
    took(number, {chunk, static_cast<std::size_t>(n)});
  }

  void took(std::uint64_t number, Bytes bytes) {
    Connection* c = find(number);
    if (c == nullptr || c->last) return;
    const bool fresh = !c->reader.begun() && !c->answering;
    c->reader.feed(bytes);
    if (fresh) c->deadline.after(limits.patience);
    pump(number);
  }

  // room is called when what was sent over TLS is taken, but for little.
  void room(std::uint64_t number) {
    Connection* c = find(number);
    if (c != nullptr && std::exchange(c->full, false)) later(number);
  }

  // pump takes the next request, if one is whole, none is with the owner, and the answers so far are taken. Nothing more is read before
  // there is none: what waits is less than what comes at once.
  void pump(std::uint64_t number) {
    Connection* c = find(number);
    if (c == nullptr || c->answering || c->last || c->full) return;
    if (c->tls && c->tls->queued() >= Tls::kLowWater) {
      c->full = true;
      return pause(*c, true);
    }
    auto asked = c->reader.next();
    if (!asked) {
      HttpReply reply = hooks.refused(asked.error());
      c->keep_alive = false;
      c->head_only = asked.error().head;
      return send(number, std::move(reply));
    }
    if (!*asked) {
      if (c->reader.wants_continue()) put(*c, as_bytes(kContinue));
      pause(*c, false);
      return flush(number);
    }
    c->answering = true;
    c->keep_alive = (*asked)->keep_alive;
    c->head_only = (*asked)->method == "HEAD";
    c->deadline.cancel();        // the owner takes the time that it takes
    idle.remove(number);
    pause(*c, true);
    hooks.answer(std::move(**asked), c->from, [weak = weak_from_this(), number](HttpReply reply) {
      if (const auto self = weak.lock()) self->send(number, std::move(reply));
    });
  }

  void send(std::uint64_t number, HttpReply reply) {
    Connection* c = find(number);
    if (c == nullptr || c->last) return;
    const std::string head = http_head(reply, reply.body.size(), c->keep_alive);
    put(*c, as_bytes(head));
    if (!c->head_only) put(*c, as_bytes(reply.body));
    if (std::exchange(c->answering, false)) {
      if (const auto gone = idle.add(number, source_of(c->from.address).to_string()); gone && *gone != number) drop_later(*gone);
    }
    c->last = !c->keep_alive;
    c->deadline.after(c->last ? limits.patience : limits.idle);
    if (c->tls) {
      if (c->last) return c->tls->close();
      c->tls->flush();
      return later(number);
    }
    flush(number);
    if (Connection* still = find(number); still != nullptr && !still->last && still->out.empty()) later(number);
  }

  // What has come behind the request is looked at when nothing of it is on the stack.
  void later(std::uint64_t number) {
    loop.post([weak = weak_from_this(), number] {
      if (const auto self = weak.lock()) self->pump(number);
    });
  }

  void put(Connection& c, Bytes bytes) {
    if (c.tls) return c.tls->write(bytes);
    c.out.insert(c.out.end(), bytes.begin(), bytes.end());
  }

  void pause(Connection& c, bool paused) {
    if (c.tls) c.tls->pause_reading(paused);
    else c.watch.want_read(!paused);
  }

  void flush(std::uint64_t number) {
    Connection* c = find(number);
    if (c == nullptr) return;
    if (c->tls) c->tls->flush();
    else write(number);
  }

  void write(std::uint64_t number) {
    Connection* c = find(number);
    if (c == nullptr) return;
    while (c->sent < c->out.size()) {
      const ssize_t n = ::send(c->fd.get(), c->out.data() + c->sent, c->out.size() - c->sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0) return drop_later(number);
      c->sent += static_cast<std::size_t>(n);
    }
    const bool taken = c->sent == c->out.size();
    const bool something = !c->out.empty();
    if (taken) {
      Buffer().swap(c->out);
      c->sent = 0;
    }
    if (taken && c->last) return drop_later(number);
    c->watch.want_write(!taken);
    c->watch.want_read(taken && !something && !c->answering);   // with something, pump looks first at what is here
    if (taken && something && !c->answering) later(number);
  }

  void drop(std::uint64_t number) {
    idle.remove(number);
    const auto gone = connections.extract(number);
  }
  void drop_later(std::uint64_t number) {
    Connection* c = find(number);
    if (c == nullptr) return;
    c->last = true;
    if (!c->tls) {
      c->watch.want_read(false);
      c->watch.want_write(false);
    }
    loop.post([weak = weak_from_this(), number] {
      if (const auto self = weak.lock()) self->drop(number);
    });
  }
};

HttpServer::HttpServer(Loop& loop, Fd listener, std::optional<TlsContext> tls, Hooks hooks, HttpLimits limits)
    : state_(std::make_shared<State>(loop, std::move(tls), std::move(hooks), limits)) {
  state_->accepting = Acceptor(loop, std::move(listener),
                               [s = state_.get()](Fd fd, const Endpoint& peer) { s->accepted(std::move(fd), peer); });
}

HttpServer::~HttpServer() = default;

void HttpServer::set_context(const TlsContext& tls) { state_->tls = tls; }

}  // namespace tg::net
