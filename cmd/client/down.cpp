// tg client down
#include <cstdio>

#include <fmt/format.h>

#include "cmd/client/background.h"
#include "cmd/client/commands.h"
#include "cmd/client/system.h"
#include "net/files.h"
#include "net/loop.h"

namespace tg::client {

Result<bool> bring_down(const Common& common) {
  const auto answer = common.ask({{"type", "down"}});
  if (!answer && answer.error().code != Errc::unreachable) return tl::unexpected(answer.error());
  // Where no client ever ran there is nothing to take out, and nothing to leave.
  if (!net::state_dir_used(common.state)) return answer.has_value();
  // The lock goes with the process.
  const Instant until = net::Loop::now() + common.timeout;
  for (;;) {
    const auto lock = net::lock_state_dir(common.state, "client");
    if (lock) {
      if (auto repaired = System::repair(common.state); !repaired) return pass_on(repaired);
      return answer.has_value();
    }
    if (lock.error().code != Errc::conflict) return tl::unexpected(lock.error());
    if (net::Loop::now() > until) return fail(Errc::timed_out, "the client does not end; " + lock.error().text);
    pause_briefly();
  }
}

void add_down(cmd::Command client) {
  auto common = std::make_shared<Common>();
  const auto run = [common]() -> Result<int> {
    const auto was_running = bring_down(*common);
    if (!was_running) return tl::unexpected(was_running.error());
    if (common->json) cmd::print_json({{"state", "down"}, {"was_running", *was_running}});
    else std::fputs(*was_running ? "tg: down\n" : "tg: the client was not running\n", stderr);
    return 0;
  };
  common->add_to(client.add_command("down", "End the client and take everything out of the system", run),
                 std::chrono::seconds(10));
}

}  // namespace tg::client
