// The resolvers 100.95.0.251 to .254: DNS over UDP and TCP for this device's applications.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "cmd/client/targets.h"
#include "cmd/client/tunnels.h"
#include "dns/stub.h"
#include "net/acceptor.h"
#include "net/forwarder.h"
#include "net/udp_server.h"

namespace tg::client {

// DnsServer answers with a dns::Stub, asks connectors what only the private DNS knows, and forwards the rest. It hears only
// this device: its sockets are bound to the TUN, whose addresses are for nobody else.
class DnsServer {
 public:
  static constexpr std::size_t kConnectionsMax = 256;                      // TCP
  static constexpr Duration kConnectionIdle = std::chrono::seconds(10);    // RFC 7766 section 6.2.3
  static constexpr std::size_t kAsksMax = 1024;

  DnsServer(net::Loop& loop, Targets& targets, Tunnels& tunnels, std::vector<Endpoint> upstream);
  ~DnsServer();

  // listen serves `addresses`, which `interface` has. Called again, after the interface was made anew, it takes the place of
  // the call before. Errors: conflict when another program has port 53 there; denied; io.
  Result<> listen(const std::string& interface, const std::vector<Ipv4>& addresses);
  void resources_changed();
  void set_upstream(std::vector<Endpoint> servers);

  struct Counts {
    std::uint64_t queries = 0, answered = 0, forwarded = 0, asked = 0;
  };
  const Counts& counts() const noexcept { return counts_; }
  // unanswered counts the questions that no server answered since one last did.
  std::uint64_t unanswered() const noexcept { return unanswered_; }

  // Trace says how a query was served.
  struct Trace {
    enum class Way { dropped, answered, asked, forwarded };   // asked: a connector
    Way way = Way::dropped;
    bool connector_said = false;                              // asked, and it could say
    std::optional<Endpoint> server;                           // forwarded: whose reply it is
  };
  using Reply = std::function<void(Bytes)>;
  // serve handles one query; `reply` is called once at most, now or later. `trace`, if given, is filled by then.
  void serve(Bytes query, dns::Transport transport, const Reply& reply, std::shared_ptr<Trace> trace = {});

 private:
  class Ask;
  struct Connection;

  void accepted(net::Fd peer);
  void read(std::uint64_t number);
  void write(std::uint64_t number, Bytes message);
  void ask(Bytes query, dns::Transport transport, const tg::Query& what, Reply reply, std::shared_ptr<Trace> trace);

  net::Loop& loop_;
  Targets& targets_;
  Tunnels& tunnels_;
  dns::Stub stub_;
  net::Forwarder forwarder_;
  std::vector<net::UdpServer> sockets_;
  std::vector<net::Acceptor> listeners_;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::map<std::uint64_t, std::unique_ptr<Ask>> asks_;
  std::uint64_t next_ = 1;
  Buffer answer_;
  Counts counts_;
  std::uint64_t unanswered_ = 0;
};

}  // namespace tg::client
