// A desired state on its way from the command to the running controller.
#pragma once

#include "core/desired_state.h"
#include "core/json_fwd.h"

namespace tg::controller {

Json to_json(const DesiredState& state);
// desired_from_json checks every field as the file's reader does. Errors: malformed.
Result<DesiredState> desired_from_json(const Json& j);

// ports_from_json reads "all", "none" or a list such as ["22", "8000-8100"]. Errors: malformed.
Result<Ports> ports_from_json(const Json& j);

Json to_json(const Change& c);
// A change's verb is "create", "update" or "remove".
Result<Change> change_from_json(const Json& j);

}  // namespace tg::controller
