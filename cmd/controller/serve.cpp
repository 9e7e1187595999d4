#include "cmd/controller/serve.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cmd/command.h"
#include "cmd/end_signals.h"
#include "cmd/controller/admin_api.h"
#include "cmd/system_dns.h"
#include "core/duration.h"
#include "core/json.h"
#include "core/text.h"
#include "net/files.h"
#include "net/log.h"
#include "net/tunnel_link.h"

namespace tg::controller {
namespace {

constexpr Duration kLongestUpkeep = std::chrono::seconds(60);
constexpr std::chrono::seconds kShortestLife(10);   // of a certificate
constexpr std::size_t kStranger = 16 * 1024;       // bytes of a connection that has not shown who it is
constexpr std::size_t kStrangersLeast = 4096, kStrangersMost = 65536;

constexpr Duration kLeavingStep = std::chrono::milliseconds(20);
constexpr int kLeavingSteps = 100;
constexpr std::string_view kNoRelay = "none";
constexpr std::chrono::hours kOnceKept(24);        // how long a change with an Idempotency-Key is remembered

// All agents may come back at once, and whoever is in the middle of his handshake must not have to leave for the others.
std::size_t room_for_strangers() {
  return std::clamp(std::min<std::size_t>(net::memory() / 16 / kStranger, net::descriptors() / 2), kStrangersLeast, kStrangersMost);
}

void announce(const std::string& line) {
  if (net::log_format() == net::LogFormat::json) return net::log_line(net::Level::info, line);
  std::fputs((line + "\n").c_str(), stderr);
}

// own_address returns this machine's address on the way to everywhere else. Connecting a datagram socket sends nothing;
// the address is of RFC 5737, which nobody has.
std::string own_address() {
  const auto fd = net::udp_connect({Ipv4{0xC6336401}, 9});   // 198.51.100.1
  if (!fd) return "127.0.0.1";
  return net::local_endpoint(fd->get()).address.to_string();
}

Result<HostPort> advertised(const char* option, const std::string& given, const std::string& host, std::uint16_t port) {
  if (given.empty()) return HostPort{host, port};
  auto out = HostPort::parse(given, port);
  if (!out) return fail(Errc::invalid_argument, fmt::format("{}: {}", option, out.error().text));
  return out;
}

Result<Lifetimes> lifetimes_of(const ServeOptions& options) {
  Lifetimes out;
  for (const auto& [name, text, into] : {std::tuple{"--certificate-lifetime", &options.certificate_lifetime, &out.leaf},
                                         std::tuple{"--ca-lifetime", &options.ca_lifetime, &out.issuing}}) {
    if (text->empty()) continue;
    auto read = parse_duration(*text);
    if (!read) return fail(read.error().code, fmt::format("{}: {}", name, read.error().text));
    *into = *read;
  }
  if (out.leaf < kShortestLife) {
    return fail(Errc::invalid_argument, fmt::format("--certificate-lifetime {}: is too short: {} is the least", options.certificate_lifetime,
                                                    to_string(kShortestLife)));
  }
  if (out.issuing >= 2 * out.leaf) return out;
  return fail(Errc::invalid_argument, fmt::format("--ca-lifetime must be at least twice --certificate-lifetime, {}", to_string(2 * out.leaf)));
}

// A longer grace makes no sense: without the controller, agents' certificates may end after half of their life.
Result<std::chrono::seconds> grace_of(const ServeOptions& options, std::chrono::seconds most) {
  if (options.grace.empty()) return options.control.grace;
  auto grace = parse_duration(options.grace);
  if (!grace) return fail(grace.error().code, "--grace: " + grace.error().text);
  if (*grace > most) {
    return fail(Errc::invalid_argument,
                fmt::format("--grace {}: at most {}, since without the controller agents' certificates may end then",
                            options.grace, to_string(most)));
  }
  return grace;
}

constexpr std::chrono::seconds kShortestSession(10);

Result<std::chrono::seconds> password_session_of(const ServeOptions& options) {
  if (options.password_session.empty()) return options.control.password_session;
  auto session = parse_duration(options.password_session);
  if (!session) return fail(session.error().code, "--password-session: " + session.error().text);
  if (*session < kShortestSession) {
    return fail(Errc::invalid_argument, fmt::format("--password-session {}: is too short: {} is the least", options.password_session,
                                                    to_string(kShortestSession)));
  }
  return session;
}

Result<EventsSettings> events_of(const ServeOptions& options) {
  EventsSettings out;
  out.bytes = std::uint64_t{options.events_max} << 20;
  if (options.events_keep.empty()) return out;
  auto keep = parse_duration(options.events_keep);
  if (!keep) return fail(keep.error().code, "--events-keep: " + keep.error().text);
  if (keep->count() == 0) return fail(Errc::invalid_argument, "--events-keep 0s: nothing would be kept; 1s is the least");
  out.keep = *keep;
  return out;
}

Result<net::Fd> listen_at(const char* option, const std::string& text, std::uint16_t port) {
  const auto at = Endpoint::parse(text, port);
  if (!at) return fail(Errc::invalid_argument, fmt::format("{}: {}", option, at.error().text));
  auto fd = net::tcp_listen(*at);
  if (!fd) return fail(fd.error().code, fmt::format("{}; see {}", fd.error().text, option));
  return fd;
}

}  // namespace

Controller::Controller(net::Loop& loop, ServeOptions options, StateDir dir, Vault vault, Store store, Secrets secrets)
    : loop_(loop), options_(std::move(options)), dir_(std::move(dir)), vault_(std::move(vault)),
      store_(std::move(store)), secrets_(std::move(secrets)), web_roots_(options_.ca_bundle), relay_id_(random_id()), started_(net::Loop::wall()) {}

Controller::~Controller() = default;

Result<std::unique_ptr<Controller>> Controller::start(net::Loop& loop, ServeOptions options) {
  if (options.max_devices == 0) return fail(Errc::invalid_argument, "--max-devices 0: 1 is the least");
  auto dir = StateDir::open(options.state);
  if (!dir) return pass_on(dir);
  auto store = Store::open(dir->database());
  if (!store) return pass_on(store);
  auto known = has_secrets(*store);
  if (!known) return pass_on(known);
  auto vault = Vault::open(dir->master_key(), !*known);
  if (!vault) return pass_on(vault);
  auto lifetimes = lifetimes_of(options);
  if (!lifetimes) return pass_on(lifetimes);
  auto secrets = load_secrets(*store, *vault, net::Loop::wall(), Loading::make, *lifetimes);
  if (!secrets) return pass_on(secrets);
  // A log that was altered is said and does not stop the controller: people need their access.
  auto signing = begin_audit(*store, *vault, *secrets);
  if (!signing && signing.error().code != Errc::failed) return pass_on(signing);
  if (!signing) announce("tg: warning: " + signing.error().text);
  std::unique_ptr<Controller> out(
      new Controller(loop, std::move(options), std::move(*dir), std::move(*vault), std::move(*store),
                     std::move(*secrets)));
  if (auto opened = out->open_streams(); !opened) return pass_on(opened);
  if (auto opened = out->open_metrics(); !opened) return pass_on(opened);
  if (auto opened = out->open_api(); !opened) return pass_on(opened);
  Controller* self = out.get();
  out->upkeep_ = net::Timer(loop, [self] {
    self->upkeep_.after(self->upkeep_every());
    self->renew_certificates(net::Loop::wall());
  });
  out->upkeep_.after(out->upkeep_every());
  return out;
}

Result<net::TlsContext> Controller::control_context(UnixTime now) {
  auto own = secrets_.pki.own("controller", kControllerId, now);
  if (!own) return pass_on(own);
  return net::TlsContext::server(*own, net::kAlpnControl, false);
}

Result<net::TlsContext> Controller::relay_context(UnixTime now) {
  auto own = secrets_.pki.own("relay", relay_id_, now);
  if (!own) return pass_on(own);
  return net::TlsContext::server(*own, net::kAlpnRelay, true);
}

Result<> Controller::open_streams() {
  auto events = events_of(options_);
  if (!events) return pass_on(events);
  events_ = std::make_unique<Events>(loop_, dir_.events(), *events, [this]() -> const Model& { return control_->model(); },
                                     [this](const std::string& id, const Json& m) { control_->tell_connector(id, m); });
  auto listener = listen_at("--listen", options_.listen, kControlPort);
  if (!listener) return pass_on(listener);
  listening_ = net::local_endpoint(listener->get());
  const bool everywhere = listening_.address == IpAddress() || listening_.address == IpAddress::v6({});
  const std::string host = everywhere ? own_address() : listening_.address.to_string();
  auto found = advertised("--public", options_.public_address, host, listening_.port);
  if (!found) return pass_on(found);
  public_ = std::move(*found);

  const UnixTime now = net::Loop::wall();
  auto context = control_context(now);
  if (!context) return pass_on(context);
  certificates_made_ = now;
  auto grace = grace_of(options_, secrets_.pki.lifetimes().leaf / 2);
  if (!grace) return pass_on(grace);
  ControlSettings settings = options_.control;
  if (settings.strangers == 0) settings.strangers = room_for_strangers();
  settings.grace = *grace;
  auto password_session = password_session_of(options_);
  if (!password_session) return pass_on(password_session);
  settings.password_session = *password_session;
  store_.limit_devices(options_.max_devices);
  if (options_.relay_listen != kNoRelay) {
    if (auto opened = open_relay(now); !opened) return opened;
    settings.relay = relay_public_.to_string();
  }
  control_ = std::make_unique<ControlServer>(loop_, std::move(*listener), store_, secrets_.pki, secrets_.keys, *context,
                                             settings);
  control_->let_sign_in(sign_in_means());
  control_->take_events([this](const std::string& id, const Json& m) { return events_->take(id, m); });
  return {};
}

SignInMeans Controller::sign_in_means() {
  const auto unseal = [this](std::string_view name, Bytes sealed) { return vault_.unseal(name, sealed); };
  // Each has a resolver of its own, for the servers that this machine has by then.
  return {unseal, [this] { return web_roots_.context(); }, [this] { return cmd::resolver_for(cmd::system_dns())(loop_); }};
}

Result<> Controller::open_relay(UnixTime now) {
  auto listener = listen_at("--relay-listen", options_.relay_listen, kRelayPort);
  if (!listener) return pass_on(listener);
  relay_listening_ = net::local_endpoint(listener->get());
  auto found = advertised("--relay-public", options_.relay_public, public_.host, relay_listening_.port);
  if (!found) return pass_on(found);
  relay_public_ = std::move(*found);
  auto context = relay_context(now);
  if (!context) return pass_on(context);
  relay_ = std::make_unique<net::Relay>(loop_, std::move(*listener), *context,
                                        relay_ticket_key(secrets_.keys.ticket_key, kEmbeddedRelay), instance(), options_.threads);
  return {};
}

// api_context reads the certificate for browsers anew, or makes one.
Result<net::TlsContext> Controller::api_context(UnixTime now) {
  auto own = secrets_.pki.own("controller", kControllerId, now, {api_public_->host});
  if (!own) return pass_on(own);
  if (options_.api_certificate.empty()) return net::TlsContext::web_server(*own);
  net::Credentials shown;
  for (const auto& [option, path, into] : {std::tuple{"--api-certificate", &options_.api_certificate, &shown.chain},
                                           std::tuple{"--api-key", &options_.api_key, &shown.key}}) {
    auto text = net::read_file(*path);
    if (!text) return fail(text.error().code, fmt::format("{}: {}", option, text.error().text));
    *into = std::move(*text);
  }
  auto out = net::TlsContext::web_server(*own, shown);
  if (!out) return fail(out.error().code, fmt::format("--api-certificate {}: {}", options_.api_certificate, out.error().text));
  api_shown_ = std::move(shown);
  return out;
}

Result<> Controller::open_api() {
  if (options_.api.empty() && !(options_.api_public + options_.api_certificate + options_.api_key).empty()) {
    return fail(Errc::invalid_argument, "--api-public, --api-certificate and --api-key announce nothing without --api");
  }
  if (options_.api_certificate.empty() != options_.api_key.empty()) {
    return fail(Errc::invalid_argument, "--api-certificate and --api-key go together");
  }
  net::Fd listener;
  if (!options_.api.empty()) {
    auto opened = listen_at("--api", options_.api, kApiPort);
    if (!opened) return pass_on(opened);
    listener = std::move(*opened);
    api_listening_ = net::local_endpoint(listener.get());
    auto found = advertised("--api-public", options_.api_public, public_.host, api_listening_.port);
    if (!found) return pass_on(found);
    api_public_ = std::move(*found);
  }
  AdminApi admin{store_, secrets_.pki, vault_, public_, [this] { return control_->online(); }, [this] { control_->changed(); },
                 [this] { return about(); }, [this](const Json& request) { return events_->query(request); }, api_public_};
  api_ = std::make_unique<ApiServer>(loop_, store_, Api(std::move(admin), store_, vault_), [this](const Json& question) { return news_for(question); });
  if (auto local = api_->serve_local(dir_.socket()); !local) return local;
  if (!listener) return {};
  auto context = api_context(net::Loop::wall());
  if (!context) return pass_on(context);
  api_made_ = net::Loop::wall();
  api_->serve_web(std::move(listener), *context, {secrets_.pki.files().root, *api_public_, !options_.api_certificate.empty(),
                                                  {sign_in_means(), [this] { control_->changed(); }}});
  return {};
}

// news_for says whether there is something to answer: also to whoever asks for nothing that may come later.
bool Controller::news_for(const Json& question) const {
  const std::string type = text_or(question, "type", "");
  const auto after = static_cast<std::uint64_t>(std::max<std::int64_t>(number_or(question, "after", 0), 0));
  if (type == "audit") return after < store_.audit_last();
  if (type == "events") return after < events_->last();
  return true;
}

Json Controller::about() const {
  Json relay;
  if (relay_) {
    relay = {{"listen", relay_listening_.to_string()}, {"public", relay_public_.to_string()},
             {"connectors", relay_->connectors()}, {"joined", relay_->joined()}};
  }
  return {{"version", TG_VERSION},
          {"process", ::getpid()},
          {"state", dir_.path()},
          {"started", started_.time_since_epoch().count()},
          {"listen", listening_.to_string()},
          {"public", public_.to_string()},
          {"relay", relay},
          {"api", api_public_ ? Json{{"listen", api_listening_.to_string()}, {"public", api_public_->to_string()}} : Json()},
          {"events", events_->status()}};
}

Result<> Controller::open_metrics() {
  auto made = cmd::serve_metrics(loop_, options_.metrics, {"controller", [this](Metrics& m) { add_metrics(m); }, [this] {
                                                             return store_.broken() ? store_.broken()->text : std::string();
                                                           }});
  if (!made) return pass_on(made);
  metrics_ = std::move(*made);
  return {};
}

void Controller::add_metrics(Metrics& m) const {
  std::map<std::string, std::uint64_t> here = {{"device", 0}, {"connector", 0}, {"relay", 0}};
  for (const OnlineAgent& a : control_->online()) ++here[a.role];
  m.gauge("tg_controller_agents_online", "Agents with a control stream.");
  for (const auto& [role, count] : here) m.add(count, {{"role", role}});
  control_->add_metrics(m);
  m.counter("tg_controller_revision_total", "Changes of what the controller knows, since its state was made.").add(store_.revision());
  m.counter("tg_controller_audit_entries_total", "Entries of the audit log.").add(store_.audit_last());
  m.gauge("tg_controller_store_writable", "Whether changes can be kept.").add(!store_.broken());
  if (api_) api_->add_metrics(m);
  if (relay_) cmd::add_relay_metrics(m, *relay_);
}

Duration Controller::upkeep_every() const {
  return std::clamp<Duration>(secrets_.pki.lifetimes().leaf / 20, std::chrono::seconds(1), kLongestUpkeep);
}

// renew_api takes a certificate for browsers as soon as it is there: whoever renews it changes the files.
void Controller::renew_api(UnixTime now) {
  if (!api_public_) return;
  const bool due = leaf_due(api_made_, now, secrets_.pki.lifetimes().leaf);
  if (!due && options_.api_certificate.empty()) return;
  if (!due) {
    const auto chain = net::read_file(options_.api_certificate);
    const auto key = net::read_file(options_.api_key);
    if (chain && key && *chain == api_shown_.chain && *key == api_shown_.key) return;
  }
  auto context = api_context(now);
  if (!context) return announce("tg: the API's certificate could not be renewed; trying again: " + printable(context.error().text));
  api_->set_context(*context);
  api_made_ = now;
}

void Controller::renew_certificates(UnixTime now) {
  renew_api(now);
  for (auto done : {store_.forget_once(now - kOnceKept), store_.end_web_sessions(now)}) {
    if (!done && !store_.broken()) announce("tg: " + printable(done.error().text));
  }
  if (!leaf_due(certificates_made_, now, secrets_.pki.lifetimes().leaf)) return;
  auto renewed = secrets_.pki.renew_issuing(now);
  if (renewed && *renewed) {
    if (auto saved = save_ca(store_, vault_, secrets_.pki); !saved) {
      announce("tg: the CA could not be saved: " + printable(saved.error().text));
    }
  }
  auto context = control_context(now);
  auto relay_tls = relay_context(now);
  if (!context || !relay_tls) {
    return announce("tg: the controller's certificates could not be renewed; trying again in a minute");
  }
  control_->set_context(*context);
  if (relay_) relay_->set_context(*relay_tls);
  certificates_made_ = now;
}

void Controller::goodbye(std::function<void()> done) {
  api_.reset();
  if (relay_) relay_->goodbye();
  control_->goodbye();
  leaving_ = net::Timer(loop_, [this, done = std::move(done), step = 0]() mutable {
    if (control_->streams() == 0 || ++step == kLeavingSteps) return done();
    leaving_.after(kLeavingStep);
  });
  leaving_.after(kLeavingStep);
}

Result<int> serve(ServeOptions options) {
  const std::string directory = options.state;
  const std::string state = options.state == ServeOptions().state ? "" : " --state " + options.state;
  cmd::begin_log(options.log);
  net::Loop loop;
  std::unique_ptr<Controller> started;
  bool leaving = false;
  cmd::on_end(loop, [&] {                    // before it listens: who has reached it may end it
    if (std::exchange(leaving, true)) return loop.stop();
    started->goodbye([&] { loop.stop(); });
  });
  auto made = Controller::start(loop, std::move(options));
  if (!made) return pass_on(made);
  started = std::move(*made);
  Controller& controller = *started;
  announce(fmt::format("tg controller {} is {}", controller.instance(), controller.fresh() ? "new, and up" : "up"));
  announce(fmt::format("  agents   {}, which they reach as {}", controller.listening().to_string(),
                  controller.public_address().to_string()));
  if (controller.has_relay()) {
    announce(fmt::format("  relay    {}, which they reach as {}", controller.relay_listening().to_string(),
                    controller.relay_address().to_string()));
  } else {
    announce("  relay    none here; see 'tg relay run --help'");
  }
  if (controller.api_address()) {
    announce(fmt::format("  API      {}, which people reach as https://{}{}/", controller.api_listening().to_string(), controller.api_address()->to_string(), kApiBase));
  }
  announce("next, in another terminal:");
  announce(fmt::format("  tg controller apply FILE.toml{}        # who may reach what", state));
  announce(fmt::format("  tg controller connector token NAME{}   # lets in a connector that FILE.toml names", state));
  if (controller.has_relay()) cmd::confine({net::Right::threads}, directory);
  else cmd::confine({}, directory);
  loop.run();
  return 0;
}

}  // namespace tg::controller
