// A connector at work.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cmd/agent_identity.h"
#include "cmd/connector/event_spool.h"
#include "cmd/connector/shard.h"
#include "cmd/controller_link.h"
#include "cmd/metrics_server.h"
#include "cmd/dns_probe.h"
#include "cmd/system_dns.h"
#include "core/crowd.h"
#include "net/acceptor.h"
#include "net/local_socket.h"
#include "net/network_monitor.h"
#include "net/relay_client.h"
#include "net/workers.h"

namespace tg::connector {

struct Options {
  std::string state;
  std::optional<Endpoint> listen;    // for direct paths
  bool follow_dns = false;           // the DNS servers are those of /etc/resolv.conf, whatever it names
  EventQueue::Limits events;         // that wait for the controller
  std::string metrics{};             // IP:PORT; "": nowhere
  unsigned threads = net::processors();   // that carry traffic
};

// Agent is one running connector: the line to the controller, to the relays and a listener for direct paths on the thread of
// `loop`, and a Session for each client on that of a worker: whatever waits for the disk or reads many rules, traffic goes on. The Loop ends when a signal has asked for it (cmd::on_end) and goodbye is said.
class Agent {
 public:
  // `dns` are the servers of the private network. `loop` must outlive this.
  Agent(net::Loop& loop, const Options& options, cmd::AgentIdentity identity, std::vector<Endpoint> dns);

  // start errors: conflict (the port of --listen, or the state directory's socket, is taken); denied.
  Result<> start();
  Json status() const;
  ~Agent();

 private:
  std::string not_ready() const;
  void add_metrics(Metrics& m) const;
  void answer_status(const Json& request, const net::LocalServer::Reply& reply);
  void view_changed();
  void update_relays();
  // `way`: the relay or the source that it comes by; `path`: likewise, for the record.
  void take_client(net::Fd fd, const std::string& way, const std::string& path);
  void serve_arrivals();
  void drop_stranger(std::uint64_t number);
  void heard(std::uint64_t number, Shard::Stage stage);
  void tell_rules();
  void events_ready();
  void events_recorded();
  void keep_events();
  void watch_network(net::NetworkMonitor monitor);
  void network_changed();
  void dns_changed(std::vector<Endpoint> servers);
  std::vector<std::string> direct_addresses() const;
  void stop();

  net::Loop& loop_;
  Options options_;
  cmd::AgentIdentity identity_;
  net::Resolver resolver_;
  std::optional<cmd::FollowDns> follow_dns_;
  Rules rules_;
  DeviceQuota flows_, tunnel_quota_, kept_;
  LogLines lines_;
  Traffic traffic_;
  EventSpool events_;
  net::Timer keep_events_;
  Recorder recorder_;
  Session::Common common_;
  std::unique_ptr<cmd::ControllerLink> controller_;
  std::map<std::string, std::unique_ptr<net::RelayClient>> relays_;
  net::Acceptor listener_;
  std::optional<net::TlsContext> tunnel_context_;   // made again when the certificate is renewed
  UnixTime tunnel_context_until_{};
  struct Arrival {
    std::string path;
    net::Fd fd;
  };
  std::map<std::uint64_t, Arrival> arrivals_;       // connections that no worker has yet, by the number of their tunnel
  std::size_t beginning_ = 0;                       // that were given to a worker, and have not begun there
  std::map<std::uint64_t, std::size_t> tunnels_;    // and the worker that has each
  Crowd strangers_;                                 // those whose client has not shown who it is
  std::uint64_t next_number_ = 1;                   // of a tunnel, or a probe
  std::map<std::uint64_t, std::unique_ptr<cmd::DnsProbe>> probes_;
  std::unique_ptr<net::LocalServer> local_;
  std::unique_ptr<net::HttpServer> metrics_;
  std::optional<net::NetworkMonitor> network_;
  net::Watch network_watch_;
  net::Timer settle_, farewell_;
  bool stopping_ = false;
  net::Workers<Shard> workers_;                     // last: they end before what they use does
};

}  // namespace tg::connector
