// Whether this host checks the way back of what it receives (rp_filter; Linux Documentation/networking/ip-sysctl.rst).
#pragma once

#include <string>

namespace tg::net {

// checks_return_paths says whether any interface but loopback and `except` is strict: what it receives is dropped
// unless the route back to the sender leaves by the same interface. The check knows neither marks nor sockets. What
// counts is the greater of conf/all's and the interface's own value, and 1 is strict.
bool checks_return_paths(const std::string& except, const std::string& proc = "/proc/sys/net/ipv4/conf");

}  // namespace tg::net
