// Text forms of bytes. Decoders are strict: no white space, no padding where none belongs, no unused bits set.
#pragma once

#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/result.h"

namespace tg {

std::string hex(Bytes b);                                // lower case
Result<Buffer> unhex(std::string_view text);
std::string base64url(Bytes b);                          // RFC 4648 section 5, without padding
Result<Buffer> unbase64url(std::string_view text);
std::string base32(Bytes b);   // RFC 4648 section 6, lower case, without padding: fits a DNS label
Result<Buffer> unbase32(std::string_view text);          // either case

// sha256 returns the 32-byte digest (FIPS 180-4).
Buffer sha256(Bytes b);
Buffer sha512(Bytes b);                                  // likewise, 64 bytes

// same_secret compares in a time that does not depend on where the two differ.
bool same_secret(Bytes a, Bytes b) noexcept;

}  // namespace tg
