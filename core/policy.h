// The second of the two checks of a flow: the connector's own list.
#pragma once

#include <string>
#include <vector>

#include "core/grant.h"
#include "core/matcher.h"
#include "core/tunnel.h"

namespace tg {

// Policy decides on a connector whether a device that holds a (verified) grant may open a flow. It relies on nothing that
// the device says: the Resource that the device names must be the winner for that host among those that the grant covers
// and that the controller told this connector about. One that the grant withholds wins too, and lets nothing through: what a policy
// keeps shut is not reached as a part of something wider.
// No I/O, no clock. Immutable once built.
class Policy {
 public:
  Policy() = default;
  explicit Policy(std::vector<Resource> resources) : matcher_(std::move(resources)) {}

  // Decision is the code for RESET (Code::none: allowed), and what to dial.
  struct Decision {
    Code code = Code::denied;
    const Resource* resource = nullptr;   // lives as long as this Policy
    std::string host;                     // canonical name or address, an alias already replaced
  };
  Decision decide(const Grant& grant, const OpenRequest& request) const;
  // decide for a DNS question: no protocol and port to check.
  Decision decide(const Grant& grant, const Query& query) const;

  // by_id returns null for a Resource that this connector was not told of; a pointer lives as long as this Policy.
  const Resource* by_id(ResourceId id) const { return matcher_.by_id(id); }

  // names says whether a granted Resource names `ip` itself, not a network around it, and lets this flow through: then an
  // address that is otherwise forbidden may be dialled.
  bool names(const Grant& grant, const IpAddress& ip, Protocol protocol, std::uint16_t port) const;

 private:
  const Resource* winner(const Grant& grant, const Host& host) const;
  Decision decide(const Grant& grant, ResourceId claimed, const std::string& host) const;
  Matcher matcher_;
};

}  // namespace tg
