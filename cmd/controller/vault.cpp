#include "cmd/controller/vault.h"

#include <fcntl.h>
#include <openssl/aead.h>
#include <openssl/rand.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "core/encoding.h"
#include "net/files.h"

namespace tg::controller {
namespace {

constexpr std::size_t kKey = 32;
constexpr std::size_t kNonce = 12;
constexpr std::size_t kTag = 16;

Result<Buffer> read_key(const std::string& path) {
  const auto text = net::read_file(path);
  if (!text && text.error().code == Errc::not_found) {
    return fail(Errc::not_found, path + " is missing; without it the keys in the database can't be read: put it back");
  }
  if (!text) return tl::unexpected(text.error());
  if (text->size() != kKey) return fail(Errc::malformed, path + " is not a key of 32 bytes; put the right one back");
  return Buffer(text->begin(), text->end());
}

Result<Buffer> make_key(const std::string& path) {
  Buffer key = random_bytes(kKey);
  if (auto written = net::write_file(path, as_text(key)); !written) return pass_on(written);
  // The name must be on the disk before anything is sealed with the key.
  const auto folder = std::filesystem::path(path).parent_path();
  const net::Fd dir(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir || ::fsync(dir.get()) != 0) return tl::unexpected(net::os_error(errno, "write " + folder.string()));
  return key;
}

}  // namespace

Result<Vault> Vault::open(const std::string& path, bool create) {
  auto key = read_key(path);
  if (!key && key.error().code == Errc::not_found && create) key = make_key(path);
  if (!key) return pass_on(key);
  return Vault(std::move(*key));
}

Result<Vault> Vault::of_key(Buffer key) {
  if (key.size() != kKey) return fail(Errc::malformed, "a key has 32 bytes");
  return Vault(std::move(key));
}

Buffer Vault::seal(std::string_view name, Bytes secret) const {
  Buffer out = random_bytes(kNonce);
  out.resize(kNonce + secret.size() + kTag);
  std::size_t size = 0;
  bssl::ScopedEVP_AEAD_CTX context;
  TG_CHECK(EVP_AEAD_CTX_init(context.get(), EVP_aead_aes_256_gcm(), key_.data(), kKey, kTag, nullptr) == 1);
  TG_CHECK(EVP_AEAD_CTX_seal(context.get(), out.data() + kNonce, &size, out.size() - kNonce, out.data(), kNonce,
                             secret.data(),
                             secret.size(), as_bytes(name).data(), name.size()) == 1);
  out.resize(kNonce + size);
  return out;
}

Result<Buffer> Vault::unseal(std::string_view name, Bytes sealed) const {
  const std::string refusal = "the stored secret \"" + std::string(name) +
      "\" can't be read with master.key; put the right one back";
  if (sealed.size() < kNonce + kTag) return fail(Errc::denied, refusal);
  bssl::ScopedEVP_AEAD_CTX context;
  TG_CHECK(EVP_AEAD_CTX_init(context.get(), EVP_aead_aes_256_gcm(), key_.data(), kKey, kTag, nullptr) == 1);
  Buffer out(sealed.size());
  std::size_t size = 0;
  if (EVP_AEAD_CTX_open(context.get(), out.data(), &size, out.size(), sealed.data(), kNonce, sealed.data() + kNonce,
                        sealed.size() - kNonce, as_bytes(name).data(), name.size()) != 1) {
    return fail(Errc::denied, refusal);
  }
  out.resize(size);
  return out;
}

Buffer random_bytes(std::size_t n) {
  Buffer out(n);
  TG_CHECK(RAND_bytes(out.data(), n) == 1);
  return out;
}

std::string random_id() {
  for (;;) {
    const Buffer bytes = random_bytes(8);
    for (const std::uint8_t b : bytes) {
      if (b != 0) return hex(bytes);
    }
  }
}

}  // namespace tg::controller
