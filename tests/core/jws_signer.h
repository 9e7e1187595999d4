// Signs as an OpenID Connect provider does, and as one who would like to be taken for it.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/curve25519.h>
#include <openssl/digest.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "core/encoding.h"
#include "core/json.h"

namespace tg {

// kRfcKeys are of RFC 7515 appendices A.2 and A.3, of RFC 8037 appendix A, and of jwt.io, which shows a PS256 token signed
// with the last one.
inline constexpr const char* kRfcKeys = R"({"keys":[
  {"kty":"RSA","alg":"RS256","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"},
  {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
  {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
  {"kty":"RSA","alg":"PS256","e":"AQAB","n":"u1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt0gunVTLw7onLRnrq0_IzW7yWR7QkrmBL7jTKEn5u-qKhbwKfBstIs-bMY2Zkp18gnTxKLxoS2tFczGkPLPgizskuemMghRniWaoLcyehkd3qqGElvW_VDL5AaWTg0nLVkjRo9z-40RQzuVaE8AkAFmxZzow3x-VJYKdjykkJ0iT9wCS0DRTXu269V264Vf_3jvredZiKRkgwlL9xNAwxXFg0x_XFw005UWVRIkdgcKWTjpBP2dPwVZ4WWC-9aGVd-Gyn1o0CLelf4rEjGoXbAAEgAqeGUxrcIlbjXfbcmw"}]})";

// JwsSigner is a private key and what it signs.
class JwsSigner {
 public:
  static JwsSigner rsa(int bits = 2048) {
    const bssl::UniquePtr<BIGNUM> e(BN_new());
    bssl::UniquePtr<RSA> key(RSA_new());
    TG_CHECK(BN_set_word(e.get(), RSA_F4) == 1 && RSA_generate_key_ex(key.get(), bits, e.get(), nullptr) == 1);
    JwsSigner out;
    TG_CHECK(EVP_PKEY_set1_RSA(out.key_.get(), key.get()) == 1);
    return out;
  }

  static JwsSigner p256() {
    const bssl::UniquePtr<EC_KEY> key(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
    TG_CHECK(EC_KEY_generate_key(key.get()) == 1);
    JwsSigner out;
    TG_CHECK(EVP_PKEY_set1_EC_KEY(out.key_.get(), key.get()) == 1);
    return out;
  }

  static JwsSigner ed25519(std::uint8_t seed) {
    JwsSigner out;
    const Buffer bytes(32, seed);
    out.key_.reset(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, bytes.data(), bytes.size()));
    return out;
  }

  // jwk returns the public key.
  Json jwk(const std::string& kid) const {
    if (const RSA* rsa = EVP_PKEY_get0_RSA(key_.get()))
      return {{"kty", "RSA"}, {"kid", kid}, {"n", number(RSA_get0_n(rsa))}, {"e", number(RSA_get0_e(rsa))}};
    if (const EC_KEY* ec = EVP_PKEY_get0_EC_KEY(key_.get())) {
      const bssl::UniquePtr<BIGNUM> x(BN_new()), y(BN_new());
      TG_CHECK(EC_POINT_get_affine_coordinates_GFp(EC_KEY_get0_group(ec), EC_KEY_get0_public_key(ec), x.get(), y.get(),
                                                   nullptr) == 1);
      return {{"kty", "EC"}, {"crv", "P-256"}, {"kid", kid}, {"x", number(x.get(), 32)}, {"y", number(y.get(), 32)}};
    }
    std::array<std::uint8_t, ED25519_PUBLIC_KEY_LEN> x{};
    std::size_t size = x.size();
    TG_CHECK(EVP_PKEY_get_raw_public_key(key_.get(), x.data(), &size) == 1);
    return {{"kty", "OKP"}, {"crv", "Ed25519"}, {"kid", kid}, {"x", base64url(x)}};
  }

  // signature signs with RS256, PS256, ES256 or EdDSA. `salt`: PS256's.
  Buffer signature(std::string_view alg, std::string_view message, int salt = 32) const {
    if (alg == "ES256") return plain_pair(der_signature(message));
    bssl::ScopedEVP_MD_CTX context;
    EVP_PKEY_CTX* options = nullptr;
    TG_CHECK(EVP_DigestSignInit(context.get(), &options, alg == "EdDSA" ? nullptr : EVP_sha256(), nullptr, key_.get()) == 1);
    if (alg == "PS256") {
      TG_CHECK(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(options, salt) == 1);
    }
    const Bytes bytes = as_bytes(message);
    Buffer out(1024);
    std::size_t size = out.size();
    TG_CHECK(EVP_DigestSign(context.get(), out.data(), &size, bytes.data(), bytes.size()) == 1);
    out.resize(size);
    return out;
  }

  // der_signature is ES256 as TLS writes it.
  Buffer der_signature(std::string_view message) const { return signature("DER", message); }

  // public_der and public_pem are what everybody knows.
  Buffer public_der() const {
    bssl::ScopedCBB cbb;
    std::uint8_t* bytes = nullptr;
    std::size_t size = 0;
    TG_CHECK(CBB_init(cbb.get(), 512) == 1 &&
             EVP_marshal_public_key(cbb.get(), key_.get()) == 1 &&
             CBB_finish(cbb.get(), &bytes, &size) == 1);
    const bssl::UniquePtr<std::uint8_t> owner(bytes);
    return Buffer(bytes, bytes + size);
  }
  Buffer public_pem() const {
    const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
    const std::uint8_t* bytes = nullptr;
    std::size_t size = 0;
    TG_CHECK(PEM_write_bio_PUBKEY(bio.get(), key_.get()) == 1 && BIO_mem_contents(bio.get(), &bytes, &size) == 1);
    return Buffer(bytes, bytes + size);
  }

 private:
  JwsSigner() : key_(EVP_PKEY_new()) {}

  static std::string number(const BIGNUM* n, std::size_t size = 0) {
    Buffer bytes(size != 0 ? size : BN_num_bytes(n));
    TG_CHECK(BN_bn2bin_padded(bytes.data(), bytes.size(), n) == 1);
    return base64url(bytes);
  }

  static Buffer plain_pair(Bytes der) {
    const bssl::UniquePtr<ECDSA_SIG> pair(ECDSA_SIG_from_bytes(der.data(), der.size()));
    Buffer out(64);
    TG_CHECK(BN_bn2bin_padded(out.data(), 32, ECDSA_SIG_get0_r(pair.get())) == 1 &&
             BN_bn2bin_padded(out.data() + 32, 32, ECDSA_SIG_get0_s(pair.get())) == 1);
    return out;
  }

  bssl::UniquePtr<EVP_PKEY> key_;
};

// The keys of the tests, made once: a provider's, and an attacker's own.
inline const JwsSigner& rsa_signer() { static const JwsSigner key = JwsSigner::rsa(); return key; }
inline const JwsSigner& foreign_rsa_signer() { static const JwsSigner key = JwsSigner::rsa(); return key; }
inline const JwsSigner& p256_signer() { static const JwsSigner key = JwsSigner::p256(); return key; }
inline const JwsSigner& ed25519_signer() { static const JwsSigner key = JwsSigner::ed25519(7); return key; }

// signer_for returns the provider's key for an algorithm.
inline const JwsSigner& signer_for(std::string_view alg) {
  return alg == "ES256" ? p256_signer() : alg == "EdDSA" ? ed25519_signer() : rsa_signer();
}

// hs256 is HMAC SHA-256 (RFC 7518 section 3.2).
inline Buffer hs256(Bytes secret, std::string_view message) {
  Buffer out(32);
  const Bytes bytes = as_bytes(message);
  TG_CHECK(HMAC(EVP_sha256(), secret.data(), secret.size(), bytes.data(), bytes.size(), out.data(), nullptr) != nullptr);
  return out;
}

// signing_input is what is signed of a token (RFC 7515 section 5.1), signed_with the whole of it.
inline std::string signing_input(std::string_view header, std::string_view payload) {
  return base64url(as_bytes(header)) + "." + base64url(as_bytes(payload));
}
inline std::string signed_with(const JwsSigner& key, std::string_view alg, std::string_view header, std::string_view payload) {
  const std::string input = signing_input(header, payload);
  return input + "." + base64url(key.signature(alg, input));
}

}  // namespace tg
