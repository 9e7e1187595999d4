// The client's way for everything that is not a Resource: to the DNS servers that the system had before, byte for byte.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/bytes.h"
#include "core/time.h"
#include "dns/exchange.h"

namespace tg::dns {

// Forwarder passes queries on unchanged but for a fresh random id, from a socket of their own, and passes the replies back
// unchanged but for the original id. A query is known by its request, never by its id: clients with the same id do not meet.
// A server that is silent, or answers SERVFAIL, REFUSED or NOTIMP, has the next one asked, as libc would.
// Sans-I/O, see Asker. Not thread-safe.
//
// What comes back when no server's answer can:
// - FORMERR for a query of more than one question or a malformed one; nothing at all for bytes that are no query;
// - the first server's SERVFAIL (or REFUSED, NOTIMP) when all of them answered so;
// - SERVFAIL when no server answered in time, none could be reached, or max_in_flight queries are under way;
// - an empty reply with TC when more than Exchanges::kForged forged replies came: over TCP nobody can forge.
class Forwarder final : public Asker {
 public:
  static constexpr std::size_t kMaxInFlight = 512;
  struct Config {
    std::vector<Endpoint> servers;
    Duration retry_after = std::chrono::seconds(1);
    Duration total = std::chrono::milliseconds(4500);   // below the 5 s after which libc and dig give up
    std::size_t max_in_flight = kMaxInFlight;
    Random random;
  };
  using RequestId = std::uint64_t;
  struct Outcome {
    RequestId id = 0;
    Buffer reply;      // empty: drop the query
    std::optional<Endpoint> server;   // whose reply it is; nothing when it is our own
  };

  explicit Forwarder(Config config);

  // forward takes one DNS message (for TCP without its length) and sends it on over the same protocol.
  RequestId forward(Bytes query, bool tcp, Instant now);
  // cancel forgets a query. Unknown ids are ignored.
  void cancel(RequestId id);
  // set_servers also asks the new servers what the old ones have not answered, within the time that is left: see Exchanges.
  void set_servers(std::vector<Endpoint> servers) { exchanges_.set_servers(std::move(servers)); }
  std::size_t in_flight() const noexcept { return requests_.size(); }
  std::optional<Outcome> next_outcome();

  void on_datagram(Transaction t, const Endpoint& from, Bytes datagram, Instant now) override;
  void on_stream(Transaction t, Bytes bytes, Instant now) override;
  void on_failed(Transaction t, Instant now) override;
  void on_timeout(Instant now) override;
  Instant next_deadline() const override { return exchanges_.next_deadline(); }
  std::optional<Action> next_action() override { return exchanges_.next_action(); }

 private:
  struct Request {
    RequestId id = 0;
    Buffer head;       // the query's header and question: enough to make a reply
  };
  void collect();

  Config config_;
  Exchanges exchanges_;
  RequestId next_id_ = 1;
  std::unordered_map<Exchanges::Id, Request> requests_;
  std::unordered_map<RequestId, Exchanges::Id> ids_;
  std::deque<Outcome> outcomes_;
};

}  // namespace tg::dns
