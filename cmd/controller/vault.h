// Secrets at rest: sealed with a key that lies in a file of its own, so that a copy of the database gives nothing away.
#pragma once

#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/result.h"

namespace tg::controller {

// Vault seals with AES-256-GCM (NIST SP 800-38D): 12 bytes of random nonce, the sealed bytes, 16 bytes of tag. The name
// under which a secret is kept is authenticated with it.
class Vault {
 public:
  // open reads the 32-byte key from the file, and with `create` makes it (mode 0600, on the disk before open returns)
  // when it is missing. Errors: not_found, malformed (not 32 bytes), io.
  static Result<Vault> open(const std::string& path, bool create);

  // of_key makes one of the 32 bytes themselves. Errors: malformed.
  static Result<Vault> of_key(Buffer key);

  Buffer seal(std::string_view name, Bytes secret) const;
  // unseal errors: denied when the bytes are not what seal() made with this key under this name.
  Result<Buffer> unseal(std::string_view name, Bytes sealed) const;

 private:
  explicit Vault(Buffer key) : key_(std::move(key)) {}
  Buffer key_;
};

// random_bytes returns `n` bytes from the system's generator.
Buffer random_bytes(std::size_t n);
// random_id returns 16 hex digits, never all zero: the id of a device, connector or relay.
std::string random_id();

}  // namespace tg::controller
