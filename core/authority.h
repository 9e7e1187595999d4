// What somebody with a role may change, and for whom he may act. Pure.
#pragma once

#include <string>

#include "core/desired_state.h"
#include "core/result.h"
#include "core/rights.h"

namespace tg {

// may_change says whether somebody with the role `by` may turn `before` into `after`. An owner may all. An admin may not change
// where people sign in, nor any role, nor remove, block or unblock an admin or owner, nor make somebody with a role. Others may
// nothing. Errors: denied, and the text names the first entry.
Result<> may_change(Role by, const DesiredState& before, const DesiredState& after);

// may_act_for says whether he may do what would let him pass for `subject` (an e-mail address or a service), or shut him out: set
// password and second factor, make tokens and keys, forget accounts, rename, end sessions. An owner may for everybody, an admin
// for members and auditors, and for whom `state` does not know. Errors: denied.
Result<> may_act_for(Role by, const DesiredState& state, const std::string& subject);

}  // namespace tg
