#include "core/totp.h"

#include <algorithm>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "core/encoding.h"
#include "core/uri.h"

namespace tg {
namespace {

constexpr std::int64_t kStep = 30;   // seconds
constexpr std::uint32_t kModulus = 1'000'000;
constexpr std::size_t kDigits = 6;

}  // namespace

std::uint64_t totp_step(UnixTime now) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(now.time_since_epoch().count(), 0) / kStep);
}

// RFC 4226 section 5.3: four bytes of the hash, from where its last half byte says.
std::string totp_code(Bytes secret, std::uint64_t step) {
  Buffer counter;
  Writer(counter).u64(step);
  std::uint8_t hash[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  TG_CHECK(HMAC(EVP_sha1(), secret.data(), secret.size(), counter.data(), counter.size(), hash, &size) != nullptr && size == 20);
  const std::size_t at = hash[19] & 15u;
  const std::uint32_t number = (std::uint32_t{hash[at]} & 0x7f) << 24 | std::uint32_t{hash[at + 1]} << 16 |
                               std::uint32_t{hash[at + 2]} << 8 | std::uint32_t{hash[at + 3]};
  const std::string digits = std::to_string(number % kModulus);
  return std::string(kDigits - digits.size(), '0') + digits;
}

std::optional<std::uint64_t> totp_match(Bytes secret, std::string_view code, UnixTime now, std::uint64_t last) {
  std::string typed(code);
  std::erase(typed, ' ');
  if (typed.size() != kDigits) return std::nullopt;
  const std::uint64_t present = totp_step(now);
  for (std::uint64_t step = present == 0 ? 0 : present - 1; step <= present + 1; ++step) {
    if (step > last && same_secret(as_bytes(totp_code(secret, step)), as_bytes(typed))) return step;
  }
  return std::nullopt;
}

std::string totp_uri(Bytes secret, std::string_view account, std::string_view issuer) {
  std::string text = base32(secret);
  std::transform(text.begin(), text.end(), text.begin(), [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  const std::string by = percent_encoded(issuer);
  return "otpauth://totp/" + by + ":" + percent_encoded(account) + "?secret=" + text + "&issuer=" + by;
}

}  // namespace tg
