// dns::Resolver with sockets and a clock: what a connector asks its private DNS with.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "core/ip.h"
#include "core/result.h"
#include "dns/resolver.h"
#include "net/dial.h"
#include "net/loop.h"

namespace tg::net {

// Resolver's callbacks come from the Loop, never from inside the call that asked, exactly once each; never after cancel() or
// the Resolver's end. A callback may ask again, and may destroy the Resolver.
class Resolver {
 public:
  using RequestId = dns::Resolver::RequestId;
  // Errors: not_found (the name does not exist, or has no address), timed_out, unreachable (no server could be asked, or
  // all of them failed), exhausted, invalid_argument (no name).
  using HostCallback = std::function<void(Result<std::vector<IpAddress>>)>;
  // `rcode`: DNS's; SERVFAIL also when nobody answered.
  using LookupCallback = std::function<void(std::uint8_t rcode, dns::Records records)>;

  // `config.servers.random` may be left empty: it is random_u32.
  Resolver(Loop& loop, dns::Resolver::Config config);
  // Asks `servers`, and is otherwise as Config has it.
  Resolver(Loop& loop, std::vector<Endpoint> servers);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // resolve_host takes a name or an address in text; an address is its own answer. Addresses are in the server's order.
  // `asker`: the device that it is for, of whose share see dns::Resolver; "" for names that tg itself needs.
  RequestId resolve_host(std::string_view name, HostCallback callback, const std::string& asker = {});
  RequestId lookup(std::string_view name, std::uint16_t type, LookupCallback callback, const std::string& asker = {});
  void cancel(RequestId id);
  // set_servers also asks the new servers what the old ones have not answered yet.
  void set_servers(std::vector<Endpoint> servers);
  const std::vector<Endpoint>& servers() const noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// resolve_with resolves names with `resolver`, which must outlive what is returned.
ResolveHost resolve_with(Resolver& resolver);

}  // namespace tg::net
