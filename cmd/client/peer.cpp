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

std::size_t Peer::Standing::streams() const {
  std::size_t n = 0;
  for (const Lane& l : lanes) n += l.tunnel->streams();
  return n;
}

Peer::Lane* Peer::Standing::find(LaneName lane) noexcept {
  const auto it = std::find_if(lanes.begin(), lanes.end(), [&](const Lane& l) { return l.name == lane; });
  return it == lanes.end() ? nullptr : &*it;
}

Lanes::LoadOf Peer::Standing::loads() {
  return [this](LaneName lane) { return find(lane)->tunnel->load(); };
}

void Peer::Standing::end(LaneName lane) {
  plan.ended(lane);
  const Lane* l = find(lane);
  past_in += l->tunnel->link().bytes_in();
  past_out += l->tunnel->link().bytes_out();
  std::erase_if(lanes, [&](const Lane& x) { return x.name == lane; });
}

void Peer::Standing::end_idle_lanes() {
  for (std::size_t i = lanes.size(); i-- > 0 && lanes.size() > 1;) {
    if (lanes[i].tunnel->streams() == 0) end(lanes[i].name);
  }
}

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
      for (const Lane& l : s.lanes) {
        l.tunnel->link().tunnel().send_grant(grant_);
        l.tunnel->link().kick();
      }
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
    if (!a->of) plan_.failed(kind_of(a->path), now);
    return true;
  });
  for (Standing& s : tunnels_) {
    if (!lost(s.path) || plan_.state(s.name) == PathPlan::State::leaving) continue;
    net::log(net::Level::info, "connector {}: {} is no longer a way to it; new flows go elsewhere", info_.name, s.path.address);
    plan_.goodbye(s.name, now);
  }
  for (Standing& s : tunnels_) {
    if (!s.path.direct && lost(s.path)) s.ends = std::min(s.ends, now + kLastWords);
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
    if (&other != s) other.plan.forget_dial();
  }
  if (s != nullptr && s->plan.next(s->loads(), net::Loop::now())) attempt(s->path, s->name);
  look_later();
}

void Peer::look_later() {
  const Standing* s = chosen();
  timer_.at(std::min(plan_.next_deadline(), s != nullptr ? s->plan.next_deadline() : kNever));
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

ClientTunnel* Peer::lane_for_stream() {
  Standing* s = chosen();
  const auto lane = s != nullptr ? s->plan.choose(s->loads()) : std::nullopt;
  return lane ? s->find(*lane)->tunnel.get() : nullptr;
}

Result<> Peer::open(const OpenRequest& request, Stream& user) {
  ClientTunnel* lane = lane_for_stream();
  if (lane == nullptr) return fail(Errc::unreachable, "there is no tunnel");
  if (auto begun = lane->open(request, user); !begun) return begun;
  if (request.protocol == Protocol::icmp) return {};
  if (chosen()->plan.began(net::Loop::now())) look_later();
  return {};
}

Result<> Peer::query(const Query& query, Stream& user) {
  ClientTunnel* lane = lane_for_stream();
  if (lane == nullptr) return fail(Errc::unreachable, "there is no tunnel");
  return lane->query(query, user);
}

void Peer::won(Attempt& a) {
  const auto attempt = take(a);
  if (a.of) {
    Standing* s = find(*a.of);
    TG_CHECK(s != nullptr);   // drive() forgets the attempts of what is not in use
    net::log(net::Level::debug, "connector {}: one lane more by {}", info_.name, a.path.address);
    add_lane(*s, std::move(attempt->tunnel));
    return drive();
  }
  const PathPlan::Name name = plan_.stood(kind_of(a.path), net::Loop::now());
  tunnels_.push_back({name, a.path});
  problem_.clear();
  net::log(net::Level::info, "connector {}: {} tunnel by {}", info_.name, kind_text(a.path), a.path.address);
  add_lane(tunnels_.back(), std::move(attempt->tunnel));
  drive();
}

void Peer::add_lane(Standing& s, std::unique_ptr<ClientTunnel> made) {
  const LaneName lane = ++last_lane_;
  ClientTunnel& tunnel = *made;
  s.lanes.push_back({lane, std::move(made)});
  s.plan.stood(lane, net::Loop::now());
  ClientTunnel::Callbacks callbacks;
  const PathPlan::Name name = s.name;
  callbacks.on_close = [this, name, lane](const Error& e) { lost(name, lane, e); };
  callbacks.on_goaway = [this, name, lane] { goodbye(name, lane); };
  callbacks.on_idle = [this, name, lane] {
    if (Standing* of = find(name)) of->plan.idle(lane, net::Loop::now());
    tidy_.after(Duration::zero());
  };
  callbacks.on_busy = [this, name] {
    if (plan_.chosen() == name && chosen()->plan.busy(net::Loop::now())) look_later();
  };
  callbacks.on_silence = [this, name, lane](bool silent) { silence(name, lane, silent); };
  callbacks.on_orphan = [this](ClientTunnel::Pending p) { callbacks_.reopen(std::move(p)); };
  tunnel.set_callbacks(std::move(callbacks));
  if (!grant_.empty()) tunnel.link().tunnel().send_grant(grant_);
  tunnel.link().kick();
}

void Peer::failed(Attempt& a, const Error& e) {
  const auto gone = take(a);
  if (closed_) return;
  if (gone->of) {
    net::log(net::Level::debug, "connector {}: no lane more by {}: {}", info_.name, gone->path.address, e.text);
    if (Standing* s = find(*gone->of)) s->plan.failed(net::Loop::now());
    return drive();
  }
  plan_.failed(kind_of(gone->path), net::Loop::now());
  if (!gone->path.direct || problem_.empty()) problem_ = e.text;
  net::log(net::Level::debug, "connector {}: no {} tunnel by {}: {}", info_.name, kind_text(gone->path), gone->path.address,
           e.text);
  drive();
}

void Peer::silence(PathPlan::Name name, LaneName lane, bool silent) {
  Standing* s = find(name);
  if (s == nullptr || closed_) return;
  s->find(lane)->silent = silent;
  s->plan.silent(lane, silent);
  for (const Lane& l : s->lanes) {
    if (silent && !l.silent) l.tunnel->link().probe();   // they may go the same dead way, and have said nothing to find out by
  }
  if (s->plan.usable() && !s->silent()) {
    net::log(net::Level::info, "connector {}: a lane by {}, of {}, {}", info_.name, s->path.address, s->lanes.size(),
             silent ? "does not answer; new flows take the others" : "answers again");
  }
  judge(*s);
}

void Peer::goodbye(PathPlan::Name name, LaneName lane) {
  Standing* s = find(name);
  if (s == nullptr) return;
  s->plan.goodbye(lane, net::Loop::now());
  judge(*s);
}

// What its lanes do, a tunnel does when none of them takes new streams.
void Peer::judge(Standing& s) {
  const Instant now = net::Loop::now();
  if (s.plan.usable()) {
    if (s.silent()) {
      net::log(net::Level::info, "connector {}: the {} tunnel by {} answers again, after {:.1f} s", info_.name, kind_text(s.path),
               s.path.address, seconds_since(s.silent_since));
      s.silent_since = kNever;
      plan_.heard(s.name, now);
    }
  } else if (!s.plan.silent()) {
    s.silent_since = kNever;
    plan_.goodbye(s.name, now);
  } else if (!s.silent()) {
    s.silent_since = now;
    problem_ = fmt::format("no answer by {}", s.path.address);
    net::log(net::Level::warning, "connector {}: the {} tunnel by {} does not answer; new flows go elsewhere", info_.name,
             kind_text(s.path), s.path.address);
    plan_.silent(s.name, now);
  }
  drive();
}

void Peer::lost(PathPlan::Name name, LaneName lane, const Error& e) {
  if (closed_) return;
  Standing* s = find(name);
  if (s == nullptr) return;
  if (s->lanes.size() == 1) return end(name, e);
  net::log(net::Level::info, "connector {}: a lane by {}, of {}, ended: {}", info_.name, s->path.address, s->lanes.size(), e.text);
  auto pending = s->find(lane)->tunnel->take_pending();
  s->end(lane);
  judge(*s);
  for (auto& p : pending) callbacks_.reopen(std::move(p));
}

void Peer::end(PathPlan::Name name, const Error& e) {
  const auto it = std::find_if(tunnels_.begin(), tunnels_.end(), [&](const Standing& s) { return s.name == name; });
  if (it == tunnels_.end()) return;
  const Standing gone = std::move(*it);
  tunnels_.erase(it);
  if (plan_.chosen() == name || plan_.state(name) == PathPlan::State::suspect) {
    net::log(net::Level::warning, "connector {}: the tunnel by {} ended: {}", info_.name, gone.path.address, e.text);
    if (!plan_.chosen() || plan_.chosen() == name) problem_ = e.text;
  }
  plan_.ended(name, net::Loop::now());
  std::vector<ClientTunnel::Pending> pending;
  for (const Lane& l : gone.lanes) std::ranges::move(l.tunnel->take_pending(), std::back_inserter(pending));
  drive();
  for (auto& p : pending) callbacks_.reopen(std::move(p));
}

void Peer::move_pending() {
  std::vector<ClientTunnel::Pending> pending;
  for (const Standing& s : tunnels_) {
    for (const Lane& l : s.lanes) {
      if (l.silent) std::ranges::move(l.tunnel->take_pending(), std::back_inserter(pending));
    }
  }
  for (auto& p : pending) callbacks_.reopen(std::move(p));
}

void Peer::tidy() {
  if (closed_) return;
  std::erase_if(tunnels_, [&](const Standing& s) {
    if (plan_.needed(s.name, s.streams())) return false;
    plan_.ended(s.name, net::Loop::now());
    return true;
  });
  for (Standing& s : tunnels_) {
    if (plan_.chosen() == s.name || plan_.state(s.name) == PathPlan::State::suspect) continue;
    const bool usable = s.plan.usable();
    s.end_idle_lanes();   // it runs dry
    if (usable && !s.plan.usable()) judge(s);
  }
  if (Standing* s = chosen()) {
    while (const auto lane = s->plan.spare(s->loads(), net::Loop::now())) s->end(*lane);
  }
  mind_lanes();
}

void Peer::network_changed() {
  for (Standing& s : tunnels_) {
    for (const Lane& l : s.lanes) l.tunnel->link().probe();
    s.plan.forget_dial();
  }
  attempts_.clear();   // they may hang on a way that is gone
  plan_.network_changed(net::Loop::now());
  drive();
}

void Peer::close() {
  closed_ = true;
  attempts_.clear();
  for (const Standing& s : tunnels_) {
    for (const Lane& l : s.lanes) l.tunnel->link().close(Code::shutting_down);
  }
}

std::size_t Peer::streams() const {
  std::size_t n = 0;
  for (const Standing& s : tunnels_) n += s.streams();
  return n;
}

Json Peer::status() const {
  Json j = {{"connector", info_.name}, {"id", info_.id}, {"network", info_.network}, {"online", info_.online}};
  j["state"] = up() ? "up" : "down";
  Json others = Json::array();
  for (const Standing& s : tunnels_) {
    Json t = {{"path", kind_text(s.path)}, {"address", s.path.address}, {"flows", s.streams()}, {"lanes", s.lanes.size()}};
    std::optional<Duration> round_trip;
    std::uint64_t in = s.past_in, out = s.past_out;
    for (const Lane& l : s.lanes) {
      const auto one = l.tunnel->link().tunnel().round_trip();
      if (one && (!round_trip || *one < *round_trip)) round_trip = one;
      in += l.tunnel->link().bytes_in();
      out += l.tunnel->link().bytes_out();
    }
    if (round_trip) t["round_trip_ms"] = std::chrono::duration<double, std::milli>(*round_trip).count();
    t["bytes_in"] = in;
    t["bytes_out"] = out;
    if (plan_.chosen() == s.name) {
      j.update(t);
      continue;
    }
    t["state"] = plan_.state(s.name) == PathPlan::State::suspect ? "silent" : "draining";
    if (s.silent()) t["silent_s"] = seconds_since(s.silent_since);
    others.push_back(std::move(t));
  }
  if (!up()) j["problem"] = problem_;
  if (!others.empty()) j["others"] = std::move(others);
  return j;
}

}  // namespace tg::client
