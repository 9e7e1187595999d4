#include "core/result.h"

#include <cstdio>
#include <cstdlib>

namespace tg {
namespace {

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "tg"; }
  std::string message(int value) const override { return std::string(to_string(static_cast<Errc>(value))); }
};

}  // namespace

const std::error_category& category() noexcept {
  static const Category instance;
  return instance;
}

std::string_view to_string(Errc e) noexcept {
  switch (e) {
    case Errc::invalid_argument: return "invalid_argument";
    case Errc::malformed: return "malformed";
    case Errc::not_found: return "not_found";
    case Errc::conflict: return "conflict";
    case Errc::denied: return "denied";
    case Errc::login_needed: return "login_needed";
    case Errc::expired: return "expired";
    case Errc::unreachable: return "unreachable";
    case Errc::refused: return "refused";
    case Errc::timed_out: return "timed_out";
    case Errc::exhausted: return "exhausted";
    case Errc::unsupported: return "unsupported";
    case Errc::protocol: return "protocol";
    case Errc::closed: return "closed";
    case Errc::io: return "io";
    case Errc::failed: return "failed";
    case Errc::removed: return "removed";
  }
  return "unknown";
}

std::optional<Errc> errc_named(std::string_view name) noexcept {
  for (int i = static_cast<int>(Errc::invalid_argument); i <= static_cast<int>(Errc::removed); ++i) {
    if (to_string(static_cast<Errc>(i)) == name) return static_cast<Errc>(i);
  }
  return std::nullopt;
}

int exit_code(Errc e) noexcept {
  switch (e) {
    case Errc::invalid_argument: return 2;
    case Errc::unreachable:
    case Errc::refused:
    case Errc::timed_out: return 3;
    case Errc::login_needed:
    case Errc::expired: return 4;
    case Errc::denied:
    case Errc::removed: return 5;
    case Errc::conflict: return 6;
    default: return 1;
  }
}

void check_failed(const char* condition, const char* file, int line) noexcept {
  std::fprintf(stderr, "tg: internal error: %s at %s:%d; please report this\n", condition, file, line);
  std::abort();
}

}  // namespace tg
