#include "net/far_error.h"

#include <cerrno>

namespace tg::net {

Code code_of_errno(int err) noexcept {
  switch (err) {
    case ECONNREFUSED: return Code::refused;
    case EHOSTUNREACH: case EHOSTDOWN: case EACCES: case EPERM: return Code::host_unreachable;
    case ENETUNREACH: case ENETDOWN: case EADDRNOTAVAIL: return Code::network_unreachable;
    case ETIMEDOUT: return Code::timed_out;
    case EMFILE: case ENFILE: case ENOMEM: case ENOBUFS: return Code::exhausted;
    default: return Code::reset;
  }
}

}  // namespace tg::net
