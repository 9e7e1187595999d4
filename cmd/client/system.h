// The client's side effects on this machine, put in and taken out as one. See net/SYSTEM.md.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/ip.h"
#include "net/collisions.h"
#include "net/resolv_conf.h"
#include "net/routes.h"
#include "net/split_filter.h"
#include "net/tun.h"

namespace tg::client {

inline constexpr Ipv4 kOwnAddress{0xAC101E01};                 // 172.16.30.1
inline constexpr const char *kCaptureAuto = "auto", *kCaptureSplit = "split", *kCaptureRewrite = "rewrite";
inline constexpr const char* kResolvConf = "/etc/resolv.conf";

// System owns the interface, its addresses, the routes and rule, and the takeover of DNS. tear_down() and the destructor
// take everything out.
class System {
 public:
  struct Config {
    std::string state;
    std::string interface = "tg0";
    Cidr range;
    std::string capture = kCaptureAuto;
  };

  // Listener is where captured TCP flows are accepted, and how they get there.
  struct Listener {
    net::Fd fd;
    bool split = false;                // see core/split.h; or else core/rewrite.h
    std::string why_not;               // split, where that was wanted and is not to be had
  };

  // repair takes out what a killed client left: called before anything else, and by `tg client down`.
  static Result<> repair(const std::string& state);

  // set_up makes the interface and its routes. Errors: conflict when `range` collides with a network of this host, and the
  // text names the route; denied without the right to make a TUN.
  static Result<std::unique_ptr<System>> set_up(const Config& config);
  ~System();

  net::Tun& tun() noexcept { return tun_; }
  // listen makes the listener of captured flows, on the TUN's own address, and by split has the system hand them to it. Errors:
  // unsupported and the like where split alone is wanted.
  Result<Listener> listen();
  // capture makes the range and the address Resources lead to the TUN, and nothing else. `own`: where tg itself connects
  // to. These stay out where this host checks return paths; elsewhere the mark of our sockets is enough.
  Result<> capture(const std::vector<Cidr>& resources, const std::vector<Ipv4>& own);

  // collisions says which networks of this host share addresses with the range, tg's own addresses or `resources`. They
  // may have come after set_up().
  Result<net::Collisions> collisions(const std::vector<Cidr>& resources) const;

  // mend puts back what somebody has taken out of the interface, its addresses, the routes and the rule, and says in
  // words what that was. An interface that is gone is made anew: then tun() has another descriptor, and `new_tun` is set.
  Result<std::vector<std::string>> mend(bool& new_tun);

  // settings_hold says whether mend() has nothing to do that no news tells of.
  bool settings_hold() { return down_ || routes_.settings_hold(); }

  // take_dns puts our resolvers ahead of the system's. Called again, it looks whether somebody else has written the file, and
  // takes it again; true: dns_text() may have changed.
  Result<bool> take_dns();
  // dns_text returns resolv.conf as the system has it without us.
  Result<std::string> dns_text() const { return resolv_conf_.original(); }
  // unusable_dns returns them as the file names them when none of them can be asked: link-local ones, that is.
  std::vector<std::string> unusable_dns() const;

  void tear_down();

 private:
  System(Config config, net::Tun tun, net::Routes routes);
  Result<> split(int listener);
  Config config_;
  net::Tun tun_;
  net::Routes routes_;
  std::optional<net::SplitFilter> filter_;
  net::ResolvConfFile resolv_conf_;
  bool down_ = false;
};

}  // namespace tg::client
