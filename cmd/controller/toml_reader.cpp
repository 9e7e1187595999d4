#include "cmd/controller/toml_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/text.h"

namespace tg::controller {
namespace {

std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

Place place_of_region(const toml::source_region& region) { return {static_cast<int>(region.begin.line)}; }

}  // namespace

std::string_view nearest(std::string_view word, std::initializer_list<std::string_view> known) {
  const std::string small = lower(word.substr(0, 64));
  const std::string_view near = *std::min_element(
      known.begin(), known.end(), [&](std::string_view a, std::string_view b) { return edits(small, a) < edits(small, b); });
  return edits(small, near) * 3 > small.size() * 2 ? *known.begin() : near;
}

std::string_view kind_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string: return "a string";
    case toml::node_type::integer:
    case toml::node_type::floating_point: return "a number";
    case toml::node_type::boolean: return "true or false";
    case toml::node_type::array: return "a list";
    case toml::node_type::table: return "a table";
    default: return "a date or time";
  }
}

TableReader::TableReader(const toml::table& table, std::string entry, Notes& notes, std::string prefix)
    : table_(table), entry_(std::move(entry)), prefix_(std::move(prefix)), notes_(notes) {}

Place TableReader::place() const { return place_of_region(table_.source()); }

Place TableReader::place_of(std::string_view key) const {
  const toml::node* node = key.empty() ? nullptr : table_.get(key);
  return node != nullptr ? place_of_region(node->source()) : place();
}

Problem TableReader::problem(Place place, const std::string& key, std::string text) const {
  const std::string where = key.empty() ? "" : prefix_ + key;
  const bool both = !entry_.empty() && !where.empty();
  return {place, entry_ + (both ? ": " : "") + where, std::move(text)};
}

void TableReader::error(std::string_view key, std::string text) {
  notes_.errors.push_back(problem(place_of(key), std::string(key), std::move(text)));
}
void TableReader::error_at(const toml::node& where, const std::string& key, std::string text) {
  notes_.errors.push_back(problem(place_of_region(where.source()), key, std::move(text)));
}
void TableReader::warning(std::string_view key, std::string text) {
  notes_.warnings.push_back(problem(place_of(key), std::string(key), std::move(text)));
}

void TableReader::only(std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : table_) {
    if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
    notes_.errors.push_back(problem(place_of_region(key.source()), "",
                                    fmt::format("unknown key \"{}{}\"; did you mean \"{}{}\"?", prefix_,
                                                printable(key.str(), 64),
                                                prefix_, nearest(key.str(), known))));
  }
}

std::optional<std::string> TableReader::text(std::string_view key, bool required) {
  const toml::node* node = table_.get(key);
  if (node == nullptr) {
    if (required) error("", fmt::format("\"{}{}\" is missing", prefix_, key));
    return std::nullopt;
  }
  if (const auto* value = node->as_string()) return value->get();
  error(key, fmt::format("must be a string in quotes, not {}", kind_of(*node)));
  return std::nullopt;
}

std::vector<std::string> TableReader::texts(std::string_view key) {
  std::vector<std::string> out;
  const toml::node* node = table_.get(key);
  if (node == nullptr) return out;
  const toml::array* list = node->as_array();
  if (list == nullptr) {
    error(key, fmt::format("must be a list of strings, not {}", kind_of(*node)));
    return out;
  }
  for (std::size_t i = 0; i < list->size(); ++i) {
    const toml::node& one = (*list)[i];
    if (const auto* value = one.as_string()) out.push_back(value->get());
    else error_at(one, fmt::format("{}[{}]", key, i), fmt::format("must be a string in quotes, not {}", kind_of(one)));
  }
  return out;
}

std::optional<bool> TableReader::boolean(std::string_view key) {
  const toml::node* node = table_.get(key);
  if (node == nullptr) return std::nullopt;
  if (const auto* value = node->as_boolean()) return value->get();
  error(key, fmt::format("must be true or false, not {}", kind_of(*node)));
  return std::nullopt;
}

const toml::table* TableReader::table(std::string_view key) {
  const toml::node* node = table_.get(key);
  if (node == nullptr) return nullptr;
  if (const toml::table* value = node->as_table()) return value;
  error(key, fmt::format("must be a table, not {}", kind_of(*node)));
  return nullptr;
}

std::vector<const toml::table*> TableReader::tables(std::string_view key) {
  std::vector<const toml::table*> out;
  const toml::node* node = table_.get(key);
  if (node == nullptr) return out;
  if (node->is_table()) {
    error(key, fmt::format("must be written with two brackets: [[{}]]", key));
    return out;
  }
  const toml::array* list = node->as_array();
  if (list == nullptr) {
    error(key, fmt::format("must be a table [[{}]], not {}", key, kind_of(*node)));
    return out;
  }
  for (std::size_t i = 0; i < list->size(); ++i) {
    if (const toml::table* one = (*list)[i].as_table()) out.push_back(one);
    else error_at((*list)[i], fmt::format("{}[{}]", key, i), fmt::format("must be a table, not {}",
                                                                         kind_of((*list)[i])));
  }
  return out;
}

}  // namespace tg::controller
