#include "net/resolver.h"

#include <fmt/format.h>

#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>

#include "core/text.h"
#include "net/dns_sockets.h"

namespace tg::net {

struct Resolver::State : std::enable_shared_from_this<State> {
  using Outcome = dns::Resolver::Outcome;
  using Done = std::function<void(Outcome&)>;
  static constexpr RequestId kKnown = 1ull << 63;   // ids from here on never reached dns::Resolver

  State(Loop& l, dns::Resolver::Config config)
      : loop(l), resolver(std::move(config)), sockets(l, resolver, [this] { deliver(); }) {}

  // asked registers a request with dns::Resolver; what it knows already is delivered when the Loop turns.
  RequestId asked(RequestId id, Done done) {
    waiting.emplace(id, std::move(done));
    sockets.pump();
    deliver_soon();
    return id;
  }
  // known registers an outcome that nobody has to be asked for.
  RequestId known(Outcome outcome, Done done) {
    outcome.id = kKnown + known_count++;
    waiting.emplace(outcome.id, std::move(done));
    ready.push_back(std::move(outcome));
    deliver_soon();
    return ready.back().id;
  }

  std::optional<Outcome> next() {
    if (!alive) return std::nullopt;
    if (ready.empty()) return resolver.next_outcome();
    Outcome outcome = std::move(ready.front());
    ready.pop_front();
    return outcome;
  }
  // A callback may destroy the Resolver: `self` keeps this State until the loop is left.
  void deliver() {
    const auto self = shared_from_this();
    while (auto outcome = next()) {
      const auto it = waiting.find(outcome->id);
      if (it == waiting.end()) continue;
      const Done done = std::move(it->second);
      waiting.erase(it);
      done(*outcome);
    }
  }
  void deliver_soon() {
    if (std::exchange(posted, true)) return;
    loop.post([weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      self->posted = false;
      self->deliver();
    });
  }

  Loop& loop;
  dns::Resolver resolver;
  DnsSockets sockets;
  std::unordered_map<RequestId, Done> waiting;
  std::deque<Outcome> ready;
  RequestId known_count = 0;
  bool posted = false;
  bool alive = true;
};

namespace {

using Outcome = dns::Resolver::Outcome;

Result<std::vector<IpAddress>> addresses_of(const std::string& name, Outcome& outcome) {
  switch (outcome.end) {
    case Outcome::End::answered:
      if (outcome.rcode == dns::kRcodeNxDomain) return fail(Errc::not_found, fmt::format("{} does not exist", name));
      if (outcome.addresses.empty()) return fail(Errc::not_found, fmt::format("{} has no address", name));
      return std::move(outcome.addresses);
    case Outcome::End::failed:
      return fail(Errc::unreachable, fmt::format("the DNS servers could not resolve {}", name));
    case Outcome::End::timed_out: return fail(Errc::timed_out, fmt::format("no DNS server answered for {}", name));
    case Outcome::End::unreachable:
      return fail(Errc::unreachable, fmt::format("no DNS server could be asked for {}", name));
    case Outcome::End::exhausted: break;
  }
  return fail(Errc::exhausted, fmt::format("too many names are being resolved to resolve {}", name));
}

dns::Resolver::Config with_random(dns::Resolver::Config config) {
  if (!config.servers.random) config.servers.random = random_u32;
  return config;
}

dns::Resolver::Config asking(std::vector<Endpoint> servers) {
  dns::Resolver::Config config;
  config.servers.servers = std::move(servers);
  return config;
}

}  // namespace

Resolver::Resolver(Loop& loop, dns::Resolver::Config config)
    : state_(std::make_shared<State>(loop, with_random(std::move(config)))) {}
Resolver::Resolver(Loop& loop, std::vector<Endpoint> servers) : Resolver(loop, asking(std::move(servers))) {}
Resolver::~Resolver() { state_->alive = false; }

Resolver::RequestId Resolver::resolve_host(std::string_view name, HostCallback callback, const std::string& asker) {
  if (const auto address = IpAddress::parse(name)) {
    return state_->known({0, Outcome::End::answered, dns::kRcodeNoError, {*address}, {}},
                         [call = std::move(callback)](Outcome& o) { call(std::move(o.addresses)); });
  }
  const std::string text = printable(name);
  const auto parsed = dns::Name::parse(name);
  if (!parsed || parsed->is_root()) {
    return state_->known({}, [text, call = std::move(callback)](Outcome&) {
      call(fail(Errc::invalid_argument, fmt::format("\"{}\" is no host name", text)));
    });
  }
  return state_->asked(state_->resolver.resolve(*parsed, Loop::now(), asker),
                       [text, call = std::move(callback)](Outcome& o) { call(addresses_of(text, o)); });
}

Resolver::RequestId Resolver::lookup(std::string_view name, std::uint16_t type, LookupCallback callback,
                                     const std::string& asker) {
  const auto done = [call = std::move(callback)](Outcome& o) {
    call(static_cast<std::uint8_t>(o.rcode), std::move(o.records));
  };
  const auto parsed = dns::Name::parse(name);
  if (!parsed) return state_->known({0, Outcome::End::answered, dns::kRcodeFormErr, {}, {}}, done);
  return state_->asked(state_->resolver.lookup(*parsed, type, Loop::now(), asker), done);
}

void Resolver::cancel(RequestId id) {
  state_->waiting.erase(id);
  state_->resolver.cancel(id);
  state_->sockets.pump();
}

void Resolver::set_servers(std::vector<Endpoint> servers) {
  state_->resolver.set_servers(std::move(servers), Loop::now());
  state_->sockets.pump();
  state_->deliver_soon();
}
const std::vector<Endpoint>& Resolver::servers() const noexcept { return state_->resolver.servers(); }

ResolveHost resolve_with(Resolver& resolver) {
  return [&resolver](const std::string& name, auto callback) { resolver.resolve_host(name, std::move(callback)); };
}

}  // namespace tg::net
