// The inside of TlsContext, for tls.cpp and tls_context.cpp only.
#pragma once

#include <openssl/ssl.h>

#include "net/tls.h"

namespace tg::net {

struct TlsContext::State {
  bssl::UniquePtr<SSL_CTX> context;
  bool server = false;
  bool web = false;   // TlsContext::web
  bool bulk = false;  // for much data: buffers are worth keeping
  Buffer alpn;   // one protocol, length-prefixed (RFC 7301)
  Buffer pin;    // 32 bytes for TlsContext::pinned, otherwise empty
  std::shared_ptr<State> named;   // a server's, for who says a name
};

// read_identity reads the SAN URI and the key of a verified leaf. Errors: Errc::denied when there is not exactly one
// URI.
Result<Identity> read_identity(X509* leaf);

// client_leaf is told the leaf that a client shows while its chain is checked, for a server keeps no certificate of its peers:
// they take 10 KiB each. Who was shown counts once the handshake is done.
void client_leaf(SSL* ssl, X509* leaf);

// verify_error says in one line why a peer's certificate was refused. Errc::unreachable when it is a matter of dates,
// which pass or are mended by setting a clock; otherwise denied. `web`: for a connection of TlsContext::web.
Error verify_error(const SSL* ssl, bool web);

// expect_name gives a connection of TlsContext::web the name or address that the peer's leaf must have, and a name as
// SNI (RFC 6066 section 3: no addresses). Errors: invalid_argument when that is not possible; nothing may be sent then.
Result<> expect_name(SSL* ssl, const std::string& name);

// root_of returns the PEM of the root that the peer's chain carries: the one whose key has the pinned hash.
std::string pinned_root_pem(const SSL* ssl, Bytes pin);

}  // namespace tg::net
