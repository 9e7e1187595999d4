// How much a controller takes on, so that whatever it may have to say fits into one message.
#pragma once

#include "core/desired_state.h"
#include "core/result.h"

namespace tg::controller {

// kStateMax is the most that the entries of a state may measure, in bytes of JSON as the longest message about each of
// them has it: an agent's snapshot, an administrator's list, the desired state itself. It leaves a quarter of
// kControlFrameMax to what is not in a state: leases, devices, revocations. 100,000 Resources measure about 30 MiB.
inline constexpr std::size_t kStateMax = 48u << 20;

// kGrantResourcesMax is how many Resources of one network a user may reach: their ids travel in one grant (kGrantMax).
inline constexpr std::size_t kGrantResourcesMax = 20'000;
// kGrantEndsMost is how many different moments a grant names at which something in it ends.
inline constexpr std::size_t kGrantEndsMost = 256;

// kProviderSecretMax is how long the client secret of an identity provider may be, in bytes.
inline constexpr std::size_t kProviderSecretMax = 4096;

// check_limits errors: exhausted, with what there is too much of and what to do. Pure.
Result<> check_limits(const DesiredState& state);

}  // namespace tg::controller
