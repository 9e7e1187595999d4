#include "net/collisions.h"

#include <algorithm>
#include <unordered_set>

#include <fmt/format.h>

namespace tg::net {

Collisions collisions(std::span<const Cidr> ranges, std::span<const Route> routes, std::span<const LinkAddress> addresses,
                      std::span<const Link> links, std::uint32_t own_table, int own_index) {
  const auto name_of = [&](int index) {
    const auto l = std::find_if(links.begin(), links.end(), [&](const Link& x) { return x.index == index; });
    return l == links.end() ? fmt::format("interface {}", index) : l->name;
  };
  const auto counts = [&](const Route& r) {
    return r.kind == Route::Kind::unicast && r.to.prefix() >= kDefaultLike && r.table != own_table &&
           (own_index == 0 || r.index != own_index);
  };
  Collisions out;
  std::unordered_set<std::string> known;
  const auto tell = [&](std::string text) {
    const auto [at, fresh] = known.insert(std::move(text));
    if (!fresh) return;
    if (out.told.size() < Collisions::kTold) out.told.push_back(*at);
    else ++out.more;
  };
  for (const Cidr& range : ranges) {
    for (const Route& r : routes) {
      if (!counts(r) || !r.to.overlaps(range)) continue;
      const std::string table = r.table == kTableMain ? "" : fmt::format(" table {}", r.table);
      const std::string gateway = r.gateway ? fmt::format(" via {}", r.gateway->to_string()) : "";
      const std::string device = r.index != 0 ? fmt::format(" dev {}", name_of(r.index)) : "";
      tell(fmt::format("{} overlaps the route {}{}{}{}", range.to_string(), r.to.to_string(), gateway, device, table));
    }
    for (const LinkAddress& a : addresses) {
      if (a.index == own_index || !range.contains(a.address)) continue;
      const bool told = std::any_of(routes.begin(), routes.end(), [&](const Route& r) {
        return counts(r) && r.index == a.index && r.to.contains(a.address);
      });
      if (told) continue;
      tell(fmt::format("{} overlaps the address {}/{} of {}", range.to_string(), a.address.to_string(), a.prefix,
                       name_of(a.index)));
    }
  }
  return out;
}

Result<Collisions> host_collisions(std::span<const Cidr> ranges, std::uint32_t own_table, int own_index) {
  auto netlink = Netlink::open();
  if (!netlink) return pass_on(netlink);
  const auto routes = netlink->routes();
  const auto addresses = netlink->addresses();
  const auto links = netlink->links();
  if (!routes || !addresses || !links) return fail(Errc::io, "the routes of this machine cannot be read");
  return collisions(ranges, *routes, *addresses, *links, own_table, own_index);
}

}  // namespace tg::net
