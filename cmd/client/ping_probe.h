// How long the way to a Resource takes, piece by piece: what `tg client ping` asks of the running client.
#pragma once

#include <map>
#include <memory>

#include "cmd/client/targets.h"
#include "cmd/client/tunnels.h"
#include "net/local_socket.h"

namespace tg::client {

// PingProbes does one probe a request: a PING to the connector and, behind it, an ICMP echo that the connector sends
// on.
//
//   {"type":"ping", "host":"nas.home.int", "timeout_ms":5000}
//   {"type":"ping", "host", "state", "text", "code", "resource", "network", "connector", "path", "address",
//    "tunnel_ms", "host_ms", "total_ms"}
//
// "state" says how far it came: no-resource, not-allowed, not-ready, no-connector, path-down, denied, unreachable, no-reply,
// reply. "code" is an Errc and "text" one sentence, unless it is reply. What was not reached is not there.
class PingProbes {
 public:
  static constexpr std::size_t kMost = 256;

  PingProbes(net::Loop& loop, const Targets& targets, Tunnels& tunnels);
  ~PingProbes();

  void probe(const Json& request, const net::LocalServer::Reply& reply);

 private:
  class Probe;

  net::Loop& loop_;
  const Targets& targets_;
  Tunnels& tunnels_;
  std::map<std::uint64_t, std::unique_ptr<Probe>> probes_;
  std::uint64_t next_ = 1;
};

// asked_host reads the host of a request; an address that stands for a name becomes that name, as for
// packets. Errors:
// invalid_argument.
Result<Host> asked_host(const std::string& text, const Targets& targets);

}  // namespace tg::client
