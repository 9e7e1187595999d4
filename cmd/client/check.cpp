#include "cmd/client/check.h"
#include "core/json.h"

#include <algorithm>

#include <fmt/format.h>

namespace tg::client {

using State = Check::State;

std::string_view to_string(Check::State s) noexcept {
  switch (s) {
    case State::ok: return "ok";
    case State::warning: return "warning";
    case State::failed: return "failed";
    case State::unchecked: return "unchecked";
  }
  return "unknown";
}

Json to_json(const Check& c) {
  Json out = c.more;
  out["check"] = c.name;
  out["state"] = to_string(c.state);
  out["text"] = c.text;
  if (c.state == State::failed) out["code"] = to_string(c.code);
  return out;
}

std::string checks_text(const std::vector<Check>& checks) {
  std::string out;
  for (const Check& c : checks) out += fmt::format("{:<10} {:<12} {}\n", to_string(c.state), c.name, c.text);
  return out;
}

int checks_status(const std::vector<Check>& checks) {
  const auto failed =
      std::find_if(checks.begin(), checks.end(), [](const Check& c) { return c.state == State::failed; });
  return failed == checks.end() ? 0 : exit_code(failed->code);
}

}  // namespace tg::client
