#include "cmd/toml.h"

#include <fmt/format.h>

#include "core/text.h"

namespace tg::cmd {

Result<toml::table> parse_toml(std::string_view text, const std::string& path) {
  toml::parse_result parsed = toml::parse(text, path);
  if (!parsed) {
    return fail(Errc::malformed, fmt::format("{}:{}: not TOML: {}", path, parsed.error().source().begin.line,
                                             printable(parsed.error().description(), 200)));
  }
  return std::move(parsed).table();
}

}  // namespace tg::cmd
