#include "cmd/controller/certificate.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "core/encoding.h"
#include "core/grant.h"
#include "core/ip.h"

namespace tg::controller {
namespace {

constexpr std::size_t kMaxPem = 64 * 1024;

bssl::UniquePtr<BIO> reading(const std::string& pem) {
  const std::size_t size = std::min(pem.size(), kMaxPem);
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(pem.data(), static_cast<ossl_ssize_t>(size)));
}

bool p256(const EVP_PKEY* key) {
  const EC_KEY* ec = key != nullptr ? EVP_PKEY_get0_EC_KEY(key) : nullptr;
  return ec != nullptr && EC_GROUP_get_curve_name(EC_KEY_get0_group(ec)) == NID_X9_62_prime256v1 &&
         EC_KEY_check_key(ec) == 1;
}

// add puts an extension in, in the words of openssl's configuration files (x509v3_config).
bool add(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const bssl::UniquePtr<X509_EXTENSION> extension(X509V3_EXT_nconf_nid(nullptr, &context, nid, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool set_name(X509_NAME* name, const std::string& text) {
  return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(text.data()),
                                    static_cast<ossl_ssize_t>(text.size()), -1, 0) == 1;
}

bool set_serial(X509* certificate) {
  std::uint8_t bytes[16];
  if (RAND_bytes(bytes, sizeof(bytes)) != 1) return false;
  bytes[0] = static_cast<std::uint8_t>((bytes[0] & 0x7f) | 0x40);   // positive, and always 16 bytes
  const bssl::UniquePtr<BIGNUM> number(BN_bin2bn(bytes, sizeof(bytes), nullptr));
  return number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool set_time(ASN1_TIME* at, UnixTime when) {
  return ASN1_TIME_set_posix(at, when.time_since_epoch().count()) != nullptr;
}

std::string names_of(const CertificateSpec& spec) {
  std::string out = "URI:" + spec.uri;
  for (const std::string& host : spec.hosts) out += (IpAddress::parse(host) ? ",IP:" : ",DNS:") + host;
  return out;
}

bool set_extensions(X509* certificate, X509* issuer, const CertificateSpec& spec) {
  bool ok = true;
  if (spec.path_length >= 0) {
    const std::string limits = "critical,CA:TRUE,pathlen:" + std::to_string(spec.path_length);
    ok = add(certificate, issuer, NID_basic_constraints, limits.c_str()) &&
         add(certificate, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
  } else {
    const char* one = spec.server ? "serverAuth" : "clientAuth";
    const char* usage = spec.client && spec.server ? "clientAuth,serverAuth" : one;
    ok = add(certificate, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
         add(certificate, issuer, NID_key_usage, "critical,digitalSignature") &&
         add(certificate, issuer, NID_ext_key_usage, usage) &&
         add(certificate, issuer, NID_subject_alt_name, names_of(spec).c_str());
  }
  ok = ok && add(certificate, issuer, NID_subject_key_identifier, "hash");
  if (issuer != certificate) ok = ok && add(certificate, issuer, NID_authority_key_identifier, "keyid:always");
  return ok;
}

Error broken(const char* what) {
  const char* reason = ERR_reason_error_string(ERR_get_error());
  ERR_clear_error();
  return {Errc::io, std::string("could not ") + what + ": " + (reason != nullptr ? reason : "unknown")};
}

UnixTime posix(const ASN1_TIME* time) {
  std::int64_t seconds = 0;
  TG_CHECK(ASN1_TIME_to_posix(time, &seconds) == 1);
  return UnixTime(std::chrono::seconds(seconds));
}

}  // namespace

Result<bssl::UniquePtr<X509>> sign_certificate(const CertificateSpec& spec, EVP_PKEY* subject_key, X509* issuer,
                                               EVP_PKEY* issuer_key) {
  bssl::UniquePtr<X509> out(X509_new());
  X509* certificate = out.get();
  if (issuer == nullptr) issuer = certificate;
  const bool ok = certificate != nullptr && X509_set_version(certificate, X509_VERSION_3) == 1 &&
      set_serial(certificate) &&
                  set_time(X509_getm_notBefore(certificate), spec.not_before) &&
                  set_time(X509_getm_notAfter(certificate), spec.not_after) &&
                  set_name(X509_get_subject_name(certificate), spec.common_name) &&
                  X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1 &&
                  X509_set_pubkey(certificate, subject_key) == 1 && set_extensions(certificate, issuer, spec) &&
                  X509_sign(certificate, issuer_key, EVP_sha256()) > 0;
  if (!ok) return tl::unexpected(broken("sign a certificate"));
  return out;
}

Result<bssl::UniquePtr<X509>> certificate_from_pem(const std::string& pem) {
  bssl::UniquePtr<X509> out(PEM_read_bio_X509(reading(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!out) return fail(Errc::malformed, "this is not a certificate in PEM");
  return out;
}

Result<bssl::UniquePtr<EVP_PKEY>> key_from_pem(const std::string& pem) {
  bssl::UniquePtr<EVP_PKEY> out(PEM_read_bio_PrivateKey(reading(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!p256(out.get())) return fail(Errc::malformed, "this is not a P-256 private key in PEM");
  return out;
}

Result<std::string> to_pem(X509* certificate) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  const std::uint8_t* bytes = nullptr;
  std::size_t size = 0;
  if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1 || BIO_mem_contents(bio.get(), &bytes, &size) != 1) {
    return tl::unexpected(broken("write a certificate"));
  }
  return std::string(as_text({bytes, size}));
}

Result<bssl::UniquePtr<EVP_PKEY>> key_of_request(const std::string& pem) {
  const bssl::UniquePtr<X509_REQ> request(PEM_read_bio_X509_REQ(reading(pem).get(), nullptr, nullptr, nullptr));
  bssl::UniquePtr<EVP_PKEY> key(request ? X509_REQ_get_pubkey(request.get()) : nullptr);
  const bool wanted = p256(key.get());
  const bool proven = wanted && X509_REQ_verify(request.get(), key.get()) == 1;
  ERR_clear_error();
  if (!request) return fail(Errc::malformed, "the certificate request is not PKCS#10 in PEM");
  if (!wanted) return fail(Errc::malformed, "the certificate request is not for a P-256 key");
  if (!proven) return fail(Errc::malformed, "the certificate request is not signed with its own key");
  return key;
}

Buffer spki_sha256(X509* certificate) {
  std::uint8_t* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  TG_CHECK(size > 0);
  const bssl::UniquePtr<std::uint8_t> owner(der);
  return sha256({der, static_cast<std::size_t>(size)});
}

Result<std::string> thumbprint(const EVP_PKEY* key) {
  if (!p256(key)) return fail(Errc::malformed, "this is not a P-256 key");
  const EC_KEY* ec = EVP_PKEY_get0_EC_KEY(key);
  std::uint8_t point[65];
  if (EC_POINT_point2oct(EC_KEY_get0_group(ec), EC_KEY_get0_public_key(ec), POINT_CONVERSION_UNCOMPRESSED, point,
                         sizeof(point), nullptr) != sizeof(point)) {
    return tl::unexpected(broken("read a public key"));
  }
  return jwk_thumbprint(point);
}

UnixTime not_before(const X509* certificate) { return posix(X509_get0_notBefore(certificate)); }
UnixTime not_after(const X509* certificate) { return posix(X509_get0_notAfter(certificate)); }

}  // namespace tg::controller
