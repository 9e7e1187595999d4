// The command's end of the HTTP API.
#pragma once

#include <chrono>
#include <string>

#include "core/json_fwd.h"
#include "core/result.h"

namespace tg::controller {

// Whom says which controller is asked, and how it is believed.
struct Whom {
  std::string state;            // of this machine: by its unix socket, unless there is a token
  std::string token;            // an API token; it says where the controller is, and by what it is known
  std::string url;              // "https://HOST[:PORT][#PIN]", in the place of what the token says
  std::string ca;               // PEM of CA certificates that it is believed by, in the place of the pin; "": none
};

// ask_controller asks a question of admin_api.h, and returns the answer. Errors: those that the controller says; unreachable, and the text says
// how to start one; login_needed (a token that is good no more); timed_out; invalid_argument for a wrong Whom; protocol when no tg
// answers there.
Result<Json> ask_controller(const Whom& whom, const Json& question, std::chrono::seconds timeout);
Result<Json> ask_controller(const std::string& state, const Json& question, std::chrono::seconds timeout);

}  // namespace tg::controller
