// The connector's own resolver: names of the private network to addresses and records, by asking its DNS servers.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/device_quota.h"
#include "core/ip.h"
#include "core/time.h"
#include "dns/cache.h"
#include "dns/exchange.h"
#include "dns/message.h"

namespace tg::dns {

// Resolver is a stub resolver (RFC 1123 section 6.1.3): recursion is the servers' business; retries, TCP, CNAME chains that
// leave a reply, and a cache are ours. How servers are asked and which replies are believed: Exchanges.
// Sans-I/O, see Asker. Not thread-safe.
class Resolver final : public Asker {
 public:
  static constexpr DeviceQuota::Limits kLookups{1024, 256};
  struct Config {
    Exchanges::Config servers;
    // For one request, everything included; from the last change of the servers on, if there is one meanwhile.
    Duration total = std::chrono::seconds(5);
    std::size_t cache_entries = 4096;
    // Different questions in flight, and those of one asker. Resolvers may share one.
    std::shared_ptr<DeviceQuota> lookups = std::make_shared<DeviceQuota>(kLookups);
  };
  using RequestId = std::uint64_t;

  // Outcome is the end of a request; each has exactly one, unless it is cancelled.
  struct Outcome {
    enum class End : std::uint8_t {
      answered,      // by a server or from the cache: rcode is NOERROR or NXDOMAIN
      failed,        // the servers could not tell, or the CNAMEs go in circles; here and below rcode is SERVFAIL
      timed_out,
      unreachable,   // no server is configured, or none could be reached
      exhausted,     // Config::lookups
    };
    RequestId id = 0;
    End end = End::answered;
    std::uint16_t rcode = kRcodeNoError;
    std::vector<IpAddress> addresses;   // resolve(): in the server's order; none: the name has no address
    Records records;                    // lookup(): TTLs are what is left of them
  };

  explicit Resolver(Config config);

  // `asker`, here and below, is whose share of Config::lookups a question takes while a server is asked. What the cache knows and
  // what joins another's lookup takes no place; nor does what is asked for nobody (""), which is tg itself.
  // resolve asks for the A records of `name` and, when it exists but has none, for AAAA.
  RequestId resolve(const Name& name, Instant now, const std::string& asker = {});
  // lookup asks for records of any type. Types that no query may have (OPT, TSIG, zone transfers…) are answered NOTIMP.
  // Requests for the same thing share one lookup.
  RequestId lookup(const Name& name, std::uint16_t type, Instant now, const std::string& asker = {});
  // cancel forgets a request. Unknown ids are ignored.
  void cancel(RequestId id);
  std::optional<Outcome> next_outcome();

  // set_servers empties the cache when the list differs, since another network's answers are not ours, and begins every
  // lookup anew, with Config::total from `now`: nobody waits for servers that are not there any more.
  void set_servers(std::vector<Endpoint> servers, Instant now);
  const std::vector<Endpoint>& servers() const noexcept { return config_.servers.servers; }
  std::size_t cached() const noexcept { return cache_.size(); }
  std::size_t in_flight() const noexcept { return lookups_.size(); }

  void on_datagram(Transaction t, const Endpoint& from, Bytes datagram, Instant now) override;
  void on_stream(Transaction t, Bytes bytes, Instant now) override;
  void on_failed(Transaction t, Instant now) override;
  void on_timeout(Instant now) override;
  Instant next_deadline() const override { return exchanges_.next_deadline(); }
  std::optional<Action> next_action() override { return exchanges_.next_action(); }

 private:
  struct Key {
    Question question;
    bool host = false;   // resolve(): A, then AAAA
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& k) const noexcept { return QuestionHash{}(k.question) * 2 + k.host; }
  };
  struct Lookup {
    Key key;
    std::vector<RequestId> waiting;
    Instant deadline = kNever;
    std::uint16_t type = 0;          // of the questions being asked now
    std::vector<Name> passed;        // names of the CNAME chain so far
    std::vector<Record> chain;       // and its records
    Exchanges::Id exchange = 0;
    std::string asker;
    DeviceQuota::Hold place;         // taken when a server is asked first
  };

  RequestId start(const Key& key, Instant now, const std::string& asker);
  bool may_ask(Lookup& l);
  void begin(Lookup& l, std::uint16_t type, Instant now);
  void ask(Lookup& l, const Name& name, Instant now);
  void take(Lookup& l, const Message& reply, const Name& asked, Instant now);
  void settle(Lookup& l, const Answer& answer, Instant now);
  void finish(Lookup& l, const Outcome& outcome);
  void collect(Instant now);

  Config config_;
  Exchanges exchanges_;
  Cache cache_;
  RequestId next_id_ = 1;
  std::unordered_map<Key, Lookup, KeyHash> lookups_;
  std::unordered_map<RequestId, Key> requests_;
  struct Asked {
    Key key;
    Name name;           // the one asked about: the key's, or a CNAME's target
  };
  std::unordered_map<Exchanges::Id, Asked> asked_;
  std::deque<Outcome> outcomes_;
};

}  // namespace tg::dns
