// One connector as the client sees it: attempts over every path, the tunnel in use, and those that run dry.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cmd/agent_identity.h"
#include "cmd/client/client_tunnel.h"
#include "core/backoff.h"
#include "core/view.h"
#include "net/dial.h"

namespace tg::client {

// Peer dials a connector for ever. Direct addresses are tried at once, the relays kRelayAfter later when there are any; the
// first tunnel that stands is used, and a direct one takes over from a relayed one for new streams.
class Peer {
 public:
  static constexpr Duration kRelayAfter = std::chrono::milliseconds(150);
  // kDirectAgain is how often a direct path is looked for while the relayed one is in use.
  static constexpr Duration kDirectAgain = std::chrono::seconds(30);
  static constexpr Duration kStood = std::chrono::seconds(5);

  // `changed` is called when a tunnel came up or all attempts have failed.
  Peer(net::Loop& loop, const cmd::AgentIdentity& identity, net::ResolveHost resolve, ConnectorInfo info, std::string grant,
       std::function<void()> changed);
  ~Peer();

  void update(const ConnectorInfo& info, const std::string& grant);
  void network_changed();
  void close();

  const ConnectorInfo& info() const noexcept { return info_; }
  // active returns the tunnel for new streams, or null.
  ClientTunnel* active() const noexcept { return active_.get(); }
  // trying says that a tunnel may still come of the attempts under way.
  bool trying() const noexcept { return !attempts_.empty() || relay_due_; }
  const std::string& problem() const noexcept { return problem_; }

 private:
  struct Attempt {
    ClientTunnel::Path path;
    std::unique_ptr<net::Dial> dial;
    std::unique_ptr<ClientTunnel> tunnel;
  };

  void start();
  void try_direct();
  void try_relays();
  void attempt(ClientTunnel::Path path, std::string server_name);
  void connected(Attempt& a, net::Fd fd, const std::string& server_name);
  void won(Attempt& a);
  void failed(Attempt& a, const Error& e);
  void lost(ClientTunnel& tunnel, const Error& e);
  void again();
  void retire();
  void drop_dry();
  std::unique_ptr<Attempt> take(Attempt& a);

  net::Loop& loop_;
  const cmd::AgentIdentity& identity_;
  net::ResolveHost resolve_;
  ConnectorInfo info_;
  std::string grant_;
  std::function<void()> changed_;
  Backoff backoff_;
  std::vector<std::unique_ptr<Attempt>> attempts_;
  std::unique_ptr<ClientTunnel> active_;
  std::vector<std::unique_ptr<ClientTunnel>> dry_;   // no new streams; go when the last one has
  Instant stands_since_{};
  std::string problem_ = "not connected yet";
  net::Timer retry_, relay_, direct_again_, tidy_;
  bool relay_due_ = false;
  bool closed_ = false;
};

}  // namespace tg::client
