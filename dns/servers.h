// The DNS servers that questions go to, and what was learned of each.
#pragma once

#include <vector>

#include "core/ip.h"
#include "core/time.h"

namespace tg::dns {

// Servers keeps a list of servers in the order of the configuration, and what they taught us: who is silent at the moment,
// who does not know EDNS, who does not give a name's case back. No I/O, no clock.
class Servers {
 public:
  // A server that failed to answer in time kSilences times running stands behind the others for kSilentFor.
  static constexpr int kSilences = 3;
  static constexpr Duration kSilentFor = std::chrono::seconds(30);

  explicit Servers(std::vector<Endpoint> servers) { set(std::move(servers)); }

  // set replaces the list; what was learned of servers that stay is kept. A server named twice counts once.
  void set(std::vector<Endpoint> servers);
  // order returns all servers, those that are silent behind the others.
  std::vector<Endpoint> order(Instant now) const;

  // silent and answered tell how an attempt went.
  void silent(const Endpoint& server, Instant now);
  void answered(const Endpoint& server);

  // A server without EDNS is one that called a query with it malformed (RFC 6891 section 7).
  void set_without_edns(const Endpoint& server);
  bool without_edns(const Endpoint& server) const;
  // A server that changes case returns the question in other letters than it was sent.
  void set_changes_case(const Endpoint& server);
  bool changes_case(const Endpoint& server) const;

 private:
  struct Server {
    Endpoint endpoint;
    int silences = 0;
    Instant silent_until = Instant::min();
    bool without_edns = false;
    bool changes_case = false;
  };
  Server* find(const Endpoint& server);
  const Server* find(const Endpoint& server) const;

  std::vector<Server> servers_;
};

}  // namespace tg::dns
