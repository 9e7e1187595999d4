// What the client puts into the system's network, as one thing that is put in and taken out whole. See net/SYSTEM.md.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "net/netlink.h"

namespace tg::net {

// kOwnMark is the mark (SO_MARK) of the client's own sockets: see set_socket_mark in net/socket.h. "tg" in ASCII.
inline constexpr std::uint32_t kOwnMark = 0x7467;
// kSplitMark is on packets that the packet filter of the split capture turns round: they are for this machine itself.
inline constexpr std::uint32_t kSplitMark = 0x7468;

// Routes owns the addresses on the TUN, the rule and the table of ours. The rule stands before main's, so that a more
// specific route that somebody pushes into main (DHCP option 121: "TunnelVision", CVE-2024-3661) does not win.
// The destructor takes everything out.
class Routes {
 public:
  // What it all looks like; the rule's priority must lie between 1 and 32765.
  struct Config {
    int index = 0;                                   // of the TUN
    Ipv4 address{0xAC101E01};                        // 172.16.30.1/32
    Cidr peers{Ipv4{0xAC101E00}, 29};                // 172.16.30.0/29 leads to the TUN: core/rewrite.h's peers
    std::vector<Ipv4> resolvers;                     // local too, as /32 on the TUN
    std::uint32_t mtu = 65535;
    std::uint32_t queue_length = 1000;
    std::uint32_t table = 7263;
    std::uint32_t priority = 7263;
    std::uint32_t exempt_mark = kOwnMark;            // what carries it keeps the way that it would have without us
    std::string name = "tg0";                        // of the TUN
    std::uint32_t local_table = 7262;                // of the split capture: what is captured, as "local … dev lo", for packets with
    std::uint32_t local_mark = kSplitMark;           // this mark; its rule has the same number, one before ours
  };

  // install brings the TUN up with its addresses and the rule, after taking out what a killed process left behind. When
  // it fails, nothing stays.
  static Result<Routes> install(Config config);

  // capture makes exactly `ranges` lead to the TUN, but for `except` (controller, relays, connectors), which go where
  // they would without us: exempt_mark alone does not help where the host checks return paths strictly (rp_filter = 1).
  // Ranges of IPv6 are passed over. The first error is returned after everything was tried.
  Result<> capture(const std::vector<Cidr>& ranges, const std::vector<Ipv4>& except = {});

  // turn_round has packets with local_mark come to this machine, and lets the TUN take packets from this machine's own addresses:
  // what the split capture needs (core/split.h). When it fails, nothing of that stays.
  Result<> turn_round();
  // settings_hold says whether the interface still has its name and, with turn_round(), takes this machine's own packets: nobody is
  // told when somebody changes these.
  bool settings_hold();

  // mend looks whether all of it is still there, puts back what is not, and returns in words what that was: {"the
  // rule", "3 routes"}. Errors: what could not be put back; not_found when the interface is gone.
  Result<std::vector<std::string>> mend();

  // set_index says that another interface has taken the place of the one before; mend() then sets it up.
  void set_index(int index);

  // remove takes everything out; what is gone already is no error.
  Result<> remove();

  ~Routes();
  Routes(Routes&& o) noexcept
      : netlink_(std::move(o.netlink_)), config_(std::move(o.config_)), routes_(std::move(o.routes_)),
        ranges_(std::move(o.ranges_)), except_(std::move(o.except_)), installed_(std::exchange(o.installed_, false)),
        turns_round_(o.turns_round_) {}
  Routes& operator=(Routes&&) = delete;

 private:
  Routes(Netlink netlink, Config config) : netlink_(std::move(netlink)), config_(std::move(config)) {}
  Result<> put_in();
  LinkChange link() const;
  std::vector<Rule> rules() const;
  bool settings_hold(const Link& link) const;
  std::vector<Ipv4> addresses() const;

  Netlink netlink_;
  Config config_;
  std::vector<Route> routes_;      // sorted by table and network
  std::vector<Cidr> ranges_;       // that are captured
  std::vector<Ipv4> except_;
  bool installed_ = false;
  bool turns_round_ = false;
};

// remove_left_over takes out the rules and routes of ours that a killed process left; its interface went with it.
Result<> remove_left_over(const Routes::Config& config);

}  // namespace tg::net
