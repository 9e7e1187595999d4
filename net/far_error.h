// What the kernel says of the far side, as the tunnel's codes.
#pragma once

#include "core/tunnel.h"

namespace tg::net {

// code_of_errno maps what connect(), send() or recv() failed with.
Code code_of_errno(int err) noexcept;
// code_of_error does the same for a socket that could not even be made or begun.
Code code_of_error(const Error& error) noexcept;

}  // namespace tg::net
