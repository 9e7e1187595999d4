// Which tunnel a flow takes: connectors of a Network, direct and relayed paths, and coming back.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "cmd/agent_identity.h"
#include "cmd/client/peer.h"
#include "core/matcher.h"
#include "core/view.h"
#include "net/dial.h"

namespace tg::client {

// Tunnels keeps a tunnel to a connector of every Network that the device is told of (to kPerNetwork of them at most, by
// choose_connectors, and to those that carried flows when the View last changed), direct where that works, otherwise
// relayed; a direct path that comes up later takes over for new flows. Everything is dialled again for ever. A tunnel that
// owes an answer and is silent gets no new flows, and those that still wait there to be opened move on; its live flows
// stay until it answers or ends.
class Tunnels {
 public:
  static constexpr std::size_t kPerNetwork = 2;
  // kWait is how long a flow waits for a tunnel that is being made.
  static constexpr Duration kWait = std::chrono::seconds(8);
  // kMoves is how often a stream that no connector opens is begun anew before it is given up, on every lane of three tunnels:
  // what ends every tunnel must not do so for ever.
  static constexpr int kMoves = 3 * static_cast<int>(Lanes::kMost);

  Tunnels(net::Loop& loop, const cmd::AgentIdentity& identity, net::ResolveHost resolve);
  ~Tunnels();

  // update takes what the controller says now, and the Resources in it.
  void update(const View& view, std::shared_ptr<const Matcher> resources);

  // open begins a stream, now or within kWait, with a connector of the Network that the Resource is in by then. When none
  // can be had, user.on_end(host_unreachable) follows, and `denied` when the Resource is gone; never from inside this call.
  void open(const OpenRequest& request, Stream& user);
  // query does the same for a DNS question.
  void query(const Query& query, Stream& user);

  // network_changed makes sure that dead tunnels are found soon, and that direct paths are looked for again.
  void network_changed();
  // close says goodbye on all tunnels.
  void close();

  Json status() const;      // an array: connector, network, state, path, address, round trip, streams
  bool any_up() const;

 private:
  struct Waiter;
  using Request = std::variant<OpenRequest, Query>;

  bool begin(Peer& peer, const Request& request, Stream& user);
  void begin_or_wait(Request request, Stream& user);
  const std::string* network_of(const Request& request) const;
  Peer* best(const std::string& network);
  bool hopeless(const std::string& network) const;
  void reopen(const ClientTunnel::Pending& pending);
  void serve();
  void serve_waiters();
  void expire_waiters();

  net::Loop& loop_;
  const cmd::AgentIdentity& identity_;
  net::ResolveHost resolve_;
  std::shared_ptr<const Matcher> resources_ = std::make_shared<Matcher>();
  std::map<std::string, std::unique_ptr<Peer>> peers_;     // by connector id
  std::map<std::string, std::string> grants_;              // by network
  std::deque<std::unique_ptr<Waiter>> waiters_;
  net::Timer waiting_, serve_;
};

}  // namespace tg::client
