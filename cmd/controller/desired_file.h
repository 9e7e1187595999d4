// The file for `tg controller apply`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/desired_state.h"

namespace tg::controller {

inline constexpr std::size_t kDesiredFileMax = 32u << 20;

// DesiredFile is what a file says. With errors the state is not to be used. Each line of both begins with "PATH:LINE: "
// and the entry and key that it is about; they stand in the order of the file.
struct DesiredFile {
  DesiredState state;
  std::vector<std::string> errors;
  std::vector<std::string> warnings;   // overlapping Resources; protocols that stay open without being named
};

// parse_desired reads TOML 1.0. Every value is checked and made canonical, unknown keys are errors. Pure.
DesiredFile parse_desired(std::string_view text, const std::string& path);

}  // namespace tg::controller
