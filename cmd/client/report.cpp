// What a client says of itself.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cmd/client/agent.h"
#include "core/json.h"
#include "core/text.h"

namespace tg::client {
namespace {

constexpr std::size_t kCollisions = 8;       // that are told one by one
constexpr std::size_t kToldByName = 8;      // Resources in a warning each
constexpr Duration kWantedFor = std::chrono::minutes(10);   // that one is told what an application could not use
constexpr std::uint64_t kUnanswered = 3;   // questions in a row: one may be lost

std::string state_text(const ResourceAccess& a) {
  switch (a.need) {
    case Need::nothing: return a.changes == UnixTime::max() ? "ready" : "ready until " + utc_text(a.changes);
    case Need::sign_in: return "sign-in needed";
    case Need::second_factor: return "second factor needed";
    case Need::approval: return a.asked ? "requested" : "request possible";
    case Need::hours: return a.changes == UnixTime::max() ? "closed" : "closed until " + utc_text(a.changes);
    case Need::trust: return "device not trusted";
    case Need::over: break;
  }
  return "over";
}

Json resource_json(const Resource& r, const Targets& targets) {
  const ResourceAccess& access = targets.access(r.id);
  Json j = {{"id", r.id},
            {"name", r.name},
            {"network", r.network},
            {"address", r.address.text()},
            {"protocols", r.protocols.to_string()},
            {"state", state_text(access)},
            {"need", to_string(access.need)}};
  if (access.changes != UnixTime::max()) j["changes"] = access.changes.time_since_epoch().count();
  if (!access.policy.empty()) j["policy"] = access.policy;
  if (access.need != Need::nothing) j["missing"] = targets.missing(r);
  if (!r.alias.empty()) j["alias"] = r.alias;
  if (r.address.kind() == Address::Kind::name) {
    if (const auto lent = targets.pool().find(r.address.text())) j["local"] = IpAddress(*lent).to_string();
  }
  return j;
}

// The reason in the terms of the matching rules, against the next best.
std::string why(const Resource& winner, const Resource* second) {
  if (second == nullptr) return "the only Resource that matches";
  using Kind = Address::Kind;
  const Address& a = winner.address;
  const Address& b = second->address;
  if (a.kind() == Kind::network && b.kind() == Kind::network && a.network().prefix() != b.network().prefix()) {
    return fmt::format("{} is the smaller network: it wins over {}", a.text(), b.text());
  }
  if (a.kind() != b.kind()) return fmt::format("an exact name wins over the wildcard {}", b.text());
  if (a.kind() == Kind::wildcard && a.literals() != b.literals()) {
    return fmt::format("{} has more literal characters than {}", a.text(), b.text());
  }
  return fmt::format("it is as specific as {} and was made first", second->name);
}

}  // namespace

Json Agent::status() const {
  const std::string problem = why_not();
  Json j = {{"type", "status"},
            {"role", "client"},
            {"version", TG_VERSION},
            {"state", problem.empty() ? "online" : sign_in_needed() ? "sign-in-needed" : "offline"},
            {"device", identity_.self().id},
            {"controller",
             {{"address", identity_.controller().to_string()}, {"connected", controller_ && controller_->up()}}},
            {"interface", options_.interface},
            {"range", targets_.pool().range().to_string()},
            {"resources", targets_.matcher()->resources().size()},
            {"not_ready", not_ready()},
            {"flows", {{"tcp", tcp_ ? tcp_->flows() : 0}, {"datagram", datagrams_ ? datagrams_->flows() : 0}}},
            {"tunnels", tunnels_ ? tunnels_->status() : Json::array()}};
  if (!capture_way_.empty()) j["capture"] = {{"way", capture_way_}};
  if (!why_rewrite_.empty()) j["capture"]["why"] = why_rewrite_;
  if (!problem.empty()) j["problem"] = problem;
  j["warnings"] = warnings();
  if (controller_ && !controller_->clock().empty()) j["clock"] = controller_->clock();
  if (self_) j["user"] = self_->user;
  if (const auto as_of = controller_ ? controller_->kept_as_of() : std::nullopt) j["rules_as_of"] = as_of->time_since_epoch().count();
  if (self_ && !self_->provider.empty()) {
    j["session"] = {{"provider", self_->provider}, {"until", self_->until.time_since_epoch().count()}};
  }
  if (self_ && !self_->key.empty()) j["key"] = {{"id", self_->key}, {"until", self_->until.time_since_epoch().count()}};
  if (dns_) {
    const auto& c = dns_->counts();
    j["dns"] = {{"owner", kResolvConf},
                {"queries", c.queries},
                {"answered", c.answered},
                {"asked", c.asked},
                {"forwarded", c.forwarded}};
    Json upstream = Json::array();
    for (const Endpoint& e : resolver_->servers()) upstream.push_back(e.to_string());
    j["dns"]["upstream"] = std::move(upstream);
  }
  return j;
}

// What policies end soon, and what they kept an application from: some of it by name.
void Agent::add_policy_warnings(std::vector<std::string>& out) const {
  std::vector<std::string> ending, wanted;
  for (const Resource& r : targets_.matcher()->resources()) {
    const ResourceAccess& access = targets_.access(r.id);
    const auto left = access.changes - net::Loop::wall();
    if (access.need != Need::nothing || access.changes == UnixTime::max() || left > kRemindSession || left.count() <= 0) continue;
    ending.push_back(fmt::format("{} is reached until {}, and its flows end then", printable(r.name, 64), utc_text(access.changes)));
  }
  for (const ResourceId id : targets_.wanted(net::Loop::now() - kWantedFor)) {
    const Resource* r = targets_.matcher()->by_id(id);
    if (r != nullptr) wanted.push_back(fmt::format("{} was used, and needs {}", printable(r->name, 64), targets_.missing(*r)));
  }
  for (auto* list : {&ending, &wanted}) {
    const std::size_t more = list->size() - std::min(list->size(), kToldByName);
    list->resize(list->size() - more);
    out.insert(out.end(), list->begin(), list->end());
    if (more > 0) out.push_back(fmt::format("and {} Resources more {}: see tg client resources", more, list == &ending ? "end soon" : "were used"));
  }
}

// What does not keep the client from being online, and yet is not as a person expects it.
std::vector<std::string> Agent::warnings() const {
  std::vector<std::string> out;
  if (self_) {
    if (std::string ends = reminder(*self_, net::Loop::wall()); !ends.empty()) out.push_back(std::move(ends));
  }
  if (self_ && !self_->sign_in) add_policy_warnings(out);
  if (std::string p = targets_.problem(); !p.empty()) out.push_back(std::move(p));
  const std::size_t told = std::min(collisions_.told.size(), kCollisions);
  const std::size_t more = collisions_.told.size() - told + collisions_.more;
  for (std::size_t i = 0; i < told; ++i) out.push_back(collisions_.told[i] + ": tg takes these addresses");
  if (more > 0) out.push_back(fmt::format("and {} more such networks", more));
  if (system_ == nullptr || dns_ == nullptr) return out;
  const auto unusable = system_->unusable_dns();
  if (!unusable.empty()) {
    out.push_back(fmt::format("the system names no DNS server that tg can ask, only {}: link-local addresses are none",
                              fmt::join(unusable, ", ")));
  }
  if (dns_->unanswered() >= kUnanswered) {
    out.push_back("no DNS server of the system answers: names that are no Resources get SERVFAIL");
  }
  return out;
}

void Agent::add_metrics(Metrics& m) const {
  const std::size_t all = targets_.matcher()->resources().size();
  const std::size_t shut = not_ready();
  m.gauge("tg_client_controller_connected", "Whether the controller is there.").add(controller_ && controller_->up());
  m.gauge("tg_client_resources", "Resources of this device, by whether its user may use them now.")
      .add(std::uint64_t{all - shut}, {{"state", "ready"}})
      .add(std::uint64_t{shut}, {{"state", "not_ready"}});
  if (tcp_ == nullptr || datagrams_ == nullptr || dns_ == nullptr) return;
  m.gauge("tg_client_flows", "Flows that are open.")
      .add(std::uint64_t{tcp_->flows()}, {{"kind", "tcp"}})
      .add(std::uint64_t{datagrams_->flows()}, {{"kind", "datagram"}});
  m.counter("tg_client_flows_total", "Flows that applications began.")
      .add(tcp_->counts().begun, {{"kind", "tcp"}})
      .add(datagrams_->begun(), {{"kind", "datagram"}});
  m.counter("tg_client_tcp_refused_total", "TCP flows that came to nothing, by what the application was told.");
  for (const auto& [code, count] : tcp_->counts().refused) m.add(count, {{"reason", to_string(code)}});
  std::uint64_t up = 0, down = 0;
  for (const Json& t : tunnels_->status()) ++(text_or(t, "state", "") == "up" ? up : down);
  m.gauge("tg_client_tunnels", "Connectors of this device's Networks, by whether there is a tunnel.")
      .add(up, {{"state", "up"}})
      .add(down, {{"state", "down"}});
  const auto& c = dns_->counts();
  m.counter("tg_client_dns_queries_total", "DNS questions that were asked of tg.").add(c.queries);
  m.counter("tg_client_dns_answers_total", "Where their answers came from.")
      .add(c.answered, {{"from", "tg"}})
      .add(c.asked, {{"from", "connector"}})
      .add(c.forwarded, {{"from", "system"}});
}

std::size_t Agent::not_ready() const {
  const auto& all = targets_.matcher()->resources();
  return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](const Resource& r) { return !targets_.ready(r.id); }));
}

Json Agent::resources() const {
  Json list = Json::array();
  for (const Resource& r : targets_.matcher()->resources()) {
    list.push_back(resource_json(r, targets_));
  }
  return {{"type", "resources"}, {"resources", std::move(list)}};
}

Json Agent::explain(const std::string& text, std::optional<std::uint16_t> port) const {
  auto host = parse_host(text);
  if (!host) return net::local_error(host.error());
  const AddressPool& pool = targets_.pool();
  Json j = {{"type", "explain"}, {"asked", text}};
  // An address that stands for a name is explained as the name.
  if (const auto* ip = std::get_if<IpAddress>(&*host); ip != nullptr && ip->is_v4()) {
    if (const auto name = targets_.name_at(ip->v4())) {
      j["local"] = ip->to_string();
      host = Host(std::string(*name));
    }
  }
  j["host"] = to_string(*host);
  const auto candidates = targets_.matcher()->candidates(*host);
  j["matched"] = !candidates.empty();
  if (candidates.empty()) {
    j["text"] = "no Resource matches: the system's own DNS and routes are used";
    return j;
  }
  const Resource& winner = *candidates.front();
  j["winner"] = resource_json(winner, targets_);
  j["why"] = why(winner, candidates.size() > 1 ? candidates[1] : nullptr);
  Json others = Json::array();
  for (std::size_t i = 1; i < candidates.size(); ++i) others.push_back(resource_json(*candidates[i], targets_));
  j["others"] = std::move(others);
  const auto* name = std::get_if<std::string>(&*host);
  j["target"] = name != nullptr ? target_host(winner, *name) : to_string(*host);
  if (name != nullptr && !j.contains("local")) {
    if (const auto lent = pool.find(*name)) j["local"] = IpAddress(*lent).to_string();
  }
  if (port) {
    j["port"] = *port;
    j["allowed"] = {{"tcp", winner.protocols.allow(Protocol::tcp, *port)},
                    {"udp", winner.protocols.allow(Protocol::udp, *port)}};
  } else {
    j["allowed"] = {{"icmp", winner.protocols.icmp}};
  }
  Json tunnels = Json::array();
  for (const Json& t : tunnels_->status()) {
    if (t["network"] == winner.network) tunnels.push_back(t);
  }
  j["tunnels"] = std::move(tunnels);
  return j;
}

}  // namespace tg::client
