#include "cmd/client/tunnels.h"

#include <algorithm>

#include "core/json.h"
#include "core/rendezvous.h"
#include "net/log.h"

namespace tg::client {

struct Tunnels::Waiter {
  Request request;         // names the Resource, since its Network may get another name
  Stream* user;
  bool wanted = true;      // false: the user has left
  Instant until;
};

Tunnels::Tunnels(net::Loop& loop, const cmd::AgentIdentity& identity, net::ResolveHost resolve)
    : loop_(loop), identity_(identity), resolve_(std::move(resolve)), waiting_(loop, [this] { expire_waiters(); }),
      serve_(loop, [this] { serve(); }) {}

Tunnels::~Tunnels() {
  for (const auto& w : waiters_) {
    if (w->wanted) w->user->waiting_ = nullptr;
  }
}

void Tunnels::update(const View& view, std::shared_ptr<const Matcher> resources) {
  resources_ = std::move(resources);
  grants_.clear();
  std::map<std::string, std::vector<ConnectorInfo>> by_network;
  for (const auto& [key, item] : view) {
    if (key.starts_with("grant/") && item.is_string()) {
      grants_[key.substr(6)] = item.get<std::string>();
    } else if (key.starts_with("connector/")) {
      auto info = connector_from_json(item);
      if (info) by_network[info->network].push_back(std::move(*info));
      else net::log(net::Level::error, "the controller sent a connector that makes no sense: {}", info.error().text);
    }
  }
  std::map<std::string, std::unique_ptr<Peer>> wanted;
  for (const auto& [network, infos] : by_network) {
    std::vector<Candidate> candidates;
    for (const ConnectorInfo& c : infos) {
      const auto known = peers_.find(c.id);
      const bool up = known != peers_.end() && known->second->up();
      candidates.push_back({c.id, c.online || up, known != peers_.end() && known->second->streams() > 0});
    }
    for (const std::string& id : choose_connectors(identity_.self().id, std::move(candidates), kPerNetwork)) {
      const ConnectorInfo& info = *std::find_if(infos.begin(), infos.end(), [&](const auto& c) { return c.id == id; });
      const std::string& grant = grants_[network];   // "" where the controller forgot it: the connector says so
      if (auto known = peers_.extract(id)) {
        known.mapped()->update(info, grant);
        wanted.insert(std::move(known));
      } else {
        wanted[id] = std::make_unique<Peer>(
            loop_, identity_, resolve_, info, grant,
            Peer::Callbacks{[this] { serve_.after(Duration::zero()); },
                            [this](const ClientTunnel::Pending& p) { reopen(p); }});
      }
    }
  }
  peers_ = std::move(wanted);
  serve_waiters();
}

Peer* Tunnels::best(const std::string& network) {
  Peer* found = nullptr;
  std::string lowest;
  for (const auto& [id, peer] : peers_) {
    if (peer->info().network != network || !peer->up()) continue;
    std::string weight = rendezvous_weight(identity_.self().id, id);
    if (found == nullptr || weight < lowest) {
      found = peer.get();
      lowest = std::move(weight);
    }
  }
  return found;
}

// No tunnel can be had now: every way was tried.
bool Tunnels::hopeless(const std::string& network) const {
  return std::none_of(peers_.begin(), peers_.end(), [&](const auto& p) {
    return p.second->info().network == network && (p.second->hopeful() || p.second->info().online);
  });
}

bool Tunnels::begin(Peer& peer, const Request& request, Stream& user) {
  if (const auto* flow = std::get_if<OpenRequest>(&request)) return peer.open(*flow, user).has_value();
  return peer.query(std::get<Query>(request), user).has_value();
}

void Tunnels::open(const OpenRequest& request, Stream& user) { begin_or_wait(request, user); }

void Tunnels::query(const Query& query, Stream& user) { begin_or_wait(query, user); }

// network_of returns null for a Resource that is gone.
const std::string* Tunnels::network_of(const Request& request) const {
  const Resource* r = resources_->by_id(std::visit([](const auto& asked) { return asked.resource; }, request));
  return r != nullptr ? &r->network : nullptr;
}

void Tunnels::begin_or_wait(Request request, Stream& user) {
  const std::string* network = network_of(request);
  Peer* peer = network != nullptr ? best(*network) : nullptr;
  if (peer != nullptr && begin(*peer, request, user)) return;
  auto w = std::make_unique<Waiter>(Waiter{std::move(request), &user, true, net::Loop::now() + kWait});
  user.waiting_ = &w->wanted;
  waiters_.push_back(std::move(w));
  waiting_.at(waiters_.front()->until);
  // A tunnel that stands and has no room says so at once, and so does a Network that nobody reaches.
  if (peer != nullptr || network == nullptr || hopeless(*network)) serve_.after(Duration::zero());
}

void Tunnels::reopen(const ClientTunnel::Pending& pending) {
  if (++pending.user->moves_ > kMoves) return pending.user->on_end(Code::host_unreachable);
  open(pending.request, *pending.user);
}

// Streams that wait for an answer of a suspect go to a tunnel that is not, as soon as there is one.
void Tunnels::serve() {
  for (const auto& [id, peer] : peers_) {
    if (best(peer->info().network) != nullptr) peer->move_pending();
  }
  serve_waiters();
}

void Tunnels::serve_waiters() {
  auto all = std::move(waiters_);
  waiters_.clear();
  for (auto& w : all) {
    if (!w->wanted) continue;
    const std::string* network = network_of(w->request);
    Peer* peer = network != nullptr ? best(*network) : nullptr;
    if (network != nullptr && peer == nullptr && !hopeless(*network)) {
      waiters_.push_back(std::move(w));
      continue;
    }
    w->user->waiting_ = nullptr;
    const bool granted = network != nullptr && grants_.contains(*network);
    if (!granted) w->user->on_end(network == nullptr ? Code::denied : Code::grant_expired);
    else if (peer == nullptr || !begin(*peer, w->request, *w->user)) w->user->on_end(Code::host_unreachable);
  }
}

void Tunnels::expire_waiters() {
  const Instant now = net::Loop::now();
  while (!waiters_.empty() && waiters_.front()->until <= now) {
    const auto w = std::move(waiters_.front());
    waiters_.pop_front();
    if (!w->wanted) continue;
    w->user->waiting_ = nullptr;
    w->user->on_end(Code::host_unreachable);
  }
  waiting_.at(waiters_.empty() ? kNever : waiters_.front()->until);
}

void Tunnels::network_changed() {
  for (const auto& [id, peer] : peers_) peer->network_changed();
}

void Tunnels::close() {
  for (const auto& [id, peer] : peers_) peer->close();
}

bool Tunnels::any_up() const {
  return std::any_of(peers_.begin(), peers_.end(), [](const auto& p) { return p.second->up(); });
}

Json Tunnels::status() const {
  Json out = Json::array();
  for (const auto& [id, peer] : peers_) out.push_back(peer->status());
  return out;
}

}  // namespace tg::client
