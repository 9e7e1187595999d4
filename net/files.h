// Files of an agent's state directory.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "core/result.h"
#include "core/time.h"
#include "net/socket.h"

namespace tg::net {

// read_file returns the whole file. Errors: not_found, denied, io.
Result<std::string> read_file(const std::string& path);

// read_secret returns what is in a file, a pipe, or ("-") standard input, up to `most` bytes. Errors: not_found, denied, io; exhausted
// when there is more; timed_out at `until`; invalid_argument when standard input is a terminal.
Result<std::string> read_secret(const std::string& path, std::size_t most, Instant until);

// write_file replaces the file in one step (a new file, fsync, rename, fsync of the directory), so that a reader and a
// crash see the old or the new content, never a part, and the new one once it has returned. An error leaves the old
// content, but for one of the last step: then either may be there after a crash.
Result<> write_file(const std::string& path, std::string_view content, mode_t mode = 0600);

// lock_state_dir makes the directory (mode 0700, and its parents) where it is missing and locks it for as long as the
// returned descriptor is open. Errors: conflict when another process of `role` holds it, with its process id; denied;
// io.
Result<Fd> lock_state_dir(const std::string& path, const std::string& role);
// state_dir_used says whether anybody ever locked it; false also where there is none.
bool state_dir_used(const std::string& path);

// host_name returns this machine's name, for people to recognise it by.
std::string host_name();

}  // namespace tg::net
