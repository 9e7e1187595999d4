// An HTTPS server that says what a test wants, certificates as a test wants them, and a client that asks.
#pragma once

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <csignal>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "core/encoding.h"
#include "net/http_client.h"
#include "net/socket.h"

namespace tg::net {

using namespace std::chrono_literals;
using Answered = Result<HttpResponse>;

inline const IpAddress kLoopback4{Ipv4{0x7F000001}};
inline const std::string kHost = "id.example.com";

// --- certificates

inline std::string to_pem(X509* certificate) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  BIO_mem_contents(bio.get(), &data, &size);
  return std::string(as_text({data, size}));
}

inline std::string to_pem(EVP_PKEY* key) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  BIO_mem_contents(bio.get(), &data, &size);
  return std::string(as_text({data, size}));
}

inline bssl::UniquePtr<EVP_PKEY> new_key(bool rsa) {
  const bssl::UniquePtr<EVP_PKEY_CTX> make(EVP_PKEY_CTX_new_id(rsa ? EVP_PKEY_RSA : EVP_PKEY_EC, nullptr));
  EVP_PKEY_keygen_init(make.get());
  if (rsa) {
    EVP_PKEY_CTX_set_rsa_keygen_bits(make.get(), 2048);
  } else {
    EVP_PKEY_CTX_set_ec_paramgen_curve_nid(make.get(), NID_X9_62_prime256v1);
  }
  EVP_PKEY* key = nullptr;
  EXPECT_EQ(EVP_PKEY_keygen(make.get(), &key), 1);
  return bssl::UniquePtr<EVP_PKEY>(key);
}

// What a certificate says: `names` as in openssl's configuration files, "DNS:a.example,IP:127.0.0.1", "" for no SAN.
struct Leaf {
  std::string names = "DNS:" + kHost;
  std::chrono::hours from = -1h, to = 24h;   // from now
  std::string common_name = "leaf";
  std::string usage = "serverAuth";
  bool rsa = false;
};

struct Pair {
  bssl::UniquePtr<EVP_PKEY> key;
  bssl::UniquePtr<X509> certificate;
  std::string chain;   // PEM, without the root
};

// sign makes a certificate; `issuer` nullptr: signed by itself. A CA has no usage.
inline Pair sign(const Leaf& leaf, const Pair* issuer) {
  static std::uint64_t serial = 1;
  Pair out;
  out.key = new_key(leaf.rsa);
  out.certificate.reset(X509_new());
  X509* c = out.certificate.get();
  X509* by = issuer != nullptr ? issuer->certificate.get() : c;
  X509_set_version(c, X509_VERSION_3);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(c), ++serial);
  const std::int64_t now = Loop::wall().time_since_epoch().count();
  ASN1_TIME_set_posix(X509_getm_notBefore(c), now + std::chrono::seconds(leaf.from).count());
  ASN1_TIME_set_posix(X509_getm_notAfter(c), now + std::chrono::seconds(leaf.to).count());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_ASC, as_bytes(leaf.common_name).data(), -1, -1,
                             0);
  X509_set_issuer_name(c, X509_get_subject_name(by));
  X509_set_pubkey(c, out.key.get());
  const auto add = [&](int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, by, c, nullptr, nullptr, 0);
    const bssl::UniquePtr<X509_EXTENSION> one(X509V3_EXT_nconf_nid(nullptr, &context, nid, value.c_str()));
    EXPECT_TRUE(one && X509_add_ext(c, one.get(), -1) == 1) << value;
  };
  if (leaf.usage.empty()) {
    add(NID_basic_constraints, "critical,CA:TRUE");
    add(NID_key_usage, "critical,keyCertSign");
  } else {
    add(NID_basic_constraints, "critical,CA:FALSE");
    add(NID_ext_key_usage, leaf.usage);
    if (!leaf.names.empty()) add(NID_subject_alt_name, leaf.names);
  }
  EXPECT_GT(X509_sign(c, issuer != nullptr ? issuer->key.get() : out.key.get(), EVP_sha256()), 0);
  out.chain = to_pem(c) + (issuer != nullptr ? issuer->chain : "");
  return out;
}

// A root, and an issuing CA below it that servers send along.
struct Ca {
  explicit Ca(const std::string& name = "ours") : root(sign({.common_name = name, .usage = ""}, nullptr)) {
    root.chain.clear();
    issuing = sign({.common_name = name + " issuing", .usage = ""}, &root);
  }
  Pair issue(const Leaf& leaf) const { return sign(leaf, &issuing); }
  std::string bundle() const { return to_pem(root.certificate.get()); }
  Pair root, issuing;
};

inline const Ca& ca() {
  static const Ca one;
  return one;
}

inline TlsContext web() {
  static const TlsContext one = TlsContext::web(ca().bundle()).value();
  return one;
}

// --- asking

inline void here(const std::string&, const std::function<void(Result<Addresses>)>& found) {
  found(Addresses{kLoopback4});
}

inline Answered fetch(HttpRequest request, const TlsContext& context = web(), ResolveHost resolve = here,
                      Duration timeout = 8s) {
  Loop loop;
  std::optional<Answered> got;
  const HttpExchange exchange(loop, context, std::move(resolve), std::move(request), timeout, [&](Answered answer) {
    EXPECT_FALSE(got) << "called twice";
    got = std::move(answer);
    loop.stop();
  });
  EXPECT_FALSE(got) << "called from inside the constructor";
  loop.run();
  return std::move(*got);
}

// expect_error: the code, and what the text begins with and has in it.
inline void expect_error(const Answered& got, Errc code, const std::string& begin, const std::string& has) {
  ASSERT_FALSE(got) << "status " << got->status;
  EXPECT_EQ(got.error().code, code) << to_string(got.error().code) << ": " << got.error().text;
  EXPECT_TRUE(got.error().text.starts_with(begin)) << got.error().text;
  EXPECT_NE(got.error().text.find(has), std::string::npos) << got.error().text;
}

// --- a server that says what the test wants

// Line is one connection as its server sees it, after the handshake and with the request read.
struct Line {
  SSL* ssl;
  int fd;
  std::string request;
  std::string sni;
  bool cut = false;   // close without close_notify

  bool say(std::string_view text) {   // false when the client is gone
    return text.empty() || SSL_write(ssl, text.data(), static_cast<int>(text.size())) > 0;
  }
  void wait_for_end() {
    char c;
    while (SSL_read(ssl, &c, 1) > 0) {}
  }
};

// Server answers one connection after the other on a thread of its own, by OpenSSL's blocking calls.
class Server {
 public:
  using Talk = std::function<void(Line&)>;
  Server(const Pair& own, Talk talk, std::uint16_t least = TLS1_2_VERSION, std::uint16_t most = TLS1_3_VERSION,
         const IpAddress& at = kLoopback4)
      : talk_(std::move(talk)), context_(SSL_CTX_new(TLS_method())), listener_(*tcp_listen({at, 0})) {
    SSL_CTX_set_min_proto_version(context_.get(), least);
    SSL_CTX_set_max_proto_version(context_.get(), most);
    SSL_CTX_use_PrivateKey(context_.get(), own.key.get());
    const bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(own.chain.data(), static_cast<ossl_ssize_t>(own.chain.size())));
    for (bool first = true;; first = false) {
      const bssl::UniquePtr<X509> one(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
      if (!one) break;
      if (first) SSL_CTX_use_certificate(context_.get(), one.get());
      else SSL_CTX_add1_chain_cert(context_.get(), one.get());
    }
    ERR_clear_error();
    port_ = local_endpoint(listener_.get()).port;
    thread_ = std::thread([this] { run(); });
  }
  ~Server() { stop(); }

  std::string url(const std::string& path = "/", const std::string& host = kHost) const {
    return "https://" + host + ":" + std::to_string(port_) + path;
  }
  std::string name(const std::string& host = kHost) const { return host + ":" + std::to_string(port_); }
  // seen is what the last connection was like.
  const Line& seen() {
    stop();
    return seen_;
  }

 private:
  void stop() {
    ::shutdown(listener_.get(), SHUT_RDWR);   // ends poll() and accept()
    if (thread_.joinable()) thread_.join();
  }
  void run() {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    for (;;) {
      pollfd p{listener_.get(), POLLIN, 0};
      ::poll(&p, 1, -1);
      const Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd) return;
      const timeval patience{8, 0};
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
      set_nodelay(fd.get());
      serve(fd.get());
      ERR_clear_error();
    }
  }
  void serve(int fd) {
    const bssl::UniquePtr<SSL> ssl(SSL_new(context_.get()));
    SSL_set_fd(ssl.get(), fd);
    Line line{ssl.get(), fd, {}, {}};
    if (SSL_accept(ssl.get()) == 1) {
      if (const char* sni = SSL_get_servername(ssl.get(), TLSEXT_NAMETYPE_host_name)) line.sni = sni;
      read_request(line);
      talk_(line);
      if (!line.cut) SSL_shutdown(ssl.get());
      ::shutdown(fd, SHUT_WR);
      char c;
      while (::recv(fd, &c, 1, 0) > 0) {}   // so that close() does not reset what is on its way
    }
    seen_ = std::move(line);
  }
  static void read_request(Line& line) {
    std::size_t want = line.request.npos;
    while (line.request.size() < want) {
      char buffer[4096];
      const int n = SSL_read(line.ssl, buffer, sizeof buffer);
      if (n <= 0) return;
      line.request.append(buffer, static_cast<std::size_t>(n));
      const std::size_t head = line.request.find("\r\n\r\n");
      if (head == line.request.npos) continue;
      want = head + 4;
      const std::size_t at = line.request.find("Content-Length: ");
      if (at < head) want += std::stoul(line.request.substr(at + 16));
    }
  }

  Talk talk_;
  bssl::UniquePtr<SSL_CTX> context_;
  Fd listener_;
  std::uint16_t port_ = 0;
  Line seen_{};
  std::thread thread_;
};

inline const Pair& usual() {
  static const Pair one = ca().issue({});
  return one;
}

inline Server::Talk says(const std::string& text) {
  return [text](Line& line) { line.say(text); };
}

}  // namespace tg::net
