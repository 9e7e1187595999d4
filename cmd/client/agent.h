// A client at work.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cmd/agent_identity.h"
#include "cmd/client/datagram_capture.h"
#include "cmd/client/dns_server.h"
#include "cmd/client/lease_file.h"
#include "cmd/client/ping_probe.h"
#include "cmd/client/system.h"
#include "cmd/client/targets.h"
#include "cmd/client/tcp_capture.h"
#include "cmd/client/tunnels.h"
#include "cmd/client/wishes.h"
#include "cmd/controller_link.h"
#include "cmd/metrics_server.h"
#include "cmd/system_dns.h"
#include "core/mend_pace.h"
#include "net/collisions.h"
#include "net/local_socket.h"
#include "net/network_monitor.h"
#include "net/resolver.h"

namespace tg::client {

struct Options {
  std::string state;
  std::string token;
  std::string interface = "tg0";
  std::string range = "100.96.0.0/12";
  std::string capture = kCaptureAuto;
  std::chrono::seconds timeout{20};
  std::string metrics;              // IP:PORT; "": nowhere
  bool ends_when_removed = false;   // whoever starts it again has a key with which it comes in anew
  bool ends_when_refused = false;   // by the controller, before it has arrived: somebody waits for it
};

// Agent is one running client. It comes online by itself whenever that is possible, and takes everything out of the system
// when it ends.
class Agent {
 public:
  // Arrived is called once: with "" when applications can use Resources for the first time, be it by what the controller said
  // before this was started, or with why not when only a sign-in is missing.
  using Arrived = std::function<void(const std::string& sign_in)>;
  Agent(net::Loop& loop, const Options& options, cmd::AgentIdentity identity, Cidr range, Arrived arrived);
  ~Agent();

  // start errors: conflict (a collision, another client, a port 53 in use), denied (no right to make a TUN), io.
  Result<> start();

  Json status() const;
  Json resources() const;
  Json explain(const std::string& host, std::optional<std::uint16_t> port) const;
  bool online() const;
  // why_not says why the client is not online; "" when it is.
  std::string why_not() const;
  // ended says why the client has ended by itself, as its Options allow; nothing when it was told to.
  const std::optional<Error>& ended() const noexcept { return ended_; }
  // sign_in_needed says that nothing else is missing.
  bool sign_in_needed() const;

 private:
  void add_metrics(Metrics& m) const;
  Json paths() const;
  void answer(const Json& request, const net::LocalServer::Reply& reply);
  void view_changed();
  void refused();
  void look_for_collisions();
  std::string trouble() const;
  bool goes_by_kept() const;
  std::vector<std::string> warnings() const;
  void add_policy_warnings(std::vector<std::string>& out) const;
  std::size_t not_ready() const;
  void tell_warnings();
  void read_tun();
  void check_system();
  void dns_changed(std::vector<Endpoint> servers);
  void network_changed();
  void look_for_sleep();
  void watch_tun();
  void mend();
  void mended(const Result<std::vector<std::string>>& what);
  void capture();
  std::vector<Ipv4> own_peers() const;
  void stop();

  net::Loop& loop_;
  Options options_;
  cmd::AgentIdentity identity_;
  Arrived tell_arrived_;
  Targets targets_;
  std::unique_ptr<LeaseFile> leases_;
  std::unique_ptr<net::LocalServer> local_;
  std::unique_ptr<net::HttpServer> metrics_;
  std::unique_ptr<System> system_;
  net::ResolveHost resolve_;
  std::unique_ptr<net::Resolver> resolver_;
  std::unique_ptr<Tunnels> tunnels_;
  std::unique_ptr<TcpCapture> tcp_;
  std::unique_ptr<DatagramCapture> datagrams_;
  std::unique_ptr<DnsServer> dns_;
  std::unique_ptr<PingProbes> pings_;
  Wishes wishes_;
  std::unique_ptr<cmd::ControllerLink> controller_;
  std::unique_ptr<cmd::FollowDns> follow_dns_;
  std::optional<net::NetworkMonitor> network_;
  net::Watch tun_watch_, network_watch_;
  net::Timer settle_, mend_, check_, farewell_;
  Buffer packet_;
  std::optional<DeviceSelf> self_;
  net::Collisions collisions_;
  std::optional<std::vector<Cidr>> looked_for_;               // the networks of which collisions_ tells
  std::vector<std::string> warned_;
  Duration asleep_{};
  std::string dns_problem_, interface_problem_;
  std::optional<Error> ended_;
  std::string capture_way_, why_rewrite_;
  MendPace pace_;
  bool tun_failed_ = false, interface_failed_ = false;
  std::vector<Cidr> networks_;                                // address Resources
  std::map<std::string, std::vector<IpAddress>> resolved_;    // names that tg itself connects to
  bool stopping_ = false;
};

}  // namespace tg::client
