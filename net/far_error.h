// What the kernel says of the far side, as the tunnel's codes.
#pragma once

#include "core/tunnel.h"

namespace tg::net {

// code_of_errno maps what socket(), connect(), send() or recv() failed with, at once or later. EHOSTUNREACH and ENETUNREACH
// stay what they are, so that the application sees the errno that it would have seen in the connector's place. What has no
// code of its own (a prohibited or blackhole route, a protocol that the host does not speak) is host_unreachable: nothing
// was refused and nothing reset.
Code code_of_errno(int err) noexcept;

}  // namespace tg::net
