#include "cmd/connector/agent.h"

#include <algorithm>

#include "cmd/end_signals.h"
#include "core/forbidden.h"
#include "core/json.h"
#include "net/log.h"

namespace tg::connector {
namespace {

constexpr Duration kFarewell = std::chrono::milliseconds(300);   // for goodbyes to leave
// Tunnels whose client has not shown who it is: in all, and by one relay or from one source.
constexpr std::size_t kStrangersMax = 1024;
constexpr std::size_t kStrangersOfOne = 256;
// Tunnels that were given to workers and have not begun there, for each thread: a worker has its tunnels to mind, and rules to
// hear. More wait here, where who floods is sent away like any stranger, and behind these at the listener.
constexpr std::size_t kBeginning = 64;
constexpr std::size_t kArrivals = 2 * kStrangersOfOne;
constexpr std::int64_t kProbeMost = 10'000;                      // milliseconds for DNS servers to answer
constexpr std::size_t kProbesMax = 8;
constexpr Duration kTogether = std::chrono::milliseconds(100);   // events that workers have recorded are taken at once
constexpr Duration kSettle = std::chrono::milliseconds(200);     // a network change comes as several messages

// rules_good_for says how long rules may be used by a connector that is started: as long as one that has run on could go by
// them for grants that the controller no longer stands behind.
std::chrono::seconds rules_good_for(const View& view) {
  const auto item = view.find("self");
  const auto self = item == view.end() ? fail(Errc::not_found, "") : connector_self_from_json(item->second);
  return kGrantLifetime + (self ? self->grace : std::chrono::seconds(0));
}

}  // namespace

Agent::Agent(net::Loop& loop, const Options& options, cmd::AgentIdentity identity, std::vector<Endpoint> dns)
    : loop_(loop), options_(options), identity_(std::move(identity)), resolver_(loop, std::move(dns)),
      flows_(DeviceQuota::flow_limits(net::descriptors()), net::Mutex::make()),
      tunnel_quota_(DeviceQuota::tunnel_limits(net::descriptors()), net::Mutex::make()),
      kept_(DeviceQuota::byte_limits(net::memory()), net::Mutex::make()),
      events_(loop, options_.state + "/events", options_.events, [this](const Json& m) { controller_->say(m); }),
      keep_events_(loop, [this] { keep_events(); }), recorder_(net::random_seed(), [this] { events_recorded(); }),
      common_{flows_, tunnel_quota_, kept_, lines_, recorder_, traffic_}, strangers_(kStrangersMax, kStrangersOfOne),
      workers_(loop, options_.threads, [this](net::Worker& w) {
        return std::make_unique<Shard>(w, common_, resolver_.servers(), rules_,
                                       [this](std::uint64_t number, Shard::Stage stage) { heard(number, stage); });
      }) {
  rules_.own = net::local_addresses().value_or(std::vector<IpAddress>());
}

Agent::~Agent() {
  workers_.end();
  keep_events();
}

Result<> Agent::start() {
  auto local = net::LocalServer::start(loop_, options_.state + "/control.sock",
                                       [this](const Json& request, const net::LocalServer::Reply& reply) {
                                         if (request["type"] == "status") return answer_status(request, reply);
                                         reply(net::local_error({Errc::unsupported, "unknown request"}));
                                       });
  if (!local) return pass_on(local);
  local_ = std::move(*local);
  auto metrics = cmd::serve_metrics(loop_, options_.metrics,
                                    {"connector", [this](Metrics& m) { add_metrics(m); }, [this] { return not_ready(); }});
  if (!metrics) return pass_on(metrics);
  metrics_ = std::move(*metrics);
  if (options_.listen) {
    auto fd = net::tcp_listen(*options_.listen);
    if (!fd) return fail(fd.error().code, fd.error().text + "; see --listen");
    listener_ = net::Acceptor(loop_, std::move(*fd), [this](net::Fd client, const Endpoint& from) {
      take_client(std::move(client), source_of(from.address).to_string(), "direct");
    });
  }
  auto network = net::NetworkMonitor::open();
  if (!network) return pass_on(network);
  watch_network(std::move(*network));
  controller_ = std::make_unique<cmd::ControllerLink>(
      loop_, identity_, net::resolve_with(resolver_), [this] { return Json{{"direct", direct_addresses()}}; },
      cmd::ControllerLink::Callbacks{[this] { view_changed(); }, [this] {
                                       rules_.controller_since = controller_->up_since();
                                       tell_rules();
                                       events_ready();
                                     },
                                     [this](const Json& m) {
                                       if (m["type"] != "events_kept") return false;
                                       events_.kept(m);
                                       return true;
                                     }},
      cmd::ControllerLink::KeptView{options_.state + "/view.json", rules_good_for});
  if (options_.follow_dns) {
    follow_dns_.emplace(loop_, resolver_.servers(), [this](std::vector<Endpoint> s) { dns_changed(std::move(s)); });
  }
  cmd::on_end(loop_, [this] { stop(); });
  return {};
}

void Agent::view_changed() {
  Rules fresh;
  fresh.controller_since = controller_->up_since();
  fresh.own = rules_.own;
  fresh.policy = rules_.policy;
  for (const auto& [key, item] : controller_->view()) {
    if (key == "self") {
      auto self = connector_self_from_json(item);
      if (!self) return net::log(net::Level::error, "the controller sent nonsense: {}", self.error().text);
      fresh.self = std::move(*self);
    } else if (key.starts_with("revoked/") && item.is_number_unsigned()) {
      fresh.revoked[key.substr(8)] = item.get<Generation>();
    }
  }
  rules_ = fresh;
  tell_rules();   // what is void is heard before the list, which takes a while to make when it is long
  std::vector<Resource> resources;
  for (const auto& [key, item] : controller_->view()) {
    if (!key.starts_with("resource/")) continue;
    auto resource = resource_from_json(item);
    if (resource) resources.push_back(std::move(*resource));
    else net::log(net::Level::error, "the controller sent a Resource that makes no sense: {}", resource.error().text);
  }
  fresh.policy = std::make_shared<const Policy>(std::move(resources));
  rules_ = std::move(fresh);
  tell_rules();
  update_relays();
  events_ready();
}

void Agent::tell_rules() {
  workers_.post_to_all([rules = std::make_shared<const Rules>(rules_)](Shard& s) { s.set_rules(*rules); });
}

// Called on the threads of workers.
void Agent::events_recorded() {
  loop_.post([this] { keep_events_.after(kTogether); });
}

void Agent::keep_events() {
  const Recorder::Taken taken = recorder_.take();
  for (const ConnectionEvent& e : taken.events) events_.record(e);
  if (taken.lost > 0) events_.lose(taken.lost);
}

// A controller is sent events only when it has said that it knows what they are.
void Agent::events_ready() { events_.ready(controller_->up() && !rules_.self.grant_key.empty() && rules_.self.events); }

void Agent::update_relays() {
  std::map<std::string, std::unique_ptr<net::RelayClient>> wanted;
  for (const std::string& relay : rules_.self.relays) {
    if (auto known = relays_.extract(relay)) {
      wanted.insert(std::move(known));
      continue;
    }
    auto where = HostPort::parse(relay);
    if (!where) continue;
    wanted[relay] = std::make_unique<net::RelayClient>(
        loop_, *where, net::resolve_with(resolver_), [this] { return identity_.client_context(net::kAlpnRelay); },
        identity_.self().network,
        net::RelayClient::Callbacks{[this, relay](net::Fd fd) { take_client(std::move(fd), relay, relay); },
                                    [relay](bool up, const Error* why) {
                                      if (up) net::log(net::Level::info, "relay {}: connected", relay);
                                      else net::log(net::Level::warning, "relay {}: {}", relay, why ? why->text : "gone");
                                    }});
  }
  relays_ = std::move(wanted);
}

void Agent::take_client(net::Fd fd, const std::string& way, const std::string& path) {
  // Without rules nobody can be served; the client comes again.
  if (stopping_ || rules_.self.grant_key.empty()) return;
  if (!tunnel_context_ || tunnel_context_until_ != identity_.renewal_due()) {
    auto fresh = identity_.server_context(net::kAlpnTunnel);
    if (!fresh) return net::log(net::Level::error, "{}", fresh.error().text);
    tunnel_context_ = std::move(*fresh);
    tunnel_context_until_ = identity_.renewal_due();
  }
  const std::uint64_t number = next_number_++;
  if (const auto oldest = strangers_.add(number, way)) drop_stranger(*oldest);
  arrivals_[number] = {path, std::move(fd)};
  serve_arrivals();
}

void Agent::serve_arrivals() {
  while (!arrivals_.empty() && beginning_ < kBeginning * workers_.most()) {
    auto next = arrivals_.extract(arrivals_.begin());
    const std::uint64_t number = next.key();
    const auto worker = workers_.give([number, arrival = std::make_shared<Arrival>(std::move(next.mapped())), context = *tunnel_context_](Shard& s) {
      s.take(number, arrival->path, std::move(arrival->fd), context);
    });
    if (!worker) {   // which the log has said; the client comes again
      strangers_.remove(number);
      continue;
    }
    tunnels_[number] = *worker;
    ++beginning_;
  }
  listener_.want(arrivals_.size() < kArrivals);
}

void Agent::drop_stranger(std::uint64_t number) {
  if (arrivals_.erase(number) > 0) return;
  workers_.post(tunnels_.at(number), [number](Shard& s) { s.drop_stranger(number); });
}

void Agent::heard(std::uint64_t number, Shard::Stage stage) {
  if (stage == Shard::Stage::begun) {
    --beginning_;
    return serve_arrivals();
  }
  strangers_.remove(number);
  if (stage == Shard::Stage::known) return;
  workers_.done(tunnels_.at(number));
  tunnels_.erase(number);
}

void Agent::watch_network(net::NetworkMonitor monitor) {
  network_ = std::move(monitor);
  settle_ = net::Timer(loop_, [this] { network_changed(); });
  network_watch_ = net::Watch(loop_, network_->fd(), [this] {
    if (network_->drain().any()) settle_.after(kSettle);
  });
  network_watch_.want_read(true);
}

void Agent::network_changed() {
  if (auto now = net::local_addresses()) rules_.own = std::move(*now);
  net::log(net::Level::info, "the network has changed");
  tell_rules();
  if (follow_dns_) follow_dns_->look();
  controller_->hello_again();   // the addresses for direct paths may be others
  controller_->check_now();
  for (auto& [name, relay] : relays_) relay->check_now();
}

void Agent::dns_changed(std::vector<Endpoint> servers) {
  net::log(net::Level::info, "the system's DNS servers have changed: {}", cmd::servers_text(servers));
  workers_.post_to_all([servers](Shard& s) { s.set_servers(servers); });
  resolver_.set_servers(std::move(servers));
  if (stopping_) return;
  if (!controller_->up()) controller_->check_now();
  for (auto& [name, relay] : relays_) {
    if (!relay->up()) relay->check_now();
  }
}

std::vector<std::string> Agent::direct_addresses() const {
  if (!options_.listen) return {};
  const std::uint16_t port = net::local_endpoint(listener_.fd()).port;
  const IpAddress& at = options_.listen->address;
  const IpAddress all4, all6 = IpAddress::v6({});
  if (at != all4 && at != all6) return {Endpoint{at, port}.to_string()};
  std::vector<std::string> out;
  for (const bool v4 : {true, false}) {   // clients try the first few
    for (const IpAddress& ip : rules_.own) {
      const bool listens = ip.is_v4() || at == all6;   // [::] takes IPv4, too
      if (ip.is_v4() == v4 && listens && !forbidden_address(ip, {})) out.push_back(Endpoint{ip, port}.to_string());
    }
  }
  return out;
}

void Agent::stop() {
  if (stopping_) return loop_.stop();   // asked twice
  stopping_ = true;
  net::log(net::Level::info, "stopping");
  listener_ = {};
  arrivals_.clear();
  workers_.post_to_all([](Shard& s) { s.close(Code::shutting_down); });
  for (auto& [name, relay] : relays_) relay->close();
  controller_->close();
  farewell_ = net::Timer(loop_, [this] { loop_.stop(); });
  farewell_.after(kFarewell);
}

// With "probe_ms", the DNS servers are asked first.
void Agent::answer_status(const Json& request, const net::LocalServer::Reply& reply) {
  const auto patience = std::chrono::milliseconds(std::min<std::int64_t>(number_or(request, "probe_ms", 0), kProbeMost));
  if (patience.count() <= 0 || probes_.size() >= kProbesMax) return reply(status());
  const std::uint64_t number = next_number_++;
  probes_[number] = std::make_unique<cmd::DnsProbe>(
      loop_, resolver_.servers(), cmd::DnsProbe::root_servers(), false, patience,
      [this, number, reply](const std::vector<cmd::DnsHealth>& found) {
        Json answer = status();
        answer["dns"] = Json::array();
        for (const cmd::DnsHealth& h : found) answer["dns"].push_back(to_json(h));
        reply(answer);
        const auto gone = probes_.extract(number);
      });
}

// Why clients cannot use it; "" when they can.
std::string Agent::not_ready() const {
  if (stopping_) return "stopping";
  if (!controller_ || !controller_->up()) return "controller: " + (controller_ ? controller_->problem() : "not connected yet");
  const bool reachable = listener_ || std::any_of(relays_.begin(), relays_.end(), [](const auto& r) { return r.second->up(); });
  return reachable ? "" : "connected to no relay, and without --listen: no client can reach it";
}

void Agent::add_metrics(Metrics& m) const {
  const std::pair<Protocol, std::uint64_t> live[] = {
      {Protocol::tcp, traffic_.tcp}, {Protocol::udp, traffic_.udp}, {Protocol::icmp, traffic_.icmp}};
  const Recorder::Counts counts = recorder_.counts();
  std::uint64_t up = 0;
  for (const auto& [name, relay] : relays_) up += relay->up() ? 1 : 0;
  m.gauge("tg_connector_controller_connected", "Whether the controller is there.").add(controller_ && controller_->up());
  m.gauge("tg_connector_relays", "Relays, by whether it waits there.")
      .add(up, {{"state", "up"}})
      .add(std::uint64_t{relays_.size() - up}, {{"state", "down"}});
  m.gauge("tg_connector_tunnels", "Tunnels of clients.").add(std::uint64_t{tunnels_.size()});
  m.gauge("tg_connector_threads", "Threads that carry traffic; they start when there are tunnels.").add(std::uint64_t{workers_.started()});
  m.gauge("tg_connector_flows", "Flows that are open, or being opened.");
  for (const auto& [protocol, count] : live) m.add(count, {{"protocol", to_string(protocol)}});
  m.counter("tg_connector_flows_established_total", "Flows that were opened.");
  for (const auto& [protocol, none] : live) {
    const auto found = counts.established.find(protocol);
    m.add(found == counts.established.end() ? std::uint64_t{0} : found->second, {{"protocol", to_string(protocol)}});
  }
  m.counter("tg_connector_flows_denied_total", "Flows that the rules did not let through, by why.");
  for (const auto& [reason, count] : counts.denied) m.add(count, {{"reason", reason}});
  m.counter("tg_connector_flows_failed_total", "Flows that came to nothing all the same, by why.");
  for (const auto& [reason, count] : counts.failed) m.add(count, {{"reason", reason}});
  m.counter("tg_connector_bytes_total", "Payload of flows: up, to the private network, and down.")
      .add(traffic_.up, {{"direction", "up"}})
      .add(traffic_.down, {{"direction", "down"}});
}

Json Agent::status() const {
  Json relays = Json::array();
  bool reachable = static_cast<bool>(listener_);
  for (const auto& [name, relay] : relays_) {
    relays.push_back({{"relay", name}, {"connected", relay->up()}});
    reachable = reachable || relay->up();
  }
  Json servers = Json::array();
  for (const Endpoint& e : resolver_.servers()) servers.push_back({{"server", e.to_string()}});
  Json j = {{"type", "status"},
            {"role", "connector"},
            {"version", TG_VERSION},
            {"state", controller_->up() && reachable ? "online" : controller_->up() ? "unreachable" : "offline"},
            {"name", rules_.self.name},
            {"network", rules_.self.network},
            {"id", identity_.self().id},
            {"controller", {{"address", identity_.controller().to_string()}, {"connected", controller_->up()}, {"problem", controller_->problem()}}},
            {"relays", relays},
            {"direct", direct_addresses()},
            {"dns", servers},
            {"threads", workers_.started()},
            {"tunnels", tunnels_.size()},
            {"flows", traffic_.flows()},
            {"events", events_.status()}};
  if (!controller_->clock().empty()) j["clock"] = controller_->clock();
  if (const auto as_of = controller_->kept_as_of()) j["rules_as_of"] = as_of->time_since_epoch().count();
  return j;
}

}  // namespace tg::connector
