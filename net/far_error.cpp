#include "net/far_error.h"

#include <cerrno>

namespace tg::net {

Code code_of_errno(int err) noexcept {
  switch (err) {
    case ECONNREFUSED: return Code::refused;
    case ETIMEDOUT: return Code::timed_out;
    case ECONNRESET: case ECONNABORTED: case EPIPE: return Code::reset;
    // The last two: no IPv6 on this host, and no address to send from.
    case ENETUNREACH: case ENETDOWN: case EAFNOSUPPORT: case EADDRNOTAVAIL: return Code::network_unreachable;
    case EMFILE: case ENFILE: case ENOMEM: case ENOBUFS: case EAGAIN: return Code::exhausted;
    default: return Code::host_unreachable;
  }
}

}  // namespace tg::net
