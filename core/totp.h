// Time-based one-time passwords (RFC 6238): six digits, SHA-1, steps of 30 s, as every authenticator app has them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/time.h"

namespace tg {

inline constexpr std::size_t kTotpSecret = 20;   // bytes: as long as the hash (RFC 4226 section 4)

// totp_step returns the number of the step that `now` is in, totp_code the code of a step.
std::uint64_t totp_step(UnixTime now);
std::string totp_code(Bytes secret, std::uint64_t step);

// totp_match returns the step that `code` is of: the present one, or one beside it for clocks that differ, above `last`, the
// step of the last code that was taken: each is good for once (RFC 6238 section 5.2). Spaces in the code do not count.
std::optional<std::uint64_t> totp_match(Bytes secret, std::string_view code, UnixTime now, std::uint64_t last);

// totp_uri returns what an authenticator app reads, mostly from a QR code: otpauth://totp/…
std::string totp_uri(Bytes secret, std::string_view account, std::string_view issuer);

}  // namespace tg
