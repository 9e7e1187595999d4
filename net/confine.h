// What a process gives up for good once it runs, so that whoever takes it over has little of it.
#pragma once

#include <initializer_list>
#include <string>

#include "core/result.h"

namespace tg::net {

// Right is what a role still needs: of root, see capabilities(7), and of what else confine() takes.
enum class Right {
  net_admin,          // interface, routes, socket marks
  net_bind_service,   // ports below 1024
  net_raw,            // ping where ping sockets are not allowed
  any_file,           // files that belong to others: /etc/resolv.conf may
  threads,            // of its own
};

// confine gives up, for this process and for good:
//   every capability but those of `keep` (a right that the process does not have is not missed), and any_file too when
//     `state`, the state directory, cannot be used without it
//   starting processes, programs and (but for Right::threads) threads, looking into others, mounting, loading modules, changing the clock or the user, making
//     memory executable, and what else net/SYSTEM.md lists: the kernel ends a process that tries (SIGSYS)
//   programs that are setuid, and core dumps, which would hold keys
// Builds with a sanitizer give up capabilities only: its reports need the rest.
// Errors: unsupported (the kernel has no seccomp filters) or io; what could be given up then is.
Result<> confine(std::initializer_list<Right> keep, const std::string& state);

}  // namespace tg::net
