// Tables for people: aligned columns on stdout.
#pragma once

#include <string>
#include <vector>

namespace tg::controller {

// table returns lines of cells in columns two spaces apart, headings in the first line. Control characters are escaped.
std::string table(const std::vector<std::string>& headings, const std::vector<std::vector<std::string>>& rows);

}  // namespace tg::controller
