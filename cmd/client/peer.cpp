#include "cmd/client/peer.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/json.h"
#include "net/control_stream.h"
#include "net/log.h"
#include "net/relay_protocol.h"

namespace tg::client {
namespace {

constexpr std::size_t kDirectMost = 4;   // addresses of one connector that are tried
constexpr std::size_t kRelaysMost = 4;   // relays that are tried at once

const char* kind_text(const ClientTunnel::Path& path) { return path.direct ? "direct" : "relayed"; }
PathPlan::Kind kind_of(const ClientTunnel::Path& path) { return path.direct ? PathPlan::Kind::direct : PathPlan::Kind::relayed; }

double seconds_since(Instant t) { return std::chrono::duration<double>(net::Loop::now() - t).count(); }

}  // namespace

Peer::Peer(net::Loop& loop, const cmd::AgentIdentity& identity, net::ResolveHost resolve, ConnectorInfo info, std::string grant,
           Callbacks callbacks)
    : loop_(loop), identity_(identity), resolve_(std::move(resolve)), info_(std::move(info)), grant_(std::move(grant)),
      callbacks_(std::move(callbacks)), plan_(net::kFirstRetry, net::kLongestRetry, net::random_seed()),
      timer_(loop, [this] { drive(); }), tidy_(loop, [this] { tidy(); }),
      overdue_(loop, [this] { end_overdue(); }) {
  plan_.set_ways(info_.direct.size(), info_.relays.size(), net::Loop::now());
  drive();
}

Peer::~Peer() { closed_ = true; }

void Peer::update(const ConnectorInfo& info, const std::string& grant) {
  const bool other_ways = !same_ways(info, info_);
  info_ = info;
  if (grant != grant_) {
    grant_ = grant;
    for (const Standing& s : tunnels_) {
      s.tunnel->link().tunnel().send_grant(grant_);
      s.tunnel->link().kick();
    }
  }
  if (!other_ways) return;
  leave_lost_ways();
  plan_.set_ways(info_.direct.size(), info_.relays.size(), net::Loop::now());
  drive();
}

void Peer::leave_lost_ways() {
  const Instant now = net::Loop::now();
  const auto lost = [&](const ClientTunnel::Path& p) { return !names_way(info_, p.relay, p.address); };
  std::erase_if(attempts_, [&](const auto& a) {
    if (!lost(a->path)) return false;
    plan_.failed(kind_of(a->path), now);
    return true;
  });
  for (Standing& s : tunnels_) {
    const ClientTunnel::Path& path = s.tunnel->path();
    if (!lost(path) || plan_.state(s.name) == PathPlan::State::leaving) continue;
    net::log(net::Level::info, "connector {}: {} is no longer a way to it; new flows go elsewhere", info_.name, path.address);
    plan_.goodbye(s.name, now);
  }
  for (Standing& s : tunnels_) {
    if (!s.tunnel->path().direct && lost(s.tunnel->path())) s.ends = std::min(s.ends, now + kLastWords);
  }
  end_overdue();
}

void Peer::end_overdue() {
  const Instant now = net::Loop::now();
  std::vector<PathPlan::Name> over;
  Instant next = kNever;
  for (const Standing& s : tunnels_) {
    if (s.ends <= now) over.push_back(s.name);
    else next = std::min(next, s.ends);
  }
  overdue_.at(next);
  for (const PathPlan::Name name : over) lost(name, {Errc::closed, "the relay is out of service"});
}

// Called after every event: dials what the plan says, and forgets what it has no use for.
void Peer::drive() {
  if (closed_) return;
  std::erase_if(attempts_, [&](const auto& a) { return !plan_.wanted(kind_of(a->path)); });
  while (const auto step = plan_.next(net::Loop::now())) {
    dial(*step == PathPlan::Step::dial_direct ? PathPlan::Kind::direct : PathPlan::Kind::relayed);
  }
  if (info_.direct.empty() && info_.relays.empty()) problem_ = "the controller names no way to it";
  timer_.at(plan_.next_deadline());
  tidy_.after(Duration::zero());
  callbacks_.changed();
}

void Peer::dial(PathPlan::Kind kind) {
  if (kind == PathPlan::Kind::direct) {
    for (std::size_t i = 0; i < std::min(info_.direct.size(), kDirectMost); ++i) attempt({true, info_.direct[i], {}}, {});
  } else {
    // With many relays others have their turn each time.
    const std::size_t n = info_.relays.size();
    for (std::size_t i = 0; i < std::min(n, kRelaysMost); ++i) {
      const RelayWay& relay = info_.relays[relay_turn_++ % n];
      attempt({false, relay.address, relay.relay}, relay.ticket + std::string(net::kSniSuffix));
    }
  }
}

void Peer::attempt(ClientTunnel::Path path, std::string server_name) {
  const auto to = HostPort::parse(path.address);
  if (!to) return;
  plan_.began(kind_of(path));
  attempts_.push_back(std::make_unique<Attempt>());
  Attempt* a = attempts_.back().get();
  a->path = std::move(path);
  a->dial = std::make_unique<net::Dial>(loop_, *to, resolve_, net::kAttempt, [this, a, server_name](Result<net::Fd> fd) {
    if (!fd) return failed(*a, fd.error());
    connected(*a, std::move(*fd), server_name);
  });
}

void Peer::connected(Attempt& a, net::Fd fd, const std::string& server_name) {
  auto context = identity_.client_context(net::kAlpnTunnel);
  if (!context) return failed(a, context.error());
  const std::string uri = net::to_uri({identity_.self().network, "connector", info_.id, {}, {}, {}});
  ClientTunnel::Callbacks callbacks;
  callbacks.on_open = [this, &a] { won(a); };
  callbacks.on_close = [this, &a](const Error& e) { failed(a, e); };
  callbacks.on_goaway = [] {};
  a.tunnel = std::make_unique<ClientTunnel>(loop_, std::move(fd), *context, server_name, uri, a.path, std::move(callbacks));
}

std::unique_ptr<Peer::Attempt> Peer::take(Attempt& a) {
  const auto it = std::find_if(attempts_.begin(), attempts_.end(), [&](const auto& x) { return x.get() == &a; });
  auto out = std::move(*it);
  attempts_.erase(it);
  return out;
}

Peer::Standing* Peer::find(PathPlan::Name name) noexcept {
  const auto it = std::find_if(tunnels_.begin(), tunnels_.end(), [&](const Standing& s) { return s.name == name; });
  return it == tunnels_.end() ? nullptr : &*it;
}

ClientTunnel* Peer::active() const noexcept {
  const auto chosen = plan_.chosen();
  const Standing* s = chosen ? const_cast<Peer*>(this)->find(*chosen) : nullptr;
  return s != nullptr ? s->tunnel.get() : nullptr;
}

void Peer::won(Attempt& a) {
  const auto attempt = take(a);
  const PathPlan::Name name = plan_.stood(kind_of(a.path), net::Loop::now());
  ClientTunnel& tunnel = *attempt->tunnel;
  tunnels_.push_back({name, std::move(attempt->tunnel)});
  ClientTunnel::Callbacks callbacks;
  callbacks.on_close = [this, name](const Error& e) { lost(name, e); };
  callbacks.on_goaway = [this, name] {
    plan_.goodbye(name, net::Loop::now());
    drive();
  };
  callbacks.on_idle = [this] { tidy_.after(Duration::zero()); };
  callbacks.on_silence = [this, name](bool silent) { silence(name, silent); };
  callbacks.on_orphan = [this](ClientTunnel::Pending p) { callbacks_.reopen(std::move(p)); };
  tunnel.set_callbacks(std::move(callbacks));
  problem_.clear();
  net::log(net::Level::info, "connector {}: {} tunnel by {}", info_.name, kind_text(tunnel.path()), tunnel.path().address);
  if (!grant_.empty()) tunnel.link().tunnel().send_grant(grant_);
  tunnel.link().kick();
  drive();
}

void Peer::failed(Attempt& a, const Error& e) {
  const auto gone = take(a);
  if (closed_) return;
  plan_.failed(kind_of(gone->path), net::Loop::now());
  if (!gone->path.direct || problem_.empty()) problem_ = e.text;
  net::log(net::Level::debug, "connector {}: no {} tunnel by {}: {}", info_.name, kind_text(gone->path), gone->path.address,
           e.text);
  drive();
}

void Peer::silence(PathPlan::Name name, bool silent) {
  Standing* s = find(name);
  if (s == nullptr || closed_) return;
  const ClientTunnel::Path& path = s->tunnel->path();
  if (silent) {
    s->silent_since = net::Loop::now();
    problem_ = fmt::format("no answer by {}", path.address);
    net::log(net::Level::warning, "connector {}: the {} tunnel by {} does not answer; new flows go elsewhere", info_.name,
             kind_text(path), path.address);
    plan_.silent(name, net::Loop::now());
  } else {
    net::log(net::Level::info, "connector {}: the {} tunnel by {} answers again, after {:.1f} s", info_.name, kind_text(path),
             path.address, seconds_since(s->silent_since));
    s->silent_since = kNever;
    plan_.heard(name, net::Loop::now());
  }
  drive();
}

void Peer::lost(PathPlan::Name name, const Error& e) {
  if (closed_) return;
  const auto it = std::find_if(tunnels_.begin(), tunnels_.end(), [&](const Standing& s) { return s.name == name; });
  if (it == tunnels_.end()) return;
  const Standing gone = std::move(*it);
  tunnels_.erase(it);
  if (plan_.chosen() == name || plan_.state(name) == PathPlan::State::suspect) {
    net::log(net::Level::warning, "connector {}: the tunnel by {} ended: {}", info_.name, gone.tunnel->path().address, e.text);
    if (!plan_.chosen() || plan_.chosen() == name) problem_ = e.text;
  }
  plan_.ended(name, net::Loop::now());
  auto pending = gone.tunnel->take_pending();
  drive();
  for (auto& p : pending) callbacks_.reopen(std::move(p));
}

void Peer::move_pending() {
  std::vector<ClientTunnel::Pending> all;
  for (const Standing& s : tunnels_) {
    if (s.silent_since == kNever) continue;
    for (auto& p : s.tunnel->take_pending()) all.push_back(std::move(p));
  }
  for (auto& p : all) callbacks_.reopen(std::move(p));
}

void Peer::tidy() {
  std::erase_if(tunnels_, [&](const Standing& s) {
    if (plan_.needed(s.name, s.tunnel->streams())) return false;
    plan_.ended(s.name, net::Loop::now());
    return true;
  });
}

void Peer::network_changed() {
  for (const Standing& s : tunnels_) s.tunnel->link().probe();
  attempts_.clear();   // they may hang on a way that is gone
  plan_.network_changed(net::Loop::now());
  drive();
}

void Peer::close() {
  closed_ = true;
  attempts_.clear();
  for (const Standing& s : tunnels_) s.tunnel->link().close(Code::shutting_down);
}

std::size_t Peer::streams() const {
  std::size_t n = 0;
  for (const Standing& s : tunnels_) n += s.tunnel->streams();
  return n;
}

Json Peer::status() const {
  Json j = {{"connector", info_.name}, {"id", info_.id}, {"network", info_.network}, {"online", info_.online}};
  const ClientTunnel* active = this->active();
  j["state"] = active != nullptr ? "up" : "down";
  Json others = Json::array();
  for (const Standing& s : tunnels_) {
    Json t = {{"path", kind_text(s.tunnel->path())}, {"address", s.tunnel->path().address}, {"flows", s.tunnel->streams()}};
    if (const auto rtt = s.tunnel->link().tunnel().round_trip()) {
      t["round_trip_ms"] = std::chrono::duration<double, std::milli>(*rtt).count();
    }
    t["bytes_in"] = s.tunnel->link().bytes_in();
    t["bytes_out"] = s.tunnel->link().bytes_out();
    if (s.tunnel.get() == active) {
      j.update(t);
      continue;
    }
    t["state"] = plan_.state(s.name) == PathPlan::State::suspect ? "silent" : "draining";
    if (s.silent_since != kNever) t["silent_s"] = seconds_since(s.silent_since);
    others.push_back(std::move(t));
  }
  if (active == nullptr) j["problem"] = problem_;
  if (!others.empty()) j["others"] = std::move(others);
  return j;
}

}  // namespace tg::client
