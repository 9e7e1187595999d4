#include "net/forwarder.h"

#include <unordered_map>
#include <utility>

#include "net/dns_sockets.h"

namespace tg::net {

struct Forwarder::State : std::enable_shared_from_this<State> {
  State(Loop& l, dns::Forwarder::Config config)
      : loop(l), forwarder(std::move(config)), sockets(l, forwarder, [this] { deliver(); }) {}

  // A callback may destroy the Forwarder: `self` keeps this State until the loop is left.
  void deliver() {
    const auto self = shared_from_this();
    while (auto outcome = alive ? forwarder.next_outcome() : std::nullopt) {
      const auto it = waiting.find(outcome->id);
      if (it == waiting.end()) continue;
      const Callback callback = std::move(it->second);
      waiting.erase(it);
      callback(std::move(outcome->reply), outcome->server);
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
  dns::Forwarder forwarder;
  DnsSockets sockets;
  std::unordered_map<RequestId, Callback> waiting;
  bool posted = false;
  bool alive = true;
};

namespace {

dns::Forwarder::Config with_random(dns::Forwarder::Config config) {
  if (!config.random) config.random = random_u32;
  return config;
}
dns::Forwarder::Config with_servers(std::vector<Endpoint> servers) {
  dns::Forwarder::Config config;
  config.servers = std::move(servers);
  return config;
}

}  // namespace

Forwarder::Forwarder(Loop& loop, std::vector<Endpoint> servers) : Forwarder(loop, with_servers(std::move(servers))) {}
Forwarder::Forwarder(Loop& loop, dns::Forwarder::Config config)
    : state_(std::make_shared<State>(loop, with_random(std::move(config)))) {}
Forwarder::~Forwarder() { state_->alive = false; }

Forwarder::RequestId Forwarder::forward(Bytes query, bool tcp, Callback callback) {
  const RequestId id = state_->forwarder.forward(query, tcp, Loop::now());
  state_->waiting.emplace(id, std::move(callback));
  state_->sockets.pump();
  state_->deliver_soon();
  return id;
}

void Forwarder::cancel(RequestId id) {
  state_->waiting.erase(id);
  state_->forwarder.cancel(id);
  state_->sockets.pump();
}

void Forwarder::set_servers(std::vector<Endpoint> servers) {
  state_->forwarder.set_servers(std::move(servers));
  state_->sockets.pump();
}
std::size_t Forwarder::in_flight() const noexcept { return state_->forwarder.in_flight(); }

}  // namespace tg::net
