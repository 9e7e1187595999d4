#include "cmd/client/peer.h"

#include <algorithm>
#include <iterator>

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
    for (const Standing& s : tunnels_) s.tunnel->set_grant(grant_);
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
    if (!a->of) plan_.failed(kind_of(a->path), now);
    return true;
  });
  for (Standing& s : tunnels_) {
    if (!lost(s.tunnel->path()) || plan_.state(s.name) == PathPlan::State::leaving) continue;
    net::log(net::Level::info, "connector {}: {} is no longer a way to it; new flows go elsewhere", info_.name, s.tunnel->path().address);
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
  for (const PathPlan::Name name : over) end(name, {Errc::closed, "the relay is out of service"});
}

// Called after every event: dials what the plan says, and forgets what it has no use for.
void Peer::drive() {
  if (closed_) return;
  std::erase_if(attempts_, [&](const auto& a) { return a->of ? a->of != plan_.chosen() : !plan_.wanted(kind_of(a->path)); });
  while (const auto step = plan_.next(net::Loop::now())) {
    dial(*step == PathPlan::Step::dial_direct ? PathPlan::Kind::direct : PathPlan::Kind::relayed);
  }
  mind_lanes();
  if (info_.direct.empty() && info_.relays.empty()) problem_ = "the controller names no way to it";
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
      attempt({false, relay.address, relay.relay}, {});
    }
  }
}

// Dials by the same way the lane that the tunnel in use lacks, and says when to look again.
void Peer::mind_lanes() {
  Standing* s = chosen();
  for (Standing& other : tunnels_) {
    if (&other != s) other.tunnel->forget_dial();
  }
  if (s != nullptr && s->tunnel->wants_lane()) attempt(s->tunnel->path(), s->name);
  look_later();
}

void Peer::look_later() {
  const Standing* s = chosen();
  timer_.at(std::min(plan_.next_deadline(), s != nullptr ? s->tunnel->next_deadline() : kNever));
}

void Peer::attempt(ClientTunnel::Path path, std::optional<PathPlan::Name> of) {
  const auto to = HostPort::parse(path.address);
  if (!to) return;
  if (!of) plan_.began(kind_of(path));
  attempts_.push_back(std::make_unique<Attempt>());
  Attempt* a = attempts_.back().get();
  a->path = std::move(path);
  a->of = of;
  a->dial = std::make_unique<net::Dial>(loop_, *to, resolve_, net::kAttempt, [this, a](Result<net::Fd> fd) {
    if (!fd) return failed(*a, fd.error());
    connected(*a, std::move(*fd));
  });
}

// What a relay is told, which knows connections by it; "" by a direct path.
std::string Peer::server_name(const ClientTunnel::Path& path) const {
  for (const RelayWay& way : info_.relays) {
    if (!path.direct && way.relay == path.relay && way.address == path.address) return way.ticket + std::string(net::kSniSuffix);
  }
  return {};
}

void Peer::connected(Attempt& a, net::Fd fd) {
  auto context = identity_.client_context(net::kAlpnTunnel);
  if (!context) return failed(a, context.error());
  const std::string uri = net::to_uri({identity_.self().network, "connector", info_.id, {}, {}, {}});
  ClientTunnel::Callbacks callbacks;
  callbacks.on_open = [this, &a] { won(a); };
  callbacks.on_close = [this, &a](const Error& e) { failed(a, e); };
  callbacks.on_goaway = [] {};
  a.tunnel = std::make_unique<ClientTunnel>(loop_, std::move(fd), *context, server_name(a.path), uri, a.path, std::move(callbacks));
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

Peer::Standing* Peer::chosen() noexcept { return plan_.chosen() ? find(*plan_.chosen()) : nullptr; }

Result<> Peer::open(const OpenRequest& request, Stream& user) {
  Standing* s = chosen();
  if (s == nullptr) return fail(Errc::unreachable, "there is no tunnel");
  return s->tunnel->open(request, user);
}

Result<> Peer::query(const Query& query, Stream& user) {
  Standing* s = chosen();
  if (s == nullptr) return fail(Errc::unreachable, "there is no tunnel");
  return s->tunnel->query(query, user);
}

void Peer::won(Attempt& a) {
  const auto attempt = take(a);
  if (a.of) {
    Standing* s = find(*a.of);
    TG_CHECK(s != nullptr);   // drive() forgets the attempts of what is not in use
    net::log(net::Level::debug, "connector {}: one lane more by {}", info_.name, a.path.address);
    s->tunnel->add(std::move(attempt->tunnel), grant_);
    return drive();
  }
  const PathPlan::Name name = plan_.stood(kind_of(a.path), net::Loop::now());
  tunnels_.push_back({name, std::make_unique<LanedTunnel>(info_.name, a.path, callbacks_of(name))});
  problem_.clear();
  net::log(net::Level::info, "connector {}: {} tunnel by {}", info_.name, kind_text(a.path), a.path.address);
  tunnels_.back().tunnel->add(std::move(attempt->tunnel), grant_);
  drive();
}

LanedTunnel::Callbacks Peer::callbacks_of(PathPlan::Name name) {
  LanedTunnel::Callbacks callbacks;
  callbacks.judge = [this, name] { judge(name); };
  callbacks.lost = [this, name](const Error& e) { end(name, e); };
  callbacks.look = [this] { look_later(); };
  callbacks.idle = [this] { tidy_.after(Duration::zero()); };
  callbacks.reopen = [this](ClientTunnel::Pending p) { callbacks_.reopen(std::move(p)); };
  return callbacks;
}

void Peer::failed(Attempt& a, const Error& e) {
  const auto gone = take(a);
  if (closed_) return;
  if (gone->of) {
    net::log(net::Level::debug, "connector {}: no lane more by {}: {}", info_.name, gone->path.address, e.text);
    if (Standing* s = find(*gone->of)) s->tunnel->lane_failed();
    return drive();
  }
  plan_.failed(kind_of(gone->path), net::Loop::now());
  if (!gone->path.direct || problem_.empty()) problem_ = e.text;
  net::log(net::Level::debug, "connector {}: no {} tunnel by {}: {}", info_.name, kind_text(gone->path), gone->path.address,
           e.text);
  drive();
}

// New streams go to a tunnel that is usable; one that is silent may be so again, others leave.
void Peer::judge(PathPlan::Name name) {
  Standing* s = find(name);
  if (s == nullptr || closed_) return;
  const Instant now = net::Loop::now();
  const ClientTunnel::Path& path = s->tunnel->path();
  if (s->tunnel->usable()) {
    if (s->silent_since != kNever) {
      net::log(net::Level::info, "connector {}: the {} tunnel by {} answers again, after {:.1f} s", info_.name, kind_text(path),
               path.address, seconds_since(s->silent_since));
      s->silent_since = kNever;
      plan_.heard(name, now);
    }
  } else if (!s->tunnel->silent()) {
    s->silent_since = kNever;
    plan_.goodbye(name, now);
  } else if (s->silent_since == kNever) {
    s->silent_since = now;
    problem_ = fmt::format("no answer by {}", path.address);
    net::log(net::Level::warning, "connector {}: the {} tunnel by {} does not answer; new flows go elsewhere", info_.name,
             kind_text(path), path.address);
    plan_.silent(name, now);
  }
  drive();
}

void Peer::end(PathPlan::Name name, const Error& e) {
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
  std::vector<ClientTunnel::Pending> pending;
  for (const Standing& s : tunnels_) {
    std::ranges::move(s.tunnel->take_pending_of_silent(), std::back_inserter(pending));
  }
  for (auto& p : pending) callbacks_.reopen(std::move(p));
}

void Peer::tidy() {
  if (closed_) return;
  std::erase_if(tunnels_, [&](const Standing& s) {
    if (plan_.needed(s.name, s.tunnel->streams())) return false;
    plan_.ended(s.name, net::Loop::now());
    return true;
  });
  for (Standing& s : tunnels_) {
    if (plan_.chosen() == s.name || plan_.state(s.name) == PathPlan::State::suspect) continue;
    s.tunnel->end_idle();   // it runs dry
  }
  if (Standing* s = chosen()) s->tunnel->end_spare();
  mind_lanes();
}

void Peer::network_changed() {
  for (const Standing& s : tunnels_) s.tunnel->network_changed();
  attempts_.clear();   // they may hang on a way that is gone
  plan_.network_changed(net::Loop::now());
  drive();
}

void Peer::close() {
  closed_ = true;
  attempts_.clear();
  for (const Standing& s : tunnels_) s.tunnel->close();
}

std::size_t Peer::streams() const {
  std::size_t n = 0;
  for (const Standing& s : tunnels_) n += s.tunnel->streams();
  return n;
}

Json Peer::status() const {
  Json j = {{"connector", info_.name}, {"id", info_.id}, {"network", info_.network}, {"online", info_.online}};
  j["state"] = up() ? "up" : "down";
  Json others = Json::array();
  for (const Standing& s : tunnels_) {
    Json t = s.tunnel->status();
    if (plan_.chosen() == s.name) {
      j.update(t);
      continue;
    }
    t["state"] = plan_.state(s.name) == PathPlan::State::suspect ? "silent" : "draining";
    if (s.silent_since != kNever) t["silent_s"] = seconds_since(s.silent_since);
    others.push_back(std::move(t));
  }
  if (!up()) j["problem"] = problem_;
  if (!others.empty()) j["others"] = std::move(others);
  return j;
}

}  // namespace tg::client
