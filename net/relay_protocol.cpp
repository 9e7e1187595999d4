#include "net/relay_protocol.h"

#include <openssl/ssl.h>

namespace tg::net {

Buffer rendezvous_hello(const std::string& server_name) {
  const bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_method()));
  SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  SSL_CTX_set1_curves_list(context.get(), "X25519");
  const bssl::UniquePtr<SSL> ssl(SSL_new(context.get()));
  SSL_set_tlsext_host_name(ssl.get(), server_name.c_str());
  SSL_set_connect_state(ssl.get());
  BIO* in = BIO_new(BIO_s_mem());
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl.get(), in, out);   // takes both
  SSL_do_handshake(ssl.get());
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  BIO_mem_contents(out, &data, &size);
  return Buffer(data, data + size);
}

}  // namespace tg::net
