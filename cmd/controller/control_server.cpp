#include "cmd/controller/control_server.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <utility>

#include "core/json.h"
#include "core/text.h"
#include "net/control_stream.h"
#include "net/log.h"
#include "net/memory.h"
#include "net/time_zone.h"

namespace tg::controller {
namespace {

constexpr Duration kUpkeep = std::chrono::seconds(10);
constexpr Duration kForgetEvery = std::chrono::hours(1);
constexpr std::size_t kLargeState = 10'000;                // Resources
constexpr std::chrono::hours kIdleDevice(24 * 7);          // of a service: it comes in again by its key
constexpr Duration kRemembered = std::chrono::hours(24);   // that a process lost its place

// A peer that is gone without a word is noticed after 10 + 3 x 5 s: connectors are shown as online no longer than that.
void notice_silence(int fd) {
  const int on = 1;
  const int idle = 10;
  const int every = 5;
  const int times = 3;
  const unsigned unacknowledged = 25'000;
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged, sizeof unacknowledged);
}

std::string key_of(const AgentStream& s) { return s.who().role + "/" + s.who().id; }

}  // namespace

ControlServer::ControlServer(net::Loop& loop, net::Fd listener, Store& store, const Pki& pki, LeaseKeys keys,
                             net::TlsContext context, ControlSettings settings)
    : loop_(loop), store_(store), pki_(pki), keys_(std::move(keys)),
      context_(std::move(context)), settings_(std::move(settings)), directory_(std::make_shared<const Directory>(Model())),
      crowd_(settings_.strangers, settings_.strangers_per_source),
      visitors_(settings_.sign_ins, settings_.sign_ins_per_source),
      typing_(settings_.sign_ins, settings_.sign_ins_per_source), must_reload_(true) {
  bury_ = net::Timer(loop_, [this] { over_.clear(); });
  ends_ = net::Timer(loop_, [this] { look_at_time(); });
  push_ = net::Timer(loop_, [this] { tell_all(); });
  tell_more_ = net::Timer(loop_, [this] { tell_some(); });
  upkeep_ = net::Timer(loop_, [this] { upkeep(); });
  upkeep_.after(kUpkeep);
  next_forgetting_ = net::Loop::now() + kForgetEvery;   // after a long absence agents come back first
  acceptor_ = net::Acceptor(loop_, std::move(listener), [this](net::Fd fd, const Endpoint& from) {
    admit(std::move(fd), from);
  });
}

ControlServer::~ControlServer() = default;

void ControlServer::admit(net::Fd fd, const Endpoint& from) {
  notice_silence(fd.get());
  auto stream = std::make_unique<AgentStream>(
      loop_, std::move(fd), context_, settings_.stream,
      AgentStream::Callbacks{[this](AgentStream& s) { opened(s); }, [this](AgentStream& s, const Json& m) { said(s, m); },
                         [this](AgentStream& s) {
                           if (!s.behind) return;
                           Judge judge(net::Loop::wall(), net::utc_offset);
                           tell(s, judge);
                         },
                         [this](AgentStream& s, const Error&) { ended(s); }});
  // What accept said: a peer that has reset already has no address any more (getpeername: ENOTCONN).
  stream->came_from(from.address);
  stream->stranger = ++last_stranger_;
  const auto gone = crowd_.add(stream->stranger, source_of(from.address).to_string());
  if (gone) streams_.erase(strangers_.extract(*gone).mapped());   // nobody who signs in is a stranger
  strangers_.emplace(stream->stranger, stream.get());
  streams_.emplace(stream.get(), std::move(stream));
}

void ControlServer::no_longer_counted(AgentStream& s) {
  if (s.stranger == 0) return;
  crowd_.remove(s.stranger);
  strangers_.erase(std::exchange(s.stranger, 0));
}

void ControlServer::opened(AgentStream& s) {
  if (s.state() != AgentStream::State::identified) return;
  if (must_reload_ && !reload()) return s.refuse(Errc::io, "the controller can't read its state", net::Loop::wall());
  if (auto may = permitted(s); !may) return s.refuse(may.error().code, may.error().text, net::Loop::wall());
  arrived(s);
}

// arrived takes an agent that has shown its certificate out of the crowd of strangers: whoever is let in must not have
// to leave again for those who come after it. Of each agent only the newest such stream stays.
void ControlServer::arrived(AgentStream& s) {
  no_longer_counted(s);
  AgentStream*& place = arriving_[key_of(s)];
  if (place != nullptr) place->close();
  place = &s;
}

Result<> ControlServer::permitted(const AgentStream& s) const {
  const net::Identity& who = s.who();
  if (who.network != keys_.instance) return fail(Errc::denied, "the certificate is of another controller");
  const bool device = who.role == "device";
  if (!device && who.role != "connector" && who.role != "relay") {
    return fail(Errc::denied, fmt::format("a {} has no control stream", who.role));
  }
  if (directory_->model().key(who.role, who.id) != who.key_thumbprint) {
    return fail(Errc::removed, fmt::format("this {} has been removed{}", who.role,
                                          device ? "; ask an administrator for a new token or key, or 'sudo tg client logout' and sign in anew"
                                                 : ", or another machine was let in in its place; ask an administrator for a new token"));
  }
  if (!device) return {};
  const DeviceRecord& record = *directory_->model().device(who.id);
  if (record.blocked) return fail(Errc::denied, "this device is blocked; ask an administrator");
  if (record.user_blocked) return fail(Errc::denied, fmt::format("{} is blocked; ask an administrator", record.user));
  return {};
}

void ControlServer::said(AgentStream& s, const Json& message) {
  const std::string type = message["type"];
  const UnixTime now = net::Loop::wall();
  if (s.state() == AgentStream::State::stranger) {
    if (signing_in_.contains(&s)) return visitor_said(s, message);
    if (type == "enroll") return enroll(s, message);
    if (type == "sign_in") return sign_in(s, message);
    return s.refuse(Errc::denied, "without a certificate only \"enroll\" and \"sign_in\" are answered", now);
  }
  if (s.full() && type == "ping") return;   // it hears enough
  if (s.full()) return s.close();           // asks, and does not listen
  if (type == "goodbye") return s.close();
  if (type == "error") {   // it refuses what it was told
    net::log(net::Level::warning, "{}: {}", net::to_uri(s.who()), printable(text_or(message, "text", "it refuses")));
    return s.close();
  }
  if (signing_in_.contains(&s)) return visitor_said(s, message);
  if (type == "hello") return hello(s, message);
  if (type == "known" && s.state() == AgentStream::State::identified) {   // it would have been refused already
    s.send({{"type", "known"}, {"time", now.time_since_epoch().count()}});
    return s.close();
  }
  if (type == "sign_in" && s.state() == AgentStream::State::identified) return sign_in(s, message);
  if (s.state() != AgentStream::State::ready) return s.refuse(Errc::protocol, "\"hello\" comes first", now);
  if (type == "ping") return s.send({{"type", "pong"}, {"time", now.time_since_epoch().count()}});
  if (type == "renew") return renew(s, message);
  if (type == "request_access" && s.who().role == "device") return request_access(s, message);
  if (type == "events" && s.who().role == "connector" && take_events_) {
    if (auto taken = take_events_(s.who().id, message); !taken) s.refuse(taken.error().code, taken.error().text, now);
    return;
  }
  s.refuse(Errc::protocol, unknown_message(type), now);
}

void ControlServer::ended(AgentStream& s) {
  no_longer_counted(s);
  leave(s);
  if (s.identified()) {
    if (const auto here = arriving_.find(key_of(s)); here != arriving_.end() && here->second == &s) arriving_.erase(here);
    const auto agent = agents_.find(key_of(s));
    if (agent != agents_.end() && agent->second == &s) {
      agents_.erase(agent);
      note_seen(s, net::Loop::wall());
      if (s.who().role == "connector") schedule();
    }
  }
  streams_.erase(&s);
}

void ControlServer::changed() {
  must_reload_ = true;
  schedule();
}

Result<> ControlServer::reload() {
  auto fresh = store_.directory();
  if (!fresh) {
    std::fputs(fmt::format("tg: {}\n", printable(fresh.error().text, 2000)).c_str(), stderr);
    return pass_on(fresh);
  }
  directory_ = std::move(*fresh);
  relays_ = relays_in_use(directory_->model(), settings_.relay);
  teller_.forget();
  must_reload_ = false;
  tidy_ = directory_->model().resources.size() >= kLargeState;
  const UnixTime now = net::Loop::wall();
  if (next_end_ <= now) schedule();   // what has changed by the time is yet to be told
  Judge judge(now, net::utc_offset);
  next_end_ = directory_->next_change(judge);
  for (const DeviceRecord& d : directory_->model().devices) {
    if (const UnixTime until = d.reaches_until(); until > UnixTime()) next_end_ = std::min(next_end_, until);
    if (d.session) next_end_ = std::min(next_end_, d.session->expires);
  }
  look_at_time();
  return {};
}

// Sessions, what came in by a key that expires, and what policies allow end by the wall clock, which may be set: upkeep() looks as well.
void ControlServer::look_at_time() {
  if (next_end_ == UnixTime::max()) return ends_.cancel();
  const UnixTime now = net::Loop::wall();
  if (now < next_end_) return ends_.after(std::min<Duration>(next_end_ - now, kUpkeep));
  auto any = store_.end_sessions(now);
  if (any) any = store_.end_keys(now);
  if (!any) {
    net::log(net::Level::error, "what is over by now could not be ended: {}", any.error().text);
    return ends_.after(std::chrono::seconds(1));
  }
  next_end_ = UnixTime::max();
  changed();
}

// A first change is told at once, and a storm of them at most every push_interval.
void ControlServer::schedule() { push_.at(std::max(net::Loop::now(), last_told_ + settings_.push_interval)); }

void ControlServer::tell_all() {
  last_told_ = net::Loop::now();
  if (must_reload_ && !reload()) return push_.after(std::chrono::seconds(1));
  const UnixTime now = net::Loop::wall();
  for (const auto& [key, s] : agents_) {
    if (auto may = permitted(*s); !may) s->refuse(may.error().code, may.error().text, now);
  }
  update_presence();
  tell_again_ = !to_tell_.empty();   // each round to its end, or in a storm of changes the last would never hear
  if (tell_again_) return;
  // Who needs another grant is told before connectors are that the one he has is void: they wait for it for a moment only.
  const auto first = [this](const AgentStream& s) { return s.leases && s.leases->voided(directory_->generation(s.who().id)); };
  std::deque<std::string> rest;
  for (const auto& [key, s] : agents_) (first(*s) ? to_tell_ : rest).push_back(key);
  std::move(rest.begin(), rest.end(), std::back_inserter(to_tell_));
  tell_some();
}

// While some are told, what others were told before is on its way, and whoever asks meanwhile has his answer.
void ControlServer::tell_some() {
  Judge judge(net::Loop::wall(), net::utc_offset);
  const Instant end = net::Loop::now() + settings_.telling;
  while (!to_tell_.empty()) {
    if (const auto found = agents_.find(to_tell_.front()); found != agents_.end()) tell(*found->second, judge);
    to_tell_.pop_front();
    if (net::Loop::now() >= end) break;
  }
  if (!to_tell_.empty()) return tell_more_.after(Duration(0));
  teller_.forget();
  if (std::exchange(tidy_, false)) loop_.post(net::give_back_memory);
  if (std::exchange(tell_again_, false)) schedule();
}

// Containers and jobs come in by a service's key, and do not say goodbye.
void ControlServer::forget_idle() {
  if (net::Loop::now() < next_forgetting_) return;
  next_forgetting_ = net::Loop::now() + kForgetEvery;
  const UnixTime now = net::Loop::wall();
  for (const auto& [key, s] : agents_) note_seen(*s, now);
  save_seen();
  if (!seen_.empty()) return;   // the disk is ill, and nobody is idle for that
  auto any = store_.forget_idle(now - kIdleDevice, now);
  if (!any) return net::log(net::Level::error, "idle devices of services could not be forgotten: {}", any.error().text);
  if (*any) changed();
}

void ControlServer::upkeep() {
  upkeep_.after(kUpkeep);
  teller_.forget();
  save_seen();
  forget_idle();
  look_at_time();
  std::erase_if(lost_, [now = net::Loop::now()](const auto& one) { return now - one.second.back().when > kRemembered; });
  const UnixTime now = net::Loop::wall();
  const bool set_back = now < std::exchange(last_upkeep_, now);
  must_reload_ = must_reload_ || set_back;
  if (set_back) return tell_all();   // grants from before are from the future now
  for (const auto& [key, s] : agents_) {
    if (s->leases && s->leases->next_renewal() <= now) to_tell_.push_back(key);
  }
  tell_some();
}

void ControlServer::note_seen(const AgentStream& s, UnixTime now) { seen_[key_of(s)] = now; }

void ControlServer::save_seen() {
  if (seen_.empty()) return;
  if (store_.seen(seen_)) seen_.clear();
}

ToldView ControlServer::view_of(AgentStream& s, Judge& judge) {
  if (s.who().role == "relay") return relay_items(*directory_, keys_, s.who().id);
  if (!s.leases) return connector_items(*directory_, relays_, keys_, s.who().id, settings_.grace);
  const DeviceRecord* device = directory_->model().device(s.who().id);
  if (device != nullptr && device->user != s.leases->user()) {   // an administrator renamed the user
    s.leases.emplace(device->user, device->id, s.who().key_thumbprint, net::random_seed());
  }
  return device_items(*directory_, presence_, relays_, keys_, s.who().id, *s.leases, judge);
}

void ControlServer::tell(AgentStream& s, Judge& judge) {
  if (s.state() != AgentStream::State::ready) return;
  s.behind = s.full();
  if (s.behind) return;
  ToldView view = view_of(s, judge);
  const std::string delta = teller_.delta(s.view, view, directory_->model().revision);
  s.view = std::move(view);
  if (delta.empty()) return;
  ++counts_.told;
  s.send(std::string_view(delta));
}

void ControlServer::update_presence() {
  presence_.clear();
  for (const auto& [key, s] : agents_) {
    if (s->state() == AgentStream::State::ready && s->who().role == "connector") presence_.emplace(s->who().id, s->direct);
  }
}

void ControlServer::add_metrics(Metrics& m) const {
  const Model& model = directory_->model();
  std::uint64_t open = 0;
  for (const RequestRecord& r : model.requests) open += r.state == RequestRecord::State::open ? 1 : 0;
  m.gauge("tg_controller_agents", "Agents that have been let in.")
      .add(std::uint64_t{model.connectors.size()}, {{"role", "connector"}})
      .add(std::uint64_t{model.devices.size()}, {{"role", "device"}})
      .add(std::uint64_t{model.relays.size()}, {{"role", "relay"}});
  m.gauge("tg_controller_users", "Users and services.")
      .add(std::uint64_t{model.users.size()}, {{"kind", "person"}})
      .add(std::uint64_t{model.services.size()}, {{"kind", "service"}});
  m.gauge("tg_controller_resources", "Resources.").add(std::uint64_t{model.resources.size()});
  m.gauge("tg_controller_requests_open", "Requests for access that nobody has answered.").add(open);
  m.gauge("tg_controller_strangers", "Connections that have not shown yet who they are.").add(std::uint64_t{strangers_.size()});
  m.gauge("tg_controller_signing_in", "People who are signing in.").add(std::uint64_t{signing_in_.size()});
  m.counter("tg_controller_enrolments_total", "Machines that showed a token or a key, by whether they were let in.")
      .add(counts_.let_in, {{"outcome", "let_in"}})
      .add(counts_.not_let_in, {{"outcome", "refused"}});
  m.counter("tg_controller_sign_ins_total", "Sign-ins that came to an end.")
      .add(counts_.signed_in, {{"outcome", "signed_in"}})
      .add(counts_.not_signed_in, {{"outcome", "refused"}});
  m.counter("tg_controller_certificates_renewed_total", "Certificates that agents had renewed.").add(counts_.renewed);
  m.counter("tg_controller_deltas_total", "Times that an agent was told of a change.").add(counts_.told);
}

void ControlServer::goodbye() {
  acceptor_ = {};   // whoever comes now is refused at once, and does not wait
  push_.cancel();
  tell_more_.cancel();
  save_seen();
  for (const auto& [key, s] : agents_) s->send({{"type", "goodbye"}});
  for (const auto& [s, owned] : streams_) s->close();
}

void ControlServer::tell_connector(const std::string& id, const Json& message) {
  const auto found = agents_.find("connector/" + id);
  if (found != agents_.end() && found->second->state() == AgentStream::State::ready) found->second->send(message);
}

std::vector<OnlineAgent> ControlServer::online() const {
  std::vector<OnlineAgent> out;
  for (const auto& [key, s] : agents_) {
    if (s->state() == AgentStream::State::ready) {
      out.push_back({s->who().role, s->who().id, s->source().to_string(), s->version});
    }
  }
  return out;
}

bool ControlServer::is_online(std::string_view role, const std::string& id) const {
  const auto found = agents_.find(std::string(role) + "/" + id);
  return found != agents_.end() && found->second->state() == AgentStream::State::ready;
}

}  // namespace tg::controller
