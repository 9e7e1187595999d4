#include "core/metrics.h"

#include <fmt/format.h>

namespace tg {
namespace {

std::string escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') out += {'\\', c};
    else if (c == '\n') out += "\\n";
    else out += c;
  }
  return out;
}

}  // namespace

Metrics& Metrics::begin(std::string_view name, std::string_view help, std::string_view type) {
  name_ = name;
  text_ += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
  return *this;
}

Metrics& Metrics::add(double value, Labels labels) {
  text_ += name_;
  char between = '{';
  for (const auto& [name, text] : labels) {
    text_ += fmt::format("{}{}=\"{}\"", between, name, escaped(text));
    between = ',';
  }
  if (between == ',') text_ += '}';
  text_ += fmt::format(" {}\n", value);
  return *this;
}

}  // namespace tg
