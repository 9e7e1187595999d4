#include "core/encoding.h"

#include <array>

#include <openssl/mem.h>
#include <openssl/sha.h>

namespace tg {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";
constexpr std::string_view kBase64Url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kBase32 = "abcdefghijklmnopqrstuvwxyz234567";

using Table = std::array<std::int8_t, 256>;

constexpr Table values(std::string_view alphabet, bool either_case) {
  Table out{};
  for (auto& v : out) v = -1;
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    const char c = alphabet[i];
    out[static_cast<unsigned char>(c)] = static_cast<std::int8_t>(i);
    if (either_case && c >= 'a' && c <= 'z')
      out[static_cast<unsigned char>(c - 'a' + 'A')] = static_cast<std::int8_t>(i);
  }
  return out;
}

std::string encode(Bytes b, std::string_view alphabet, int width) {
  std::string out;
  out.reserve(b.size() * 8 / static_cast<std::size_t>(width) + 1);
  std::uint32_t bits = 0;
  int count = 0;
  for (const std::uint8_t byte : b) {
    bits = bits << 8 | byte;
    for (count += 8; count >= width; count -= width) out += alphabet[bits >> (count - width) & ((1u << width) - 1)];
  }
  if (count > 0) out += alphabet[bits << (width - count) & ((1u << width) - 1)];
  return out;
}

// decode refuses characters that are not of the alphabet, a length that no encoder gives, and left-over bits that are
// set.
Result<Buffer> decode(std::string_view text, const Table& table, int width, const char* name) {
  Buffer out;
  out.reserve(text.size() * static_cast<std::size_t>(width) / 8);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = table[static_cast<unsigned char>(c)];
    if (value < 0) return fail(Errc::malformed, std::string("not ") + name);
    bits = bits << width | static_cast<std::uint32_t>(value);
    count += width;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<std::uint8_t>(bits >> count));
    }
  }
  if (count >= width || (bits & ((1u << count) - 1)) != 0)
    return fail(Errc::malformed, std::string("not whole ") + name);
  return out;
}

constexpr Table kHexValues = values(kHex, true);
constexpr Table kBase64UrlValues = values(kBase64Url, false);
constexpr Table kBase32Values = values(kBase32, true);

}  // namespace

std::string hex(Bytes b) { return encode(b, kHex, 4); }
Result<Buffer> unhex(std::string_view text) { return decode(text, kHexValues, 4, "hexadecimal"); }
std::string base64url(Bytes b) { return encode(b, kBase64Url, 6); }
Result<Buffer> unbase64url(std::string_view text) { return decode(text, kBase64UrlValues, 6, "base64url"); }
std::string base32(Bytes b) { return encode(b, kBase32, 5); }
Result<Buffer> unbase32(std::string_view text) { return decode(text, kBase32Values, 5, "base32"); }

Buffer sha256(Bytes b) {
  Buffer out(SHA256_DIGEST_LENGTH);
  SHA256(b.data(), b.size(), out.data());
  return out;
}

Buffer sha512(Bytes b) {
  Buffer out(SHA512_DIGEST_LENGTH);
  SHA512(b.data(), b.size(), out.data());
  return out;
}

bool same_secret(Bytes a, Bytes b) noexcept {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace tg
