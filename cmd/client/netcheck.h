// What this network and this machine let tg do.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "cmd/client/check.h"

namespace tg::client {

struct NetcheckOptions {
  std::string state;
  std::string range = "100.96.0.0/12";
  std::chrono::seconds timeout{5};   // for each thing that is waited for
};

// netcheck looks at everything, in at most three times `timeout`. It works without a running client, and without an
// identity as far as that goes; it changes nothing.
std::vector<Check> netcheck(const NetcheckOptions& options);

// machine_checks looks at what needs no network: rights, devices, MTU, addresses that collide. `agent`: the running
// client's status, or null.
std::vector<Check> machine_checks(const NetcheckOptions& options, const Json& agent);

}  // namespace tg::client
