// Numbers for Prometheus, in its text format 0.0.4.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace tg {

// Metrics is one answer to a scrape. Names follow Prometheus' conventions: tg_ROLE_WHAT_UNIT, and _total for what only rises. A label
// never names a person, a device or a Resource: there may be any number of those, and whoever reads metrics need not know them.
class Metrics {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  // Each begins a family; its samples follow.
  Metrics& counter(std::string_view name, std::string_view help) { return begin(name, help, "counter"); }
  Metrics& gauge(std::string_view name, std::string_view help) { return begin(name, help, "gauge"); }
  Metrics& add(double value, Labels labels = {});
  Metrics& add(std::uint64_t value, Labels labels = {}) { return add(static_cast<double>(value), labels); }
  Metrics& add(bool value) { return add(value ? 1.0 : 0.0); }

  const std::string& text() const noexcept { return text_; }

 private:
  Metrics& begin(std::string_view name, std::string_view help, std::string_view type);
  std::string text_, name_;
};

}  // namespace tg
