// TLS keys of an agent, and the request with which it asks for a certificate.
#pragma once

#include <string>

#include "core/result.h"

namespace tg::net {

// new_key_pem returns a fresh P-256 private key as PKCS#8 PEM (RFC 5958).
Result<std::string> new_key_pem();

// make_csr returns a PKCS#10 request (RFC 2986), PEM, signed with the key. It names nothing: the controller takes only
// the key. Errors: malformed when `key_pem` is no P-256 key.
Result<std::string> make_csr(const std::string& key_pem);

// key_thumbprint returns the RFC 7638 thumbprint of the key's public half, as in Identity. Errors: as make_csr.
Result<std::string> key_thumbprint(const std::string& key_pem);

}  // namespace tg::net
