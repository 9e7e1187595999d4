#include "cmd/controller/table.h"

#include <algorithm>

#include "core/text.h"

namespace tg::controller {
namespace {

constexpr std::size_t kMaxCell = 400;

// Characters, not bytes: UTF-8 continuation bytes take no room.
std::size_t width(const std::string& s) {
  return static_cast<std::size_t>(std::count_if(s.begin(), s.end(),
                                                [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

std::string table(const std::vector<std::string>& headings, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::vector<std::string>> lines{headings};
  for (const auto& row : rows) {
    auto& line = lines.emplace_back();
    for (const std::string& cell : row) line.push_back(cell.empty() ? "-" : printable(cell, kMaxCell));
  }
  std::vector<std::size_t> widths(headings.size());
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], width(line[i]));
  }
  std::string out;
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < widths.size(); ++i) {
      out += line[i];
      if (i + 1 < widths.size()) out.append(widths[i] - width(line[i]) + 2, ' ');
    }
    out += '\n';
  }
  return out;
}

}  // namespace tg::controller
