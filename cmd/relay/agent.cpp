#include "cmd/relay/agent.h"

#include "cmd/end_signals.h"
#include "core/json.h"
#include "core/ticket.h"
#include "net/log.h"

namespace tg::relay {
namespace {

constexpr Duration kFarewell = std::chrono::milliseconds(300);   // for goodbyes to leave
constexpr Duration kRenewalCheck = std::chrono::seconds(5);

}  // namespace

Agent::Agent(net::Loop& loop, const Options& options, cmd::AgentIdentity identity, std::vector<Endpoint> dns)
    : loop_(loop), options_(options), identity_(std::move(identity)), resolver_(loop, std::move(dns)) {
  renewal_ = net::Timer(loop_, [this] { renew(); });
}

Result<> Agent::start() {
  auto local = net::LocalServer::start(loop_, options_.state + "/control.sock",
                                       [this](const Json& request, const net::LocalServer::Reply& reply) {
                                         if (request["type"] == "status") return reply(status());
                                         reply(net::local_error({Errc::unsupported, "unknown request"}));
                                       });
  if (!local) return pass_on(local);
  local_ = std::move(*local);
  auto metrics = cmd::serve_metrics(
      loop_, options_.metrics,
      {"relay",
       [this](Metrics& m) {
         m.gauge("tg_relay_controller_connected", "Whether the controller is there.").add(controller_ && controller_->up());
         if (relay_) cmd::add_relay_metrics(m, *relay_);
       },
       [this] { return relay_ ? "" : "the controller has not said who this is: " + (controller_ ? controller_->problem() : "not started"); }});
  if (!metrics) return pass_on(metrics);
  metrics_ = std::move(*metrics);
  auto listener = net::tcp_listen(options_.listen);
  if (!listener) return fail(listener.error().code, listener.error().text + "; see --listen");
  listener_ = std::move(*listener);
  listening_ = net::local_endpoint(listener_.get());
  controller_ = std::make_unique<cmd::ControllerLink>(
      loop_, identity_, net::resolve_with(resolver_), [] { return Json::object(); },
      cmd::ControllerLink::Callbacks{[this] { view_changed(); }, [] {}},
      cmd::ControllerLink::KeptView{options_.state + "/view.json", [](const View&) { return kTicketLifetime; }});
  renewal_.after(kRenewalCheck);
  if (options_.follow_dns) {
    follow_dns_.emplace(loop_, resolver_.servers(), [this](std::vector<Endpoint> s) { dns_changed(std::move(s)); });
  }
  cmd::on_end(loop_, [this] { stop(); });
  return {};
}

void Agent::view_changed() {
  const auto item = controller_->view().find("self");
  if (item == controller_->view().end()) {
    if (relay_) net::log(net::Level::warning, "no relay any more: every connection ends");
    relay_.reset();
    self_ = {};
    return;
  }
  auto self = relay_self_from_json(item->second);
  if (!self) return net::log(net::Level::error, "the controller sent nonsense: {}", self.error().text);
  if (auto serving = serve(*self); !serving) net::log(net::Level::error, "{}", serving.error().text);
}

Result<> Agent::serve(const RelaySelf& self) {
  self_ = self;
  if (relay_) {
    relay_->set_ticket_key(self.ticket_key);
    return {};
  }
  if (!listener_) {   // let in again
    auto again = net::tcp_listen(listening_);
    if (!again) return pass_on(again);
    listener_ = std::move(*again);
  }
  auto context = identity_.server_context(net::kAlpnRelay);
  if (!context) return pass_on(context);
  context_until_ = identity_.renewal_due();
  relay_ = std::make_unique<net::Relay>(loop_, std::move(listener_), *context, self.ticket_key, self.issuer, options_.threads);
  net::log(net::Level::info, "relay {}: serving at {}, which agents reach as {}", self.name, listening_.to_string(),
           self.address);
  return {};
}

void Agent::renew() {
  renewal_.after(kRenewalCheck);
  if (!relay_ && !self_.id.empty()) view_changed();   // its port was taken when it was let in again
  if (!relay_ || context_until_ == identity_.renewal_due()) return;
  auto context = identity_.server_context(net::kAlpnRelay);
  if (!context) return net::log(net::Level::error, "certificate: {}", context.error().text);
  relay_->set_context(*context);
  context_until_ = identity_.renewal_due();
}

void Agent::dns_changed(std::vector<Endpoint> servers) {
  net::log(net::Level::info, "the system's DNS servers have changed: {}", cmd::servers_text(servers));
  resolver_.set_servers(std::move(servers));
  if (!stopping_ && !controller_->up()) controller_->check_now();
}

void Agent::stop() {
  if (stopping_) return loop_.stop();   // asked twice
  stopping_ = true;
  net::log(net::Level::info, "stopping");
  if (relay_) relay_->goodbye();
  controller_->close();
  farewell_ = net::Timer(loop_, [this] { loop_.stop(); });
  farewell_.after(kFarewell);
}

Json Agent::status() const {
  Json j = {{"type", "status"},
            {"role", "relay"},
            {"version", TG_VERSION},
            {"state", relay_ ? "online" : "offline"},
            {"name", self_.name},
            {"id", identity_.self().id},
            {"listen", listening_.to_string()},
            {"address", self_.address},
            {"controller", {{"address", identity_.controller().to_string()}, {"connected", controller_->up()},
                            {"problem", controller_->problem()}}},
            {"connectors", relay_ ? relay_->connectors() : 0},
            {"joined", relay_ ? relay_->joined() : 0}};
  if (!controller_->clock().empty()) j["clock"] = controller_->clock();
  if (const auto as_of = controller_->kept_as_of()) j["rules_as_of"] = as_of->time_since_epoch().count();
  return j;
}

}  // namespace tg::relay
