// What agents ask of the ControlServer: enroll, hello, renew.
#include <fmt/format.h>

#include <algorithm>

#include "cmd/controller/control_fields.h"
#include "cmd/controller/control_server.h"
#include "core/encoding.h"
#include "core/json.h"
#include "core/text.h"
#include "net/control_stream.h"
#include "net/log.h"
#include "net/time_zone.h"

namespace tg::controller {
namespace {

constexpr std::size_t kMaxDirect = 16;
constexpr std::size_t kLostKept = 8;                       // processes of an agent that lost their place
constexpr Duration kAlarmEvery = std::chrono::minutes(10); // lines of the log about one agent
constexpr Duration kSilent = std::chrono::seconds(15);     // agents ping every 10 s

Result<Enrolment> enrolment_of(const Json& message) {
  Fields f(message, "enroll");
  Enrolment out;
  auto id = unhex(f.text("token_id", 32));
  auto secret = unhex(f.text("secret", 64));
  const auto role = role_from(f.text("role", 16));
  if (role) out.role = *role;
  else f.refuse("role", "is unknown");
  if (!id || id->size() != 16) f.refuse("token_id", "is not 32 hexadecimal digits");
  if (!secret || secret->size() != 32) f.refuse("secret", "is not 64 hexadecimal digits");
  if (!f.ok()) return f.error();
  out.token_id = std::move(*id);
  out.secret = std::move(*secret);
  out.name = name_field(message, "name");
  return out;
}

// Only addresses that somebody else could dial are passed on.
std::vector<std::string> direct_of(const Json& message) {
  std::vector<std::string> out;
  const auto list = message.find("direct");
  if (list == message.end() || !list->is_array()) return out;
  for (const Json& one : *list) {
    if (!one.is_string() || out.size() == kMaxDirect) continue;
    const auto at = Endpoint::parse(one.get<std::string>());
    const bool usable = at && at->port != 0 && at->address != IpAddress() && at->address != IpAddress::v6({});
    if (usable) out.push_back(at->to_string());
  }
  return out;
}

}  // namespace

void ControlServer::enroll(AgentStream& s, const Json& message) {
  const UnixTime now = net::Loop::wall();
  const auto refuse = [&](const Error& e) {
    ++counts_.not_let_in;
    s.refuse(e.code, e.text, now);
  };
  auto who = enrolment_of(message);
  if (!who) return refuse(who.error());
  const std::string csr = pem_field(message, "csr");
  // The request is checked first: a mistake in it must not cost the token.
  auto key = csr_thumbprint(csr);
  if (!key) return refuse(key.error());
  who->key = *key;
  auto id = store_.enroll(*who, now, s.source().to_string());
  if (!id && (id.error().code == Errc::denied || id.error().code == Errc::expired || id.error().code == Errc::exhausted)) {
    return refuse(id.error());
  }
  if (!id) return refuse({Errc::io, "the controller could not write its state; ask an administrator"});
  const auto role = who->role == Token::Role::service ? Token::Role::device : who->role;   // what comes in by its key
  auto issued = pki_.issue(to_string(role), *id, csr, now);
  if (!issued) return refuse(issued.error());
  ++counts_.let_in;
  s.send({{"type", "enrolled"}, {"uri", issued->uri}, {"chain", issued->chain}, {"root", pki_.files().root},
          {"time", now.time_since_epoch().count()}});
  s.close();
  if (role != Token::Role::device) return changed();
  must_reload_ = true;   // when it comes: a new device changes nobody's View, and there may be thousands
}

// alarm has the log say that two processes use one identity, now and then.
void ControlServer::alarm(const AgentStream& s, const std::string& other) {
  const auto [at, fresh] = alarmed_.try_emplace(s.who().role + "/" + s.who().id, net::Loop::now());
  if (!fresh && net::Loop::now() - at->second < kAlarmEvery) return;
  at->second = net::Loop::now();
  net::log(net::Level::warning, "{} {} ({}) is used by two processes at once, from {} and from {}: a copied state "
           "directory, or a stolen one", s.who().role, s.who().id, s.name, other, s.source().to_string());
}

// take_place lets `s` have the place of its agent's stream before, or says why that one keeps it. A process that comes
// back after another took its place has not been replaced by it: both live, or did when the log says so.
Result<> ControlServer::take_place(AgentStream& s) {
  const std::string key = s.who().role + "/" + s.who().id;
  const auto held = agents_.find(key);
  AgentStream* holder = held == agents_.end() ? nullptr : held->second;
  if (holder != nullptr && s.process == holder->process) {
    holder->close();   // the network of a process has changed, and its old stream is dead
    return {};
  }
  const auto conflict = [&](const AgentStream& with) {
    return fmt::format("another tg process uses the identity of this {}, from {}; if its state directory was copied, "
                       "let one of the two in anew, with a token of its own",
                       s.who().role, with.source().to_string());
  };
  std::deque<Lost>& lost = lost_[key];
  const auto before = std::find_if(lost.begin(), lost.end(), [&](const Lost& l) { return l.process == s.process; });
  if (before != lost.end()) {
    alarm(s, holder != nullptr ? holder->source().to_string() : "one that has left");
    const bool lives = holder != nullptr && net::Loop::now() - holder->heard() < kSilent;
    if (lives) return fail(Errc::conflict, conflict(*holder));
    lost.erase(before);
  }
  if (holder != nullptr) {
    lost.push_back({holder->process, net::Loop::now()});
    if (lost.size() > kLostKept) lost.erase(lost.begin() + 1);   // the first of them is most likely the true one
    net::log(net::Level::info, "{} {} ({}): the process from {} takes the place of the one from {}", s.who().role,
             s.who().id, s.name, s.source().to_string(), holder->source().to_string());
    holder->refuse(Errc::conflict, conflict(s), net::Loop::wall());
  }
  if (lost.empty()) lost_.erase(key);
  return {};
}

// welcome makes `s` the stream of its agent.
void ControlServer::welcome(AgentStream& s, UnixTime now) {
  const net::Identity& who = s.who();
  if (who.role == "device") {
    const std::string& user = directory_->model().device(who.id)->user;
    s.leases.emplace(user, who.id, who.key_thumbprint, net::random_seed());
  }
  agents_[who.role + "/" + who.id] = &s;
  arriving_.erase(who.role + "/" + who.id);
  note_seen(s, now);
  s.ready();
}

void ControlServer::hello(AgentStream& s, const Json& message) {
  const UnixTime now = net::Loop::wall();
  if (must_reload_ && !reload()) return s.refuse(Errc::io, "the controller can't read its state", now);
  if (auto may = permitted(s); !may) return s.refuse(may.error().code, may.error().text, now);
  const net::Identity& who = s.who();
  s.direct = direct_of(message);
  s.name = name_field(message, "name");
  s.version = name_field(message, "version");
  s.process = name_field(message, "process");
  if (s.process.empty()) return s.refuse(Errc::protocol, "hello: \"process\" is missing", now);
  if (s.state() == AgentStream::State::identified) {
    if (auto taken = take_place(s); !taken) return s.refuse(taken.error().code, taken.error().text, now);
    welcome(s, now);
  }
  if (who.role == "connector") {
    update_presence();
    schedule();
  }
  Judge judge(now, net::utc_offset);
  s.view = view_of(s, judge);
  s.send(std::string_view(teller_.snapshot(s.view, directory_->model().revision, now)));
}

// A wish that is not granted ends nothing: the device is told why, and goes on.
void ControlServer::request_access(AgentStream& s, const Json& message) {
  const UnixTime now = net::Loop::wall();
  const auto answer = [&](const Error& e) {
    s.send({{"type", "access_asked"}, {"code", std::string(to_string(e.code))}, {"text", e.text}});
  };
  Fields f(message, "request_access");
  RequestRecord wish;
  wish.resource = f.number("resource", std::numeric_limits<std::int64_t>::max());
  wish.wanted = std::chrono::seconds(f.number("seconds", 3650ull * 86400));
  wish.reason = f.text_or_empty("reason");
  if (!f.ok()) return answer({Errc::invalid_argument, f.error().value().text});
  const DeviceRecord* device = directory_->model().device(s.who().id);
  if (device == nullptr || !device->let_in(now)) return answer({Errc::login_needed, "sign in first: sudo tg client login"});
  if (!device->service_key.empty()) return answer({Errc::denied, "a service cannot ask: an administrator lets it in by a group"});
  if (wishes_.wait(s.who().id, net::Loop::now())) return answer({Errc::exhausted, "too many requests; try again in a minute"});
  wishes_.count(s.who().id, net::Loop::now());
  wish.user = device->user;
  wish.device = device->id;
  auto id = store_.new_request(wish, now, s.source().to_string());
  if (!id) return answer(id.error());
  net::log(net::Level::info, "{} asks for a Resource: tg controller request show {}", printable(wish.user), *id);
  s.send({{"type", "access_asked"}, {"id", *id}});
  changed();
}

void ControlServer::renew(AgentStream& s, const Json& message) {
  const UnixTime now = net::Loop::wall();
  if (must_reload_ && !reload()) return s.refuse(Errc::io, "the controller can't read its state", now);
  if (auto may = permitted(s); !may) return s.refuse(may.error().code, may.error().text, now);
  const std::string csr = pem_field(message, "csr");
  auto key = csr_thumbprint(csr);
  if (!key) return s.refuse(key.error().code, key.error().text, now);
  // Whoever has stolen an identity must not be able to make it his alone: another key takes a token.
  if (*key != s.who().key_thumbprint) return s.refuse(Errc::denied, "a certificate is renewed for the same key only", now);
  auto issued = pki_.issue(s.who().role, s.who().id, csr, now);
  if (!issued) return s.refuse(issued.error().code, issued.error().text, now);
  ++counts_.renewed;
  s.send({{"type", "renewed"}, {"chain", issued->chain}});
}

}  // namespace tg::controller
