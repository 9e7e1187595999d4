#include "cmd/controller/pki.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "cmd/controller/certificate.h"
#include "controller_support.h"
#include "core/encoding.h"
#include "net/keys.h"

namespace tg::controller::controller_pki_test {

struct PkiTest : testing::Test {
  Pki pki = must(Pki::create(kNow));
  std::string key = must(net::new_key_pem());
  std::string csr = must(net::make_csr(key));
};
using APki = PkiTest;

std::vector<bssl::UniquePtr<X509>> certificates(const std::string& pem) {
  std::vector<bssl::UniquePtr<X509>> out;
  const bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  while (X509* one = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) out.emplace_back(one);
  return out;
}

// chain_error verifies as a TLS peer would, at `when`, for the purpose, and returns X509_V_OK or what is wrong.
int chain_error(const std::string& chain, const std::string& root, UnixTime when, int purpose) {
  const auto own = certificates(chain);
  const auto roots = certificates(root);
  const bssl::UniquePtr<X509_STORE> store(X509_STORE_new());
  X509_STORE_add_cert(store.get(), roots.at(0).get());
  const bssl::UniquePtr<STACK_OF(X509)> more(sk_X509_new_null());
  for (std::size_t i = 1; i < own.size(); ++i) bssl::PushToStack(more.get(), bssl::UpRef(own[i].get()));
  const bssl::UniquePtr<X509_STORE_CTX> context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), own.at(0).get(), more.get());
  X509_STORE_CTX_set_purpose(context.get(), purpose);
  X509_STORE_CTX_set_time_posix(context.get(), 0, when.time_since_epoch().count());
  X509_verify_cert(context.get());
  return X509_STORE_CTX_get_error(context.get());
}

std::vector<std::string> uris(X509* certificate) {
  std::vector<std::string> out;
  const bssl::UniquePtr<GENERAL_NAMES> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (std::size_t i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* text = name->d.uniformResourceIdentifier;
    out.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), ASN1_STRING_length(text));
  }
  return out;
}

TEST_F(APki, is_named_after_its_roots_key) {
  EXPECT_EQ(pki.pin().size(), 32u);
  EXPECT_EQ(pki.instance(), "tg-" + hex(pki.pin()).substr(0, 8));
  EXPECT_NE(must(Pki::create(kNow)).instance(), pki.instance());
}

TEST_F(APki, issues_leaves_that_chain_to_the_root_for_a_day) {
  const Issued leaf = must(pki.issue("connector", "0123456789abcdef", csr, kNow));
  const std::string& root = pki.files().root;
  EXPECT_EQ(chain_error(leaf.chain, root, kNow, X509_PURPOSE_SSL_SERVER), X509_V_OK);
  EXPECT_EQ(chain_error(leaf.chain, root, kNow, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
  EXPECT_EQ(chain_error(leaf.chain, root, kNow - std::chrono::minutes(59), X509_PURPOSE_SSL_CLIENT), X509_V_OK);
  EXPECT_EQ(chain_error(leaf.chain, root, kNow + std::chrono::hours(24) - std::chrono::seconds(1),
                        X509_PURPOSE_SSL_CLIENT), X509_V_OK);
  EXPECT_EQ(chain_error(leaf.chain, root, kNow + std::chrono::hours(24) + std::chrono::seconds(1),
                        X509_PURPOSE_SSL_CLIENT), X509_V_ERR_CERT_HAS_EXPIRED);
  EXPECT_EQ(leaf.not_after, kNow + std::chrono::hours(24));
  EXPECT_NE(chain_error(leaf.chain, must(Pki::create(kNow)).files().root, kNow, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
}

TEST_F(APki, puts_exactly_one_uri_into_the_leaf) {
  for (const char* role : {"device", "connector", "relay", "controller"}) {
    const Issued leaf = must(pki.issue(role, "0123456789abcdef", csr, kNow));
    const std::string uri = "tg://" + pki.instance() + "/" + role + "/0123456789abcdef";
    EXPECT_EQ(leaf.uri, uri);
    const auto chain = certificates(leaf.chain);
    ASSERT_EQ(chain.size(), 2u);
    EXPECT_EQ(uris(chain[0].get()), std::vector<std::string>{uri});
    EXPECT_TRUE(uris(chain[1].get()).empty());
    const net::Identity who = must(net::leaf_identity(leaf.chain));
    EXPECT_EQ(net::to_uri(who), uri);
    EXPECT_EQ(who.key_thumbprint, must(net::key_thumbprint(key)));
    EXPECT_EQ(leaf.thumbprint, who.key_thumbprint);
  }
}

TEST_F(APki, lets_each_role_be_only_what_it_is) {
  const auto usable = [&](const char* role, int purpose) {
    return chain_error(must(pki.issue(role, "1", csr, kNow)).chain, pki.files().root, kNow, purpose) == X509_V_OK;
  };
  EXPECT_TRUE(usable("device", X509_PURPOSE_SSL_CLIENT));
  EXPECT_FALSE(usable("device", X509_PURPOSE_SSL_SERVER)) << "a device must not pass for a controller";
  EXPECT_TRUE(usable("controller", X509_PURPOSE_SSL_SERVER));
  EXPECT_FALSE(usable("controller", X509_PURPOSE_SSL_CLIENT));
  EXPECT_TRUE(usable("relay", X509_PURPOSE_SSL_SERVER));
}

TEST_F(APki, makes_leaves_that_sign_for_nobody_else) {
  const auto chain = certificates(must(pki.issue("connector", "1", csr, kNow)).chain);
  EXPECT_EQ(X509_check_ca(chain[0].get()), 0);
  EXPECT_EQ(X509_check_ca(chain[1].get()), 1);
  EXPECT_EQ(X509_get_pathlen(chain[1].get()), 0);
  EXPECT_EQ(X509_get_key_usage(chain[0].get()), static_cast<std::uint32_t>(KU_DIGITAL_SIGNATURE));
  EXPECT_EQ(X509_get_key_usage(chain[1].get()), static_cast<std::uint32_t>(KU_KEY_CERT_SIGN | KU_CRL_SIGN));
  // What a connector signs with its own leaf is worth nothing.
  const auto mine = must(key_from_pem(key));
  CertificateSpec spec{"forged", "tg://" + pki.instance() + "/controller/main", kNow - kBackdated, kNow + kLeafLifetime,
                       -1, true, true};
  const auto forged = must(sign_certificate(spec, mine.get(), chain[0].get(), mine.get()));
  const std::string forged_chain = must(to_pem(forged.get())) + must(to_pem(chain[0].get())) +
      must(to_pem(chain[1].get()));
  EXPECT_NE(chain_error(forged_chain, pki.files().root, kNow, X509_PURPOSE_SSL_SERVER), X509_V_OK);
}

TEST_F(APki, takes_nothing_from_a_request_but_the_key) {
  const auto mine = must(key_from_pem(key));
  const bssl::UniquePtr<X509_REQ> request(X509_REQ_new());
  X509_NAME_add_entry_by_NID(X509_REQ_get_subject_name(request.get()), NID_commonName, MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("admin"), -1, -1, 0);
  const bssl::UniquePtr<STACK_OF(X509_EXTENSION)> wishes(sk_X509_EXTENSION_new_null());
  bssl::PushToStack(wishes.get(), bssl::UniquePtr<X509_EXTENSION>(X509V3_EXT_nconf_nid(nullptr, nullptr,
      NID_subject_alt_name, "URI:tg://x/controller/main")));
  bssl::PushToStack(wishes.get(), bssl::UniquePtr<X509_EXTENSION>(X509V3_EXT_nconf_nid(nullptr, nullptr,
      NID_basic_constraints, "critical,CA:TRUE")));
  X509_REQ_add_extensions(request.get(), wishes.get());
  X509_REQ_set_pubkey(request.get(), mine.get());
  X509_REQ_sign(request.get(), mine.get(), EVP_sha256());
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_REQ(bio.get(), request.get());
  const std::uint8_t* bytes = nullptr;
  std::size_t size = 0;
  BIO_mem_contents(bio.get(), &bytes, &size);
  const auto chain = certificates(must(pki.issue("device", "1", std::string(as_text({bytes, size})), kNow)).chain);
  EXPECT_EQ(uris(chain[0].get()), std::vector<std::string>{"tg://" + pki.instance() + "/device/1"});
  EXPECT_EQ(X509_check_ca(chain[0].get()), 0);
  char name[64] = {};
  X509_NAME_get_text_by_NID(X509_get_subject_name(chain[0].get()), NID_commonName, name, sizeof name);
  EXPECT_STREQ(name, "device 1");
}

TEST_F(APki, refuses_requests_that_are_not_good) {
  const auto refused = [&](const std::string& request) {
    const auto issued = pki.issue("device", "1", request, kNow);
    return issued ? "" : issued.error().text;
  };
  EXPECT_EQ(refused(""), "the certificate request is not PKCS#10 in PEM");
  EXPECT_EQ(refused("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"),
            "the certificate request is not PKCS#10 in PEM");
  EXPECT_EQ(refused(key), "the certificate request is not PKCS#10 in PEM");

  const auto pem_of = [](X509_REQ* request) {
    const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509_REQ(bio.get(), request);
    const std::uint8_t* bytes = nullptr;
    std::size_t size = 0;
    BIO_mem_contents(bio.get(), &bytes, &size);
    return std::string(as_text({bytes, size}));
  };
  // The public key of one, the signature of another: somebody else's key is not to be had.
  const auto mine = must(key_from_pem(key));
  const auto other = must(key_from_pem(must(net::new_key_pem())));
  const bssl::UniquePtr<X509_REQ> stolen(X509_REQ_new());
  X509_REQ_set_pubkey(stolen.get(), mine.get());
  X509_REQ_sign(stolen.get(), other.get(), EVP_sha256());
  EXPECT_EQ(refused(pem_of(stolen.get())), "the certificate request is not signed with its own key");

  const bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(NID_secp384r1));
  EC_KEY_generate_key(ec.get());
  const bssl::UniquePtr<EVP_PKEY> p384(EVP_PKEY_new());
  EVP_PKEY_set1_EC_KEY(p384.get(), ec.get());
  const bssl::UniquePtr<X509_REQ> wide(X509_REQ_new());
  X509_REQ_set_pubkey(wide.get(), p384.get());
  X509_REQ_sign(wide.get(), p384.get(), EVP_sha256());
  EXPECT_EQ(refused(pem_of(wide.get())), "the certificate request is not for a P-256 key");
}

TEST_F(APki, makes_no_certificate_for_a_strange_name) {
  EXPECT_FALSE(pki.issue("admin", "1", csr, kNow));
  EXPECT_FALSE(pki.issue("device", "a/b", csr, kNow));
  EXPECT_FALSE(pki.issue("device", "", csr, kNow));
  EXPECT_FALSE(pki.issue("device", "1,URI:tg://x/controller/main", csr, kNow));
}

TEST_F(APki, lets_no_leaf_outlive_what_signed_it) {
  using std::chrono::seconds;
  Pki hasty = must(Pki::create(kNow, {seconds(24), seconds(48)}));
  EXPECT_EQ(must(hasty.issue("device", "1", csr, kNow)).not_after, kNow + seconds(24));
  EXPECT_EQ(must(hasty.issue("device", "1", csr, kNow + seconds(40))).not_after, kNow + seconds(48));
  const auto leaf = must(net::leaf_identity(must(hasty.issue("device", "1", csr, kNow)).chain));
  EXPECT_EQ(leaf.not_before, kNow - seconds(1)) << "as much of its life as a day's has: it is renewed at half of that, not at once";
  EXPECT_FALSE(must(hasty.renew_issuing(kNow + seconds(20))));
  EXPECT_TRUE(must(hasty.renew_issuing(kNow + seconds(24))));
  EXPECT_EQ(must(hasty.issue("device", "1", csr, kNow + seconds(40))).not_after, kNow + seconds(64));
}

TEST_F(APki, renews_its_issuing_ca_when_an_administrator_wants_shorter_ones) {
  Pki shorter = must(Pki::load(pki.files(), {std::chrono::hours(24), std::chrono::hours(48)}));
  EXPECT_FALSE(must(shorter.renew_issuing(kNow + std::chrono::hours(20))));
  EXPECT_TRUE(must(shorter.renew_issuing(kNow + std::chrono::hours(25))));
  EXPECT_EQ(shorter.instance(), pki.instance()) << "the root stays";
}

TEST_F(APki, comes_back_from_its_files_and_notices_when_they_do_not_belong_together) {
  const Pki again = must(Pki::load(pki.files()));
  EXPECT_EQ(again.instance(), pki.instance());
  const Issued leaf = must(again.issue("device", "1", csr, kNow));
  EXPECT_EQ(chain_error(leaf.chain, pki.files().root, kNow, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
  CaFiles mixed = pki.files();
  mixed.issuing = must(Pki::create(kNow)).files().issuing;
  EXPECT_EQ(Pki::load(mixed).error().code, Errc::malformed);
  EXPECT_EQ(Pki::load({}).error().code, Errc::malformed);
}

TEST_F(APki, renews_the_issuing_ca_at_half_life_without_a_gap) {
  const Issued before = must(pki.issue("device", "1", csr, kNow));
  EXPECT_FALSE(must(pki.renew_issuing(kNow + std::chrono::hours(24 * 180))));
  const UnixTime later = kNow + std::chrono::hours(24 * 183);
  EXPECT_TRUE(must(pki.renew_issuing(later)));
  EXPECT_FALSE(must(pki.renew_issuing(later)));
  const Issued after = must(pki.issue("device", "1", csr, later));
  EXPECT_EQ(chain_error(after.chain, pki.files().root, later, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
  EXPECT_EQ(chain_error(before.chain, pki.files().root, kNow + std::chrono::hours(23), X509_PURPOSE_SSL_CLIENT),
            X509_V_OK);
}

TEST(Keys, are_p256_and_have_a_stable_thumbprint) {
  const std::string key = must(net::new_key_pem());
  EXPECT_NE(key.find("BEGIN PRIVATE KEY"), std::string::npos);
  EXPECT_EQ(must(net::key_thumbprint(key)), must(net::key_thumbprint(key)));
  EXPECT_EQ(must(net::key_thumbprint(key)).size(), 43u);
  EXPECT_NE(must(net::key_thumbprint(key)), must(net::key_thumbprint(must(net::new_key_pem()))));
  EXPECT_EQ(must(csr_thumbprint(must(net::make_csr(key)))), must(net::key_thumbprint(key)));
  EXPECT_EQ(net::make_csr("nonsense").error().code, Errc::malformed);
  EXPECT_EQ(net::key_thumbprint("").error().code, Errc::malformed);
}

}  // namespace tg::controller::controller_pki_test
