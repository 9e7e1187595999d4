// One connector as the client sees it: attempts over every path, the tunnel in use, and those that run dry.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cmd/agent_identity.h"
#include "cmd/client/laned_tunnel.h"
#include "core/path_plan.h"
#include "core/view.h"
#include "net/dial.h"

namespace tg::client {

// Peer dials a connector for ever, by the rules of PathPlan, and keeps its tunnels. A tunnel whose way the controller no longer
// names gets no new flows; by a relay it ends kLastWords later: whoever was taken out of service carries nothing on.
class Peer {
 public:
  static constexpr Duration kLastWords = std::chrono::seconds(5);

  struct Callbacks {
    std::function<void()> changed;                          // up() or hopeful() may be another
    // A stream that wants another tunnel.
    std::function<void(ClientTunnel::Pending)> reopen;
  };

  Peer(net::Loop& loop, const cmd::AgentIdentity& identity, net::ResolveHost resolve, ConnectorInfo info, std::string grant,
       Callbacks callbacks);
  ~Peer();

  void update(const ConnectorInfo& info, const std::string& grant);
  void network_changed();
  void close();
  // move_pending gives the pending streams of silent tunnels to Callbacks::reopen.
  void move_pending();

  const ConnectorInfo& info() const noexcept { return info_; }
  // up says whether there is a tunnel for new streams.
  bool up() const noexcept { return plan_.chosen().has_value(); }
  // open and query begin a stream on it. Errors: as Tunnel::open; unreachable when it is not up.
  Result<> open(const OpenRequest& request, Stream& user);
  Result<> query(const Query& query, Stream& user);
  // hopeful says that there is a tunnel, or that one may still come of what is under way.
  bool hopeful() const noexcept { return plan_.hopeful(); }
  // streams counts what lives on its tunnels, whichever they are.
  std::size_t streams() const;
  Json status() const;

 private:
  struct Attempt {
    ClientTunnel::Path path;
    std::optional<PathPlan::Name> of;        // the tunnel that it would be a lane of; none: it would be a tunnel itself
    std::unique_ptr<net::Dial> dial;
    std::unique_ptr<ClientTunnel> tunnel;
  };
  struct Standing {
    PathPlan::Name name;
    std::unique_ptr<LanedTunnel> tunnel;
    Instant silent_since = kNever;
    Instant ends = kNever;                   // at the latest: its relay is out of service
  };

  void drive();
  void dial(PathPlan::Kind kind);
  void mind_lanes();
  void look_later();
  void attempt(ClientTunnel::Path path, std::optional<PathPlan::Name> of);
  std::string server_name(const ClientTunnel::Path& path) const;
  void connected(Attempt& a, net::Fd fd);
  void won(Attempt& a);
  void failed(Attempt& a, const Error& e);
  LanedTunnel::Callbacks callbacks_of(PathPlan::Name name);
  void judge(PathPlan::Name name);
  void end(PathPlan::Name name, const Error& e);
  void leave_lost_ways();
  void end_overdue();
  void tidy();
  Standing* find(PathPlan::Name name) noexcept;
  Standing* chosen() noexcept;
  std::unique_ptr<Attempt> take(Attempt& a);

  net::Loop& loop_;
  const cmd::AgentIdentity& identity_;
  net::ResolveHost resolve_;
  ConnectorInfo info_;
  std::string grant_;
  Callbacks callbacks_;
  PathPlan plan_;
  std::size_t relay_turn_ = 0;             // which relay is tried next
  std::string problem_ = "not connected yet";
  net::Timer timer_, tidy_, overdue_;
  bool closed_ = false;
  std::vector<std::unique_ptr<Attempt>> attempts_;
  std::vector<Standing> tunnels_;          // destroyed first: their streams end, which is told
};

}  // namespace tg::client
