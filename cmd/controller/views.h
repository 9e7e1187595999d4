// What each agent is told, computed from what the controller knows. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cmd/controller/directory.h"
#include "cmd/controller/leases.h"
#include "core/view.h"

namespace tg::controller {

// Presence is which connectors have a control stream now, and where each listens ("IP:PORT", best first).
using Presence = std::map<std::string, std::vector<std::string>>;

// RelayPlace is a relay that agents may use.
struct RelayPlace {
  std::string id;         // what its ticket key is derived from
  std::string address;    // "HOST:PORT"
};
inline constexpr const char* kEmbeddedRelay = "controller";   // the id of the controller's own
// relays_in_use returns the embedded relay, when its address is not empty, and those that have been let in
// (but for one that claims the embedded one's address).
std::vector<RelayPlace> relays_in_use(const Model& model, const std::string& embedded);

// device_items renews in `leases` what has to be. A device that is not in the directory, or blocked, has an empty view; one whose
// user has to sign in knows its Resources, and is granted none; nor is it granted those whose policies are not content.
ToldView device_items(const Directory& directory, const Presence& presence, const std::vector<RelayPlace>& relays,
                        const LeaseKeys& keys, const std::string& device, Leases& leases, Judge& judge);

ToldView relay_items(const Directory& directory, const LeaseKeys& keys, const std::string& relay);

ToldView connector_items(const Directory& directory, const std::vector<RelayPlace>& relays, const LeaseKeys& keys,
                           const std::string& connector, std::chrono::seconds grace);

}  // namespace tg::controller
