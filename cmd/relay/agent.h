// A relay of its own at work: the same net::Relay that the controller embeds, let in and told its key by the controller.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cmd/agent_identity.h"
#include "cmd/controller_link.h"
#include "cmd/metrics_server.h"
#include "cmd/system_dns.h"
#include "net/local_socket.h"
#include "net/relay.h"
#include "net/resolver.h"
#include "net/workers.h"

namespace tg::relay {

struct Options {
  std::string state;
  Endpoint listen;
  bool follow_dns = false;           // the DNS servers are those of /etc/resolv.conf, whatever it names
  std::string metrics{};             // IP:PORT; "": nowhere
  unsigned threads = net::processors();   // that pass traffic on
};

// Agent is one running relay. It serves from the moment that the controller has told it who it is (or did so in the last
// day, and is away), goes on when the controller goes away, and stops serving when it is let in no more. The Loop ends
// when a signal has asked for it (cmd::on_end) and goodbye is said.
class Agent {
 public:
  // `dns` finds the controller's address. `loop` must outlive this.
  Agent(net::Loop& loop, const Options& options, cmd::AgentIdentity identity, std::vector<Endpoint> dns);

  // start errors: conflict (the port of --listen, or the state directory's socket, is taken); denied.
  Result<> start();
  Json status() const;

 private:
  void view_changed();
  Result<> serve(const RelaySelf& self);
  void renew();
  void dns_changed(std::vector<Endpoint> servers);
  void stop();

  net::Loop& loop_;
  Options options_;
  cmd::AgentIdentity identity_;
  net::Resolver resolver_;
  std::optional<cmd::FollowDns> follow_dns_;
  std::unique_ptr<cmd::ControllerLink> controller_;
  net::Fd listener_;                       // until relay_ has it
  Endpoint listening_;
  RelaySelf self_;
  std::unique_ptr<net::Relay> relay_;      // null: the controller has not said who this is, or lets it in no more
  UnixTime context_until_{};               // the renewal that relay_'s certificate is from
  std::unique_ptr<net::LocalServer> local_;
  std::unique_ptr<net::HttpServer> metrics_;
  net::Timer renewal_, farewell_;
  bool stopping_ = false;
};

}  // namespace tg::relay
