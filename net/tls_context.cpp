#include "net/tls_context.h"

#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <fmt/format.h>

#include "core/encoding.h"
#include "core/grant.h"
#include "core/ip.h"
#include "core/text.h"

namespace tg::net {
namespace {

constexpr std::string_view kScheme = "tg://";
constexpr long kAwayMax = 90L * 86400;   // seconds before or after its dates that a leaf opens a control stream
constexpr long kLeeway = 60;             // seconds of clock difference that a certificate's dates forgive

// By their numbers: the names that a list of them takes differ between versions of BoringSSL. Older ones have no Kyber.
constexpr int kGroups[] = {
#ifdef NID_X25519Kyber768
    NID_X25519Kyber768,
#endif
    NID_X25519,
};

// What web takes (RFC 9325 section 4.2; RFC 9155: nothing with SHA-1).
constexpr int kWebGroups[] = {NID_X25519, NID_X9_62_prime256v1, NID_secp384r1};
constexpr const char* kWebSuites12 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr std::uint16_t kWebSignatures[] = {
    SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PKCS1_SHA256,
    SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA384, SSL_SIGN_RSA_PKCS1_SHA384,
    SSL_SIGN_RSA_PSS_RSAE_SHA512,    SSL_SIGN_RSA_PKCS1_SHA512};

std::string ssl_reason() {
  const std::uint32_t code = ERR_get_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "unknown";
}

bssl::UniquePtr<BIO> memory(const std::string& pem) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(pem.data(), static_cast<ossl_ssize_t>(pem.size())));
}

bssl::UniquePtr<X509> read_certificate(BIO* bio) {
  return bssl::UniquePtr<X509>(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr));
}

bool has_pin(X509* certificate, Bytes pin) {
  std::uint8_t* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (size <= 0) return false;
  const bssl::UniquePtr<std::uint8_t> owner(der);
  return same_secret(sha256({der, static_cast<std::size_t>(size)}), pin);
}

// forgivable says whether what the chain check found is a date, and off by less than these.
bool forgivable(X509_STORE_CTX* context, long late, long early) {
  const int error = X509_STORE_CTX_get_error(context);
  X509* certificate = X509_STORE_CTX_get_current_cert(context);
  if (certificate == nullptr) return false;
  std::time_t then = std::time(nullptr);
  if (error == X509_V_ERR_CERT_HAS_EXPIRED) {
    then -= late;
    return X509_cmp_time(X509_get0_notAfter(certificate), &then) > 0;
  }
  then += early;
  return error == X509_V_ERR_CERT_NOT_YET_VALID && X509_cmp_time(X509_get0_notBefore(certificate), &then) < 0;
}

void tell_leaf(X509_STORE_CTX* context) {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx()));
  if (X509_STORE_CTX_get_error_depth(context) == 0 && SSL_is_server(ssl)) client_leaf(ssl, X509_STORE_CTX_get_current_cert(context));
}

// Called for each finding of the chain check, and for each certificate that is well.
int forgive_small_clock_difference(int ok, X509_STORE_CTX* context) {
  tell_leaf(context);
  return ok != 0 || forgivable(context, kLeeway, kLeeway) ? 1 : 0;
}

// For the controller, which looks at every agent's record itself: an agent that was off for longer than its certificate
// lasts, or that was given one while the controller's clock was ahead, may still ask for the next. In the second case
// the issuing CA may be from the future as well.
int forgive_dates_of_agents(int ok, X509_STORE_CTX* context) {
  tell_leaf(context);
  const bool leaf = X509_STORE_CTX_get_error_depth(context) == 0;
  return ok != 0 || forgivable(context, leaf ? kAwayMax : kLeeway, kAwayMax) ? 1 : 0;
}

X509* find_pinned(STACK_OF(X509)* chain, Bytes pin) {
  if (chain == nullptr) return nullptr;
  for (std::size_t i = 0; i < sk_X509_num(chain); ++i) {
    X509* certificate = sk_X509_value(chain, i);
    if (has_pin(certificate, pin)) return certificate;
  }
  return nullptr;
}

// The check for the first contact: the chain must end in the root that the token pins. Dates are not looked at, since
// this machine's clock may be the very thing that is wrong; the controller tells the time afterwards.
int verify_pinned(X509_STORE_CTX* context, void* argument) {
  const auto* state = static_cast<const TlsContext::State*>(argument);
  X509* root = find_pinned(X509_STORE_CTX_get0_untrusted(context), state->pin);
  if (root == nullptr) {
    X509_STORE_CTX_set_error(context, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT);
    return 0;
  }
  const bssl::UniquePtr<X509_STORE> store(X509_STORE_new());
  X509_STORE_add_cert(store.get(), root);
  const bssl::UniquePtr<X509_STORE_CTX> check(X509_STORE_CTX_new());
  X509_STORE_CTX_init(check.get(), store.get(), X509_STORE_CTX_get0_cert(context),
                      X509_STORE_CTX_get0_untrusted(context));
  X509_STORE_CTX_set_flags(check.get(), X509_V_FLAG_NO_CHECK_TIME);
  const int ok = X509_verify_cert(check.get());
  X509_STORE_CTX_set_error(context, X509_STORE_CTX_get_error(check.get()));
  return ok;
}

int select_alpn(SSL*, const std::uint8_t** out, std::uint8_t* out_size, const std::uint8_t* in, unsigned in_size,
                void* argument) {
  const Buffer& own = static_cast<const TlsContext::State*>(argument)->alpn;
  std::uint8_t* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, own.data(), static_cast<unsigned>(own.size()), in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

// choose_named shows another certificate to who says a name.
int choose_named(SSL* ssl, int*, void* argument) {
  if (SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) != nullptr) SSL_set_SSL_CTX(ssl, static_cast<SSL_CTX*>(argument));
  return SSL_TLSEXT_ERR_OK;
}

Result<std::shared_ptr<TlsContext::State>> make(bool server, std::string_view alpn) {
  auto state = std::make_shared<TlsContext::State>();
  state->server = server;
  state->bulk = alpn == kAlpnTunnel;
  state->context.reset(SSL_CTX_new(TLS_method()));
  SSL_CTX* context = state->context.get();
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  if (SSL_CTX_set1_curves(context, kGroups, std::size(kGroups)) != 1) {
    return fail(Errc::unsupported, "the TLS library does not have the groups: " + ssl_reason());
  }
  ERR_clear_error();
  state->alpn.push_back(static_cast<std::uint8_t>(alpn.size()));
  state->alpn.insert(state->alpn.end(), alpn.begin(), alpn.end());
  if (server) {
    SSL_CTX_set_alpn_select_cb(context, select_alpn, state.get());
  } else if (SSL_CTX_set_alpn_protos(context, state->alpn.data(), state->alpn.size()) != 0) {
    return fail(Errc::invalid_argument, "bad ALPN: " + ssl_reason());
  }
  return state;
}

Result<> belongs(SSL_CTX* context) {
  const bool good = SSL_CTX_check_private_key(context) == 1;
  ERR_clear_error();
  if (good) return {};
  return fail(Errc::malformed, "the private key and the certificate do not belong together");
}

// install takes what a process shows of itself. Without a root it trusts nobody.
Result<> install(SSL_CTX* context, const Credentials& own, bool send_root) {
  const auto key_bio = memory(own.key);
  const bssl::UniquePtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
  if (!key || SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return fail(Errc::malformed, "bad private key: " + ssl_reason());
  }
  const auto chain = memory(own.chain);
  const auto leaf = read_certificate(chain.get());
  if (!leaf || SSL_CTX_use_certificate(context, leaf.get()) != 1) {
    return fail(Errc::malformed, "bad certificate: " + ssl_reason());
  }
  while (const auto next = read_certificate(chain.get())) SSL_CTX_add1_chain_cert(context, next.get());
  if (own.root.empty()) return belongs(context);
  const auto root_bio = memory(own.root);
  const auto root = read_certificate(root_bio.get());
  if (!root) return fail(Errc::malformed, "bad root certificate: " + ssl_reason());
  if (send_root) SSL_CTX_add1_chain_cert(context, root.get());
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context), root.get());
  return belongs(context);
}

// trust_roots makes every certificate of a PEM bundle one that peers may chain to. One that this library cannot read is
// passed over, which trusts less: bundles of hundreds are made for many libraries.
Result<> trust_roots(SSL_CTX* context, const std::string& roots_pem) {
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  const auto bio = memory(roots_pem);
  std::size_t taken = 0, unreadable = 0;
  for (;;) {
    ERR_clear_error();
    if (const auto root = read_certificate(bio.get())) {
      if (X509_STORE_add_cert(store, root.get()) == 1) ++taken;
      continue;
    }
    const std::uint32_t code = ERR_peek_last_error();
    if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE) break;
    ++unreadable;
    if (BIO_pending(bio.get()) == 0) break;
  }
  ERR_clear_error();
  if (taken > 0) return {};
  if (unreadable > 0) {
    return fail(Errc::malformed, "no CA certificates in the bundle: none of its BEGIN CERTIFICATE blocks can be read");
  }
  return fail(Errc::not_found, "no CA certificates in the bundle: it must be PEM, with BEGIN CERTIFICATE blocks, as "
                               "/etc/ssl/certs/ca-certificates.crt is");
}

std::string uri_of(X509* leaf) {
  const bssl::UniquePtr<GENERAL_NAMES> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr)));
  const GENERAL_NAME* uri = nullptr;
  for (std::size_t i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;   // the controller's has names for browsers beside it
    if (std::exchange(uri, name) != nullptr) return {};
  }
  if (uri == nullptr) return {};
  const ASN1_IA5STRING* text = uri->d.uniformResourceIdentifier;
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

UnixTime to_unix(const ASN1_TIME* time) {
  std::int64_t seconds = 0;
  ASN1_TIME_to_posix(time, &seconds);
  return UnixTime(std::chrono::seconds(seconds));
}

// begins_or_ends returns when the last certificate of the peer's chain begins to be valid, or the first ends.
std::string begins_or_ends(const SSL* ssl, bool begins) {
  std::optional<UnixTime> when;
  STACK_OF(X509)* chain = SSL_get_peer_full_cert_chain(ssl);
  for (std::size_t i = 0; chain != nullptr && i < sk_X509_num(chain); ++i) {
    const X509* one = sk_X509_value(chain, i);
    const UnixTime at = to_unix(begins ? X509_get0_notBefore(one) : X509_get0_notAfter(one));
    if (!when || (begins ? at > *when : at < *when)) when = at;
  }
  if (!when) return "another time";
  return utc_text(*when);
}

bool plain_part(std::string_view s) {
  if (s.empty() || s.size() > 64) return false;
  return s.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string_view::npos;
}

}  // namespace

std::string to_uri(const Identity& i) { return fmt::format("{}{}/{}/{}", kScheme, i.network, i.role, i.id); }

Result<Identity> parse_uri(std::string_view uri) {
  const auto bad = [&] { return fail(Errc::malformed, "not a tg identity"); };
  if (!uri.starts_with(kScheme)) return bad();
  uri.remove_prefix(kScheme.size());
  const std::size_t first = uri.find('/');
  if (first == std::string_view::npos) return bad();
  const std::size_t second = uri.find('/', first + 1);
  if (second == std::string_view::npos) return bad();
  Identity i;
  i.network = uri.substr(0, first);
  i.role = uri.substr(first + 1, second - first - 1);
  i.id = uri.substr(second + 1);
  const bool known = i.role == "device" || i.role == "connector" || i.role == "relay" || i.role == "controller";
  if (!known || !plain_part(i.network) || !plain_part(i.id)) return bad();
  return i;
}

Result<Identity> read_identity(X509* leaf) {
  auto identity = parse_uri(uri_of(leaf));
  if (!identity) return fail(Errc::denied, "the peer's certificate names no tg identity");
  const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(leaf));
  const EC_KEY* ec = key ? EVP_PKEY_get0_EC_KEY(key.get()) : nullptr;
  if (ec == nullptr) return fail(Errc::denied, "the peer's key is not P-256");
  std::uint8_t* point = nullptr;
  const std::size_t size = EC_KEY_key2buf(ec, POINT_CONVERSION_UNCOMPRESSED, &point, nullptr);
  const bssl::UniquePtr<std::uint8_t> owner(point);
  auto thumbprint = jwk_thumbprint({point, size});
  if (!thumbprint) return fail(Errc::denied, "the peer's key is not P-256");
  identity->key_thumbprint = std::move(*thumbprint);
  identity->not_before = to_unix(X509_get0_notBefore(leaf));
  identity->not_after = to_unix(X509_get0_notAfter(leaf));
  return identity;
}

Result<Identity> leaf_identity(const std::string& chain_pem) {
  const auto bio = memory(chain_pem);
  const auto leaf = read_certificate(bio.get());
  if (!leaf) return fail(Errc::malformed, "bad certificate: " + ssl_reason());
  return read_identity(leaf.get());
}

Error verify_error(const SSL* ssl, bool web) {
  const long code = SSL_get_verify_result(ssl);
  const auto denied = [](const std::string& why) { return Error{Errc::denied, "the peer was not believed: " + why}; };
  switch (code) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return denied("its certificate is for another name");
    case X509_V_ERR_CERT_NOT_YET_VALID:
      if (web) {
        return {Errc::unreachable, fmt::format("its certificate is not yet valid, only from {} on; is this machine's "
                                               "clock behind?", begins_or_ends(ssl, true))};
      }
      return {Errc::unreachable,
              fmt::format("the peer's certificate is valid only from {} on: this machine's clock is behind; set it "
                          "(timedatectl set-ntp true)", begins_or_ends(ssl, true))};
    case X509_V_ERR_CERT_HAS_EXPIRED:
      if (web) {
        return {Errc::unreachable, fmt::format("its certificate has expired, at {}; is this machine's clock ahead?",
                                               begins_or_ends(ssl, false))};
      }
      return {Errc::unreachable,
              fmt::format("the peer's certificate was valid until {}: if it is earlier than that, set this machine's "
                          "clock (timedatectl set-ntp true)", begins_or_ends(ssl, false))};
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:   // of a CA that has only the name of one in the bundle
      if (!web) break;
      [[fallthrough]];
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      if (web) return denied("its certificate is from a CA that is not in the bundle");
      return denied("its certificate is from another CA than expected; if the controller was set up anew, start once "
                    "with a new --token");
    default: break;
  }
  return denied(fmt::format("its certificate was refused: {}", X509_verify_cert_error_string(code)));
}

Result<> expect_name(SSL* ssl, const std::string& name) {
  if (name.empty()) return fail(Errc::invalid_argument, "no name was given that the server's certificate must have");
  X509_VERIFY_PARAM* param = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  bool done = false;
  if (const auto address = IpAddress::parse(name)) {
    const Bytes bytes = address->bytes();
    done = X509_VERIFY_PARAM_set1_ip(param, bytes.data(), bytes.size()) == 1;
  } else {
    done = X509_VERIFY_PARAM_set1_host(param, name.data(), name.size()) == 1 &&
           SSL_set_tlsext_host_name(ssl, name.c_str()) == 1;
  }
  ERR_clear_error();
  if (!done) return fail(Errc::invalid_argument, fmt::format("{} cannot be the name of a TLS server", printable(name)));
  return {};
}

std::string pinned_root_pem(const SSL* ssl, Bytes pin) {
  X509* root = find_pinned(SSL_get_peer_full_cert_chain(ssl), pin);
  if (root == nullptr) return {};
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), root);
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  BIO_mem_contents(bio.get(), &data, &size);
  return std::string(as_text({data, size}));
}

Result<TlsContext> TlsContext::server(const Credentials& own, std::string_view alpn, bool require_client) {
  auto state = make(true, alpn);
  if (!state) return pass_on(state);
  SSL_CTX* context = (*state)->context.get();
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (require_client ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                     require_client ? forgive_small_clock_difference : forgive_dates_of_agents);
  SSL_CTX_set_retain_only_sha256_of_client_certs(context, 1);
  // A peer at its first contact knows only the root's hash, so it has to be shown the root.
  if (auto done = install(context, own, !require_client); !done) return pass_on(done);
  TlsContext out;
  out.state_ = std::move(*state);
  return out;
}

Result<TlsContext> TlsContext::client(const Credentials& own, std::string_view alpn) {
  auto state = make(false, alpn);
  if (!state) return pass_on(state);
  SSL_CTX_set_verify((*state)->context.get(), SSL_VERIFY_PEER, forgive_small_clock_difference);
  if (auto done = install((*state)->context.get(), own, false); !done) return pass_on(done);
  TlsContext out;
  out.state_ = std::move(*state);
  return out;
}

Result<TlsContext> TlsContext::pinned(Bytes ca_pin, std::string_view alpn) {
  auto state = make(false, alpn);
  if (!state) return pass_on(state);
  (*state)->pin.assign(ca_pin.begin(), ca_pin.end());
  SSL_CTX_set_verify((*state)->context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback((*state)->context.get(), verify_pinned, state->get());
  TlsContext out;
  out.state_ = std::move(*state);
  return out;
}

Result<TlsContext> TlsContext::web(const std::string& roots_pem) {
  auto state = make(false, "http/1.1");
  if (!state) return pass_on(state);
  (*state)->web = true;
  SSL_CTX* context = (*state)->context.get();
  const bool able = SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
                    SSL_CTX_set1_curves(context, kWebGroups, std::size(kWebGroups)) == 1 &&
                    SSL_CTX_set_strict_cipher_list(context, kWebSuites12) == 1 &&
                    SSL_CTX_set_verify_algorithm_prefs(context, kWebSignatures, std::size(kWebSignatures)) == 1;
  if (!able) return fail(Errc::unsupported, "the TLS library cannot do what the web needs: " + ssl_reason());
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  if (auto done = trust_roots(context, roots_pem); !done) return pass_on(done);
  TlsContext out;
  out.state_ = std::move(*state);
  return out;
}

Result<TlsContext> TlsContext::web_server(const Credentials& own, const std::optional<Credentials>& named) {
  auto state = make(true, "http/1.1");
  if (!state) return pass_on(state);
  SSL_CTX* context = (*state)->context.get();
  (*state)->web = true;
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  if (auto done = install(context, own, !own.root.empty()); !done) return pass_on(done);
  if (named) {
    auto other = make(true, "http/1.1");
    if (!other) return pass_on(other);
    if (auto done = install((*other)->context.get(), {named->key, named->chain, {}}, false); !done) return pass_on(done);
    (*state)->named = std::move(*other);
    SSL_CTX_set_tlsext_servername_callback(context, choose_named);
    SSL_CTX_set_tlsext_servername_arg(context, (*state)->named->context.get());
  }
  TlsContext out;
  out.state_ = std::move(*state);
  return out;
}

}  // namespace tg::net
