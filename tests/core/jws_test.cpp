#include "core/jws.h"

#include <gtest/gtest.h>
#include <openssl/err.h>

#include "tests/core/jws_signer.h"

namespace tg::jws_test {

constexpr const char* kPayload = R"({"sub":"alice"})";

Json key_set(std::vector<Json> keys) { return {{"keys", std::move(keys)}}; }
JwkSet set_of(std::vector<Json> keys) { return JwkSet::parse(key_set(std::move(keys)).dump()).value(); }
JwkSet set_with(Json jwk, const char* member, Json value) {
  jwk[member] = std::move(value);
  return set_of({jwk});
}

// signed_by signs with the provider's key for that algorithm and a header that names it and `kid`, when there is one.
std::string signed_by(const std::string& alg, const char* kid = nullptr) {
  Json header = {{"alg", alg}};
  if (kid != nullptr) header["kid"] = kid;
  return signed_with(signer_for(alg), alg, header.dump(), kPayload);
}

// verified_header verifies a token that is well signed with RS256 and has this header.
Result<Json> verified_header(std::string_view header) {
  return verify_jws(signed_with(rsa_signer(), "RS256", header, kPayload), set_of({rsa_signer().jwk("k")}));
}

TEST(Jws, verifies_rs256_of_rfc_7515_appendix_a_2) {
  const auto payload = verify_jws(
      "eyJhbGciOiJSUzI1NiJ9."
      "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
      "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t"
      "1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12j"
      "zDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ"
      "Ge77Rw",
      JwkSet::parse(kRfcKeys).value());
  ASSERT_TRUE(payload) << payload.error().text;
  EXPECT_EQ(*payload, Json({{"iss", "joe"}, {"exp", 1300819380}, {"http://example.com/is_root", true}}));
}

TEST(Jws, verifies_es256_of_rfc_7515_appendix_a_3) {
  const auto payload = verify_jws(
      "eyJhbGciOiJFUzI1NiJ9."
      "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
      "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
      JwkSet::parse(kRfcKeys).value());
  ASSERT_TRUE(payload) << payload.error().text;
  EXPECT_EQ((*payload)["iss"], "joe");
}

TEST(Jws, verifies_the_signature_of_rfc_8037_appendix_a_4) {
  // Its payload is a sentence: the signature is taken, and only then the payload refused.
  const JwkSet keys = JwkSet::parse(kRfcKeys).value();
  std::string jws = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
                    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
  EXPECT_EQ(verify_jws(jws, keys).error().text, "the ID token's payload is not a JSON object");
  jws[60] = 'A';
  EXPECT_EQ(verify_jws(jws, keys).error().code, Errc::denied);
}

TEST(Jws, verifies_the_ps256_token_of_jwt_io) {
  const auto payload = verify_jws(
      "eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCJ9."
      "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiYWRtaW4iOnRydWUsImlhdCI6MTUxNjIzOTAyMn0."
      "iOeNU4dAFFeBwNj6qdhdvm-IvDQrTa6R22lQVJVuWJxorJfeQww5Nwsra0PjaOYhAMj9jNMO5YLmud8U7iQ5gJK2zYyepeSuXhfSi8yjFZfRiSke"
      "lqSkU19I-Ja8aQBDbqXf2SAWA8mHF8VS3F08rgEaLCyv98fLLH4vSvsJGf6ueZSLKDVXz24rZRXGWtYYk_OYYTVgR1cg0BLCsuCvqZvHleImJKiW"
      "mtS0-CymMO4MMjCy_FIl6I56NqLE9C87tUVpo1mT-kbg5cHDD8I7MjCW5Iii5dethB4Vid3mZ6emKjVYgXrtkOQ-JyGMh6fnQxEFN1ft33GX2eRH"
      "luK9eg",
      JwkSet::parse(kRfcKeys).value());
  ASSERT_TRUE(payload) << payload.error().text;
  EXPECT_EQ((*payload)["name"], "John Doe");
}

TEST(Jws, takes_four_algorithms_each_with_its_own_type_of_key) {
  const std::vector<std::string> algs = {"RS256", "PS256", "ES256", "EdDSA"};
  for (const std::string& alg : algs) {
    for (const std::string& owner : algs) {
      const auto got = verify_jws(signed_by(alg, "k"), set_of({signer_for(owner).jwk("k")}));
      if (&signer_for(owner) == &signer_for(alg)) EXPECT_EQ(got.value(), Json::parse(kPayload)) << alg << owner;
      else EXPECT_EQ(got.error().code, Errc::not_found) << alg << owner;
    }
  }
}

TEST(Jws, names_an_algorithm_that_it_does_not_take) {
  for (const char* alg : {"none", "None", "NONE", "HS256", "RS1", "rs256", "RS256 ", "RS384", "PS512", "ES384", "ES256K",
                          "RSA-OAEP", ""}) {
    const auto got = verified_header(Json({{"alg", alg}}).dump());
    EXPECT_EQ(got.error().code, Errc::denied) << alg;
    EXPECT_NE(got.error().text.find(std::string("\"") + alg + "\""), std::string::npos) << got.error().text;
  }
  EXPECT_EQ(verified_header(R"({"alg":"\u001b[2J\n"})").error().text,
            R"(the ID token is signed with "\x1b[2J\x0a", which is none of RS256, PS256, ES256 and EdDSA)");
  for (const char* header : {"{}", R"({"alg":null})", R"({"alg":["RS256"]})", R"({"alg":1})"})
    EXPECT_EQ(verified_header(header).error().code, Errc::denied) << header;
}

TEST(Jws, takes_only_the_type_jwt_and_no_extensions) {
  for (const char* rest : {"", R"(,"typ":"JWT")", R"(,"typ":"jwt")", R"(,"typ":"application/jwt")", R"(,"typ":"Application/JWT")",
                           R"(,"b64":true)", R"(,"new":[1])"}) {
    EXPECT_TRUE(verified_header(std::string(R"({"alg":"RS256")") + rest + "}")) << rest;
  }
  for (const char* rest : {R"("typ":"at+jwt")", R"("typ":"")", R"("typ":null)", R"("typ":"JOSE")", R"("b64":false)", R"("b64":0)",
                           R"("crit":[])", R"("crit":["exp"],"exp":1)", R"("crit":null)"}) {
    EXPECT_EQ(verified_header(std::string(R"({"alg":"RS256",)") + rest + "}").error().code, Errc::denied) << rest;
  }
}

TEST(Jws, refuses_parts_that_are_not_json_objects_or_name_a_member_twice) {
  for (const char* header : {"", "[]", "null", "{", "\"RS256\"", R"({"alg":"RS256"} x)", R"({"alg":"none","alg":"RS256"})",
                             "{\"alg\":\"RS256\",\"x\":\"\xff\"}", R"({"alg":"RS256","x":{"a":1,"b":[{"c":1,"c":2}]}})"}) {
    EXPECT_EQ(verified_header(header).error().code, Errc::malformed) << header;
  }
  EXPECT_TRUE(verified_header(R"({"alg":"RS256","x":{"a":1,"alg":2},"y":[{"a":1},{"a":1}]})"));
  const JwkSet keys = set_of({rsa_signer().jwk("k")});
  for (const std::string& payload : std::vector<std::string>{"", "[]", "1", "\"a\"", "{", "{}{}", R"({"sub":"a","sub":"b"})",
                                                             std::string(1000, '['), R"({"exp":1e999})"}) {
    EXPECT_EQ(verify_jws(signed_with(rsa_signer(), "RS256", R"({"alg":"RS256"})", payload), keys).error().code,
              Errc::malformed) << payload;
  }
}

TEST(Jws, refuses_every_changed_character) {
  for (const char* alg : {"EdDSA", "ES256"}) {
    const JwkSet keys = set_of({signer_for(alg).jwk("k")});
    const std::string jws = signed_by(alg, "k");
    ASSERT_TRUE(verify_jws(jws, keys));
    for (std::size_t i = 0; i < jws.size(); ++i) {
      for (const char flip : {1, 2, 0x20, 0x40}) {
        std::string other = jws;
        other[i] = static_cast<char>(other[i] ^ flip);
        EXPECT_FALSE(verify_jws(other, keys)) << i;
      }
      EXPECT_FALSE(verify_jws(jws.substr(0, i), keys));
    }
    for (const std::string& other : {jws + "A", jws + ".", "." + jws, jws + "=", jws + "\n", " " + jws, jws + ".e30"})
      EXPECT_FALSE(verify_jws(other, keys)) << other;
  }
  EXPECT_EQ(ERR_peek_error(), 0u);   // or the next to ask about TLS would find it
}

TEST(Jws, is_at_most_64_kib_long) {
  const JwkSet keys = set_of({ed25519_signer().jwk("k")});
  const auto padded = [&](std::size_t n) {
    return signed_with(ed25519_signer(), "EdDSA", R"({"alg":"EdDSA"})", R"({"a":")" + std::string(n, 'a') + "\"}");
  };
  const std::size_t payload = (65536 - padded(0).size()) / 4 * 3;
  ASSERT_LE(padded(payload).size(), 65536u);
  EXPECT_TRUE(verify_jws(padded(payload), keys));
  ASSERT_GT(padded(payload + 3).size(), 65536u);
  EXPECT_EQ(verify_jws(padded(payload + 3), keys).error().text, "the ID token is longer than 64 KiB");
}

TEST(Jws, reads_no_other_form_of_a_signature) {
  const std::string rsa = signing_input(R"({"alg":"PS256"})", kPayload), ec = signing_input(R"({"alg":"ES256"})", kPayload);
  const auto verified = [](const std::string& input, Bytes signature) {
    return verify_jws(input + "." + base64url(signature), set_of({rsa_signer().jwk("r"), p256_signer().jwk("e")}));
  };
  EXPECT_TRUE(verified(rsa, rsa_signer().signature("PS256", rsa)));
  for (const int salt : {0, 20, 31, 33, 64})
    EXPECT_EQ(verified(rsa, rsa_signer().signature("PS256", rsa, salt)).error().code, Errc::denied) << salt;
  EXPECT_EQ(verified(rsa, rsa_signer().signature("RS256", rsa)).error().code, Errc::denied);
  EXPECT_EQ(verified(rsa, {}).error().code, Errc::denied);
  Buffer with_zero = rsa_signer().signature("PS256", rsa);
  with_zero.insert(with_zero.begin(), 0);
  EXPECT_EQ(verified(rsa, with_zero).error().code, Errc::denied);

  const Buffer pair = p256_signer().signature("ES256", ec);
  EXPECT_TRUE(verified(ec, pair));
  EXPECT_EQ(verified(ec, p256_signer().der_signature(ec)).error().code, Errc::denied);
  EXPECT_EQ(verified(ec, Buffer(64, 0)).error().code, Errc::denied);      // r and s of zero fit every message, if let
  EXPECT_EQ(verified(ec, Buffer(64, 0xff)).error().code, Errc::denied);   // both above the order
  EXPECT_EQ(verified(ec, Bytes(pair).first(63)).error().code, Errc::denied);
  EXPECT_EQ(verified(ec, {}).error().code, Errc::denied);
}

TEST(Jws, takes_the_key_of_the_kid_and_no_other) {
  const JwkSet keys = set_of({rsa_signer().jwk("a"), foreign_rsa_signer().jwk("b"), p256_signer().jwk("c")});
  EXPECT_TRUE(verify_jws(signed_by("RS256", "a"), keys));
  EXPECT_TRUE(verify_jws(signed_by("ES256", "c"), keys));
  EXPECT_EQ(verify_jws(signed_by("RS256", "b"), keys).error().code, Errc::denied);
  EXPECT_EQ(verify_jws(signed_by("RS256", "c"), keys).error().code, Errc::not_found);   // of another type
  EXPECT_EQ(verify_jws(signed_by("RS256", ""), keys).error().code, Errc::not_found);
  EXPECT_EQ(verify_jws(signed_by("RS256", "A\n"), keys).error().text,
            "the ID token is signed with a key that the provider does not publish (RS256, kid \"A\\x0a\")");
  EXPECT_EQ(verify_jws(signed_by("RS256", "a"), JwkSet()).error().code, Errc::not_found);
  EXPECT_EQ(verified_header(R"({"alg":"RS256","kid":1})").error().code, Errc::malformed);
  EXPECT_EQ(verified_header(R"({"alg":"RS256","kid":null})").error().code, Errc::malformed);
}

TEST(Jws, tries_all_keys_of_one_kid) {
  for (const auto& order : {std::pair(&rsa_signer(), &foreign_rsa_signer()), std::pair(&foreign_rsa_signer(), &rsa_signer())}) {
    EXPECT_TRUE(verify_jws(signed_by("RS256", "k"), set_of({order.first->jwk("k"), order.second->jwk("k")})));
  }
}

TEST(Jws, needs_no_kid_where_one_key_fits) {
  Json for_ps256 = foreign_rsa_signer().jwk("b");
  for_ps256["alg"] = "PS256";
  EXPECT_TRUE(verify_jws(signed_by("RS256"), set_of({rsa_signer().jwk("a"), p256_signer().jwk("c"), for_ps256})));
  EXPECT_EQ(verify_jws(signed_by("RS256"), set_of({p256_signer().jwk("c"), for_ps256})).error().code, Errc::not_found);
  const auto several = verify_jws(signed_by("RS256"), set_of({rsa_signer().jwk("a"), foreign_rsa_signer().jwk("b")}));
  EXPECT_EQ(several.error().code, Errc::denied);
  EXPECT_EQ(several.error().text,
            "the ID token does not say (kid) which of the provider's 2 keys for RS256 it is signed with");
}

TEST(Jws, uses_a_key_for_its_own_algorithm_only) {
  const Json jwk = rsa_signer().jwk("k");
  EXPECT_TRUE(verify_jws(signed_by("RS256", "k"), set_with(jwk, "alg", "RS256")));
  EXPECT_EQ(verify_jws(signed_by("PS256", "k"), set_with(jwk, "alg", "RS256")).error().code, Errc::not_found);
  EXPECT_EQ(verify_jws(signed_by("RS256", "k"), set_with(jwk, "alg", "PS256")).error().code, Errc::not_found);
}

TEST(Jws, never_uses_a_key_from_the_header) {
  for (const char* name : {"jwk", "jku", "x5u", "x5c"}) {
    Json header = {{"alg", "RS256"}, {name, foreign_rsa_signer().jwk("k")}};
    EXPECT_TRUE(verified_header(header.dump())) << name;   // signed by the provider, whatever it says
    const auto got = verify_jws(signed_with(foreign_rsa_signer(), "RS256", header.dump(), kPayload), set_of({rsa_signer().jwk("k")}));
    EXPECT_EQ(got.error().code, Errc::denied) << name;
  }
}

TEST(JwkSet, skips_keys_that_it_has_no_use_for) {
  const Json rsa = rsa_signer().jwk("r"), ec = p256_signer().jwk("e"), okp = ed25519_signer().jwk("o");
  struct Change { const Json& jwk; const char* member; Json value; std::size_t usable; };
  const Change changes[] = {
      {rsa, "use", "sig", 1},           {rsa, "use", "enc", 0},          {rsa, "use", nullptr, 0},
      {rsa, "key_ops", {"verify"}, 1},  {rsa, "key_ops", {"sign", "verify"}, 1},
      {rsa, "key_ops", Json::array(), 0}, {rsa, "key_ops", {"encrypt"}, 0}, {rsa, "key_ops", "verify", 0},
      {rsa, "alg", "RS256", 1},         {rsa, "alg", "PS256", 1},        {rsa, "alg", "RS512", 0},
      {rsa, "alg", "RSA-OAEP", 0},      {rsa, "alg", "ES256", 0},        {rsa, "alg", "none", 0},
      {rsa, "alg", 256, 0},             {rsa, "kid", 1, 0},              {rsa, "kty", "oct", 0},
      {rsa, "kty", "EC", 0},            {rsa, "kty", 1, 0},              {rsa, "n", "", 0},
      {rsa, "n", 5, 0},                 {rsa, "e", "", 0},               {rsa, "e", "AQAB=", 0},
      {rsa, "e", "AQ", 0},              {rsa, "e", "Ag", 0},             {rsa, "e", "AQAA", 0},
      {rsa, "e", "Aw", 1},              {rsa, "e", "AAED", 1},           {rsa, "e", "AQAAAAAAAAAB", 0},
      {rsa, "x5c", {"MII"}, 1},         {rsa, "d", "AQAB", 1},           {ec, "alg", "ES256", 1},
      {ec, "alg", "RS256", 0},          {ec, "crv", "P-384", 0},         {ec, "crv", "secp256k1", 0},
      {ec, "x", ec["y"], 0},            {ec, "y", "AA", 0},              {ec, "x", base64url(Buffer(32, 0xff)), 0},
      {ec, "x", base64url(Buffer(33)), 0}, {okp, "alg", "EdDSA", 1},     {okp, "crv", "X25519", 0},
      {okp, "crv", "Ed448", 0},         {okp, "x", "AA", 0},             {okp, "x", base64url(Buffer(33)), 0},
  };
  for (const Change& c : changes) EXPECT_EQ(set_with(c.jwk, c.member, c.value).size(), c.usable) << c.member << " " << c.value;
  for (const Json& jwk : {rsa, ec, okp}) {
    EXPECT_EQ(set_of({jwk}).size(), 1u);
    for (const char* member : {"kty", "n", "e", "crv", "x", "y"}) {
      Json without = jwk;
      const std::size_t usable = without.erase(member) > 0 ? 0 : 1;
      EXPECT_EQ(set_of({without}).size(), usable) << jwk << member;
    }
  }
  EXPECT_EQ(set_of({{{"kty", "oct"}, {"k", "c2VjcmV0"}}, rsa, ec, Json::object(), okp}).size(), 3u);
  EXPECT_EQ(ERR_peek_error(), 0u);
}

TEST(JwkSet, takes_rsa_keys_of_2048_to_8192_bits) {
  const auto usable = [](std::size_t bytes, std::uint8_t first) {
    Buffer n(bytes, 0xff);
    n[0] = first;
    return set_with(rsa_signer().jwk("k"), "n", base64url(n)).size() == 1;
  };
  EXPECT_TRUE(usable(256, 0x80));
  EXPECT_FALSE(usable(256, 0x7f));
  EXPECT_FALSE(usable(128, 0xff));
  EXPECT_TRUE(usable(257, 0));      // a zero in front is none of its bits
  EXPECT_FALSE(usable(256, 0));
  EXPECT_TRUE(usable(1024, 0xff));
  EXPECT_TRUE(usable(1025, 0));
  EXPECT_FALSE(usable(1025, 1));
  EXPECT_FALSE(usable(100'000, 1));
}

TEST(JwkSet, refuses_what_is_no_key_set) {
  for (const char* text : {"", "{", "[]", "null", "{}", R"({"keys":{}})", R"({"keys":null})", R"({"keys":[1]})",
                           R"({"keys":[{}, []]})", R"({"keys":[]} x)", "{\"keys\":[\"\xff\"]}"}) {
    EXPECT_EQ(JwkSet::parse(text).error().code, Errc::malformed) << text;
  }
  EXPECT_EQ(JwkSet::parse(R"({"keys":[]})").value().size(), 0u);
}

TEST(JwkSet, holds_at_most_100_keys_and_256_kib) {
  const Json jwk = ed25519_signer().jwk("k");
  EXPECT_EQ(set_of(std::vector<Json>(100, jwk)).size(), 100u);
  EXPECT_EQ(JwkSet::parse(key_set(std::vector<Json>(101, jwk)).dump()).error().code, Errc::malformed);
  const std::string text = key_set({jwk}).dump();
  EXPECT_TRUE(JwkSet::parse(text + std::string(JwkSet::kTextMax - text.size(), ' ')));
  EXPECT_EQ(JwkSet::parse(text + std::string(JwkSet::kTextMax - text.size() + 1, ' ')).error().code, Errc::malformed);
}

TEST(JwkSet, outlives_what_it_was_copied_from) {
  JwkSet copy;
  {
    const JwkSet keys = set_of({rsa_signer().jwk("k")});
    copy = keys;
  }
  EXPECT_TRUE(verify_jws(signed_by("RS256", "k"), copy));
}

}  // namespace tg::jws_test
