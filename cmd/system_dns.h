// The DNS servers that this machine is configured with.
#pragma once

#include <string>
#include <vector>

#include "cmd/agent_identity.h"
#include "core/ip.h"

namespace tg::cmd {

// system_dns returns the servers of /etc/resolv.conf, without tg's own resolvers; 127.0.0.1 where it names none, as
// resolv.conf(5) says.
std::vector<Endpoint> system_dns();

// parse_dns reads "IP[:PORT]" as a person types it; empty input gives system_dns(). Errors: invalid_argument.
Result<std::vector<Endpoint>> parse_dns(const std::vector<std::string>& texts);

// resolver_for makes a resolver of its own for each Loop that asks these servers; it lives as long as what it returns.
MakeResolver resolver_for(std::vector<Endpoint> servers);

}  // namespace tg::cmd
