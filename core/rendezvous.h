// Which connectors of a Network a device uses.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tg {

// rendezvous_weight orders the connectors for one device, lowest first, and differently for each device, so that devices
// spread and none moves but those of a connector that is gone (highest random weight hashing, Thaler and Ravishankar 1998).
// Ties cannot be: it is a SHA-256, in hexadecimal.
std::string rendezvous_weight(std::string_view device, std::string_view connector);

struct Candidate {
  std::string id;
  bool usable = false;    // the controller sees it, or a tunnel to it stands: a controller that was restarted sees nobody yet
  bool busy = false;      // carries live flows of this device
};

// choose_connectors returns the ids of the `most` candidates of lowest weight, usable ones first, and after them those of
// every other that is busy: who was second choice is left by new flows, never by live ones.
std::vector<std::string> choose_connectors(std::string_view device, std::vector<Candidate> candidates, std::size_t most);

}  // namespace tg
