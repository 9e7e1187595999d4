// The signals that ask a process to end.
#pragma once

#include <functional>

#include "net/loop.h"

namespace tg::cmd {

// on_end calls `end`, from the Loop, when a signal asks this process to end: SIGTERM, SIGINT, and SIGHUP, of a terminal
// that is closed, unless the process was started with SIGHUP ignored, as nohup(1) does. `end` is called again when
// somebody insists; a second SIGHUP is no insistence, since a shell and the kernel both send one. Once for a Loop.
void on_end(net::Loop& loop, std::function<void()> end);

}  // namespace tg::cmd
