// The file for `tg controller apply`.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/toml.h"
#include "core/desired_state.h"

namespace tg::controller {

inline constexpr std::size_t kDesiredFileMax = 32u << 20;

// Places says where the entries and keys that core's findings name ("resource NAS: groups") stand in a file, and what
// messages about it call them.
class Places {
 public:
  void note(const std::string& plain, const std::string& entry, const toml::table& table);
  // in_file puts the words and lines of the file into findings, and sorts them by line. Others stay as they are.
  std::vector<Problem> in_file(std::vector<Problem> found) const;

 private:
  std::map<std::string, Problem> known_;
};

// DesiredFile is what a file says. With errors the state is not to be used. Both are lines of line_of, in the order of the
// file.
struct DesiredFile {
  DesiredState state;
  Places places;
  std::vector<std::string> errors;
  std::vector<std::string> warnings;   // protocols that stay open without being named
};

// parse_desired reads TOML 1.0. Every value is checked and made canonical, unknown keys are errors. Pure.
DesiredFile parse_desired(std::string_view text, const std::string& path);

// line_of writes a finding as "PATH:LINE: ENTRY: KEY: TEXT", without what it does not have.
std::string line_of(const Problem& found, const std::string& path);

// to_toml writes a state as parse_desired reads it: the same state, and the same text for the same state. Without its
// tests, which are not of the state, and users who came by signing in.
std::string to_toml(const DesiredState& state);

}  // namespace tg::controller
