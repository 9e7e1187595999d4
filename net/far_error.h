// What the kernel says of the far side, as the tunnel's codes.
#pragma once

#include "core/tunnel.h"

namespace tg::net {

// code_of_errno maps what connect(), send() or recv() failed with.
Code code_of_errno(int err) noexcept;

}  // namespace tg::net
