#include "net/keys.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "core/bytes.h"
#include "core/grant.h"

namespace tg::net {
namespace {

Error broken(const char* what) {
  ERR_clear_error();
  return {Errc::io, std::string("could not ") + what};
}

std::string text_of(BIO* bio) {
  const std::uint8_t* bytes = nullptr;
  std::size_t size = 0;
  if (BIO_mem_contents(bio, &bytes, &size) != 1) return {};
  return std::string(as_text({bytes, size}));
}

Result<bssl::UniquePtr<EVP_PKEY>> read_key(const std::string& pem) {
  const bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  bssl::UniquePtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  const EC_KEY* ec = key ? EVP_PKEY_get0_EC_KEY(key.get()) : nullptr;
  ERR_clear_error();
  if (ec == nullptr || EC_GROUP_get_curve_name(EC_KEY_get0_group(ec)) != NID_X9_62_prime256v1) {
    return fail(Errc::malformed, "this is not a P-256 private key in PEM");
  }
  return key;
}

}  // namespace

Result<std::string> new_key_pem() {
  const bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  const bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  if (!ec || !key || !bio || EC_KEY_generate_key(ec.get()) != 1 || EVP_PKEY_set1_EC_KEY(key.get(), ec.get()) != 1 ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return tl::unexpected(broken("make a key"));
  }
  return text_of(bio.get());
}

Result<std::string> make_csr(const std::string& key_pem) {
  auto key = read_key(key_pem);
  if (!key) return pass_on(key);
  const bssl::UniquePtr<X509_REQ> request(X509_REQ_new());
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  if (!request || !bio || X509_REQ_set_version(request.get(), 0) != 1 ||
      X509_REQ_set_pubkey(request.get(), key->get()) != 1 || X509_REQ_sign(request.get(), key->get(),
                                                                           EVP_sha256()) <= 0 ||
      PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1) {
    return tl::unexpected(broken("make a certificate request"));
  }
  return text_of(bio.get());
}

Result<std::string> key_thumbprint(const std::string& key_pem) {
  auto key = read_key(key_pem);
  if (!key) return pass_on(key);
  const EC_KEY* ec = EVP_PKEY_get0_EC_KEY(key->get());
  std::uint8_t point[65];
  if (EC_POINT_point2oct(EC_KEY_get0_group(ec), EC_KEY_get0_public_key(ec), POINT_CONVERSION_UNCOMPRESSED, point,
                         sizeof(point), nullptr) != sizeof(point)) {
    return tl::unexpected(broken("read a public key"));
  }
  return jwk_thumbprint(point);
}

}  // namespace tg::net
