// What one device holds for a limited time: a grant for each Network, a ticket for each way through a relay.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/grant.h"
#include "core/ticket.h"

namespace tg::controller {

// LeaseKeys is what grants and tickets are signed with.
struct LeaseKeys {
  std::string instance;
  Ed25519Key grant_key;
  Buffer ticket_key;    // 32 bytes; each relay knows what relay_ticket_key makes of it
};

// Leases keeps the grants and tickets of one connected device, so that they change only when they must: at half-life,
// when the Resources, the generation or the end of the session differ. No clock, no randomness of its own: ticket nonces count up
// from `nonce`.
class Leases {
 public:
  // `thumbprint`: of the TLS key that the device is connected with.
  Leases(std::string user, std::string device, std::string thumbprint, std::uint64_t nonce)
      : user_(std::move(user)), device_(std::move(device)), thumbprint_(std::move(thumbprint)), nonce_(nonce) {}

  const std::string& user() const noexcept { return user_; }

  // Covered is what a grant says of Resources, as Grant has it, and by when it ends at the latest.
  struct Covered {
    std::vector<ResourceId> resources{};
    std::map<UnixTime, std::vector<ResourceId>> ends{};
    std::vector<ResourceId> withheld{};
    UnixTime until = UnixTime::max();
    bool operator==(const Covered&) const = default;
  };
  // grant returns the JWS for a Network.
  const std::string& grant(const LeaseKeys& keys, const std::string& network, const Covered& covered, Generation generation, UnixTime now);
  const std::string& ticket(const LeaseKeys& keys, const std::string& relay, const std::string& connector,
                            UnixTime now);

  // voided says whether a grant that the device holds is worth nothing any more, now that its generation is this one.
  bool voided(Generation generation) const;

  // drop_unused forgets what was not asked for since the last call: Networks and connectors that are no longer reached.
  void drop_unused();

  // next_renewal is the time at which something is at half-life; the maximum when there is nothing.
  UnixTime next_renewal() const;

 private:
  struct HeldGrant {
    Grant grant;
    Covered covered;
    UnixTime renewal() const;
    std::string jws;
    bool used = false;
  };
  struct HeldTicket {
    UnixTime expires{};
    std::string label;
    bool used = false;
  };
  std::string user_;
  std::string device_;
  std::string thumbprint_;
  std::uint64_t nonce_;
  std::map<std::string, HeldGrant> grants_;
  std::map<std::pair<std::string, std::string>, HeldTicket> tickets_;   // by relay and connector
};

}  // namespace tg::controller
