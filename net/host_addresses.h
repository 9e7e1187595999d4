// This host's own addresses.
#pragma once

#include <vector>

#include "core/ip.h"

namespace tg::net {

// host_addresses returns every address of every interface that is up, sorted, loopback included.
std::vector<IpAddress> host_addresses();

}  // namespace tg::net
