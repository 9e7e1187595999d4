#include "net/relay.h"

#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <map>
#include <unordered_map>

#include <fmt/format.h>
#include <openssl/rand.h>

#include "core/client_hello.h"
#include "core/crowd.h"
#include "core/encoding.h"
#include "core/json.h"
#include "core/ticket.h"
#include "core/view.h"
#include "net/acceptor.h"
#include "net/relay_protocol.h"
#include "net/splice.h"
#include "net/workers.h"

namespace tg::net {
namespace {

constexpr Duration kPatience = std::chrono::seconds(10);
constexpr Duration kSilence = std::chrono::seconds(30);   // connectors ping every 10 s
constexpr std::size_t kControlsPerConnector = 4;

// Fatal alerts in clear (RFC 8446 section 6.2), for a client that cannot be joined: it learns why without a time-out.
constexpr std::uint8_t kUnrecognizedName[] = {0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70};   // the connector is not here
constexpr std::uint8_t kAccessDenied[] = {0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x31};       // the ticket is not good

void keep_alive(int fd) {
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

}  // namespace

struct Relay::State {
  // What a worker passes on.
  struct Shard {
    // `parted` is told, on the relay's thread, that a pair is over.
    Shard(Worker& w, std::shared_ptr<PipePool> p, std::function<void(std::uint64_t)> parted)
        : worker(w), pipes(std::move(p)), tell(std::move(parted)) {}

    void pass_on(std::uint64_t number, std::pair<Fd, Fd> fds, const Buffer& first) {
      auto splice = Splice::start(worker.loop(), *pipes, std::move(fds.first), std::move(fds.second), first, [this, number] { over(number); });
      if (!splice) return over(number);
      splices[number] = std::move(*splice);
    }
    void over(std::uint64_t number) {
      splices.erase(number);
      worker.tell([tell = tell, number] { tell(number); });
    }

    Worker& worker;
    std::shared_ptr<PipePool> pipes;
    std::function<void(std::uint64_t)> tell;
    std::unordered_map<std::uint64_t, std::unique_ptr<Splice>> splices;
  };
  // A connection whose ClientHello has not come yet, or a client that waits for its connector to dial back.
  struct Waiting {
    std::uint64_t number = 0;      // in the crowd
    std::uint64_t connector = 0;   // that is to dial back
    Fd fd;
    Buffer bytes;
    Watch watch;
    Timer deadline;
  };
  struct Control {
    std::unique_ptr<Tls> tls;
    ControlReader reader{kControlBeforeIdentity};
    std::uint64_t connector = 0;
    Timer silence;
  };

  State(Loop& l, TlsContext c, Buffer key, std::string name, std::size_t threads)
      : loop(l), control_context(std::move(c)), ticket_key(std::move(key)), instance(std::move(name)),
        workers(l, threads, [this](Worker& w) {
          const auto pool = std::make_shared<PipePool>();
          std::erase_if(pipes, [](const auto& p) { return p.expired(); });   // whose thread could not be started
          pipes.push_back(pool);
          return std::make_unique<Shard>(w, pool, [this](std::uint64_t number) { parted(number); });
        }) {}

  Loop& loop;
  TlsContext control_context;
  Buffer ticket_key;
  std::string instance;
  Acceptor accepting;
  Crowd crowd{kWaitingMax, kWaitingPerSource};                  // connections not joined or verified yet, by number
  std::unordered_map<std::uint64_t, Waiting> greeting;
  std::map<std::string, Waiting> waiting;                       // by rendezvous label
  std::unordered_map<std::uint64_t, std::string> rung;          // the labels of those in `waiting`
  std::unordered_map<std::uint64_t, Control> controls;
  std::unordered_map<std::uint64_t, std::vector<std::uint64_t>> online;   // connector -> its controls, the newest last
  std::vector<std::weak_ptr<PipePool>> pipes;                   // of each worker
  std::unordered_map<std::uint64_t, std::size_t> joined;        // pairs, and the worker that has each
  std::uint64_t joined_ever = 0;
  std::uint64_t next_number = 1;
  Workers<Shard> workers;

  void accepted(Fd fd, const Endpoint& from) {
    const std::uint64_t number = next_number++;
    if (const auto gone = crowd.add(number, source_of(from.address).to_string())) drop(*gone);
    Waiting& w = greeting[number];
    w.number = number;
    w.fd = std::move(fd);
    set_nodelay(w.fd.get());
    keep_alive(w.fd.get());
    w.deadline = Timer(loop, [this, number] { drop(number); });
    w.deadline.after(kPatience);
    w.watch = Watch(loop, w.fd.get(), [this, number] { greet(number); });
    w.watch.want_read(true);
  }

  // drop ends a connection of the crowd.
  void drop(std::uint64_t number) {
    crowd.remove(number);
    greeting.erase(number);
    controls.erase(number);
    if (const auto label = rung.extract(number)) waiting.erase(label.mapped());
  }

  void greet(std::uint64_t number) {
    Waiting& w = greeting.at(number);
    std::uint8_t chunk[4096];
    const ssize_t n = ::recv(w.fd.get(), chunk, sizeof chunk, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return drop(number);
    w.bytes.insert(w.bytes.end(), chunk, chunk + n);
    const auto hello = parse_client_hello(w.bytes);
    if (hello && !*hello) return;   // more is to come
    Waiting ready = std::move(greeting.extract(number).mapped());
    ready.watch = {};
    ready.deadline = {};
    if (!hello) return crowd.remove(number);
    const std::string& name = (*hello)->server_name;
    if (!name.ends_with(kSniSuffix)) return start_control(std::move(ready));
    const std::string label = name.substr(0, name.size() - kSniSuffix.size());
    if (label.starts_with(kRendezvousPrefix)) return join(label, std::move(ready), (*hello)->size);
    ring(label, std::move(ready));
  }

  void refuse(const Waiting& w, Bytes alert) {
    ::send(w.fd.get(), alert.data(), alert.size(), MSG_NOSIGNAL);
    crowd.remove(w.number);
  }

  void ring(const std::string& label, Waiting client) {
    const auto ticket = Ticket::open(label, ticket_key, Loop::wall());
    if (!ticket) return refuse(client, kAccessDenied);
    const auto connector = online.find(ticket->connector);
    if (connector == online.end()) return refuse(client, kUnrecognizedName);
    std::uint8_t nonce[16];
    RAND_bytes(nonce, sizeof nonce);
    const std::string rendezvous = std::string(kRendezvousPrefix) + base32(nonce);
    Waiting& w = waiting[rendezvous];
    w = std::move(client);
    w.connector = ticket->connector;
    rung[w.number] = rendezvous;
    w.deadline = Timer(loop, [this, number = w.number] { drop(number); });
    w.deadline.after(kPatience);
    tell(controls.at(connector->second.back()), rendezvous);
  }

  static void tell(Control& connector, const std::string& rendezvous) {
    connector.tls->write(control_frame({{"type", "dial"}, {"rendezvous", rendezvous}}));
  }

  void join(const std::string& rendezvous, Waiting connector, std::size_t hello_size) {
    crowd.remove(connector.number);
    const auto it = waiting.find(rendezvous);
    if (it == waiting.end() || connector.bytes.size() != hello_size) return;
    Waiting client = std::move(it->second);
    waiting.erase(it);
    rung.erase(client.number);
    crowd.remove(client.number);
    client.deadline = {};
    const std::uint64_t number = client.number;
    const auto fds = std::make_shared<std::pair<Fd, Fd>>(std::move(client.fd), std::move(connector.fd));
    const auto worker = workers.give([number, fds, first = std::move(client.bytes)](Shard& s) { s.pass_on(number, std::move(*fds), first); });
    if (!worker) return;   // which the log has said
    joined[number] = *worker;
    ++joined_ever;
  }

  void parted(std::uint64_t number) {
    workers.done(joined.at(number));
    joined.erase(number);
  }

  void start_control(Waiting w) {
    const std::uint64_t number = w.number;
    Control& c = controls[number];
    c.tls = std::make_unique<Tls>(loop, std::move(w.fd), control_context,
                                  Tls::Callbacks{[this, number] { control_up(number); },
                                                 [this, number](Bytes b) { control_said(number, b); },
                                                 {},
                                                 [this, number](const Error&) { control_down(number); }});
    c.tls->feed_first(w.bytes);
  }

  void control_up(std::uint64_t number) {
    Control& c = controls.at(number);
    const auto& who = c.tls->identity();
    std::uint64_t id = 0;
    const bool known = who && who->role == "connector" && who->network == instance && who->id.size() == 16 &&
                       std::from_chars(who->id.data(), who->id.data() + 16, id, 16).ptr == who->id.data() + 16;
    if (!known) return control_down(number);
    crowd.remove(number);
    c.connector = id;
    c.silence = Timer(loop, [this, number] { control_down(number); });
    c.silence.after(kSilence);
    // A restarted connector is rung before what is left of its former self.
    std::vector<std::uint64_t>& of_connector = online[id];
    of_connector.push_back(number);
    if (of_connector.size() > kControlsPerConnector) control_down(std::uint64_t{of_connector.front()});
    c.tls->write(control_frame({{"type", "welcome"}}));
    // Whoever waits may have been rung where nobody listens any more. A connector that hears it twice dials once too
    // often, and that connection is closed.
    for (const auto& [rendezvous, client] : waiting) {
      if (client.connector == id) tell(c, rendezvous);
    }
  }

  void control_said(std::uint64_t number, Bytes bytes) {
    Control& c = controls.at(number);
    c.silence.after(kSilence);
    c.reader.feed(bytes);
    for (;;) {
      const auto message = c.reader.next();
      if (!message) return control_down(number);
      if (!*message) return;
      const std::string type = (**message)["type"];
      if (c.tls->queued() > Tls::kHighWater) return control_down(number);   // asks, and does not listen
      if (type == "goodbye") return control_down(number);
      if (type == "error") return control_down(number);   // it knows our messages no better than we know its
      if (type != "ping") {
        c.tls->write(control_frame({{"type", "error"}, {"code", "protocol"}, {"text", unknown_message(type)}}));
        c.tls->flush();
        return control_down(number);
      }
      c.tls->write(control_frame({{"type", "pong"}}));
    }
  }

  void control_down(std::uint64_t number) {
    const auto it = controls.find(number);
    if (it == controls.end()) return;
    crowd.remove(number);
    const auto o = online.find(it->second.connector);
    if (o != online.end()) {
      std::erase(o->second, number);
      if (o->second.empty()) online.erase(o);
    }
    controls.erase(it);
  }
};

Relay::Relay(Loop& loop, Fd listener, const TlsContext& control, Buffer ticket_key, std::string instance, std::size_t threads)
    : state_(std::make_unique<State>(loop, control, std::move(ticket_key), std::move(instance), threads)) {
  state_->accepting = Acceptor(loop, std::move(listener), [s = state_.get()](Fd fd, const Endpoint& from) {
    s->accepted(std::move(fd), from);
  });
}
Relay::~Relay() = default;

void Relay::set_context(const TlsContext& control) { state_->control_context = control; }
void Relay::set_ticket_key(Buffer key) { state_->ticket_key = std::move(key); }

std::size_t Relay::connectors() const noexcept { return state_->online.size(); }
std::size_t Relay::joined() const noexcept { return state_->joined.size(); }
Relay::Counts Relay::counts() const noexcept {
  Counts counts{state_->joined_ever, 0, state_->workers.started()};
  for (const auto& pool : state_->pipes) {
    if (const auto alive = pool.lock()) counts.bytes += alive->moved();
  }
  return counts;
}

void Relay::goodbye() {
  state_->accepting = {};
  for (auto& [number, c] : state_->controls) c.tls->write(control_frame({{"type", "goodbye"}}));
}

}  // namespace tg::net
