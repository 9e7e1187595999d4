// The running controller: store, CA, control streams, the embedded relay and the HTTP API, wired together.
#pragma once

#include <memory>
#include <string>

#include "cmd/controller/api_server.h"
#include "cmd/controller/control_server.h"
#include "cmd/controller/events.h"
#include "cmd/controller/names.h"
#include "cmd/controller/secrets.h"
#include "cmd/controller/signing_in.h"
#include "cmd/controller/state_dir.h"
#include "cmd/log_options.h"
#include "cmd/metrics_server.h"
#include "core/ip.h"
#include "core/json.h"
#include "net/loop.h"
#include "net/relay.h"
#include "net/workers.h"

namespace tg::controller {

inline constexpr std::uint16_t kControlPort = 8443;
inline constexpr std::uint16_t kApiPort = 8445;

struct ServeOptions {
  std::string state = "/var/lib/tg/controller";
  std::string listen = "0.0.0.0:8443";
  std::string relay_listen = "0.0.0.0:8444";   // "none": no embedded relay
  std::string public_address;         // "HOST[:PORT]" at which agents find the controller; "": found out
  std::string relay_public;           // likewise the relay; "": the host of public_address
  std::string ca_bundle = WebRoots::kSystem;   // PEM: whom identity providers are believed by
  std::string password_session;       // a duration; "": that of `control`
  unsigned threads = net::processors();    // of the relay
  unsigned max_devices = Store::kDevicesMost;    // of a person
  std::string api;                    // "IP[:PORT]" of the HTTP API over TLS; "": on the unix socket alone
  std::string api_public;             // "HOST[:PORT]" at which people find it; "": the host of public_address
  std::string api_certificate;        // PEM files of a certificate that browsers know, and its key; "": one of tg's own CA
  std::string api_key;
  std::string metrics;                // "IP:PORT" of /metrics; "": nowhere
  cmd::LogOptions log;
  std::string grace;                  // a duration, at most half of a leaf's life; "": that of `control`
  std::string certificate_lifetime;   // durations; "": those of Lifetimes
  std::string ca_lifetime;
  std::string events_keep;            // a duration; "": that of EventsSettings
  unsigned events_max = 1024;         // MiB
  ControlSettings control;            // its relay is filled in
};

// Controller is up from start() until it is destroyed. The Loop must outlive it.
class Controller {
 public:
  // start makes what is missing in the state directory. Errors name the address, file or option.
  static Result<std::unique_ptr<Controller>> start(net::Loop& loop, ServeOptions options);
  ~Controller();

  // renew_certificates makes new ones of the controller's own, and a new issuing CA, when they are due. Called every
  // minute, so that a machine that slept, or whose clock was set, renews in time.
  void renew_certificates(UnixTime now);
  Duration upkeep_every() const;

  // goodbye tells every agent that the controller is about to end; done is called when they know, or after 2 s.
  void goodbye(std::function<void()> done);

  bool fresh() const noexcept { return secrets_.fresh; }
  const std::string& instance() const noexcept { return secrets_.keys.instance; }
  const HostPort& public_address() const noexcept { return public_; }
  // relay_address is meaningless without an embedded relay.
  bool has_relay() const noexcept { return relay_ != nullptr; }
  const HostPort& relay_address() const noexcept { return relay_public_; }
  Endpoint listening() const noexcept { return listening_; }
  Endpoint relay_listening() const noexcept { return relay_listening_; }
  // api_address is where people find the HTTP API over TLS, or nothing; it listens at api_listening.
  const std::optional<HostPort>& api_address() const noexcept { return api_public_; }
  Endpoint api_listening() const noexcept { return api_listening_; }
  Store& store() noexcept { return store_; }
  ControlServer& control() noexcept { return *control_; }

 private:
  Controller(net::Loop& loop, ServeOptions options, StateDir dir, Vault vault, Store store, Secrets secrets);
  Result<> open_streams();
  Result<> open_relay(UnixTime now);
  Result<> open_api();
  SignInMeans sign_in_means();
  bool news_for(const Json& question) const;
  Result<net::TlsContext> api_context(UnixTime now);
  void renew_api(UnixTime now);
  Result<net::TlsContext> control_context(UnixTime now);
  Result<net::TlsContext> relay_context(UnixTime now);
  Json about() const;
  Result<> open_metrics();
  void add_metrics(Metrics& m) const;

  net::Loop& loop_;
  ServeOptions options_;
  StateDir dir_;
  Vault vault_;
  Store store_;
  Secrets secrets_;
  WebRoots web_roots_;
  std::string relay_id_;
  UnixTime started_{};
  UnixTime certificates_made_{};
  UnixTime api_made_{};
  HostPort public_;
  HostPort relay_public_;
  Endpoint listening_;
  Endpoint relay_listening_;
  Endpoint api_listening_;
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<Events> events_;
  std::unique_ptr<net::Relay> relay_;
  std::unique_ptr<ApiServer> api_;
  std::optional<HostPort> api_public_;
  net::Credentials api_shown_;        // what was read of the files of api_certificate
  std::unique_ptr<net::HttpServer> metrics_;
  net::Timer upkeep_;
  net::Timer leaving_;
};

// serve runs a controller until a signal ends it (cmd/end_signals.h), and says on stderr where it listens and what to do next.
Result<int> serve(ServeOptions options);

}  // namespace tg::controller
