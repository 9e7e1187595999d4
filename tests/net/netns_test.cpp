// TUN and rtnetlink against the real kernel, each test in a network namespace of its own.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <fstream>
#include <functional>

#include "core/packet.h"
#include "net/network_monitor.h"
#include "net/routes.h"
#include "net/tun.h"
#include "tests/support/netns.h"

namespace tg::net::netns_test {

using tg::test::in_netns;

constexpr Ipv4 kLocal{0xAC101E01}, kFar{0x64600007}, kResolver{0x645F00FB};
Cidr net_of(std::string_view s) { return *Cidr::parse(s); }
const std::vector<Cidr> kPool{net_of("100.96.0.0/12")};

Routes::Config plan(const Tun& tun, std::uint32_t mtu = 65535) {
  Routes::Config c;
  c.index = tun.index();
  c.resolvers = {kResolver};
  c.mtu = mtu;
  return c;
}

bool wait_for(int fd, short events, int ms = 5000) {
  pollfd p{fd, events, 0};
  return poll(&p, 1, ms) == 1;
}

Fd udp_socket() { return Fd(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }
bool send_to(const Fd& fd, const Endpoint& to, std::string_view text) {
  const SockAddr at(to);
  return sendto(fd.get(), text.data(), text.size(), 0, at.raw(), at.size) == static_cast<ssize_t>(text.size());
}

// comes_out says whether a UDP datagram to `to` comes out of `tun`.
bool comes_out(Tun& tun, Ipv4 to, std::uint32_t mark = 0) {
  Buffer buffer(Tun::kPacketMax);
  VnetHeader h;
  const Fd s = udp_socket();
  EXPECT_EQ(setsockopt(s.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark), 0);
  send_to(s, {to, 9}, "x");
  for (;;) {
    const auto got = tun.read(buffer, h);      // what is sent to a TUN is there when sendto() returns
    if (!got || got->empty()) return false;
    const auto ip = parse_ipv4(*got);
    if (ip && ip->dst == to && ip->protocol == 17) return true;
  }
}

TEST(TunInNetns, errors_say_what_to_do) {
  in_netns([] {
    EXPECT_EQ(Tun::open({"a name that is too long"}).error().code, Errc::invalid_argument);
    EXPECT_EQ(Tun::open({"tg%d"}).error().code, Errc::invalid_argument);
    EXPECT_EQ(Tun::open({"lo"}).error().code, Errc::conflict);
    const auto first = Tun::open({"tg0"});
    ASSERT_TRUE(first);
    EXPECT_EQ(first->name(), "tg0");
    const auto second = Tun::open({"tg0"});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Errc::conflict);
    EXPECT_EQ(second.error().text, "the interface tg0 is in use: another tg client runs");
    ASSERT_EQ(setuid(65534), 0);
    const auto third = Tun::open({"tg1"});
    ASSERT_FALSE(third);
    EXPECT_EQ(third.error().code, Errc::denied);
    EXPECT_NE(third.error().text.find("sudo"), std::string::npos);
    EXPECT_EQ(Netlink::open()->add_rule({7263, 7263}).error().code, Errc::denied);
  });
}

TEST(TunInNetns, an_empty_one_has_nothing_to_read) {
  in_netns([] {
    auto tun = Tun::open({});
    ASSERT_TRUE(tun);
    Buffer buffer(Tun::kPacketMax);
    VnetHeader h;
    const auto got = tun->read(buffer, h);
    ASSERT_TRUE(got);
    EXPECT_TRUE(got->empty());
  });
}

TEST(RoutesInNetns, puts_in_everything_and_takes_it_out_again) {
  in_netns([] {
    auto netlink = *Netlink::open();
    const auto rules_before = *netlink.rules();
    const auto routes_before = *netlink.routes();
    const auto addresses_before = netlink.addresses()->size();
    auto tun = *Tun::open({});
    {
      auto routes = Routes::install(plan(tun));
      ASSERT_TRUE(routes) << routes.error().text;
      ASSERT_TRUE(routes->capture(kPool));
      const auto links = *netlink.links();
      const auto link = std::find_if(links.begin(), links.end(), [&](const Link& l) { return l.index == tun.index(); });
      ASSERT_NE(link, links.end());
      EXPECT_TRUE(link->up);
      EXPECT_EQ(link->mtu, 65535u);
      EXPECT_EQ(link->queue_length, 1000u);
      // 172.16.30.1 and the resolver; no IPv6 address of its own making.
      EXPECT_EQ(netlink.addresses()->size(), addresses_before + 2);
      const auto own = *local_addresses();
      EXPECT_EQ(own, (std::vector<IpAddress>{kLocal, kResolver}));
      const auto rules = *netlink.rules();
      EXPECT_EQ(std::count(rules.begin(), rules.end(), Rule{7263, 7263, kOwnMark, true}), 1);
      std::vector<std::string> ours;
      const auto all = *netlink.routes();
      for (const Route& r : all) {
        if (r.table == 7263) ours.push_back(r.to.to_string());
      }
      EXPECT_EQ(ours, (std::vector<std::string>{"100.96.0.0/12", "172.16.30.0/29"}));
      EXPECT_TRUE(comes_out(tun, kFar));
    }
    EXPECT_EQ(*netlink.rules(), rules_before);
    EXPECT_EQ(*netlink.routes(), routes_before);
    EXPECT_EQ(netlink.addresses()->size(), addresses_before);
    EXPECT_FALSE(comes_out(tun, kFar));
  });
}

TEST(RoutesInNetns, follows_the_captured_ranges) {
  in_netns([] {
    auto tun = *Tun::open({});
    auto routes = *Routes::install(plan(tun));
    const Ipv4 nas{0x0A000119}, other{0x0A80FF01};
    EXPECT_FALSE(comes_out(tun, nas));
    ASSERT_TRUE(routes.capture({net_of("10.0.1.25"), net_of("10.128.0.0/16"), net_of("fd00::/8")}));
    EXPECT_TRUE(comes_out(tun, nas));
    EXPECT_TRUE(comes_out(tun, other));
    ASSERT_TRUE(routes.capture({net_of("10.128.0.0/16")}, {other}));
    EXPECT_FALSE(comes_out(tun, nas));
    EXPECT_FALSE(comes_out(tun, other));
    EXPECT_TRUE(comes_out(tun, Ipv4{0x0A80FF02}));
    ASSERT_TRUE(routes.capture({net_of("10.128.0.0/16"), Cidr(other, 32)}));
    EXPECT_TRUE(comes_out(tun, other));
    ASSERT_TRUE(routes.capture({Cidr(other, 32)}, {other}));   // the exception wins
    EXPECT_FALSE(comes_out(tun, other));
  });
}

TEST(RoutesInNetns, mend_puts_back_what_somebody_took_out_and_says_what) {
  in_netns([] {
    using Words = std::vector<std::string>;
    auto tun = *Tun::open({});
    auto routes = *Routes::install(plan(tun));
    ASSERT_TRUE(routes.capture(kPool, {Ipv4{0x64600001}}));
    auto netlink = *Netlink::open();
    const auto all_routes = *netlink.routes();
    const auto all_rules = *netlink.rules();
    const auto all_addresses = netlink.addresses()->size();
    const auto mended = [&] {
      const auto what = routes.mend();
      EXPECT_TRUE(what) << what.error().text;
      EXPECT_EQ(*netlink.routes(), all_routes);
      EXPECT_EQ(*netlink.rules(), all_rules);
      EXPECT_EQ(netlink.addresses()->size(), all_addresses);
      EXPECT_TRUE(comes_out(tun, kFar));
      return what.value_or(Words{});
    };
    EXPECT_EQ(mended(), Words{});
    ASSERT_TRUE(netlink.remove_rule(all_rules[1]));
    EXPECT_EQ(mended(), Words{"the rule"});
    ASSERT_TRUE(remove_left_over(Routes::Config()));
    EXPECT_EQ(mended(), (Words{"3 routes", "the rule"}));
    // Routes want the address that they name as their source.
    ASSERT_TRUE(netlink.remove_address({tun.index(), kLocal, 32}));
    ASSERT_TRUE(netlink.remove_route({kPool[0], 7263, Route::Kind::unicast, tun.index()}));
    EXPECT_EQ(mended(), (Words{"the address 172.16.30.1", "a route"}));
    ASSERT_TRUE(netlink.change_link(tun.index(), {.up = false}));
    ASSERT_TRUE(netlink.change_link(tun.index(), {.up = true}));
    EXPECT_EQ(mended(), Words{"2 routes"});
    ASSERT_TRUE(netlink.change_link(tun.index(), {.mtu = 1500, .up = false}));
    EXPECT_EQ(mended(), (Words{"the interface's being up", "2 routes"}));
    EXPECT_EQ(mended(), Words{});
  });
}

TEST(RoutesInNetns, mend_sets_up_an_interface_that_took_the_place_of_another) {
  in_netns([] {
    std::optional<Tun> tun = *Tun::open({});
    auto routes = *Routes::install(plan(*tun));
    ASSERT_TRUE(routes.capture(kPool));
    tun.reset();
    EXPECT_EQ(routes.mend().error().code, Errc::not_found);
    auto other = *Tun::open({"eth1"});       // so that the next has another index
    tun = *Tun::open({});
    routes.set_index(tun->index());
    ASSERT_TRUE(routes.mend());
    EXPECT_TRUE(comes_out(*tun, kFar));
    EXPECT_EQ(*routes.mend(), std::vector<std::string>{});
  });
}

TEST(RoutesInNetns, a_more_specific_route_in_main_does_not_win) {
  in_netns([] {
    auto rogue = *Tun::open({"eth1"});
    auto netlink = *Netlink::open();
    ASSERT_TRUE(netlink.change_link(rogue.index(), {.up = true}));
    ASSERT_TRUE(netlink.add_route({net_of("100.96.0.7/32"), kTableMain, Route::Kind::unicast, rogue.index()}));
    EXPECT_TRUE(comes_out(rogue, kFar));
    auto tun = *Tun::open({});
    auto routes = *Routes::install(plan(tun));
    ASSERT_TRUE(routes.capture(kPool));
    EXPECT_FALSE(comes_out(rogue, kFar));
    EXPECT_TRUE(comes_out(tun, kFar));
  });
}

TEST(RoutesInNetns, what_carries_our_mark_goes_where_it_would_without_us) {
  in_netns([] {
    auto way_out = *Tun::open({"eth1"});
    auto netlink = *Netlink::open();
    ASSERT_TRUE(netlink.change_link(way_out.index(), {.up = true}));
    ASSERT_TRUE(netlink.add_route({net_of("0.0.0.0/0"), kTableMain, Route::Kind::unicast, way_out.index()}));
    auto tun = *Tun::open({});
    auto routes = *Routes::install(plan(tun));
    ASSERT_TRUE(routes.capture(kPool));
    EXPECT_TRUE(comes_out(tun, kFar));
    EXPECT_TRUE(comes_out(way_out, kFar, kOwnMark));
    EXPECT_FALSE(comes_out(tun, kFar, kOwnMark));
  });
}

TEST(RoutesInNetns, takes_out_what_a_killed_process_left_and_nothing_else) {
  in_netns([] {
    auto netlink = *Netlink::open();
    const int lo = netlink.links()->at(0).index;
    ASSERT_TRUE(netlink.add_rule({7000, 7263}));
    ASSERT_TRUE(netlink.add_rule({7263, 100}));
    const auto rules = *netlink.rules();
    const auto routes = *netlink.routes();
    ASSERT_TRUE(netlink.add_rule({7263, 7263}));
    ASSERT_TRUE(netlink.add_rule({7263, 7263, kOwnMark}));
    ASSERT_TRUE(netlink.add_route({kPool[0], 7263, Route::Kind::unicast, lo}));
    ASSERT_TRUE(netlink.add_route({net_of("100.96.0.9/32"), 7263, Route::Kind::pass}));
    EXPECT_NE(*netlink.rules(), rules);
    ASSERT_TRUE(remove_left_over(Routes::Config()));
    EXPECT_EQ(*netlink.rules(), rules);
    EXPECT_EQ(*netlink.routes(), routes);
    ASSERT_TRUE(remove_left_over(Routes::Config()));
  });
}

TEST(RoutesInNetns, a_failed_install_leaves_nothing) {
  in_netns([] {
    auto netlink = *Netlink::open();
    const auto before = *netlink.rules();
    auto tun = *Tun::open({});
    auto c = plan(tun);
    c.peers = net_of("224.0.0.0/29");
    c.mtu = 70000;
    const auto out = Routes::install(c);
    ASSERT_FALSE(out);
    EXPECT_NE(out.error().text.find("set up interface"), std::string::npos);
    EXPECT_EQ(*netlink.rules(), before);
    c = plan(tun);
    c.priority = 32766;
    EXPECT_EQ(Routes::install(c).error().code, Errc::invalid_argument);
    c = plan(tun);
    c.table = 254;
    EXPECT_EQ(Routes::install(c).error().code, Errc::invalid_argument);
    c = plan(tun);
    c.index = 4711;
    EXPECT_EQ(Routes::install(c).error().code, Errc::not_found);
  });
}

TEST(MonitorInNetns, tells_of_others_changes_and_not_of_ours) {
  in_netns([] {
    auto tun = *Tun::open({});
    auto monitor = *NetworkMonitor::open();
    monitor.own(tun.index(), {7263});
    EXPECT_FALSE(monitor.drain().any());
    {
      auto routes = *Routes::install(plan(tun));
      ASSERT_TRUE(routes.capture(kPool));
    }
    // The local table's entries for our addresses are on our interface too.
    const auto ours = monitor.drain();
    EXPECT_FALSE(ours.any());
    EXPECT_TRUE(ours.own);
    auto other = *Tun::open({"eth1"});
    ASSERT_TRUE(wait_for(monitor.fd(), POLLIN));
    EXPECT_TRUE(monitor.drain().links);
    auto netlink = *Netlink::open();
    ASSERT_TRUE(netlink.change_link(other.index(), {.up = true}));
    ASSERT_TRUE(netlink.add_address({other.index(), Ipv4{0xC0A80164}, 24}));
    const auto seen = monitor.drain();
    EXPECT_TRUE(seen.addresses);
    EXPECT_TRUE(seen.routes);
    EXPECT_FALSE(seen.own);
    EXPECT_FALSE(monitor.drain().any());
    ASSERT_TRUE(netlink.add_rule({7000, 100}));
    EXPECT_TRUE(monitor.drain().routes);
  });
}

TEST(MonitorInNetns, tells_of_each_thing_of_ours_that_somebody_takes_out) {
  in_netns([] {
    auto tun = *Tun::open({});
    auto routes = *Routes::install(plan(tun));
    ASSERT_TRUE(routes.capture(kPool));
    auto monitor = *NetworkMonitor::open();
    monitor.own(tun.index(), {7263});
    auto netlink = *Netlink::open();
    const auto only_ours = [&] {
      const auto c = monitor.drain();
      return c.own && !c.any();
    };
    ASSERT_TRUE(netlink.remove_rule({7263, 7263, kOwnMark}));
    EXPECT_TRUE(only_ours());
    ASSERT_TRUE(netlink.remove_route({kPool[0], 7263, Route::Kind::unicast, tun.index()}));
    EXPECT_TRUE(only_ours());
    ASSERT_TRUE(netlink.remove_address({tun.index(), kResolver, 32}));
    EXPECT_TRUE(only_ours());
    ASSERT_TRUE(netlink.change_link(tun.index(), {.up = false}));
    EXPECT_TRUE(only_ours());
    EXPECT_FALSE(monitor.drain().own);
  });
}

// A time namespace whose CLOCK_BOOTTIME is ahead is what a sleep leaves behind.
TEST(TimeAsleep, is_what_the_boot_clock_is_ahead_of_the_timers) {
  const Duration before = time_asleep();
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWTIME) != 0) _exit(77);
    {
      std::ofstream offsets("/proc/self/timens_offsets");
      offsets << "boottime 3600 0\n";
      if (!offsets.flush()) _exit(77);
    }
    const pid_t inside = fork();                  // children are in it
    if (inside == 0) {
      const Duration slept = time_asleep() - before;
      _exit(slept > std::chrono::seconds(3599) && slept < std::chrono::seconds(3601) ? 0 : 1);
    }
    int status = 0;
    waitpid(inside, &status, 0);
    _exit(WEXITSTATUS(status));
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no time namespaces here";
  EXPECT_EQ(status, 0);
}

}  // namespace tg::net::netns_test
