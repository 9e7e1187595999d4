// Starting the agent in the background and hearing how it went.
#pragma once

#include <functional>
#include <string>

#include "core/result.h"
#include "core/time.h"

namespace tg::client {

// start_in_background runs `serve` in a child process of its own session whose output goes to `log` (appended), and
// returns once it has called `arrived`; with a text, that is an Errc::login_needed, and the child runs on. When it ends before,
// its error is returned; at `until` the child is ended, and `why_not` (asked while it still runs) is the error's text,
// Errc::unreachable.
using Arrived = std::function<void(const std::string& sign_in)>;   // as Agent::Arrived
Result<> start_in_background(const std::string& log, Instant until,
                             const std::function<Result<int>(const Arrived& arrived)>& serve,
                             const std::function<std::string()>& why_not);

// pause_briefly waits 20 ms, between two looks at something that tells nobody when it changes.
void pause_briefly();

}  // namespace tg::client
