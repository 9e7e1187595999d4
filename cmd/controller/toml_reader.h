// A TOML table read key by key: every mistake is noted with its line, and keys that nobody asked for are mistakes too.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/toml.h"
#include "core/desired_state.h"

namespace tg::controller {

// Notes collects mistakes in any order. `key` of a Problem is the entry and the key: `resource "NAS": address`.
struct Notes {
  std::vector<Problem> errors;
  std::vector<Problem> warnings;
};

// TableReader reads one table. `entry` names it in messages: `resource "NAS"`; "" for the file itself.
class TableReader {
 public:
  TableReader(const toml::table& table, std::string entry, Notes& notes, std::string prefix = {});

  // only notes every key that is not among `known`, with the nearest that is.
  void only(std::initializer_list<std::string_view> known);

  // text returns a string value; nothing when the key is missing (an error when it is required) or no string.
  std::optional<std::string> text(std::string_view key, bool required);
  std::vector<std::string> texts(std::string_view key);            // a list of strings; empty when missing
  std::optional<bool> boolean(std::string_view key);
  const toml::table* table(std::string_view key);
  // tables returns an array of tables, as [[key]] makes it.
  std::vector<const toml::table*> tables(std::string_view key);
  const toml::node* node(std::string_view key) const { return table_.get(key); }

  // error notes a mistake about `key` ("" for the whole table), on the line of its value.
  void error(std::string_view key, std::string text);
  void error_at(const toml::node& where, const std::string& key, std::string text);
  void warning(std::string_view key, std::string text);
  void set_entry(std::string entry) { entry_ = std::move(entry); }
  const std::string& entry() const noexcept { return entry_; }
  Place place() const;

 private:
  Problem problem(Place place, const std::string& key, std::string text) const;
  Place place_of(std::string_view key) const;

  const toml::table& table_;
  std::string entry_;
  std::string prefix_;        // "protocols." for a table inside an entry
  Notes& notes_;
};

std::string_view kind_of(const toml::node& node);   // "a string", "a number", …
// nearest returns the word of `known` that takes the fewest edits to reach from `word`; where these are most of it, the first one,
// which names the entry.
std::string_view nearest(std::string_view word, std::initializer_list<std::string_view> known);

}  // namespace tg::controller
