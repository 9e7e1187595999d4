// Reaching a peer by name: resolve, then try its addresses.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/ip.h"
#include "core/result.h"
#include "net/loop.h"
#include "net/socket.h"

namespace tg::net {

// ResolveHost finds the addresses of a name. The callback is called once, now or later.
using Addresses = std::vector<IpAddress>;
using ResolveHost = std::function<void(const std::string& name, std::function<void(Result<Addresses>)>)>;

// Dial connects by TCP to a host. Addresses are started 250 ms apart, or at once when the one before has failed (RFC 8305
// section 5), and the first that stands wins. Destroying it cancels.
class Dial {
 public:
  // `done` is called once, from the Loop. Errors: of the last attempt; timed_out after `timeout`; not_found for a name
  // without an address. `done` may destroy the Dial.
  Dial(Loop& loop, HostPort to, ResolveHost resolve, Duration timeout, std::function<void(Result<Fd>)> done);
  ~Dial();
  Dial(const Dial&) = delete;
  Dial& operator=(const Dial&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tg::net
