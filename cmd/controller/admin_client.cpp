// The command's end of the admin socket.
#include "cmd/controller/admin_api.h"
#include "cmd/controller/state_dir.h"
#include "core/json.h"
#include "net/local_socket.h"

namespace tg::controller {

Result<Json> ask_controller(const std::string& state, const Json& request, std::chrono::seconds timeout) {
  auto answer = net::local_request(StateDir::admin_socket(state), "controller", request, timeout);
  if (answer || answer.error().code != Errc::unreachable) return answer;
  const std::string option = state == "/var/lib/tg/controller" ? "" : " --state " + state;
  return fail(Errc::unreachable, answer.error().text + "; start it with: tg controller serve" + option);
}

}  // namespace tg::controller
