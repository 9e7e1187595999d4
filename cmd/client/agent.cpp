#include "cmd/client/agent.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cmd/client/dns_trace.h"
#include "cmd/end_signals.h"
#include "cmd/system_dns.h"
#include "core/json.h"
#include "dns/resolv_conf.h"
#include "net/files.h"
#include "net/log.h"

namespace tg::client {
namespace {

constexpr Duration kSettle = std::chrono::milliseconds(100);     // a network change comes as several messages
constexpr Duration kCheck = std::chrono::seconds(2);             // whether DNS is still ours, and the pool is saved
constexpr Duration kNap = std::chrono::seconds(1);               // a shorter sleep is none
constexpr Duration kFarewell = std::chrono::milliseconds(200);   // for goodbyes to leave, and the last packets of flows
constexpr int kPacketsPerTurn = 256;
constexpr std::chrono::hours kKeptFor(24);   // what the controller said: as a certificate, without which no tunnel opens

}  // namespace

Agent::Agent(net::Loop& loop, const Options& options, cmd::AgentIdentity identity, Cidr range, Arrived arrived)
    : loop_(loop), options_(options), identity_(std::move(identity)), tell_arrived_(std::move(arrived)), targets_(range),
      packet_(net::Tun::kPacketMax) {}

Agent::~Agent() = default;

Result<> Agent::start() {
  leases_ = std::make_unique<LeaseFile>(options_.state, targets_.pool());
  auto local = net::LocalServer::start(loop_, options_.state + "/control.sock",
                                       [this](const Json& request, const net::LocalServer::Reply& reply) { answer(request, reply); });
  if (!local) return pass_on(local);
  local_ = std::move(*local);
  auto metrics = cmd::serve_metrics(loop_, options_.metrics,
                                    {"client", [this](Metrics& m) { add_metrics(m); }, [this] { return why_not(); }});
  if (!metrics) return pass_on(metrics);
  metrics_ = std::move(*metrics);

  auto system = System::set_up({options_.state, options_.interface, targets_.pool().range(), options_.capture});
  if (!system) return pass_on(system);
  system_ = std::move(*system);
  auto text = system_->dns_text();
  if (!text) return pass_on(text);
  const auto upstream = cmd::servers_of(*text);

  resolver_ = std::make_unique<net::Resolver>(loop_, upstream);
  resolve_ = [this](const std::string& name, auto callback) {
    resolver_->resolve_host(name, [this, name, callback](Result<net::Addresses> found) {
      if (found && resolved_[name] != *found) {
        resolved_[name] = *found;
        capture();   // before the first packet leaves
      }
      callback(std::move(found));
    });
  };
  tunnels_ = std::make_unique<Tunnels>(loop_, identity_, resolve_);
  auto listener = system_->listen();
  if (!listener) return pass_on(listener);
  capture_way_ = listener->split ? kCaptureSplit : kCaptureRewrite;
  why_rewrite_ = listener->why_not;
  net::log(net::Level::info, "TCP is captured by {}{}{}", capture_way_, why_rewrite_.empty() ? "" : ": ", why_rewrite_);
  tcp_ = std::make_unique<TcpCapture>(loop_, system_->tun(), *tunnels_, targets_, std::move(*listener));
  datagrams_ = std::make_unique<DatagramCapture>(loop_, system_->tun(), *tunnels_, targets_);
  dns_ = std::make_unique<DnsServer>(loop_, targets_, *tunnels_, upstream);
  pings_ = std::make_unique<PingProbes>(loop_, targets_, *tunnels_);
  if (auto listening = dns_->listen(options_.interface, {dns::kOwnResolvers.begin(), dns::kOwnResolvers.end()}); !listening) return listening;
  auto network = net::NetworkMonitor::open();
  if (!network) return pass_on(network);
  network_ = std::move(*network);
  watch_tun();
  settle_ = net::Timer(loop_, [this] { network_changed(); });
  mend_ = net::Timer(loop_, [this] { mend(); });
  network_watch_ = net::Watch(loop_, network_->fd(), [this] {
    const auto changes = network_->drain();
    if (changes.any()) settle_.after(kSettle);
    // What is in the way of our interface may have gone with any change.
    if (changes.own || !interface_problem_.empty()) mend_.at(pace_.due(net::Loop::now() + kSettle));
  });
  network_watch_.want_read(true);

  controller_ = std::make_unique<cmd::ControllerLink>(
      loop_, identity_, resolve_, [] { return Json::object(); },
      cmd::ControllerLink::Callbacks{[this] { view_changed(); },
                                     [this] {
                                       if (controller_->refusal()) refused();
                                       wishes_.controller_changed(controller_->up());
                                     },
                                     [this](const Json& m) { return wishes_.answered(m); }},
      cmd::ControllerLink::KeptView{options_.state + "/view.json", [](const View&) { return kKeptFor; }});
  follow_dns_ = std::make_unique<cmd::FollowDns>(
      loop_, upstream, [this](std::vector<Endpoint> servers) { dns_changed(std::move(servers)); },
      [this] { return system_->dns_text().value_or(""); });
  asleep_ = net::time_asleep();
  check_ = net::Timer(loop_, [this] {
    look_for_sleep();
    check_system();
  });
  check_.after(kCheck);
  cmd::on_end(loop_, [this] { stop(); });
  return {};
}

// Another network may have come with addresses that are ours. They go on to lead to us, since our rule is asked first.
void Agent::look_for_collisions() {
  looked_for_.reset();
  auto found = system_->collisions(networks_);
  if (!found) return net::log(net::Level::error, "{}", found.error().text);
  collisions_ = std::move(*found);
  looked_for_ = networks_;
}

void Agent::tell_warnings() {
  auto now = warnings();
  for (const std::string& w : now) {
    if (std::find(warned_.begin(), warned_.end(), w) == warned_.end()) net::log(net::Level::warning, "{}", w);
  }
  for (const std::string& w : warned_) {
    if (std::find(now.begin(), now.end(), w) == now.end()) net::log(net::Level::info, "no longer: {}", w);
  }
  warned_ = std::move(now);
}

void Agent::view_changed() {
  if (stopping_) return;   // goodbyes are leaving, and the system is given back when they have
  std::vector<Resource> resources;
  AccessList access;
  networks_.clear();
  for (const auto& [key, item] : controller_->view()) {
    if (key == "self") {
      if (auto self = device_self_from_json(item)) self_ = std::move(*self);
    } else if (key == "access") {
      auto needs = access_from_json(item);
      if (needs) access = std::move(*needs);
      else net::log(net::Level::error, "what the controller sent of policies makes no sense: {}", needs.error().text);
    } else if (key.starts_with("resource/")) {
      auto r = resource_from_json(item);
      if (!r) {
        net::log(net::Level::error, "the controller sent a Resource that makes no sense: {}", r.error().text);
        continue;
      }
      if (r->address.kind() == Address::Kind::network) networks_.push_back(r->address.network());
      resources.push_back(std::move(*r));
    }
  }
  auto matcher = std::make_shared<const Matcher>(std::move(resources));
  targets_.set_matcher(matcher);
  targets_.set_access(std::move(access), self_ && self_->sign_in, self_ && !self_->key.empty());
  dns_->resources_changed();
  capture();
  if (looked_for_ != networks_) look_for_collisions();   // all routes of the host are read for it
  tunnels_->update(controller_->view(), matcher);
  tcp_->resources_changed();
  datagrams_->resources_changed();
  check_system();
}

void Agent::refused() {
  const Errc why = *controller_->refusal();
  const bool passes = why == Errc::conflict;   // with the other process
  const bool ends = options_.ends_when_refused && tell_arrived_ != nullptr && !passes;
  if (stopping_ || !(ends || (options_.ends_when_removed && why == Errc::removed))) return;
  ended_ = Error{why, controller_->problem()};
  stop();
}

// Applications can use Resources: we know them, DNS leads to us.
bool Agent::online() const { return why_not().empty(); }

std::string Agent::why_not() const {
  std::string out = trouble();
  if (out.empty() && self_ && self_->sign_in) out = "sign-in needed: run 'sudo tg client login'";
  return out;
}

// Applications can use Resources though the controller is away: we go by what it said before.
bool Agent::goes_by_kept() const {
  return controller_ && controller_->kept_as_of() && !controller_->somebody_else() && self_ && !self_->sign_in &&
         interface_problem_.empty() && dns_problem_.empty();
}

bool Agent::sign_in_needed() const { return self_ && self_->sign_in && trouble().empty(); }

// trouble is everything but a sign-in that may keep the client from being online.
std::string Agent::trouble() const {
  if (stopping_) return "stopping";
  if (!controller_) return "starting";
  if (!controller_->up()) return "controller " + identity_.controller().to_string() + ": " + controller_->problem();
  return interface_problem_.empty() ? dns_problem_ : interface_problem_;
}

// Where tg's own sockets connect to.
std::vector<Ipv4> Agent::own_peers() const {
  std::vector<Ipv4> out;
  const auto add = [&](const IpAddress& a) {
    if (a.is_v4()) out.push_back(a.v4());
  };
  const auto add_host = [&](const std::string& host) {
    if (const auto literal = IpAddress::parse(host)) return add(*literal);
    if (const auto known = resolved_.find(host); known != resolved_.end()) {
      for (const IpAddress& a : known->second) add(a);
    }
  };
  add_host(identity_.controller().host);
  for (const auto& [key, item] : controller_ ? controller_->view() : View{}) {
    if (!key.starts_with("connector/")) continue;
    const auto info = connector_from_json(item);
    if (!info) continue;
    std::vector<std::string> ways = info->direct;
    for (const RelayWay& r : info->relays) ways.push_back(r.address);
    for (const std::string& way : ways) {
      if (const auto at = HostPort::parse(way)) add_host(at->host);
    }
  }
  for (const Endpoint& e : resolver_->servers()) add(e.address);
  return out;
}

void Agent::capture() {
  if (auto captured = system_->capture(networks_, own_peers()); !captured) {
    net::log(net::Level::error, "{}", captured.error().text);
  }
}

void Agent::watch_tun() {
  tun_watch_ = net::Watch(loop_, system_->tun().fd(), [this] { read_tun(); });
  tun_watch_.want_read(true);
  network_->own(system_->tun().index(), {net::Routes::Config().table, net::Routes::Config().local_table});
}

// Somebody may have touched what is ours: it is put back, but not at full speed against one who insists.
void Agent::mend() {
  if (stopping_) return;
  const Instant now = net::Loop::now();
  if (const Instant due = pace_.due(now); due > now) return mend_.at(due);
  tun_watch_ = {};
  bool new_tun = false;
  auto what = system_->mend(new_tun);
  if (std::exchange(tun_failed_, false) && !new_tun) pace_.mended(now);   // what cannot be read is not tried at full speed
  watch_tun();
  if (new_tun) {
    auto listening = dns_->listen(options_.interface, {dns::kOwnResolvers.begin(), dns::kOwnResolvers.end()});
    if (what && !listening) what = pass_on(listening);
  }
  if (what && !what->empty()) capture();   // what could not be put in meanwhile
  mended(what);
}

void Agent::mended(const Result<std::vector<std::string>>& what) {
  const Instant now = net::Loop::now();
  const std::string before = interface_problem_;
  if (what && interface_failed_) pace_ = {};
  interface_failed_ = !what;
  interface_problem_ = what ? "" : options_.interface + ": " + what.error().text;
  if (!what || !what->empty()) pace_.mended(now);
  if (what && pace_.quarrel()) {
    interface_problem_ = fmt::format("somebody keeps changing {}, its routes or the rule; they were put back {} times",
                                     options_.interface, pace_.times());
  }
  // The first time, and when it comes to a quarrel or cannot be done: not each time.
  if (what && !what->empty() && pace_.times() == 1) {
    net::log(net::Level::warning, "somebody changed {}; put back: {}", options_.interface, fmt::join(*what, ", "));
  }
  if (before.empty() && !interface_problem_.empty()) net::log(net::Level::error, "{}", interface_problem_);
  if (!before.empty() && interface_problem_.empty()) net::log(net::Level::info, "{} is whole again", options_.interface);
  if (!what) mend_.at(pace_.due(now));
  else if (!interface_problem_.empty()) mend_.at(pace_.calm_at());
}

void Agent::check_system() {
  if (stopping_) return;
  check_.after(kCheck);
  leases_->save();
  if (!system_->settings_hold()) mend_.at(pace_.due(net::Loop::now()));
  tell_warnings();
  if (!self_) return follow_dns_->look();   // DNS is not touched before there is something to say
  const auto taken = system_->take_dns();
  const std::string before = dns_problem_;
  dns_problem_ = taken ? "" : "DNS: " + taken.error().text;
  if (!dns_problem_.empty() && dns_problem_ != before) net::log(net::Level::error, "{}", dns_problem_);
  if (taken && *taken) net::log(net::Level::info, "{} leads to tg's resolvers", kResolvConf);
  follow_dns_->look();
  if (tell_arrived_ && (online() || sign_in_needed() || goes_by_kept())) {
    const auto tell = std::exchange(tell_arrived_, nullptr);
    const std::string missing = why_not();
    net::log(net::Level::info, "{}", missing.empty() ? "online as " + self_->user : missing);
    tell(goes_by_kept() ? "" : missing);
  }
}

// The system's own servers may be others, also before we were ever online: then nobody else can find the controller.
void Agent::dns_changed(std::vector<Endpoint> servers) {
  net::log(net::Level::info, "the system's DNS servers have changed: {}", cmd::servers_text(servers));
  dns_->set_upstream(servers);
  resolver_->set_servers(std::move(servers));
  settle_.after(Duration::zero());
}

void Agent::read_tun() {
  const Instant now = net::Loop::now();
  for (int i = 0; i < kPacketsPerTurn; ++i) {
    VnetHeader header;
    const auto packet = system_->tun().read(packet_, header);
    if (!packet) {
      tun_failed_ = true;   // most likely it was deleted: mend() makes it anew
      tun_watch_.want_read(false);
      return mend_.at(pace_.due(now));
    }
    if (packet->empty()) break;
    if (!tcp_->packet(*packet, header, now)) datagrams_->packet(*packet, now);
  }
  tcp_->batch_done(now);
}

void Agent::network_changed() {
  if (stopping_) return;
  net::log(net::Level::debug, "the network has changed");
  look_for_collisions();
  check_system();
  capture();   // whether return paths are checked may be another matter on another interface
  controller_->check_now();
  tunnels_->network_changed();
}

// After a sleep, connections may be forgotten on the way and grants may have ended, and nothing tells of it.
void Agent::look_for_sleep() {
  const Duration asleep = net::time_asleep();
  if (asleep - asleep_ > kNap) {
    net::log(net::Level::info, "this machine was asleep for {} s",
             std::chrono::duration_cast<std::chrono::seconds>(asleep - asleep_).count());
    settle_.after(Duration::zero());
  }
  asleep_ = asleep;
}

void Agent::stop() {
  if (stopping_) return loop_.stop();   // asked twice
  stopping_ = true;
  net::log(net::Level::info, "stopping");
  leases_->save();
  check_.cancel();
  follow_dns_.reset();
  tcp_->close([this] { read_tun(); });   // while there is a way for the RSTs
  tunnels_->close();
  controller_->close();
  farewell_ = net::Timer(loop_, [this] {
    system_->tear_down();
    loop_.stop();
  });
  farewell_.after(kFarewell);
}

// The connectors as the controller tells of them, for a check of every path.
Json Agent::paths() const {
  Json items = Json::object();
  if (controller_) {
    for (const auto& [key, item] : controller_->view()) {
      if (key.starts_with("connector/")) items[key] = item;
    }
  }
  return {{"type", "paths"}, {"items", std::move(items)}};
}

void Agent::answer(const Json& request, const net::LocalServer::Reply& reply) {
  const std::string type = request["type"];
  if (type == "status") return reply(status());
  if (type == "resources") return reply(resources());
  if (type == "explain") {
    std::optional<std::uint16_t> port;
    if (request.contains("port") && request["port"].is_number_unsigned()) port = request["port"].get<std::uint16_t>();
    return reply(explain(text_or(request, "host", ""), port));
  }
  if (type == "ping" && pings_) return pings_->probe(request, reply);
  if (type == "dns" && dns_) {
    return trace_dns(*dns_, targets_, resolver_->servers(), request, reply);
  }
  if (type == "paths") return reply(paths());
  if (type == "request") return wishes_.ask(request, targets_, [this](const Json& m) { return controller_ && controller_->say(m); }, reply);
  if (type == "down") {
    stop();
    return reply({{"type", "down"}});
  }
  reply(net::local_error({Errc::unsupported, "unknown request"}));
}

}  // namespace tg::client
