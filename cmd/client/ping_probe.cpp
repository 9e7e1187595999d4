#include "cmd/client/ping_probe.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "cmd/client/client_tunnel.h"
#include "core/json.h"

namespace tg::client {
namespace {

constexpr std::int64_t kLongest = 60'000;      // milliseconds
constexpr std::array<std::uint8_t, 56> kPayload{'t', 'g', ' ', 'c', 'l', 'i', 'e', 'n', 't', ' ', 'p', 'i', 'n', 'g'};

double milliseconds(Duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

struct Failure {
  const char* state;
  Errc code;
  std::string text;
};

// What a connector's refusal means for a ping.
Failure failure_of(Code code, const std::string& host, const std::string& connector) {
  switch (code) {
    case Code::name_not_found:
      return {"unreachable", Errc::unreachable, fmt::format("the private DNS does not know {}", host)};
    case Code::name_failed: return {"unreachable", Errc::unreachable, "the private DNS does not answer"};
    case Code::timed_out: return {"no-reply", Errc::timed_out, fmt::format("{} does not answer", host)};
    case Code::host_unreachable:
    case Code::network_unreachable:
      return {"unreachable", Errc::unreachable,
              fmt::format("{} has no way to {}, or nobody is there", connector, host)};
    case Code::denied: return {"denied", Errc::denied, fmt::format("{} does not let this device in", connector)};
    case Code::port_not_allowed: return {"denied", Errc::denied, "the Resource does not allow ping"};
    case Code::address_forbidden:
      return {"denied", Errc::denied,
              fmt::format("{} is at an address that a connector dials only when a Resource names it", host)};
    case Code::grant_expired: return {"denied", Errc::denied, "the grant of this device has expired"};
    case Code::revoked: return {"denied", Errc::denied, "the grant of this device was revoked"};
    case Code::unsupported:
      return {"unreachable", Errc::unsupported,
              fmt::format("{} may not ping: it needs net.ipv4.ping_group_range or CAP_NET_RAW", connector)};
    default: return {"unreachable", Errc::unreachable, fmt::format("{} refuses: {}", connector, to_string(code))};
  }
}

// Why no tunnel could be had.
Failure no_tunnel(const Json& tunnels, const std::string& network) {
  std::string offline, problem;
  for (const Json& t : tunnels) {
    if (text_or(t, "network", "") != network) continue;
    const std::string who = text_or(t, "connector", "");
    if (t.value("online", false))
      problem = fmt::format("no path to {}: {}", who, text_or(t, "problem", "still connecting"));
    else offline = fmt::format("the connector {} is offline: it has no line to the controller", who);
  }
  if (!problem.empty()) return {"path-down", Errc::unreachable, problem};
  if (!offline.empty()) return {"no-connector", Errc::unreachable, offline};
  return {"no-connector", Errc::unreachable, fmt::format("the network {} has no connector", network)};
}

}  // namespace

Result<Host> asked_host(const std::string& text, const Targets& targets) {
  auto host = parse_host(text);
  if (!host) return host;
  const auto* ip = std::get_if<IpAddress>(&*host);
  if (ip == nullptr || !ip->is_v4()) return host;
  const auto name = targets.name_at(ip->v4());
  return name ? Host(std::string(*name)) : *host;
}

class PingProbes::Probe final : public Stream {
 public:
  Probe(PingProbes& owner, std::uint64_t number, Json answer, Duration patience, net::LocalServer::Reply reply)
      : owner_(owner), number_(number), answer_(std::move(answer)), reply_(std::move(reply)),
        patience_(owner.loop_, [this] { late(); }) {
    patience_.after(patience);
  }

  void on_begun() override {
    begun_ = true;
    const auto& who = link().identity();
    for (const Json& t : owner_.tunnels_.status()) {
      if (who && text_or(t, "id", "") == who->id) answer_["connector"] = t["connector"];
    }
    answer_["path"] = tunnel().path().direct ? "direct" : "relayed";
    answer_["address"] = tunnel().path().address;
    answered_before_ = link().tunnel().pings().answered;
    link().tunnel().ping(net::Loop::now());
    link().kick();
  }

  void on_opened() override {
    sent_ = net::Loop::now();
    link().tunnel().ping(sent_);
    link().tunnel().echo(id(), {1, kPayload});
    link().kick();
  }

  void on_echo(const Echo&) override {
    const Duration total = net::Loop::now() - sent_;
    look_at_tunnel();
    answer_["total_ms"] = milliseconds(total);
    answer_["host_ms"] = std::max(0.0, milliseconds(total) - answer_.value("tunnel_ms", 0.0));
    finish("reply");
  }

  void on_end(Code code) override {
    if (!begun_) return fail_with(no_tunnel(owner_.tunnels_.status(), text_or(answer_, "network", "")));
    const std::string connector = text_or(answer_, "connector", "the connector");
    fail_with(failure_of(code, text_or(answer_, "host", ""), connector));
  }

 private:
  void late() {
    if (!begun()) return fail_with(no_tunnel(owner_.tunnels_.status(), text_or(answer_, "network", "")));
    look_at_tunnel();
    const std::string connector = text_or(answer_, "connector", "the connector");
    if (!answer_.contains("tunnel_ms")) {
      return fail_with({"path-down", Errc::timed_out, fmt::format("the tunnel to {} is silent", connector)});
    }
    fail_with({"no-reply", Errc::timed_out, fmt::format("{} does not answer", text_or(answer_, "host", ""))});
  }

  void look_at_tunnel() {
    const Tunnel::Pings pings = link().tunnel().pings();
    if (pings.answered > answered_before_) answer_["tunnel_ms"] = milliseconds(pings.last);
  }

  void fail_with(const Failure& f) {
    answer_["text"] = f.text;
    answer_["code"] = static_cast<int>(f.code);
    finish(f.state);
  }

  void finish(const char* state) {
    answer_["state"] = state;
    reply_(answer_);
    const auto self = owner_.probes_.extract(number_);   // destroys this at the end
  }

  PingProbes& owner_;
  std::uint64_t number_;
  Json answer_;
  net::LocalServer::Reply reply_;
  net::Timer patience_;
  std::uint64_t answered_before_ = 0;
  Instant sent_{};
  bool begun_ = false;
};

PingProbes::PingProbes(net::Loop& loop, const Targets& targets, Tunnels& tunnels)
    : loop_(loop), targets_(targets), tunnels_(tunnels) {}

PingProbes::~PingProbes() {
  while (!probes_.empty()) {
    const auto gone = probes_.extract(probes_.begin());
  }
}

void PingProbes::probe(const Json& request, const net::LocalServer::Reply& reply) {
  const auto host = asked_host(text_or(request, "host", ""), targets_);
  if (!host) return reply(net::local_error(host.error()));
  if (probes_.size() >= kMost) return reply(net::local_error({Errc::exhausted, "too many pings at once"}));
  Json answer = {{"type", "ping"}, {"host", to_string(*host)}};
  const auto failed = [&](const Failure& f) {
    answer["state"] = f.state;
    answer["code"] = static_cast<int>(f.code);
    answer["text"] = f.text;
    reply(answer);
  };
  const Resource* r = targets_.matcher()->find(*host);
  if (r == nullptr) {
    return failed(
        {"no-resource", Errc::unreachable, "no Resource matches, so tg has no way there; the system's is used"});
  }
  const auto* name = std::get_if<std::string>(&*host);
  const std::string target = name != nullptr ? target_host(*r, *name) : to_string(*host);
  answer["resource"] = r->name;
  answer["network"] = r->network;
  if (!r->protocols.icmp) {
    for (const Json& t : tunnels_.status()) {
      if (text_or(t, "network", "") != r->network || text_or(t, "state", "") != "up") continue;
      for (const char* key : {"connector", "path", "address"}) answer[key] = t[key];
      if (t.contains("round_trip_ms")) answer["tunnel_ms"] = t["round_trip_ms"];
    }
    return failed(
        {"not-allowed", Errc::denied, fmt::format("the Resource allows {}, no ping", r->protocols.to_string())});
  }
  if (const ResourceAccess& access = targets_.access(r->id); access.need != Need::nothing) {
    const bool sign_in = access.need == Need::sign_in || access.need == Need::second_factor;
    return failed({"not-ready", sign_in ? Errc::login_needed : Errc::denied,
                   fmt::format("{} needs {}", r->name, targets_.missing(*r))});
  }
  const auto patience =
      std::chrono::milliseconds(std::clamp<std::int64_t>(number_or(request, "timeout_ms", 5000), 1, kLongest));
  const std::uint64_t number = next_++;
  auto& made = probes_[number] = std::make_unique<Probe>(*this, number, std::move(answer), patience, reply);
  tunnels_.open({r->id, Protocol::icmp, 0, target}, *made);
}

}  // namespace tg::client
