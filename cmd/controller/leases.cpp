#include "cmd/controller/leases.h"

#include <algorithm>
#include <cstdlib>

namespace tg::controller {

// One that ends with the session is as good as it can be, and is replaced by another session.
UnixTime Leases::HeldGrant::renewal() const {
  return grant.expires >= covered.until ? UnixTime::max() : grant.expires - kGrantLifetime / 2;
}

const std::string& Leases::grant(const LeaseKeys& keys, const std::string& network, const Covered& covered, Generation generation,
                                 UnixTime now) {
  HeldGrant& held = grants_[network];
  held.used = true;
  // One issued later than now is from before the clock was set back, and would be refused as coming from the future.
  const bool good = !held.jws.empty() && held.covered == covered && held.grant.generation == generation &&
                    held.grant.issued <= now && now < held.renewal();
  if (good) return held.jws;
  held.covered = covered;
  held.grant = Grant{keys.instance, user_, device_, network, covered.resources, generation, now,
                     std::min(now + kGrantLifetime, covered.until), thumbprint_, covered.ends, covered.withheld};
  held.jws = held.grant.sign(keys.grant_key);
  return held.jws;
}

const std::string& Leases::ticket(const LeaseKeys& keys, const std::string& relay, const std::string& connector,
                                  UnixTime now) {
  HeldTicket& held = tickets_[{relay, connector}];
  held.used = true;
  if (!held.label.empty() && now < held.expires - kTicketLifetime / 2) return held.label;
  held.expires = now + kTicketLifetime;
  const Ticket fresh{std::strtoull(connector.c_str(), nullptr, 16), held.expires, nonce_++};
  held.label = fresh.label(relay_ticket_key(keys.ticket_key, relay));
  return held.label;
}

bool Leases::voided(Generation generation) const {
  return std::any_of(grants_.begin(), grants_.end(), [&](const auto& one) { return one.second.grant.generation < generation; });
}

void Leases::drop_unused() {
  std::erase_if(grants_, [](const auto& one) { return !one.second.used; });
  std::erase_if(tickets_, [](const auto& one) { return !one.second.used; });
  for (auto& [network, held] : grants_) held.used = false;
  for (auto& [where, held] : tickets_) held.used = false;
}

UnixTime Leases::next_renewal() const {
  UnixTime next = UnixTime::max();
  for (const auto& [network, held] : grants_) next = std::min(next, held.renewal());
  for (const auto& [where, held] : tickets_) next = std::min(next, held.expires - kTicketLifetime / 2);
  return next;
}

}  // namespace tg::controller
