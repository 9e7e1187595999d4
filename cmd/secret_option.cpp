#include "cmd/secret_option.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

#include "cmd/settings.h"
#include "net/files.h"

namespace tg::cmd {
namespace {

constexpr std::size_t kSecretMax = 4096;

std::string trimmed(std::string text) {
  constexpr const char* kSpace = " \t\r\n";
  const auto end = text.find_last_not_of(kSpace);
  text.resize(end == std::string::npos ? 0 : end + 1);
  return text.substr(std::min(text.size(), text.find_first_not_of(kSpace)));
}

}  // namespace

Result<Secret> secret_of(const std::string& option, const std::string& value, Instant end) {
  const std::string variable = variable_of(option);
  const char* in_variable = std::getenv(variable.c_str());
  const bool itself = value.find("tg1_") != std::string::npos;
  if (itself && (in_variable == nullptr || value != in_variable)) {
    return fail(Errc::invalid_argument, fmt::format("{}: give the name of a file, - for standard input, or the secret itself in {}: on a command "
                                                    "line everybody sees it", option, variable));
  }
  if (itself) return Secret{trimmed(value), variable};
  auto text = net::read_secret(value, kSecretMax, end);
  if (!text) return fail(text.error().code == Errc::denied ? Errc::failed : text.error().code, option + ": " + text.error().text);
  return Secret{trimmed(std::move(*text)), value == "-" ? "standard input" : value};
}

}  // namespace tg::cmd
