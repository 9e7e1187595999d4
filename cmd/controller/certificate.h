// X.509 in BoringSSL's terms, for pki.cpp: certificates with the extensions that tg uses, and PEM.
#pragma once

#include <openssl/base.h>

#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "core/time.h"

namespace tg::controller {

// CertificateSpec is what goes into a certificate (RFC 5280). `issuer` null: it signs itself.
struct CertificateSpec {
  std::string common_name;       // for people; identity is the URI
  std::string uri;               // SAN, "" for a CA
  UnixTime not_before{};
  UnixTime not_after{};
  int path_length = -1;          // CA below which so many CAs may stand; -1: no CA
  bool client = false;           // extended key usages of a leaf
  bool server = false;
  std::vector<std::string> hosts{};   // names and addresses beside the URI
};

// sign_certificate makes a version 3 certificate over `subject_key`, with a random serial number of 127 bits, signed
// with ECDSA and SHA-256.
Result<bssl::UniquePtr<X509>> sign_certificate(const CertificateSpec& spec, EVP_PKEY* subject_key, X509* issuer,
                                               EVP_PKEY* issuer_key);

Result<bssl::UniquePtr<X509>> certificate_from_pem(const std::string& pem);
Result<bssl::UniquePtr<EVP_PKEY>> key_from_pem(const std::string& pem);
Result<std::string> to_pem(X509* certificate);

// key_of_request returns the key of a PKCS#10 request. Errors: malformed unless it is P-256 and the request signed with
// it.
Result<bssl::UniquePtr<EVP_PKEY>> key_of_request(const std::string& pem);

Buffer spki_sha256(X509* certificate);
// thumbprint errors: malformed for a key that is not P-256.
Result<std::string> thumbprint(const EVP_PKEY* key);
UnixTime not_before(const X509* certificate);
UnixTime not_after(const X509* certificate);

}  // namespace tg::controller
