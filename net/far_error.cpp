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

Code code_of_error(const Error& error) noexcept {
  switch (error.code) {
    case Errc::refused: return Code::refused;
    case Errc::timed_out: return Code::timed_out;
    case Errc::exhausted: return Code::exhausted;
    case Errc::unsupported: return Code::unsupported;
    case Errc::denied: return Code::host_unreachable;
    default: return Code::network_unreachable;   // connect(2) says at once only that there is no route
  }
}

}  // namespace tg::net
