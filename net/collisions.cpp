#include "net/collisions.h"

#include <algorithm>

#include <fmt/format.h>

namespace tg::net {

std::vector<std::string> collisions(std::span<const Cidr> ranges, std::span<const Route> routes,
                                    std::span<const LinkAddress> addresses, std::span<const Link> links,
                                    std::uint32_t own_table, int own_index) {
  const auto name_of = [&](int index) {
    const auto l = std::find_if(links.begin(), links.end(), [&](const Link& x) { return x.index == index; });
    return l == links.end() ? fmt::format("interface {}", index) : l->name;
  };
  const auto counts = [&](const Route& r) {
    return r.kind == Route::Kind::unicast && r.to.prefix() >= kDefaultLike && r.table != own_table &&
           (own_index == 0 || r.index != own_index);
  };
  std::vector<std::string> out;
  const auto tell = [&](std::string text) {
    if (std::find(out.begin(), out.end(), text) == out.end()) out.push_back(std::move(text));
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

Result<std::vector<std::string>> host_collisions(std::span<const Cidr> ranges, std::uint32_t own_table, int own_index) {
  auto netlink = Netlink::open();
  if (!netlink) return pass_on(netlink);
  const auto routes = netlink->routes();
  const auto addresses = netlink->addresses();
  const auto links = netlink->links();
  if (!routes || !addresses || !links) return fail(Errc::io, "the routes of this machine cannot be read");
  return collisions(ranges, *routes, *addresses, *links, own_table, own_index);
}

}  // namespace tg::net
