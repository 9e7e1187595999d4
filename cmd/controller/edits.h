// One entry of the desired state made, changed or taken out: what the commands `tg controller user create` and so on
// do.
#pragma once

#include <string>

#include "core/desired_state.h"
#include "core/json_fwd.h"

namespace tg::controller {

// canonical returns the name of an entry as the state has it. Errors: invalid_argument.
Result<std::string> canonical(const std::string& kind, const std::string& name);

// `kind`: network, connector, relay, user, service, group or resource. `fields` by kind: connector {network}; relay {address};
// user, service {state, role}; group {members, add, remove}; resource {network, address, alias, groups, tcp, udp, icmp}; what is
// missing keeps its value, or the usual one.
// Errors: conflict (exists already; still in use), not_found, invalid_argument.
Result<> create_entry(DesiredState& state, const std::string& kind, const std::string& name, const Json& fields);
Result<> update_entry(DesiredState& state, const std::string& kind, const std::string& name, const Json& fields);
// delete_entry takes a user or service out of its groups and a group out of its Resources; a network must be empty.
Result<> delete_entry(DesiredState& state, const std::string& kind, const std::string& name);

}  // namespace tg::controller
