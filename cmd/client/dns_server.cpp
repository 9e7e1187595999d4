#include "cmd/client/dns_server.h"

#include <sys/socket.h>

#include <cerrno>

#include <fmt/format.h>

#include "net/log.h"

namespace tg::client {
namespace {

constexpr std::size_t kOutMax = 256 * 1024;   // answers that a TCP client does not take

// The kernel counts what a host sends to an address of its own as received by the interface that has the address
// (net/ipv4/route.c, ip_route_output_key_hash_rcu), so a socket bound to the TUN hears this host and nobody else.
Result<net::Fd> bound_to(const std::string& interface, Result<net::Fd> fd) {
  if (!fd) return fd;
  if (::setsockopt(fd->get(), SOL_SOCKET, SO_BINDTODEVICE, interface.data(), static_cast<socklen_t>(interface.size())) != 0) {
    return tl::unexpected(net::os_error(errno, "bind the DNS server to " + interface));
  }
  return fd;
}

// What keeps port 53 from us has it on all addresses, since ours are nobody else's.
tl::unexpected<Error> cannot_listen(const Error& e) {
  if (e.code != Errc::conflict) return tl::unexpected(e);
  return fail(Errc::conflict, e.text + ": a DNS server on all addresses of this machine; let it listen on its own only "
                                       "(dnsmasq: bind-interfaces and listen-address), or stop it");
}

}  // namespace

// A question that only the private DNS can answer, on its way.
class DnsServer::Ask final : public Stream {
 public:
  Ask(DnsServer& server, std::uint64_t number, Bytes query, dns::Transport transport, tg::Query what, Reply reply,
      std::shared_ptr<Trace> trace)
      : server_(server), number_(number), query_(query.begin(), query.end()), transport_(transport), what_(std::move(what)),
        reply_(std::move(reply)), trace_(std::move(trace)), patience_(server.loop_, [this] { finish(nullptr); }) {
    patience_.after(dns::Stub::kPatience);
  }

  void on_answer(std::uint8_t rcode, Bytes records) override {
    const dns::PrivateAnswer said{rcode, records};
    if (trace_) trace_->connector_said = true;
    finish(&said);
  }
  void on_begun() override { begun_ = true; }
  // A question whose tunnel was lost goes on with another, as long as there is patience.
  void on_end(Code code) override {
    const bool lost = code == Code::host_unreachable || code == Code::shutting_down;
    if (!lost || !std::exchange(begun_, false) || ++moves_ > static_cast<int>(Lanes::kMost)) return finish(nullptr);
    retry_ = net::Timer(server_.loop_, [this] { server_.tunnels_.query(asked_, *this); });
    retry_.after(Duration::zero());
  }

  // ask asks a connector, as soon as there is a way to one.
  void ask(const tg::Query& asked) {
    asked_ = asked;
    server_.tunnels_.query(asked_, *this);
  }

  void finish(const dns::PrivateAnswer* said) {
    Buffer answer;
    server_.stub_.complete(query_, transport_, what_, said, net::Loop::now(), answer);
    const auto reply = std::move(reply_);
    const auto self = server_.asks_.extract(number_);   // destroys this at the end
    reply(answer);
  }

 private:
  DnsServer& server_;
  std::uint64_t number_;
  Buffer query_;
  dns::Transport transport_;
  tg::Query what_, asked_;   // by the name in question; by the one that the private DNS knows
  Reply reply_;
  std::shared_ptr<Trace> trace_;
  net::Timer patience_, retry_;
  bool begun_ = false;
  int moves_ = 0;
};

struct DnsServer::Connection {
  net::Fd fd;
  net::Watch watch;
  net::Timer idle;
  Buffer in;
  Buffer out;
};

DnsServer::DnsServer(net::Loop& loop, Targets& targets, Tunnels& tunnels, std::vector<Endpoint> upstream)
    : loop_(loop), targets_(targets), tunnels_(tunnels), stub_(targets.matcher(), targets.pool()),
      forwarder_(loop, std::move(upstream)) {}

DnsServer::~DnsServer() = default;

void DnsServer::resources_changed() { stub_.set_matcher(targets_.matcher()); }
void DnsServer::set_upstream(std::vector<Endpoint> servers) { forwarder_.set_servers(std::move(servers)); }

Result<> DnsServer::listen(const std::string& interface, const std::vector<Ipv4>& addresses) {
  sockets_.clear();
  listeners_.clear();
  for (const Ipv4 address : addresses) {
    const Endpoint at{address, 53};
    auto udp = bound_to(interface, net::udp_bind(at));
    if (!udp) return cannot_listen(udp.error());
    auto tcp = bound_to(interface, net::tcp_listen(at));
    if (!tcp) return cannot_listen(tcp.error());
    const int space = 1 << 20;
    ::setsockopt(udp->get(), SOL_SOCKET, SO_RCVBUF, &space, sizeof space);
    const std::size_t number = sockets_.size();
    sockets_.emplace_back(loop_, std::move(*udp), [this, number](Bytes query, const net::SockAddr& from) {
      serve(query, dns::Transport::udp, [to_asker = sockets_[number].answer(), from](Bytes answer) { to_asker(answer, from); });
    });
    listeners_.emplace_back(loop_, std::move(*tcp), [this](net::Fd peer, const Endpoint&) { accepted(std::move(peer)); });
  }
  return {};
}

void DnsServer::serve(Bytes query, dns::Transport transport, const Reply& reply, std::shared_ptr<Trace> trace) {
  const auto went = [&](Trace::Way way) { if (trace) trace->way = way; };
  ++counts_.queries;
  const dns::Verdict verdict = stub_.decide(query, net::Loop::now(), answer_);
  if (std::holds_alternative<dns::Answered>(verdict)) {
    ++counts_.answered;
    went(Trace::Way::answered);
    reply(answer_);
  } else if (std::holds_alternative<dns::Forward>(verdict)) {
    ++counts_.forwarded;
    went(Trace::Way::forwarded);
    // Our own SERVFAIL says that nobody answered, unless nobody was asked; our other words say nothing of the servers.
    const bool full = forwarder_.in_flight() >= dns::Forwarder::kMaxInFlight;
    const bool tcp = transport == dns::Transport::tcp;
    forwarder_.forward(query, tcp, [this, reply, trace, full](const Buffer& answer, auto server) {
      if (trace) trace->server = server;
      if (server) unanswered_ = 0;
      else if (!full && answer.size() >= dns::kHeaderSize && (answer[3] & 0xF) == dns::kRcodeServFail) ++unanswered_;
      if (!answer.empty()) reply(answer);
    });
  } else if (const auto* a = std::get_if<dns::Ask>(&verdict)) {
    ++counts_.asked;
    went(Trace::Way::asked);
    ask(query, transport, a->query, reply, std::move(trace));
  }
}

void DnsServer::ask(Bytes query, dns::Transport transport, const tg::Query& what, Reply reply,
                    std::shared_ptr<Trace> trace) {
  const Resource* r = targets_.matcher()->by_id(what.resource);
  const std::uint64_t number = next_++;
  auto made = std::make_unique<Ask>(*this, number, query, transport, what, std::move(reply), std::move(trace));
  Ask& a = *made;
  asks_[number] = std::move(made);
  tg::Query asked = what;
  if (r != nullptr) asked.name = target_host(*r, what.name);
  if (r == nullptr || asks_.size() > kAsksMax) return a.finish(nullptr);
  a.ask(asked);
}

void DnsServer::accepted(net::Fd peer) {
  if (connections_.size() >= kConnectionsMax) return;
  const std::uint64_t number = next_++;
  auto& c = connections_[number] = std::make_unique<Connection>();
  c->fd = std::move(peer);
  net::set_nodelay(c->fd.get());
  c->idle = net::Timer(loop_, [this, number] { const auto gone = connections_.extract(number); });
  c->idle.after(kConnectionIdle);
  c->watch = net::Watch(loop_, c->fd.get(), [this, number] { read(number); }, [this, number] { write(number, {}); });
  c->watch.want_read(true);
}

// Messages behind their length (RFC 1035 section 4.2.2); several may be under way at once (RFC 7766 section 6.2.1.1).
void DnsServer::read(std::uint64_t number) {
  Connection& c = *connections_.at(number);
  std::uint8_t chunk[16384];
  const ssize_t n = ::recv(c.fd.get(), chunk, sizeof chunk, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    const auto gone = connections_.extract(number);
    return;
  }
  c.idle.after(kConnectionIdle);
  c.in.insert(c.in.end(), chunk, chunk + n);
  Buffer in = std::move(c.in);
  c.in = {};
  std::size_t at = 0;
  while (in.size() - at >= 2) {
    const std::size_t size = static_cast<std::size_t>(in[at]) << 8 | in[at + 1];
    if (in.size() - at - 2 < size) break;
    serve(Bytes(in).subspan(at + 2, size), dns::Transport::tcp, [this, number](Bytes answer) { write(number, answer); });
    at += 2 + size;
  }
  if (const auto still = connections_.find(number); still != connections_.end()) {
    still->second->in.assign(in.begin() + static_cast<std::ptrdiff_t>(at), in.end());
  }
}

void DnsServer::write(std::uint64_t number, Bytes message) {
  const auto it = connections_.find(number);
  if (it == connections_.end()) return;   // the client did not wait
  Connection& c = *it->second;
  if (!message.empty()) {
    Writer w(c.out);
    w.u16(static_cast<std::uint16_t>(message.size()));
    w.bytes(message);
  }
  const ssize_t n = ::send(c.fd.get(), c.out.data(), c.out.size(), MSG_NOSIGNAL);
  if (n > 0) c.out.erase(c.out.begin(), c.out.begin() + n);
  if ((n < 0 && errno != EAGAIN && errno != EINTR) || c.out.size() > kOutMax) {
    c.idle.after(Duration::zero());   // ends it from the Loop
    return;
  }
  c.watch.want_write(!c.out.empty());
}

}  // namespace tg::client
