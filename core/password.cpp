#include "core/password.h"

#include <bit>

#include <openssl/err.h>
#include <openssl/evp.h>

namespace tg {

Result<> check_password(std::string_view password) {
  if (password.size() < kPasswordShortest) {
    return fail(Errc::invalid_argument, "the password is too short: " + std::to_string(kPasswordShortest) + " characters are the least");
  }
  if (password.size() > kPasswordLongest) return fail(Errc::invalid_argument, "the password is too long");
  if (password.find_first_not_of(password.front()) == std::string_view::npos) {
    return fail(Errc::invalid_argument, "the password is one character only");
  }
  return {};
}

Result<Buffer> password_key(std::string_view password, Bytes salt, const PasswordCost& cost) {
  const bool sane = std::has_single_bit(cost.n) && cost.n >= 2 && cost.n <= 1u << 24 && cost.r >= 1 && cost.r <= 32 && cost.p >= 1 &&
                    cost.p <= 16 && 128 * cost.n * cost.r <= kPasswordMemory;
  if (!sane || salt.size() < 8) return fail(Errc::malformed, "the password is to be stretched in a way that makes no sense");
  Buffer out(32);
  const bool done = EVP_PBE_scrypt(password.data(), password.size(), salt.data(), salt.size(), cost.n, cost.r, cost.p,
                                   2 * kPasswordMemory, out.data(), out.size()) == 1;
  ERR_clear_error();
  if (!done) return fail(Errc::exhausted, "there is not enough memory to stretch the password");
  return out;
}

}  // namespace tg
