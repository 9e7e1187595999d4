#include "cmd/client/netcheck.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>

#include <fmt/format.h>

#include "cmd/agent_identity.h"
#include "cmd/client/path_check.h"
#include "cmd/client/system.h"
#include "cmd/clock.h"
#include "cmd/dns_probe.h"
#include "cmd/system_dns.h"
#include "cmd/controller_link.h"
#include "core/frame.h"
#include "core/json.h"
#include "core/text.h"
#include "dns/resolv_conf.h"
#include "net/files.h"
#include "net/local_socket.h"
#include "net/relay_protocol.h"

namespace tg::client {
namespace {

using State = Check::State;

constexpr std::size_t kDirectMax = 4;                       // addresses of one connector, as the client tries
constexpr std::chrono::seconds kClockFine{2};

double ms(Duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

// A control frame says its length first.
bool whole_frame(Bytes b) {
  Reader in(b);
  const std::uint32_t size = in.u32();
  return in.ok() && in.left() >= size;
}

std::string hint_of(const PathResult& r) {
  const bool somebody_else =
      r.stage == PathResult::Stage::tls && r.problem &&
      (r.problem->code == Errc::protocol ||
       (r.problem->code == Errc::denied && r.problem->text.find("another CA") != std::string::npos));
  return somebody_else
             ? "; somebody on the way answers in its place: a captive portal (open a web page), or a proxy that "
               "opens TLS"
             : "";
}

std::string timing_of(const PathResult& r) {
  std::string out = fmt::format("TCP {:.1f} ms, TLS {:.1f} ms", ms(r.connect), ms(r.handshake));
  if (r.answer != Duration::zero()) out += fmt::format(", answers in {:.1f} ms", ms(r.answer));
  return out;
}

Json figures_of(const PathResult& r) {
  Json out = Json::object();
  if (r.stage != PathResult::Stage::connect) {
    out["address"] = r.peer.to_string();
    out["connect_ms"] = ms(r.connect);
  }
  if (r.stage == PathResult::Stage::done || r.stage == PathResult::Stage::answer) out["tls_ms"] = ms(r.handshake);
  if (r.stage == PathResult::Stage::done && r.answer != Duration::zero()) out["answer_ms"] = ms(r.answer);
  return out;
}

// A Netcheck is one run: first the controller and DNS, then what the controller tells of.
class Netcheck {
 public:
  explicit Netcheck(const NetcheckOptions& options) : options_(options) {}

  std::vector<Check> run() {
    net::set_socket_mark(::geteuid() == 0 ? net::kOwnMark : 0);   // past what a running client captures
    look_at_agent();
    look_at_identity();
    find_servers();
    resolve_ = cmd::resolver_for(upstream_)(loop_);
    ++pending_;
    check_controller();
    check_dns();
    settled([this] { check_paths(); });
    loop_.run();
    std::vector<Check> out = std::move(checks_);
    for (Check& c : machine_checks(options_, agent_)) out.push_back(std::move(c));
    return out;
  }

 private:
  struct Path {
    std::string connector;   // "home-1 (home)"
    bool direct = false;
    std::string address;
    PathResult result{};
  };

  void add(std::string name, State state, std::string text, Errc code = Errc::unreachable, Json more = Json::object()) {
    checks_.push_back({std::move(name), state, std::move(text), code, std::move(more)});
  }

  Result<Json> ask_agent(const char* what) const {
    return net::local_request(options_.state + "/control.sock", "client", {{"type", what}}, options_.timeout);
  }

  void look_at_agent() {
    auto s = ask_agent("status");
    if (!s) {
      const bool unknown = s.error().code != Errc::unreachable;
      return add("client", State::unchecked, unknown ? s.error().text : "not running");
    }
    agent_ = std::move(*s);
    const std::string problem = text_or(agent_, "problem", "");
    if (problem.empty()) add("client", State::ok, "online as " + text_or(agent_, "user", "unknown"));
    else add("client", State::warning, "not online: " + problem);
    if (const auto paths = ask_agent("paths")) take_items((*paths)["items"]);
  }

  void look_at_identity() {
    auto loaded = cmd::AgentIdentity::load(options_.state);
    if (!loaded) {
      const bool hidden = loaded.error().code == Errc::denied;
      return add("identity", hidden ? State::unchecked : State::failed, loaded.error().text, loaded.error().code);
    }
    identity_.emplace(std::move(*loaded));
    const auto until = identity_->self().not_after;
    const bool over = until < net::Loop::wall();
    add("identity", over ? State::warning : State::ok,
        fmt::format("device {} of {}, certificate until {}{}", identity_->self().id,
                    identity_->self().network, utc_text(until),
                    over ? ": over, and renewed at the next contact" : ""),
        Errc::expired, {{"device", identity_->self().id}});
  }

  void find_servers() {
    const auto text = net::ResolvConfFile(kResolvConf, options_.state).original();
    if (text) {
      for (const IpAddress& ip : dns::ResolvConf::parse(*text).servers()) upstream_.push_back({ip, 53});
    } else {
      upstream_ = cmd::system_dns();
    }
  }

  // settled calls `next` once everything that is pending has come to its end.
  void settled(std::function<void()> next) {
    next_ = std::move(next);
    one_done();
  }
  void one_done() {
    if (--pending_ > 0) return;
    const auto next = std::move(next_);
    next_ = nullptr;
    next();
  }

  void check(HostPort to, const std::string& alpn, PathCheck::Config config, std::function<void(PathResult)> done) {
    auto context = identity_->client_context(alpn);
    if (!context) {
      PathResult r;
      r.problem = context.error();
      return done(std::move(r));
    }
    config.to = std::move(to);
    config.resolve = resolve_;
    config.context = std::move(*context);
    config.patience = options_.timeout;
    ++pending_;
    running_.push_back(std::make_unique<PathCheck>(loop_, std::move(config), [this, done](PathResult r) {
      done(std::move(r));
      one_done();
    }));
  }

  // While the client runs, a hello would take its place: the controller then says only what time it is.
  void check_controller() {
    if (!identity_) return add("controller", State::unchecked, "its address is not known without an identity");
    PathCheck::Config config;
    config.expect_role = "controller";
    config.ask =
        control_frame(agent_.is_null() ? Json{{"type", "hello"}, {"version", TG_VERSION}, {"name", net::host_name()},
                                               {"process", cmd::random_process()}}
                                       : Json{{"type", "ping"}});
    config.whole = whole_frame;
    check(identity_->controller(), std::string(net::kAlpnControl), std::move(config),
          [this](const PathResult& r) { controller_checked(r); });
  }

  void controller_checked(const PathResult& r) {
    const std::string where = identity_->controller().to_string();
    if (r.problem) {
      add("controller", State::failed, fmt::format("{}: {}{}", where, r.problem->text, hint_of(r)), r.problem->code,
          figures_of(r));
      const bool dates = r.stage == PathResult::Stage::tls && r.problem->code == Errc::unreachable;
      if (!dates) return add("clock", State::unchecked, "the controller did not tell the time");
      return add("clock", State::failed, fmt::format("not within the dates of the controller's certificate; {}",
                                                     cmd::kSetTheClock));
    }
    ControlReader reader;
    reader.feed(r.heard);
    auto said = reader.next();
    const Json answer = said && *said ? std::move(**said) : Json::object();
    const std::string used = r.peer.to_string() == where ? "" : fmt::format(" at {}", r.peer.to_string());
    const std::string code = text_or(answer, "code", "");
    if (text_or(answer, "type", "") == "error" && !(code == "protocol" && !agent_.is_null())) {
      add("controller", State::failed, fmt::format("{}: {}", where, printable(text_or(answer, "text", "it refuses"))),
          Errc::denied, figures_of(r));
    } else {
      add("controller", State::ok, fmt::format("{}{}: {}", where, used, timing_of(r)), Errc::unreachable,
          figures_of(r));
      if (agent_.is_null() && answer.contains("items")) take_items(answer["items"]);
    }
    check_clock(cmd::told_time(answer));
  }

  void check_clock(std::optional<UnixTime> theirs) {
    if (!theirs) return add("clock", State::unchecked, "the controller did not tell the time");
    const UnixTime now = net::Loop::wall();
    const auto off = now - *theirs;
    const auto size = off < off.zero() ? -off : off;
    const Json more = {{"offset_s", off.count()}};
    if (size <= kClockFine) return add("clock", State::ok, "as the controller's", Errc::unreachable, more);
    const std::string problem = cmd::clock_problem(now, *theirs);
    if (!problem.empty()) return add("clock", State::failed, problem, Errc::unreachable, more);
    add("clock", State::warning, fmt::format("{} s {} the controller's; {}", size.count(),
                                             off > off.zero() ? "ahead of" : "behind", cmd::kSetTheClock),
        Errc::unreachable, more);
  }

  void check_dns() {
    if (upstream_.empty()) return add("dns", State::warning, "the system names no DNS server");
    for (const bool tcp : {false, true}) {
      ++pending_;
      probes_.push_back(std::make_unique<cmd::DnsProbe>(loop_, upstream_, cmd::DnsProbe::root_servers(), tcp,
                                                        options_.timeout,
                                                        [this, tcp](std::vector<cmd::DnsHealth> found) {
                                                          (tcp ? dns_tcp_ : dns_udp_) = std::move(found);
                                                          one_done();
                                                        }));
    }
    if (agent_.is_null()) return;
    ++pending_;   // a name that tg answers by itself
    const dns::Question own{*dns::Name::parse("use-application-dns.net"), dns::kTypeA};
    probes_.push_back(std::make_unique<cmd::DnsProbe>(loop_, std::vector{Endpoint{dns::kOwnResolvers[0], 53}}, own,
                                                      false, options_.timeout,
                                                      [this](std::vector<cmd::DnsHealth> found) {
                                                        own_dns_ = found.front();
                                                        one_done();
                                                      }));
  }

  void tell_dns() {
    const bool any = std::any_of(dns_udp_.begin(), dns_udp_.end(), [](const auto& h) { return h.took.has_value(); });
    for (std::size_t i = 0; i < dns_udp_.size(); ++i) {
      const auto& udp = dns_udp_[i];
      const auto& tcp = dns_tcp_[i];
      const auto words = [](const cmd::DnsHealth& h) {
        if (!h.took) return std::string("no answer");
        const bool plain = h.rcode == dns::kRcodeNoError || h.rcode == dns::kRcodeNxDomain;
        return fmt::format("{:.1f} ms{}", ms(*h.took), plain ? "" : " (" + dns::rcode_text(h.rcode) + ")");
      };
      const State state = udp.took && tcp.took ? State::ok : any ? State::warning : State::failed;
      add("dns", state, fmt::format("{}: UDP {}, TCP {}", udp.server.to_string(), words(udp), words(tcp)),
          Errc::unreachable, {{"udp", to_json(udp)}, {"tcp", to_json(tcp)}});
    }
    if (!own_dns_) return;
    const bool well = own_dns_->took && own_dns_->rcode == dns::kRcodeNxDomain;
    add("tg's dns", well ? State::ok : State::failed,
        own_dns_->took ? fmt::format("{} answers in {:.1f} ms{}", own_dns_->server.to_string(), ms(*own_dns_->took),
                                     well ? "" : ", but it is not tg")
                       : own_dns_->server.to_string() + " does not answer");
  }

  void take_items(const Json& items) {
    told_ = true;
    for (const auto& [key, item] : items.items()) {
      if (!key.starts_with("connector/")) continue;
      if (auto info = connector_from_json(item)) connectors_.push_back(std::move(*info));
    }
  }

  void check_paths() {
    ++pending_;
    if (identity_) {
      for (const ConnectorInfo& c : connectors_) {
        for (const RelayWay& relay : c.relays) relays_.try_emplace(relay.address);
      }
      for (auto& [relay, result] : relays_) {
        const auto to = HostPort::parse(relay);
        PathCheck::Config config;
        config.expect_role = "relay";
        if (to)
          check(*to, std::string(net::kAlpnRelay), std::move(config),
                [&result](PathResult r) { result = std::move(r); });
      }
      for (const ConnectorInfo& c : connectors_) check_connector(c);
    }
    settled([this] {
      tell_paths();
      tell_dns();
      loop_.stop();
    });
  }

  void check_connector(const ConnectorInfo& c) {
    const auto start = [&](bool direct, const std::string& address, const std::string& ticket) {
      const auto to = HostPort::parse(address);
      if (!to) return;
      auto path = std::make_shared<Path>(Path{fmt::format("{} ({})", c.name, c.network), direct, address});
      paths_.push_back(path);
      PathCheck::Config config;
      config.expect_uri = net::to_uri({identity_->self().network, "connector", c.id, {}, {}, {}});
      if (!direct) config.server_name = ticket + std::string(net::kSniSuffix);
      encode_ping(config.ask, false, 1);
      config.whole = [](Bytes b) { return b.size() >= kFrameHeader; };
      check(*to, std::string(net::kAlpnTunnel), std::move(config),
            [path](PathResult r) { path->result = std::move(r); });
    };
    for (std::size_t i = 0; i < std::min(c.direct.size(), kDirectMax); ++i) start(true, c.direct[i], {});
    for (const RelayWay& relay : c.relays) start(false, relay.address, relay.ticket);
  }

  void tell_paths() {
    if (!identity_ || !told_)
      return add("connector", State::unchecked, "only the controller tells which there are, and how they are reached");
    const bool any_up = std::any_of(paths_.begin(), paths_.end(), [](const auto& p) { return !p->result.problem; });
    for (const auto& [relay, r] : relays_) {
      if (!r.problem)
        add("relay", State::ok, fmt::format("{}: {}", relay, timing_of(r)), Errc::unreachable, figures_of(r));
      else
        add("relay", any_up ? State::warning : State::failed,
            fmt::format("{}: {}{}", relay, r.problem->text, hint_of(r)), r.problem->code, figures_of(r));
    }
    if (connectors_.empty()) add("connector", State::warning, "no network of this device's Resources has one");
    for (const ConnectorInfo& c : connectors_) {
      const std::string who = fmt::format("{} ({})", c.name, c.network);
      if (!c.online) add("connector", State::warning, who + ": offline, it has no line to the controller");
      if (c.direct.empty())
        add("connector", State::unchecked, who + ": tells no direct address, since it runs without --listen");
      for (const auto& p : paths_) {
        if (p->connector == who) tell_path(*p);
      }
    }
  }

  void tell_path(const Path& p) {
    const std::string what = fmt::format("{}: {} by {}", p.connector, p.direct ? "direct" : "relayed", p.address);
    Json more = figures_of(p.result);
    more["connector"] = p.connector;
    more["path"] = p.direct ? "direct" : "relayed";
    if (!p.result.problem)
      return add("connector", State::ok, fmt::format("{}: {}", what, timing_of(p.result)), Errc::unreachable, more);
    const bool other = std::any_of(paths_.begin(), paths_.end(), [&](const auto& x) {
      return x->connector == p.connector && !x->result.problem;
    });
    add("connector", other ? State::warning : State::failed, fmt::format("{}: {}", what, p.result.problem->text),
        p.result.problem->code, more);
  }

  NetcheckOptions options_;
  std::vector<Check> checks_;
  Json agent_;                                   // status, or null
  std::optional<cmd::AgentIdentity> identity_;
  std::vector<Endpoint> upstream_;
  bool told_ = false;                            // of connectors
  std::vector<ConnectorInfo> connectors_;
  net::Loop loop_;
  net::ResolveHost resolve_;
  std::size_t pending_ = 0;
  std::function<void()> next_;
  std::vector<std::unique_ptr<PathCheck>> running_;
  std::vector<std::unique_ptr<cmd::DnsProbe>> probes_;
  std::vector<cmd::DnsHealth> dns_udp_, dns_tcp_;
  std::optional<cmd::DnsHealth> own_dns_;
  std::map<std::string, PathResult> relays_;
  std::vector<std::shared_ptr<Path>> paths_;
};

}  // namespace

std::vector<Check> netcheck(const NetcheckOptions& options) { return Netcheck(options).run(); }

}  // namespace tg::client
