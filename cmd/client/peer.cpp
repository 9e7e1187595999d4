#include "cmd/client/peer.h"

#include <algorithm>

#include "net/control_stream.h"
#include "net/log.h"
#include "net/relay_protocol.h"

namespace tg::client {

Peer::Peer(net::Loop& loop, const cmd::AgentIdentity& identity, net::ResolveHost resolve, ConnectorInfo info, std::string grant,
           std::function<void()> changed)
    : loop_(loop), identity_(identity), resolve_(std::move(resolve)), info_(std::move(info)), grant_(std::move(grant)),
      changed_(std::move(changed)), backoff_(net::kFirstRetry, net::kLongestRetry, net::random_seed()) {
  retry_ = net::Timer(loop, [this] { start(); });
  relay_ = net::Timer(loop, [this] {
    relay_due_ = false;
    try_relays();
  });
  direct_again_ = net::Timer(loop, [this] { try_direct(); });
  tidy_ = net::Timer(loop, [this] { drop_dry(); });
  start();
}

Peer::~Peer() { closed_ = true; }

void Peer::update(const ConnectorInfo& info, const std::string& grant) {
  const bool other_paths = info.direct != info_.direct || info.relays != info_.relays || info.online != info_.online;
  info_ = info;
  if (grant != grant_) {
    grant_ = grant;
    for (ClientTunnel* t : {active_.get()}) {
      if (t == nullptr) continue;
      t->link().tunnel().send_grant(grant_);
      t->link().kick();
    }
    for (const auto& t : dry_) {
      t->link().tunnel().send_grant(grant_);
      t->link().kick();
    }
  }
  if (!other_paths) return;
  if (active_ == nullptr) {
    backoff_.reset();
    start();
  } else if (!active_->path().direct) {
    try_direct();
  }
}

void Peer::start() {
  if (closed_ || active_ != nullptr || trying()) return;
  retry_.cancel();
  try_direct();
  if (attempts_.empty()) return try_relays();
  relay_due_ = true;
  relay_.after(kRelayAfter);
}

void Peer::try_direct() {
  if (closed_ || (active_ != nullptr && active_->path().direct)) return;
  const bool under_way = std::any_of(attempts_.begin(), attempts_.end(), [](const auto& a) { return a->path.direct; });
  if (under_way) return;
  for (std::size_t i = 0; i < std::min<std::size_t>(info_.direct.size(), 4); ++i) attempt({true, info_.direct[i]}, {});
}

void Peer::try_relays() {
  if (closed_ || active_ != nullptr) return;
  for (const RelayWay& r : info_.relays) attempt({false, r.address}, r.ticket + std::string(net::kSniSuffix));
  if (attempts_.empty()) {
    problem_ = "the controller names no way to it";
    retry_.after(backoff_.next());
    changed_();
  }
}

void Peer::attempt(ClientTunnel::Path path, std::string server_name) {
  const auto to = HostPort::parse(path.address);
  if (!to) return;
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
  auto tunnel = std::make_unique<ClientTunnel>(
      loop_, std::move(fd), *context, server_name, uri, a.path,
      ClientTunnel::Callbacks{[this, &a] { won(a); }, [this, &a](const Error& e) { failed(a, e); }, [] {}, {}});
  a.tunnel = std::move(tunnel);
}

std::unique_ptr<Peer::Attempt> Peer::take(Attempt& a) {
  const auto it = std::find_if(attempts_.begin(), attempts_.end(), [&](const auto& x) { return x.get() == &a; });
  auto out = std::move(*it);
  attempts_.erase(it);
  return out;
}

void Peer::won(Attempt& a) {
  const auto attempt = take(a);
  auto tunnel = std::move(attempt->tunnel);
  if (active_ != nullptr && (active_->path().direct || !tunnel->path().direct)) {
    tunnel->link().close(Code::none);
    // It is inside its own callback: it goes with the dry ones.
    tunnel->set_callbacks({[] {}, [this, t = tunnel.get()](const Error& e) { lost(*t, e); }, [] {}, {}});
    dry_.push_back(std::move(tunnel));
    tidy_.after(std::chrono::seconds(1));
    return;
  }
  ClientTunnel* t = tunnel.get();
  t->set_callbacks({[] {}, [this, t](const Error& e) { lost(*t, e); },
                    [this, t] {
                      if (t != active_.get()) return;
                      retire();
                      again();
                    },
                    [this] { tidy_.after(Duration::zero()); }});
  retire();
  active_ = std::move(tunnel);
  if (active_->path().direct) {
    relay_.cancel();
    relay_due_ = false;
    attempts_.clear();   // nothing is better than this
    direct_again_.cancel();
  } else {
    direct_again_.after(kDirectAgain);
  }
  stands_since_ = net::Loop::now();
  problem_.clear();
  net::log(net::Level::info, "connector {}: {} tunnel by {}", info_.name, active_->path().direct ? "direct" : "relayed",
           active_->path().address);
  if (!grant_.empty()) active_->link().tunnel().send_grant(grant_);
  active_->link().kick();
  changed_();
}

void Peer::failed(Attempt& a, const Error& e) {
  const auto gone = take(a);
  if (closed_) return;
  if (!gone->path.direct || problem_.empty()) problem_ = e.text;
  net::log(net::Level::debug, "connector {}: no {} tunnel by {}: {}", info_.name, gone->path.direct ? "direct" : "relayed",
           gone->path.address, e.text);
  if (active_ != nullptr) {
    if (!active_->path().direct && !info_.direct.empty()) direct_again_.after(kDirectAgain);
    return;
  }
  if (relay_due_ && attempts_.empty()) {   // nothing direct: no reason to wait
    relay_due_ = false;
    relay_.cancel();
    return try_relays();
  }
  if (trying()) return;
  retry_.after(backoff_.next());
  changed_();
}

void Peer::lost(ClientTunnel& tunnel, const Error& e) {
  if (closed_) return;
  if (&tunnel == active_.get()) {
    net::log(net::Level::warning, "connector {}: the tunnel by {} ended: {}", info_.name, tunnel.path().address, e.text);
    problem_ = e.text;
    const auto gone = std::move(active_);
    direct_again_.cancel();
    return again();
  }
  std::erase_if(dry_, [&](const auto& t) { return t.get() == &tunnel; });
}

// A tunnel that stood for some time is replaced at once; one that did not, after a pause.
void Peer::again() {
  if (net::Loop::now() - stands_since_ > kStood) {
    backoff_.reset();
    return start();
  }
  retry_.after(backoff_.next());
}

// The active tunnel takes no new streams any more.
void Peer::retire() {
  if (active_ == nullptr) return;
  dry_.push_back(std::move(active_));
  tidy_.after(Duration::zero());
}

void Peer::drop_dry() {
  std::erase_if(dry_, [](const auto& t) { return t->streams() == 0; });
}

void Peer::network_changed() {
  if (active_ != nullptr) active_->link().probe(net::kCheckPatience);
  for (const auto& t : dry_) t->link().probe(net::kCheckPatience);
  backoff_.reset();
  attempts_.clear();   // they may hang on a way that is gone
  relay_.cancel();
  relay_due_ = false;
  if (active_ == nullptr) {
    start();
  } else if (!active_->path().direct) {
    try_direct();
  }
}

void Peer::close() {
  closed_ = true;
  attempts_.clear();
  if (active_ != nullptr) active_->link().close(Code::shutting_down);
}

}  // namespace tg::client
