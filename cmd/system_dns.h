// The DNS servers that this machine is configured with.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/agent_identity.h"
#include "core/ip.h"
#include "net/loop.h"

namespace tg::cmd {

// servers_of returns the servers that `text`, in the form of resolv.conf(5), names, without tg's own resolvers; 127.0.0.1
// where it names none, as resolv.conf(5) says.
std::vector<Endpoint> servers_of(std::string_view text);

// system_dns returns the servers_of /etc/resolv.conf.
std::vector<Endpoint> system_dns();

// servers_text names them for a person: "192.168.1.1:53, 192.168.1.2:53".
std::string servers_text(const std::vector<Endpoint>& servers);

// FollowDns looks every kEvery whether /etc/resolv.conf names other servers, as after DHCP in another network. It reads
// the file, since a watch on it would miss what is mounted over it or written behind a link. A client, whose file is its
// own, has another reader for what the system had.
class FollowDns {
 public:
  static constexpr Duration kEvery = std::chrono::seconds(2);
  // Read returns the text in the form of resolv.conf(5); "" when it cannot be read.
  using Read = std::function<std::string()>;
  // `now`: the servers in use. `changed` is called from the Loop with others; never with the same twice running. A file
  // that names none, as it is while somebody writes it, changes nothing. `read`: of something else than the file.
  FollowDns(net::Loop& loop, std::vector<Endpoint> now, std::function<void(std::vector<Endpoint>)> changed, Read read = {});
  FollowDns(const FollowDns&) = delete;
  FollowDns& operator=(const FollowDns&) = delete;
  // look looks at once: the network has changed.
  void look();

 private:
  std::vector<Endpoint> now_;
  std::function<void(std::vector<Endpoint>)> changed_;
  Read read_;
  net::Timer timer_;
};

// parse_dns reads "IP[:PORT]" as a person types it; empty input gives system_dns(). Errors: invalid_argument.
Result<std::vector<Endpoint>> parse_dns(const std::vector<std::string>& texts);

// resolver_for makes a resolver of its own for each Loop that asks these servers; it lives as long as what it returns.
MakeResolver resolver_for(std::vector<Endpoint> servers);

}  // namespace tg::cmd
