#include "cmd/connector/session.h"

#include "core/forbidden.h"
#include "core/idle.h"
#include "dns/message.h"
#include "dns/types.h"
#include "net/log.h"

namespace tg::connector {
namespace {
constexpr Duration kSweep = std::chrono::seconds(1);
constexpr Duration kReplacement = std::chrono::seconds(2);
constexpr Duration kReturn = std::chrono::seconds(10);   // devices find the controller within 5 s, too
constexpr std::chrono::seconds kLeeway(60);              // as Grant::verify

void say_full(DeviceQuota& quota, const std::string& device, const char* what) {
  if (!quota.worth_saying(net::Loop::now())) return;
  net::log(net::Level::warning, "device {} has {} {} open, all devices {}: more are refused", device, quota.open_of(device), what,
           quota.open());
}

}  // namespace

std::chrono::seconds Rules::grace(Instant now) const {
  const bool back = controller_since && now - *controller_since > kReturn;
  return back ? std::chrono::seconds(0) : self.grace;
}

Session::Session(Shared shared, net::Fd fd, const net::TlsContext& context, std::function<void(const Error&)> ended)
    : shared_(shared),
      ended_(std::move(ended)),
      link_(shared.loop, std::move(fd), context, Tunnel::Side::connector, *this,
            {[this] { opened(); }, [this](const Error& e) {
               const auto call = std::move(ended_);
               call(e);   // destroys this
             }}) {
  sweep_ = net::Timer(shared_.loop, [this] { sweep(); });
  sweep_.after(kSweep);
}

Session::~Session() {
  for (auto& [id, live] : flows_) {
    if (live.lookup != 0) shared_.resolver.cancel(live.lookup);
    live.flow->reset_by_client();   // the far side learns that its peer is gone
  }
  for (auto& [id, lookup] : queries_) shared_.resolver.cancel(lookup);
}

const std::string& Session::user() const noexcept {
  static const std::string none;
  return grant_ ? grant_->user : none;
}

bool Session::is_device() const {
  const auto& who = link_.identity();
  return who && who->role == "device" && who->network == shared_.rules.self.issuer;
}

void Session::opened() {
  if (!is_device()) return link_.close(Code::denied);
  auto place = shared_.tunnels.take(link_.identity()->id);
  if (place) {
    place_ = std::move(*place);
    return;
  }
  say_full(shared_.tunnels, link_.identity()->id, "tunnels");
  link_.close(Code::exhausted);
}

void Session::on_grant(std::string_view jws) {
  if (!is_device() || shared_.rules.self.grant_key.empty()) return;   // what came with the handshake is heard before the end
  const auto& who = link_.identity();
  auto grant = Grant::verify(jws, shared_.rules.self.grant_key, shared_.rules.self.issuer, shared_.rules.self.network,
                             who->key_thumbprint, net::Loop::wall(), shared_.rules.grace(net::Loop::now()));
  if (!grant) {
    net::log(net::Level::warning, "a grant of device {} was refused: {}", who->id, grant.error().text);
    if (grant.error().code == Errc::expired) {
      without_grant_ = Code::grant_expired;
    } else {
      without_grant_ = Code::denied;
      grant_.reset();
      rules_changed();
    }
    return;
  }
  if (grant->device != who->id) return;
  grant_ = std::move(*grant);
  rules_changed();
}

// none: the grant stands.
Code Session::grant_problem() const {
  if (!grant_) return without_grant_;
  const auto last = grant_->expires + kLeeway + shared_.rules.grace(net::Loop::now());
  if (net::Loop::wall() > last) return Code::grant_expired;
  const auto revoked = shared_.rules.revoked.find(grant_->device);
  if (revoked != shared_.rules.revoked.end() && grant_->issued < revoked->second) return Code::revoked;
  return Code::none;
}

Policy::Decision Session::decide(const OpenRequest& request) const {
  if (const Code problem = grant_problem(); problem != Code::none) return {problem, nullptr, {}};
  return shared_.rules.policy.decide(*grant_, request);
}

void Session::on_open(StreamId id, const OpenRequest& request) {
  const auto decision = decide(request);
  if (decision.code != Code::none) {
    net::log(net::Level::info, "denied {} {}:{} to {}: {}", to_string(request.protocol), request.host, request.port, user(),
             to_string(decision.code));
    return refuse(id, decision.code);
  }
  auto place = shared_.flows.take(grant_->device);
  if (!place) {
    say_full(shared_.flows, grant_->device, "flows");
    return refuse(id, Code::exhausted);
  }
  FlowContext context{shared_.loop, link_, id, [this, id] { remove(id); }};
  Live& live = flows_[id];
  live.place = std::move(*place);
  live.request = request;
  switch (request.protocol) {
    case Protocol::tcp: live.flow = make_tcp_flow(std::move(context)); break;
    case Protocol::udp: live.flow = make_udp_flow(std::move(context)); break;
    case Protocol::icmp: live.flow = make_icmp_flow(std::move(context)); break;
  }
  live.lookup = shared_.resolver.resolve_host(decision.host, [this, id](Result<std::vector<IpAddress>> found) {
    resolved(id, std::move(found));
  });
}

void Session::resolved(StreamId id, Result<std::vector<IpAddress>> found) {
  const auto it = flows_.find(id);
  if (it == flows_.end()) return;
  Live& live = it->second;
  live.lookup = 0;
  const OpenRequest& request = live.request;
  if (!found) {
    refuse(id, found.error().code == Errc::not_found ? Code::name_not_found : Code::name_failed);
    return remove(id);
  }
  const std::vector<IpAddress> own = shared_.own_addresses();
  std::vector<Endpoint> targets;
  for (const IpAddress& ip : *found) {
    const auto why = forbidden_address(ip, own);
    if (why && !(grant_ && shared_.rules.policy.names(*grant_, ip, request.protocol, request.port))) {
      net::log(net::Level::warning, "denied {} to {}: it resolves to {} ({})", request.host, user(), ip.to_string(), *why);
      continue;
    }
    targets.push_back({ip, request.port});
  }
  if (targets.empty()) {
    refuse(id, Code::address_forbidden);
    return remove(id);
  }
  live.flow->connect(std::move(targets));
}

void Session::on_query(StreamId id, const Query& query) {
  Code problem = grant_problem();
  Policy::Decision decision;
  if (problem == Code::none) {
    decision = shared_.rules.policy.decide(*grant_, query);
    problem = decision.code;
  }
  if (problem != Code::none) {
    link_.tunnel().answer(id, dns::kRcodeRefused, {});
    return link_.kick();
  }
  const auto done = [this, id](std::uint8_t rcode, Bytes records) {
    queries_.erase(id);
    link_.tunnel().answer(id, rcode, records);
    link_.kick();
  };
  const bool existence = query.type == dns::kTypeA;
  queries_[id] = shared_.resolver.lookup(decision.host, query.type, [done, existence](std::uint8_t rcode, dns::Records records) {
    if (existence) return done(rcode, {});   // the question is whether the name exists; its address stays here
    dns::strip(records);
    done(rcode, dns::encode_records(records));
  });
}

void Session::refuse(StreamId id, Code code) {
  link_.tunnel().reset(id, code);
  link_.kick();
}

void Session::remove(StreamId id) {
  const auto it = flows_.find(id);
  if (it == flows_.end()) return;
  const Live gone = std::move(it->second);
  flows_.erase(it);
  if (gone.lookup != 0) shared_.resolver.cancel(gone.lookup);
}

void Session::rules_changed() {
  // A device that lost one Resource gets a new grant for the others, which may be on its way: new flows are refused from now
  // on, live ones wait for it a moment. sweep() looks again.
  if (grant_problem() == Code::revoked) {
    if (!doubted_since_) doubted_since_ = net::Loop::now();
    if (net::Loop::now() - *doubted_since_ < kReplacement) return;
  } else {
    doubted_since_.reset();
  }
  std::vector<std::pair<StreamId, Code>> over;
  for (const auto& [id, live] : flows_) {
    if (const Code code = decide(live.request).code; code != Code::none) over.emplace_back(id, code);
  }
  for (const auto& [id, code] : over) {
    net::log(net::Level::info, "ended {} {}:{} of {}: {}", to_string(flows_.at(id).request.protocol),
             flows_.at(id).request.host, flows_.at(id).request.port, user(), to_string(code));
    flows_.at(id).flow->reset_by_client();
    refuse(id, code == Code::denied ? Code::revoked : code);
    remove(id);
  }
}

void Session::sweep() {
  sweep_.after(kSweep);
  const Instant now = net::Loop::now();
  std::vector<StreamId> over;
  for (const auto& [id, live] : flows_) {
    if (idle(live.flow->idle_since(), now, kIdleAtConnector)) over.push_back(id);
  }
  for (const StreamId id : over) {
    refuse(id, Code::none);
    remove(id);
  }
  if (!flows_.empty() && grant_problem() != Code::none) rules_changed();
}

void Session::close(Code code) { link_.close(code); }

template <class Call>
void Session::with(StreamId id, const Call& call) {
  const auto it = flows_.find(id);
  if (it != flows_.end()) call(*it->second.flow);
}

void Session::on_data(StreamId id, Bytes b) { with(id, [&](Flow& f) { f.data(b); }); }
void Session::on_fin(StreamId id) { with(id, [&](Flow& f) { f.fin(); }); }
void Session::on_datagram(StreamId id, Bytes b) { with(id, [&](Flow& f) { f.datagram(b); }); }
void Session::on_echo(StreamId id, const Echo& e) { with(id, [&](Flow& f) { f.echo(e); }); }
void Session::on_reset(StreamId id, Code) {
  if (const auto query = queries_.extract(id)) shared_.resolver.cancel(query.mapped());
  with(id, [&](Flow& f) { f.reset_by_client(); });
  remove(id);
}
Pull Session::pull(StreamId id, MutBytes out) {
  const auto it = flows_.find(id);
  return it == flows_.end() ? Pull{} : it->second.flow->pull(out);
}

}  // namespace tg::connector
