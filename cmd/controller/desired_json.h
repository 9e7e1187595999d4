// A desired state on its way from the command to the running controller.
#pragma once

#include "core/desired_state.h"
#include "core/json_fwd.h"

namespace tg::controller {

// An entry as {"name":…,…}. In a state it also has the "line" of its file, when it has one.
Json to_json(const NetworkSpec& n);
Json to_json(const ConnectorSpec& c);
Json to_json(const RelaySpec& r);
Json to_json(const IdentityProviderSpec& p);
Json to_json(const PolicySpec& p);
Json to_json(const UserSpec& u);
Json to_json(const ServiceSpec& s);
Json to_json(const GroupSpec& g);
Json to_json(const ResourceSpec& r);
Json to_json(const TestSpec& t);
Json to_json(const DesiredState& state);
// desired_from_json checks every field as the file's reader does. Errors: malformed.
Result<DesiredState> desired_from_json(const Json& j);

// Claims are {PROVIDER: ["value", …], …}. Errors of the reader: malformed.
Json to_json(const std::vector<Claim>& claims);
Result<std::vector<Claim>> claims_from_json(const Json& j);

// ports_from_json reads "all", "none" or a list such as ["22", "8000-8100"]. Errors: malformed.
Result<Ports> ports_from_json(const Json& j);

// A finding is {"key":…,"text":…}, with the "line" of its entry when that has one.
Json to_json(const Problem& p);
Result<std::vector<Problem>> problems_from_json(const Json& j);

Json to_json(const Change& c);
// A change's verb is "create", "update" or "remove".
Result<Change> change_from_json(const Json& j);

}  // namespace tg::controller
