#include "net/collisions.h"

#include <gtest/gtest.h>

namespace tg::net::collisions_test {

const std::vector<Link> kLinks{{2, "eth0"}, {3, "eth1"}, {9, "tg0"}};
Cidr net(std::string_view s) { return *Cidr::parse(s); }
Route route(std::string_view to, int index, std::uint32_t table = kTableMain) {
  Route r;
  r.to = net(to);
  r.index = index;
  r.table = table;
  return r;
}
std::vector<std::string> of(std::vector<Route> routes, std::vector<LinkAddress> addresses = {}) {
  const std::vector<Cidr> pool{net("100.96.0.0/12")};
  const Collisions found = collisions(pool, routes, addresses, kLinks, 7263, 9);
  EXPECT_EQ(found.more, 0u);
  return found.told;
}
using Lines = std::vector<std::string>;

TEST(Collisions, name_the_route_inside_the_range) {
  EXPECT_EQ(of({route("100.100.0.0/16", 3)}), Lines{"100.96.0.0/12 overlaps the route 100.100.0.0/16 dev eth1"});
}

TEST(Collisions, name_the_route_around_the_range_its_gateway_and_its_table) {
  Route r = route("100.64.0.0/10", 2, 52);
  r.gateway = Ipv4{0x64400001};
  EXPECT_EQ(of({r}), Lines{"100.96.0.0/12 overlaps the route 100.64.0.0/10 via 100.64.0.1 dev eth0 table 52"});
}

TEST(Collisions, are_not_with_default_routes_and_their_halves) {
  const std::vector<Route> routes{route("0.0.0.0/0", 2), route("0.0.0.0/1", 3), route("64.0.0.0/2", 3)};
  EXPECT_EQ(of(routes), Lines{});
  EXPECT_EQ(of({route("192.168.1.0/24", 2), route("100.95.0.0/16", 2)}), Lines{});
}

TEST(Collisions, are_not_with_ourselves_nor_with_routes_to_nowhere) {
  Route nowhere = route("100.64.0.0/10", 0);
  nowhere.kind = Route::Kind::discard;
  EXPECT_EQ(of({route("100.96.0.0/12", 9), route("100.96.0.0/12", 0, 7263), nowhere}), Lines{});
}

TEST(Collisions, name_an_address_that_no_route_tells_of) {
  const LinkAddress lone{3, Ipv4{0x64640102}, 32};
  EXPECT_EQ(of({}, {lone}), Lines{"100.96.0.0/12 overlaps the address 100.100.1.2/32 of eth1"});
  EXPECT_EQ(of({route("100.100.0.0/16", 3)}, {lone}).size(), 1u);
  EXPECT_EQ(of({}, {{9, Ipv4{0x64640102}, 32}}), Lines{});
}

TEST(Collisions, are_told_once_and_no_more_than_a_person_reads) {
  const std::vector<Cidr> pool{*Cidr::parse("100.96.0.0/12"), *Cidr::parse("100.96.0.0/12")};
  std::vector<Route> routes;
  for (std::uint32_t i = 0; i < 50'000; ++i) routes.push_back(route(Cidr(IpAddress(Ipv4{0x64600000 + 16 * i}), 28).to_string(), 3));
  routes.insert(routes.end(), routes.begin(), routes.begin() + 100);
  const Collisions found = collisions(pool, routes, {}, kLinks, 7263, 9);
  EXPECT_EQ(found.told.size(), Collisions::kTold);
  EXPECT_EQ(found.told.front(), "100.96.0.0/12 overlaps the route 100.96.0.0/28 dev eth1");
  EXPECT_EQ(found.more, 50'000 - Collisions::kTold);
}

}  // namespace tg::net::collisions_test
