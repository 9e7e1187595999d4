#include "cmd/connector/session.h"

#include <algorithm>
#include <utility>

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
constexpr std::chrono::hours kEver(24 * 365);
constexpr std::size_t kQueriesMax = 1024;                // of one tunnel, at once
constexpr std::size_t kRequestsWaitingMax = 256;         // of one tunnel, at once

void say_full(DeviceQuota& quota, const std::string& device, const char* what) {
  if (!quota.worth_saying(net::Loop::now())) return;
  net::log(net::Level::warning, "device {} has {} {} open, all devices {}: more are refused", device, quota.open_of(device), what,
           quota.open());
}

// say writes a line that a device can cause at will, within its quota.
template <class... Args>
void say(LogLines& quota, const std::string& device, net::Level level, fmt::format_string<Args...> format, Args&&... args) {
  if (!net::logs(level)) return;
  const auto left_out = quota.take(device, net::Loop::now());
  if (!left_out) return;
  const std::string text = fmt::format(format, std::forward<Args>(args)...);
  net::log_line(level, *left_out == 0 ? text : fmt::format("{} (and {} more like it)", text, *left_out));
}

}  // namespace

std::chrono::seconds Rules::grace(Instant now) const {
  const bool back = controller_since && now - *controller_since > kReturn;
  return back ? std::chrono::seconds(0) : self.grace;
}

bool Rules::voids(const Grant& grant) const {
  const auto known = revoked.find(grant.device);
  return grant.generation < std::max(self.grant_floor, known == revoked.end() ? 0 : known->second);
}

Session::Session(Shared shared, std::string path, net::Fd fd, const net::TlsContext& context, Callbacks callbacks)
    : shared_(shared),
      path_(std::move(path)),
      callbacks_(std::move(callbacks)),
      link_(shared.loop, std::move(fd), context, Tunnel::Side::connector, *this,
            {[this] { opened(); }, [this](const Error& e) {
               const auto call = std::move(callbacks_.ended);
               call(e);   // destroys this
             }}) {
  sweep_ = net::Timer(shared_.loop, [this] { sweep(); });
  sweep_.after(kSweep);
}

Session::~Session() {
  for (auto& [id, live] : flows_) {
    if (live.lookup != 0) shared_.resolver.cancel(live.lookup);
    live.flow->reset_by_client();   // the far side learns that its peer is gone
    uncount(live);
    record_end(live, closing_ == Code::none ? kReasonTunnel : to_string(closing_));
  }
  for (auto& [id, question] : queries_) shared_.resolver.cancel(question.lookup);
}

const std::string& Session::user() const noexcept {
  static const std::string none;
  return grant_ ? grant_->user : none;
}

const std::string& Session::device() const noexcept {
  static const std::string none;
  return link_.identity() ? link_.identity()->id : none;
}

bool Session::is_device() const {
  const auto& who = link_.identity();
  return who && who->role == "device" && who->network == shared_.rules.self.issuer;
}

void Session::opened() {
  callbacks_.known();
  if (!is_device()) return link_.close(Code::denied);
  auto place = shared_.common.tunnels.take(link_.identity()->id);
  if (place) {
    place_ = std::move(*place);
    return;
  }
  say_full(shared_.common.tunnels, link_.identity()->id, "tunnels");
  link_.close(Code::exhausted);
}

// A grant that does not hold takes nothing away: the device has the one before in any case, and may show it again. What
// a newer one no longer covers ends when that holds, or when the one before is revoked or runs out.
void Session::on_grant(std::string_view jws) {
  if (!is_device() || shared_.rules.self.grant_key.empty()) return;   // what came with the handshake is heard before the end
  shown_ = jws;
  if (const auto held = try_grant(); !held) {
    say(shared_.common.lines, device(), net::Level::warning, "a grant of device {} was refused: {}", device(), held.error().text);
    return;
  }
  rules_changed();
}

Result<> Session::try_grant() {
  const auto& who = *link_.identity();
  const auto& self = shared_.rules.self;
  const UnixTime now = net::Loop::wall();
  const auto verify = [&](UnixTime at, std::chrono::seconds grace) -> Result<Grant> {
    auto grant = Grant::verify(shown_, self.grant_key, self.issuer, self.network, who.key_thumbprint, at, grace);
    if (grant && grant->device != who.id) return fail(Errc::denied, "the grant is another device's");
    return grant;
  };
  auto grant = verify(now, shared_.rules.grace(net::Loop::now()));
  shown_from_.reset();
  if (grant) {
    grant_ = std::move(*grant);
    shown_ = {};
    return {};
  }
  const Errc why = grant.error().code;
  without_grant_ = why == Errc::expired ? Code::grant_expired : Code::denied;
  if (why == Errc::malformed) shown_ = {};   // nothing will mend that
  if (why == Errc::expired) {
    const auto ever = verify(now + kEver, 2 * kEver);
    if (ever && ever->issued - kLeeway > now) shown_from_ = ever->issued - kLeeway;
  }
  return pass_on(grant);
}

// none: the grant stands.
Code Session::grant_problem() const {
  if (!grant_) return without_grant_;
  const auto last = grant_->expires + kLeeway + shared_.rules.grace(net::Loop::now());
  if (net::Loop::wall() > last) return Code::grant_expired;
  if (grant_->issued > net::Loop::wall() + kLeeway) return Code::grant_expired;
  return shared_.rules.voids(*grant_) ? Code::revoked : Code::none;
}

template <class Request>
Policy::Decision Session::decide(const Request& request) const {
  if (const Code problem = grant_problem(); problem != Code::none) return {problem, nullptr, {}};
  return shared_.rules.policy->decide(*grant_, request);
}

// forbidden says why a flow must not lead to `ip`, or nothing.
std::optional<std::string_view> Session::forbidden(const OpenRequest& request, const IpAddress& ip) const {
  const auto why = forbidden_address(ip, shared_.rules.own);
  if (why && grant_ && shared_.rules.policy->names(*grant_, ip, request.protocol, request.port)) return std::nullopt;
  return why;
}

// A device that lost one Resource gets a new grant for the others, which may be on its way: for a moment live flows and what
// is asked for wait for it. One that comes with a revoked grant is refused at once.
bool Session::awaits_grant() const {
  return stood_ && doubted_since_ && grant_problem() == Code::revoked && net::Loop::now() - *doubted_since_ < kReplacement;
}

// keep says whether a request waits for the new grant: take_kept takes it up again. (Datagrams right behind an OPEN are lost.)
template <class Request>
bool Session::keep(StreamId id, const Request& request) {
  return awaits_grant() && waiting_.size() < kRequestsWaitingMax && waiting_.emplace(id, request).second;
}

void Session::take_kept() {
  for (const auto& [id, request] : std::exchange(waiting_, {})) {
    if (const auto* open = std::get_if<OpenRequest>(&request)) on_open(id, *open);
    else on_query(id, std::get<Query>(request));
  }
}

void Session::on_open(StreamId id, const OpenRequest& request) {
  if (keep(id, request)) return;
  const auto decision = decide(request);
  if (decision.code != Code::none) {
    say(shared_.common.lines, device(), net::Level::info, "denied {} {}:{} to {}: {}", to_string(request.protocol), request.host,
        request.port, user(), to_string(decision.code));
    record_refusal(ConnectionEvent::Kind::denied, request, decision.code);
    return refuse(id, decision.code);
  }
  auto place = shared_.common.flows.take(grant_->device);
  if (!place) {
    say_full(shared_.common.flows, grant_->device, "flows");
    record_refusal(ConnectionEvent::Kind::failed, request, Code::exhausted);
    return refuse(id, Code::exhausted);
  }
  FlowContext context{shared_.loop, link_, id, [this, id] { finished(id); }, [this, id] { established(id); },
                      shared_.common.kept.hold(grant_->device)};
  Live& live = flows_[id];
  live.place = std::move(*place);
  live.request = request;
  live.host = decision.host;
  live.resource = decision.resource->name;
  live.since = net::Loop::now();
  ++shared_.common.traffic.flows(request.protocol);
  switch (request.protocol) {
    case Protocol::tcp: live.flow = make_tcp_flow(std::move(context)); break;
    case Protocol::udp: live.flow = make_udp_flow(std::move(context)); break;
    case Protocol::icmp: live.flow = make_icmp_flow(std::move(context)); break;
  }
  const auto found = [this, id](Result<std::vector<IpAddress>> addresses) { resolved(id, std::move(addresses)); };
  live.lookup = shared_.resolver.resolve_host(live.host, found, grant_->device);
}

void Session::resolved(StreamId id, Result<std::vector<IpAddress>> found) {
  const auto it = flows_.find(id);
  if (it == flows_.end()) return;
  Live& live = it->second;
  live.lookup = 0;
  const OpenRequest request = live.request;
  if (awaits_grant()) {   // nothing new is dialled meanwhile
    remove(id, std::nullopt);
    if (keep(id, request)) return;
    record_refusal(ConnectionEvent::Kind::denied, request, Code::revoked);
    return refuse(id, Code::revoked);
  }
  if (!found) {
    const Errc why = found.error().code;
    const Code failed = why == Errc::not_found ? Code::name_not_found : Code::name_failed;
    const Code code = why == Errc::exhausted ? Code::exhausted : failed;
    refuse(id, code);
    return remove(id, to_string(code));
  }
  std::vector<Endpoint> targets;
  for (const IpAddress& ip : *found) {
    if (const auto why = forbidden(request, ip)) {
      say(shared_.common.lines, device(), net::Level::warning, "denied {} to {}: it resolves to {} ({})", request.host, user(),
          ip.to_string(), *why);
      continue;
    }
    targets.push_back({ip, request.port});
  }
  if (targets.empty()) {
    record_refusal(ConnectionEvent::Kind::denied, request, Code::address_forbidden);
    refuse(id, Code::address_forbidden);
    return remove(id, std::nullopt);
  }
  live.flow->connect(std::move(targets));
}

void Session::on_query(StreamId id, const Query& query) {
  if (keep(id, query)) return;
  const auto decision = decide(query);
  if (decision.code != Code::none) return answer(id, dns::kRcodeRefused, {});
  if (queries_.size() >= kQueriesMax) return answer(id, dns::kRcodeServFail, {});
  Question& question = queries_[id];
  question = {query, decision.host, 0};
  const auto done = [this, id](std::uint8_t rcode, dns::Records records) {
    const bool existence = queries_.at(id).query.type == dns::kTypeA;
    queries_.erase(id);
    if (existence) return answer(id, rcode, {});   // the question is whether the name exists; its address stays here
    dns::strip(records);
    answer(id, rcode, dns::encode_records(records));
  };
  question.lookup = shared_.resolver.lookup(decision.host, query.type, done, grant_->device);
}

void Session::answer(StreamId id, std::uint8_t rcode, Bytes records) {
  link_.tunnel().answer(id, rcode, records);
  link_.kick();
}

void Session::refuse(StreamId id, Code code) {
  link_.tunnel().reset(id, code);
  link_.kick();
}

// event begins the record of what became of a request.
ConnectionEvent Session::event(const OpenRequest& request) const {
  ConnectionEvent e;
  e.user = user();
  e.device = grant_ ? grant_->device : device();   // which is not known any more once the tunnel is gone
  e.resource = request.resource;
  e.protocol = request.protocol;
  e.host = request.host;
  e.port = request.port;
  e.path = path_;
  return e;
}

// A device may name any Resource: the record has it only when there is one.
void Session::record_refusal(ConnectionEvent::Kind kind, const OpenRequest& request, Code code) {
  ConnectionEvent e = event(request);
  const Resource* named = shared_.rules.policy->by_id(request.resource);
  if (named != nullptr) e.resource_name = named->name;
  else e.resource = 0;
  e.kind = kind;
  e.reason = to_string(code);
  shared_.common.recorder.record(std::move(e));
}

void Session::established(StreamId id) {
  Live& live = flows_.at(id);
  ConnectionEvent e = event(live.request);
  live.number = e.flow = shared_.common.recorder.new_flow();
  live.since = net::Loop::now();
  e.resource_name = live.resource;
  if (const auto targets = live.flow->targets(); !targets.empty()) live.dialled = targets.front().to_string();
  e.address = live.dialled;
  shared_.common.recorder.record(std::move(e));
}

// `reason`: what ended it; "" when both sides were done.
void Session::record_end(const Live& live, std::string_view reason) {
  using enum ConnectionEvent::Kind;
  const bool stood = live.number != 0;
  const Carried carried = live.flow->carried();
  ConnectionEvent e = event(live.request);
  e.kind = stood ? closed : failed;
  e.flow = live.number;
  e.resource_name = live.resource;
  e.address = live.dialled;
  if (const auto tried = live.flow->targets(); !stood && !tried.empty()) e.address = tried.front().to_string();
  e.reason = reason;
  e.up = stood ? carried.up : 0;
  e.down = carried.down;
  e.duration = std::chrono::duration_cast<Milliseconds>(net::Loop::now() - live.since);
  shared_.common.recorder.record(std::move(e));
}

// remove takes a flow out, and has it recorded unless its end is recorded otherwise, or is none.
void Session::remove(StreamId id, std::optional<std::string_view> reason) {
  const auto it = flows_.find(id);
  if (it == flows_.end()) return;
  Live gone = std::move(it->second);
  flows_.erase(it);
  uncount(gone);
  if (gone.lookup != 0) shared_.resolver.cancel(gone.lookup);
  if (reason) record_end(gone, *reason);
}

// count adds to Traffic what a flow has carried since it was counted last.
void Session::count(Live& live) {
  if (live.number == 0) return;
  const Carried now = live.flow->carried();
  shared_.common.traffic.up += now.up - live.counted.up;
  shared_.common.traffic.down += now.down - live.counted.down;
  live.counted = now;
}

void Session::uncount(Live& live) {
  count(live);
  --shared_.common.traffic.flows(live.request.protocol);
}

void Session::finished(StreamId id) {
  const auto it = flows_.find(id);
  if (it == flows_.end()) return;
  const Code code = it->second.flow->carried().code;
  remove(id, code == Code::none ? std::string_view() : to_string(code));
}

// still says what ends a live flow now, or none.
Code Session::still(const Live& live) const {
  const auto decision = decide(live.request);
  if (decision.code != Code::none) return decision.code == Code::denied ? Code::revoked : decision.code;
  if (decision.host != live.host) return Code::revoked;   // the Resource has another address
  const auto targets = live.flow->targets();
  const bool excused = std::none_of(targets.begin(), targets.end(),
                                    [&](const Endpoint& to) { return forbidden(live.request, to.address); });
  return excused ? Code::none : Code::address_forbidden;
}

void Session::rules_changed() {
  if (!shown_.empty() && is_device() && !shared_.rules.self.grant_key.empty() && try_grant()) {
    net::log(net::Level::info, "the grant of device {} that was refused before holds now", link_.identity()->id);
  }
  if (const Code problem = grant_problem(); problem == Code::revoked) {
    if (!doubted_since_) doubted_since_ = net::Loop::now();
    if (awaits_grant()) return;   // sweep() looks again
  } else {
    doubted_since_.reset();
    stood_ = stood_ || problem == Code::none;
  }
  std::vector<StreamId> unasked;
  for (const auto& [id, question] : queries_) {
    const auto decision = decide(question.query);
    if (decision.code != Code::none || decision.host != question.host) unasked.push_back(id);
  }
  for (const StreamId id : unasked) {
    shared_.resolver.cancel(queries_.extract(id).mapped().lookup);
    answer(id, dns::kRcodeRefused, {});
  }
  std::vector<std::pair<StreamId, Code>> over;
  for (const auto& [id, live] : flows_) {
    if (const Code code = still(live); code != Code::none) over.emplace_back(id, code);
  }
  for (const auto& [id, code] : over) {
    net::log(net::Level::info, "ended {} {}:{} of {}: {}", to_string(flows_.at(id).request.protocol),
             flows_.at(id).request.host, flows_.at(id).request.port, user(), to_string(code));
    flows_.at(id).flow->reset_by_client();
    refuse(id, code);
    const bool stood = flows_.at(id).number != 0;
    if (!stood) record_refusal(ConnectionEvent::Kind::denied, flows_.at(id).request, code);
    remove(id, stood ? std::optional(to_string(code)) : std::nullopt);
  }
  take_kept();
}

void Session::sweep() {
  sweep_.after(kSweep);
  const Instant now = net::Loop::now();
  std::vector<StreamId> over;
  for (auto& [id, live] : flows_) {
    count(live);
    if (idle(live.flow->idle_since(), now, kIdleAtConnector)) over.push_back(id);
  }
  for (const StreamId id : over) {
    refuse(id, Code::none);
    remove(id, kReasonIdle);
  }
  const bool ended = grant_ && grant_->end(net::Loop::wall());
  const bool mended = shown_from_ && net::Loop::wall() >= *shown_from_;
  if (mended || ended || ((!flows_.empty() || !waiting_.empty()) && grant_problem() != Code::none)) rules_changed();
}

void Session::close(Code code) {
  closing_ = code;
  link_.close(code);
}

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
  waiting_.erase(id);
  if (const auto query = queries_.extract(id)) shared_.resolver.cancel(query.mapped().lookup);
  with(id, [&](Flow& f) { f.reset_by_client(); });
  const auto it = flows_.find(id);
  if (it != flows_.end()) remove(id, it->second.number != 0 ? kReasonDevice : kReasonCancelled);
}
Pull Session::pull(StreamId id, MutBytes out) {
  const auto it = flows_.find(id);
  return it == flows_.end() ? Pull{} : it->second.flow->pull(out);
}

}  // namespace tg::connector
