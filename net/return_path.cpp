#include "net/return_path.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "net/files.h"

namespace tg::net {

bool checks_return_paths(const std::string& except, const std::string& proc) {
  const auto value = [&](const std::string& interface) {
    const auto text = read_file(proc + "/" + interface + "/rp_filter");
    return text ? std::atoi(text->c_str()) : 0;
  };
  const int all = value("all");
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(proc, error)) {
    const std::string name = entry.path().filename();
    if (name == "all" || name == "default" || name == "lo" || name == except) continue;
    if (std::max(all, value(name)) == 1) return true;
  }
  return false;
}

}  // namespace tg::net
