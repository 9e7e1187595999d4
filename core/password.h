// Passwords of people whom tg itself knows. The one who types does the work: he sends what scrypt makes of the password, and only
// a hash of that is kept. So a guess costs the guesser, and not a controller with one thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/bytes.h"
#include "core/result.h"

namespace tg {

// PasswordCost is how a password is stretched (RFC 7914). The standard costs 128 MiB and some 0.4 s.
struct PasswordCost {
  std::uint64_t n = 1u << 17;
  std::uint64_t r = 8;
  std::uint64_t p = 1;
  bool operator==(const PasswordCost&) const = default;
};
inline constexpr std::uint64_t kPasswordMemory = 256u << 20;   // bytes that a controller may make a client use, at most
inline constexpr std::size_t kPasswordSalt = 16;
inline constexpr std::size_t kPasswordShortest = 10, kPasswordLongest = 256;   // bytes

// check_password errors: invalid_argument for one that nobody should have.
Result<> check_password(std::string_view password);

// password_key returns the 32 bytes that stand for a password. Errors: malformed for a cost that is none, or above
// kPasswordMemory; exhausted without memory.
Result<Buffer> password_key(std::string_view password, Bytes salt, const PasswordCost& cost);

}  // namespace tg
