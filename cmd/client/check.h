// What came of looking at one thing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/result.h"

namespace tg::client {

// Check is one thing that was looked at.
struct Check {
  enum class State { ok, warning, failed, unchecked };
  std::string name;               // "controller", "dns", …
  State state = State::ok;
  std::string text;               // one line
  Errc code = Errc::unreachable;  // what kind of failure, when it is one
  Json more = Json::object();     // figures
};
std::string_view to_string(Check::State s) noexcept;
Json to_json(const Check& c);

// checks_text writes one line for each check; checks_status is the exit status: 0 unless something failed.
std::string checks_text(const std::vector<Check>& checks);
int checks_status(const std::vector<Check>& checks);

}  // namespace tg::client
