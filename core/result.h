// Errors as values: one code for programs, one sentence for people.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <tl/expected.hpp>

namespace tg {

// Errc says what kind of thing went wrong; exit_code maps it to the process's exit status.
enum class Errc {
  invalid_argument = 1,  // what the caller gave makes no sense; the caller must change it
  malformed,             // bytes or text from outside do not parse
  not_found,
  conflict,              // exists already, in use, or changed by somebody else
  denied,                // known who it is, and the answer is no
  login_needed,
  expired,
  unreachable,
  refused,
  timed_out,
  exhausted,             // a pool, a budget or a limit is used up; nothing was changed
  unsupported,
  protocol,              // the peer broke the protocol; the connection must end
  closed,
  io,                    // the operating system said no
  failed,                // it was tried, and does not hold
  removed,               // denied: who asks was known, and is not any more
};

const std::error_category& category() noexcept;
inline std::error_code make_error_code(Errc e) noexcept { return {static_cast<int>(e), category()}; }

// to_string returns the code's name as written above, for logs and JSON.
std::string_view to_string(Errc e) noexcept;

// errc_named returns the code that to_string writes like this, or nothing.
std::optional<Errc> errc_named(std::string_view name) noexcept;

// exit_code returns the process's exit status for a command that ended with `e`:
// 1 failed, 2 usage, 3 unreachable, 4 login needed, 5 denied, 6 conflict.
int exit_code(Errc e) noexcept;

// Error is a code and one line for a person that says what is wrong and, where there is one, what to do.
struct Error {
  Errc code;
  std::string text;
};

template <class T = void>
using Result = tl::expected<T, Error>;

// fail makes the unexpected half of a Result: `return fail(Errc::malformed, "…")`.
inline tl::unexpected<Error> fail(Errc code, std::string text) { return tl::unexpected<Error>({code, std::move(text)}); }

// pass_on makes the unexpected half of a Result from another Result's error.
template <class T>
tl::unexpected<Error> pass_on(Result<T>& r) { return tl::unexpected<Error>(std::move(r.error())); }

// check ends the process with the place and the condition when `ok` is false. It stays in release builds: a broken
// invariant in a program that guards a network is no moment to carry on.
#define TG_CHECK(ok) ((ok) ? static_cast<void>(0) : ::tg::check_failed(#ok, __FILE__, __LINE__))
[[noreturn]] void check_failed(const char* condition, const char* file, int line) noexcept;

}  // namespace tg

template <>
struct std::is_error_code_enum<tg::Errc> : std::true_type {};
