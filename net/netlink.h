// rtnetlink (rtnetlink(7)): interfaces, addresses, routes and rules of the system, read and changed without a program.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/ip.h"
#include "core/result.h"
#include "net/netlink_socket.h"

namespace tg::net {

struct Link {
  int index = 0;
  std::string name;
  std::uint32_t mtu = 0;
  std::uint32_t queue_length = 0;
  bool up = false;           // by the administrator
  bool running = false;      // and by the cable
  bool loopback = false;
  bool takes_own = false;    // see LinkChange
};

// LinkChange leaves alone what is not given.
struct LinkChange {
  std::optional<std::uint32_t> mtu;
  std::optional<std::uint32_t> queue_length;    // packets that wait for a reader of a TUN
  std::optional<bool> up;
  std::string name = {};                        // "": as it is
  bool no_ipv6 = false;                         // makes no link-local address (addrgenmode none)
  std::optional<bool> takes_own = std::nullopt; // packets from addresses of this host: accept_local, and rp_filter = 2 (loose)
};

struct LinkAddress {
  int index = 0;             // of the interface
  IpAddress address;
  int prefix = 0;
};

// The kernel's own tables and what we mark ours with (rtm_protocol; `ip route` shows "proto 172").
inline constexpr std::uint32_t kTableLocal = 255, kTableMain = 254;
inline constexpr std::uint8_t kOwnProtocol = 172;

struct Route {
  enum class Kind : std::uint8_t {
    unicast,
    local,          // to this host; also broadcast, multicast, anycast: the kernel's own
    discard,        // blackhole, unreachable, prohibit
    pass,           // throw: look in the next rule's table
  };
  Cidr to;
  std::uint32_t table = kTableMain;
  Kind kind = Kind::unicast;
  int index = 0;                        // of the interface; 0 for none
  std::optional<IpAddress> gateway;
  std::optional<Ipv4> source;           // preferred source address
  std::uint8_t protocol = kOwnProtocol;
  bool operator==(const Route&) const = default;
};

// Rule is "from all lookup TABLE", for IPv4; with a mark, "from all fwmark MARK lookup TABLE", or "not from all fwmark MARK …".
struct Rule {
  std::uint32_t priority = 0;
  std::uint32_t table = 0;
  std::uint32_t mark = 0;               // 0: no mark matters
  bool but_mark = false;                // for all packets but those with the mark
  bool operator==(const Rule&) const = default;
};

// Netlink asks the kernel and waits for its answer; errors are those of NetlinkSocket.
class Netlink {
 public:
  static Result<Netlink> open();

  Result<std::vector<Link>> links();
  Result<std::vector<LinkAddress>> addresses();           // IPv4 and IPv6
  Result<std::vector<Route>> routes();                    // of every table, IPv4
  Result<std::vector<Rule>> rules();                      // IPv4

  Result<> change_link(int index, const LinkChange& change);
  // Adding what is there already, and removing what is not, is no error.
  Result<> add_address(const LinkAddress& a);
  Result<> remove_address(const LinkAddress& a);
  Result<> add_route(const Route& r);                     // replaces one to the same network in the same table
  Result<> remove_route(const Route& r);
  Result<> add_rule(const Rule& r);
  Result<> remove_rule(const Rule& r);                    // one of them

 private:
  explicit Netlink(NetlinkSocket socket) : socket_(std::move(socket)) {}
  NetlinkSocket socket_;
};

// local_addresses returns every address that this host answers to, but for loopback's.
Result<std::vector<IpAddress>> local_addresses();

}  // namespace tg::net
