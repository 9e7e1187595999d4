// Networks of the host that a captured range would take away from it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "net/netlink.h"

namespace tg::net {

// Collisions are sentences, kTold of them at most, and how many more there would be.
struct Collisions {
  static constexpr std::size_t kTold = 20;
  std::vector<std::string> told;
  std::size_t more = 0;
  bool operator==(const Collisions&) const = default;
};

// collisions tells a sentence for each route and address of the host that shares an address with one of `ranges`:
// "100.96.0.0/12 overlaps the route 100.100.0.0/16 dev eth1". Routes above kDefaultLike (the default route, and the
// halves and quarters that VPNs make of it), those that lead nowhere, those in table `own_table` and what belongs to
// the interface `own_index` are no collision. An address is only told when no route of its interface tells the same.
inline constexpr int kDefaultLike = 8;    // a shorter prefix than this
Collisions collisions(std::span<const Cidr> ranges, std::span<const Route> routes, std::span<const LinkAddress> addresses,
                      std::span<const Link> links, std::uint32_t own_table, int own_index = 0);

// host_collisions looks at this host. Errors: io.
Result<Collisions> host_collisions(std::span<const Cidr> ranges, std::uint32_t own_table, int own_index = 0);

}  // namespace tg::net
