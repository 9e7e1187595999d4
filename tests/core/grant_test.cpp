#include "core/grant.h"

#include <gtest/gtest.h>
#include <openssl/curve25519.h>
#include <rapidcheck/gtest.h>

#include "core/encoding.h"
#include "core/json.h"

namespace tg::grant_test {

using std::chrono::seconds;
const Buffer kSeed(32, 5);
const UnixTime kNow(seconds(1'800'000'000));

Grant grant() {
  Grant g;
  g.issuer = "c0ffee";
  g.user = "alice@example.com";
  g.device = "d1";
  g.network = "home";
  g.resources = {1, 7, 18446744073709551615ull};
  g.generation = 3;
  g.issued = kNow;
  g.expires = kNow + seconds(3600);
  g.key_thumbprint = "thumb";
  return g;
}

Result<Grant> verify(std::string_view jws, UnixTime now = kNow) {
  return Grant::verify(jws, ed25519_public_key(kSeed), "c0ffee", "home", "thumb", now);
}

// sign_raw signs any header and payload, as a controller gone mad might.
std::string sign_raw(const std::string& header, const std::string& payload) {
  const std::string message = base64url(as_bytes(header)) + "." + base64url(as_bytes(payload));
  std::array<std::uint8_t, 32> pub{};
  std::array<std::uint8_t, 64> key{}, signature{};
  ED25519_keypair_from_seed(pub.data(), key.data(), kSeed.data());
  ED25519_sign(signature.data(), as_bytes(message).data(), message.size(), key.data());
  return message + "." + base64url(signature);
}
constexpr const char* kHeader = R"({"alg":"EdDSA","typ":"JWT"})";

Json claims() {
  return {{"iss", "c0ffee"},     {"sub", "a@b"},         {"device", "d1"},       {"network", "home"},
          {"resources", {1, 2}}, {"gen", 3},             {"iat", 1'800'000'000}, {"exp", 1'800'003'600},
          {"cnf", {{"jkt", "thumb"}}}};
}

RC_GTEST_PROP(Grant, survives_signing, ()) {
  Grant g = grant();
  const auto ids = *rc::gen::container<std::vector<ResourceId>>(rc::gen::arbitrary<ResourceId>());
  g.resources = ids;
  g.generation = *rc::gen::inRange<Generation>(0, kGenerationMax);
  g.withheld = {2, 3};
  g.ends[kNow + seconds(100)] = {4};
  g.ends[kNow + seconds(200)] = {5, 6};
  const auto back = verify(g.sign(kSeed));
  RC_ASSERT(back.has_value());
  RC_ASSERT(back->user == g.user && back->device == g.device && back->generation == g.generation && back->issued == g.issued && back->expires == g.expires);
  for (const ResourceId id : ids) RC_ASSERT(back->covers(id));
  const auto other = *rc::gen::arbitrary<ResourceId>();
  RC_ASSERT(back->covers(other) == (std::find(ids.begin(), ids.end(), other) != ids.end() || (other >= 4 && other <= 6)));
  RC_ASSERT(back->ends == g.ends && back->withheld == g.withheld);
}

TEST(Grant, withholds_what_is_over) {
  Grant g = grant();
  g.ends[kNow + seconds(100)] = {4, 9};
  g.ends[kNow + seconds(200)] = {5};
  g.withheld = {6};
  const std::string jws = g.sign(kSeed);
  EXPECT_TRUE(verify(jws, kNow + seconds(101)).value().covers(4)) << "a moment is left for the next grant";
  const Grant later = verify(jws, kNow + seconds(102)).value();
  EXPECT_FALSE(later.covers(4));
  EXPECT_EQ(later.withheld, (std::vector<ResourceId>{4, 6, 9}));
  EXPECT_TRUE(later.covers(5) && later.covers(7));
  const Grant graced = Grant::verify(jws, ed25519_public_key(kSeed), "c0ffee", "home", "thumb", kNow + seconds(7200), std::chrono::hours(8)).value();
  EXPECT_TRUE(graced.covers(7)) << "while the controller is away";
  EXPECT_FALSE(graced.covers(5)) << "which prolongs no end that a policy sets";
}

TEST(Grant, refuses_every_changed_character) {
  const std::string jws = grant().sign(kSeed);
  ASSERT_TRUE(verify(jws));
  for (std::size_t i = 0; i < jws.size(); ++i) {
    for (const char flip : {1, 2, 0x20, 0x40}) {
      std::string other = jws;
      other[i] = static_cast<char>(other[i] ^ flip);
      EXPECT_FALSE(verify(other)) << i;
    }
    EXPECT_FALSE(verify(jws.substr(0, i)));
  }
  EXPECT_FALSE(verify(jws + "A"));
  EXPECT_FALSE(verify(jws + "."));
  EXPECT_FALSE(verify("." + jws));
  EXPECT_FALSE(verify(jws + std::string(2u << 20, 'A')));
}

TEST(Grant, is_for_one_issuer_network_and_key) {
  const std::string jws = grant().sign(kSeed);
  const Buffer key = ed25519_public_key(kSeed);
  EXPECT_EQ(Grant::verify(jws, key, "other", "home", "thumb", kNow).error().code, Errc::denied);
  EXPECT_EQ(Grant::verify(jws, key, "c0ffee", "office", "thumb", kNow).error().code, Errc::denied);
  EXPECT_EQ(Grant::verify(jws, key, "c0ffee", "home", "thumb2", kNow).error().code, Errc::denied);
  EXPECT_EQ(Grant::verify(jws, ed25519_public_key(Buffer(32, 6)), "c0ffee", "home", "thumb", kNow).error().code,
            Errc::denied);
}

TEST(Grant, lasts_until_its_expiry_with_a_leeway_of_a_minute) {
  const std::string jws = grant().sign(kSeed);
  EXPECT_TRUE(verify(jws, kNow + seconds(3660)));
  EXPECT_EQ(verify(jws, kNow + seconds(3661)).error().code, Errc::expired);
  EXPECT_TRUE(verify(jws, kNow - seconds(60)));
  EXPECT_EQ(verify(jws, kNow - seconds(61)).error().code, Errc::expired);
  const Buffer key = ed25519_public_key(kSeed);
  EXPECT_TRUE(Grant::verify(jws, key, "c0ffee", "home", "thumb", kNow + seconds(4660), seconds(1000)));
  EXPECT_FALSE(Grant::verify(jws, key, "c0ffee", "home", "thumb", kNow + seconds(4661), seconds(1000)));
}

TEST(Grant, is_signed_with_eddsa_and_nothing_else) {
  const std::string payload = claims().dump();
  EXPECT_TRUE(verify(sign_raw(kHeader, payload)));
  for (const char* header : {R"({"alg":"none"})", R"({"alg":"HS256"})", R"({"alg":"eddsa"})", R"({"alg":["EdDSA"]})",
                             R"({"typ":"JWT"})", R"({"alg":"EdDSA","crit":["exp"]})"}) {
    EXPECT_EQ(verify(sign_raw(header, payload)).error().code, Errc::denied) << header;
  }
  for (const char* header : {"", "[]", "{", "\"EdDSA\"", "null"})
    EXPECT_EQ(verify(sign_raw(header, payload)).error().code, Errc::malformed) << header;
  const std::string whole = sign_raw(kHeader, payload);
  EXPECT_FALSE(verify(whole.substr(0, whole.rfind('.') + 1)));   // an empty signature
}

TEST(Grant, refuses_claims_that_are_missing_or_of_another_type) {
  for (const char* key : {"iss", "sub", "device", "network", "resources", "gen", "iat", "exp", "cnf"}) {
    for (const Json& bad : {Json(), Json(-1), Json(1.5), Json::array({"x"}), Json::object(), Json(true), Json("")}) {
      Json c = claims();
      c[key] = bad;
      EXPECT_FALSE(verify(sign_raw(kHeader, c.dump()))) << key << " " << bad;
    }
    Json c = claims();
    c.erase(key);
    EXPECT_EQ(verify(sign_raw(kHeader, c.dump())).error().code, Errc::malformed) << key;
  }
  for (const char* list : {"[2,1]", "[1,1]", "[1,-2]", "[1.0]", "[[1]]"}) {
    Json c = claims();
    for (const char* key : {"resources", "withheld"}) {
      c = claims();
      c[key] = Json::parse(list);
      EXPECT_FALSE(verify(sign_raw(kHeader, c.dump()))) << key << " " << list;
    }
  }
  for (const char* ends : {"{}", "[1]", "[[1]]", "[[-1,[1]]]", "[[1,[2,1]]]", "[[1,2]]", "[[1,[1],[2]]]", "[[1e30,[1]]]", "[[9999999999999,[1]]]"}) {
    Json c = claims();
    c["ends"] = Json::parse(ends);
    EXPECT_FALSE(verify(sign_raw(kHeader, c.dump()))) << ends;
  }
  EXPECT_FALSE(verify(sign_raw(kHeader, "[]")));
  EXPECT_FALSE(verify(sign_raw(kHeader, std::string(1000, '['))));
}

TEST(Grant, derives_the_public_key_of_rfc_8032_section_7_1) {
  const Buffer seed = unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").value();
  EXPECT_EQ(hex(ed25519_public_key(seed)), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
}

TEST(Grant, verifies_the_signature_of_rfc_8037_appendix_a_4) {
  // The JWS is whole and well signed, but its payload is not a grant: what is refused is the claims.
  const Buffer key = unbase64url("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").value();
  const auto r = Grant::verify("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
                               "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
                               key, "i", "n", "t", kNow);
  EXPECT_EQ(r.error().text, "the grant's claims are not JSON");
}

TEST(Grant, makes_the_thumbprint_of_a_p256_key_by_rfc_7638) {
  // RFC 7517 appendix A.1 has the key; the digest is of the JSON that RFC 7638 section 3.2 prescribes, written out
  // here.
  const std::string x = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                    y = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";
  Buffer point{4};
  for (const auto& part : {unbase64url(x).value(), unbase64url(y).value()})
    point.insert(point.end(), part.begin(), part.end());
  const std::string jwk = "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"" + x + "\",\"y\":\"" + y + "\"}";
  EXPECT_EQ(jwk_thumbprint(point).value(), base64url(sha256(as_bytes(jwk))));
  EXPECT_EQ(jwk_thumbprint(point).value().size(), 43u);
  point[0] = 2;
  EXPECT_FALSE(jwk_thumbprint(point));
  point.resize(64);
  EXPECT_FALSE(jwk_thumbprint(point));
}

}  // namespace tg::grant_test
