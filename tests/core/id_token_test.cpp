#include "core/id_token.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "core/text.h"
#include "tests/core/jws_signer.h"

namespace tg::id_token_test {

using std::chrono::seconds;
constexpr std::int64_t kNow = 1'800'000'000, kAsked = kNow - 120;
constexpr const char* kIssuer = "https://id.example.com/realms/home";

// Attempt is a token of the provider for a sign-in that began two minutes ago: good until something of it is changed.
struct Attempt {
  Json header, claims, keys;
  IdTokenRules rules{kIssuer, "tg", "n-0S6_WzA2Mj", UnixTime(seconds(kNow)), UnixTime(seconds(kAsked))};
  std::function<Buffer(const std::string& input)> sign;
  std::string header_text, claims_text;            // written instead, where JSON cannot say it
  std::function<void(std::string& token)> after;   // what happens to it on its way

  explicit Attempt(const std::string& alg = "RS256") {
    header = {{"alg", alg}, {"typ", "JWT"}, {"kid", alg == "ES256" ? "ec" : alg == "EdDSA" ? "ed" : "rsa"}};
    claims = {{"iss", kIssuer},      {"aud", "tg"},           {"sub", "u-1"},
              {"iat", kNow - 10},    {"exp", kNow + 300},     {"nbf", kNow - 10},
              {"auth_time", kNow - 20}, {"nonce", "n-0S6_WzA2Mj"}, {"amr", {"pwd", "otp"}},
              {"acr", "1"},          {"email", "alice@example.com"}};
    keys = Json::array({rsa_signer().jwk("rsa"), p256_signer().jwk("ec"), ed25519_signer().jwk("ed"),
                        JwsSigner::ed25519(8).jwk("ed2")});
    sign = [alg](const std::string& input) { return signer_for(alg).signature(alg, input); };
  }

  std::string token() const {
    const std::string input = signing_input(header_text.empty() ? header.dump() : header_text,
                                            claims_text.empty() ? claims.dump() : claims_text);
    std::string out = input + "." + base64url(sign(input));
    if (after) after(out);
    return out;
  }

  Result<IdToken> check() const { return check_id_token(token(), JwkSet::parse(Json({{"keys", keys}}).dump()).value(), rules); }
};

struct Bad {
  const char* name;
  Errc code;
  const char* says;   // in the error
  std::function<void(Attempt&)> change;
  const char* alg = "RS256";
};

// Shorthands for what many changes have in common: a claim or a header that is another or missing, a signature.
std::function<void(Attempt&)> claim(const char* name, Json value) { return [=](Attempt& a) { a.claims[name] = value; }; }
std::function<void(Attempt&)> no_claim(const char* name) { return [=](Attempt& a) { a.claims.erase(name); }; }
std::function<void(Attempt&)> header(const char* name, Json value) { return [=](Attempt& a) { a.header[name] = value; }; }
std::function<void(Attempt&)> after(std::function<void(std::string&)> what) { return [=](Attempt& a) { a.after = what; }; }

std::function<void(Attempt&)> unsigned_with(const char* alg) {
  return [=](Attempt& a) {
    a.header["alg"] = alg;
    a.sign = [](const std::string&) { return Buffer(); };
  };
}
std::function<void(Attempt&)> hmac_with(std::function<Buffer()> secret) {
  return [=](Attempt& a) {
    a.header["alg"] = "HS256";
    a.sign = [=](const std::string& input) { return hs256(secret(), input); };
  };
}
void by_foreigner(Attempt& a) {
  a.sign = [](const std::string& input) { return foreign_rsa_signer().signature("RS256", input); };
}
Bad flipped_signature(const char* name, const char* alg) {
  return {name, Errc::denied, "signature", [=](Attempt& a) {
    a.sign = [=](const std::string& input) {
      Buffer signature = signer_for(alg).signature(alg, input);
      signature[20] ^= 1;
      return signature;
    };
  }, alg};
}

// reencoded replaces a text in the payload, and leaves the signature that was made before.
std::function<void(std::string&)> reencoded(const std::string& from, const std::string& to) {
  return [=](std::string& token) {
    const auto first = token.find('.') + 1, second = token.rfind('.');
    const Buffer bytes = unbase64url(std::string_view(token).substr(first, second - first)).value();
    std::string payload(as_text(bytes));
    payload.replace(payload.find(from), from.size(), to);
    token.replace(first, second - first, base64url(as_bytes(payload)));
  };
}

const JwsSigner& small_rsa() { static const JwsSigner key = JwsSigner::rsa(1024); return key; }

std::vector<Bad> bad_tokens() {
  const Errc denied = Errc::denied, malformed = Errc::malformed, not_found = Errc::not_found, expired = Errc::expired;
  return {
      // who signed
      {"alg none without a signature", denied, "\"none\"", unsigned_with("none")},
      {"alg None without a signature", denied, "\"None\"", unsigned_with("None")},
      {"alg none with its signature", denied, "\"none\"", header("alg", "none")},
      {"no signature", denied, "signature", [](Attempt& a) { a.sign = [](const std::string&) { return Buffer(); }; }},
      {"HS256 with the public PEM", denied, "\"HS256\"", hmac_with([] { return rsa_signer().public_pem(); })},
      {"HS256 with the public DER", denied, "\"HS256\"", hmac_with([] { return rsa_signer().public_der(); })},
      {"HMAC with the public PEM as RS256", denied, "signature", [](Attempt& a) {
        a.sign = [](const std::string& input) { return hs256(rsa_signer().public_pem(), input); };
      }},
      {"another RSA key", denied, "signature", by_foreigner},
      {"another RSA key, in the header", denied, "signature", [](Attempt& a) {
        a.header["jwk"] = foreign_rsa_signer().jwk("rsa");
        by_foreigner(a);
      }},
      {"another RSA key, at a URL of the header", denied, "signature", [](Attempt& a) {
        a.header["jku"] = "https://attacker.example/keys";
        by_foreigner(a);
      }},
      {"kid of another key", denied, "signature", [](Attempt& a) {
        a.keys.push_back(foreign_rsa_signer().jwk("foreign"));
        a.header["kid"] = "foreign";
      }},
      {"kid of another EdDSA key", denied, "signature", header("kid", "ed2"), "EdDSA"},
      {"unknown kid", not_found, "kid \"rsa2\"", header("kid", "rsa2")},
      {"kid of a key of another type", not_found, "kid \"ec\"", header("kid", "ec")},
      {"kid that is a number", malformed, "kid", header("kid", 1)},
      {"no kid and two keys", denied, "kid", [](Attempt& a) {
        a.keys.push_back(foreign_rsa_signer().jwk("foreign"));
        a.header.erase("kid");
      }},
      {"key for encryption", not_found, "does not publish", [](Attempt& a) { a.keys[0]["use"] = "enc"; }},
      {"key for another algorithm", not_found, "does not publish", [](Attempt& a) { a.keys[0]["alg"] = "PS256"; }},
      {"RSA key of 1024 bits", not_found, "does not publish", [](Attempt& a) {
        a.keys[0] = small_rsa().jwk("rsa");
        a.sign = [](const std::string& input) { return small_rsa().signature("RS256", input); };
      }},
      {"point that is not on the curve", not_found, "does not publish", [](Attempt& a) { a.keys[1]["y"] = a.keys[1]["x"]; }, "ES256"},
      {"ES256 in DER", denied, "signature", [](Attempt& a) {
        a.sign = [](const std::string& input) { return p256_signer().der_signature(input); };
      }, "ES256"},
      {"PS256 with a salt of 20 bytes", denied, "signature", [](Attempt& a) {
        a.sign = [](const std::string& input) { return rsa_signer().signature("PS256", input, 20); };
      }, "PS256"},
      {"PS256 signed as RS256", denied, "signature", header("alg", "RS256"), "PS256"},
      flipped_signature("bit of an RS256 signature", "RS256"),
      flipped_signature("bit of a PS256 signature", "PS256"),
      flipped_signature("bit of an ES256 signature", "ES256"),
      flipped_signature("bit of an EdDSA signature", "EdDSA"),
      {"bit of the payload", denied, "signature", after(reencoded("u-1", "u-0"))},
      {"space in the payload", denied, "signature", after(reencoded("\"aud\":", "\"aud\": "))},

      // its form
      {"crit", denied, "crit", header("crit", {"exp"})},
      {"b64", denied, "b64", header("b64", false)},
      {"typ of an access token", denied, "\"at+jwt\"", header("typ", "at+jwt")},
      {"typ of a logout token", denied, "\"logout+jwt\"", header("typ", "logout+jwt")},
      {"header that is a list", malformed, "header", [](Attempt& a) { a.header_text = "[]"; }},
      {"alg twice", malformed, "twice", [](Attempt& a) { a.header_text = R"({"alg":"none","kid":"rsa","alg":"RS256"})"; }},
      {"sub twice", malformed, "twice", [](Attempt& a) {
        a.claims_text = a.claims.dump();
        a.claims_text.insert(1, R"("sub":"u-2",)");
      }},
      {"payload that is a list", malformed, "payload", [](Attempt& a) { a.claims = Json::array({a.claims}); }},
      {"two parts", malformed, "three parts", after([](std::string& t) { t.resize(t.rfind('.')); })},
      {"four parts", malformed, "three parts", after([](std::string& t) { t += ".e30"; })},
      {"five parts, encrypted", malformed, "encrypted", after([](std::string& t) { t += ".e30.e30"; })},
      {"nothing", malformed, "three parts", after([](std::string& t) { t.clear(); })},
      {"cut short by a character", malformed, "base64url", after([](std::string& t) { t.pop_back(); })},
      {"cut short by a byte", denied, "signature", [](Attempt& a) {
        a.sign = [](const std::string& input) {
          Buffer signature = rsa_signer().signature("RS256", input);
          signature.pop_back();
          return signature;
        };
      }},
      {"padded", malformed, "base64url", after([](std::string& t) { t += "=="; })},
      {"new line at its end", malformed, "base64url", after([](std::string& t) { t += "\n"; })},
      {"plain base64", malformed, "base64url", after([](std::string& t) { t[t.size() - 40] = '+'; })},
      {"longer than 64 KiB", malformed, "64 KiB", claim("x", std::string(50'000, 'x'))},

      // from whom, for whom
      {"iss with a slash at its end", denied, "https://id.example.com/realms/home/", claim("iss", std::string(kIssuer) + "/")},
      {"iss in capitals", denied, "iss", claim("iss", "https://ID.example.com/realms/home")},
      {"iss by http", denied, "iss", claim("iss", "http://id.example.com/realms/home")},
      {"iss of another", denied, "\"https://attacker.example\"", claim("iss", "https://attacker.example")},
      {"iss with a NUL", denied, "\\x00", claim("iss", std::string(kIssuer) + '\0')},
      {"iss empty", denied, "iss", claim("iss", "")},
      {"iss missing", malformed, "iss", no_claim("iss")},
      {"iss a list", malformed, "iss", claim("iss", {kIssuer})},
      {"aud of another client", denied, "\"wiki\", not \"tg\"", claim("aud", "wiki")},
      {"aud that begins alike", denied, "aud", claim("aud", "tg2")},
      {"aud a list of others", denied, "aud", claim("aud", {"wiki", "mail"})},
      {"aud an empty list", denied, "aud", claim("aud", Json::array())},
      {"aud missing", malformed, "aud", no_claim("aud")},
      {"aud a number", malformed, "aud", claim("aud", 1)},
      {"aud a list with a number", malformed, "aud", claim("aud", {"tg", 1})},
      {"aud of several without azp", denied, "azp", claim("aud", {"tg", "wiki"})},
      {"azp of another client", denied, "\"wiki\", not \"tg\"", claim("azp", "wiki")},
      {"azp of another of several", denied, "azp", [](Attempt& a) {
        a.claims["aud"] = {"tg", "wiki"};
        a.claims["azp"] = "wiki";
      }},
      {"azp a list", malformed, "azp", claim("azp", {"tg"})},
      {"azp null", malformed, "azp", claim("azp", nullptr)},

      // when
      {"exp past", expired, "are the clocks of the controller and the provider right?", claim("exp", kNow - 61)},
      {"exp past by a fraction", expired, "exp", claim("exp", kNow - 60.5)},
      {"exp missing", malformed, "exp", no_claim("exp")},
      {"exp a text", malformed, "exp", claim("exp", "1800000300")},
      {"exp negative", malformed, "exp", claim("exp", -1)},
      {"exp a negative fraction", malformed, "exp", claim("exp", -0.5)},
      {"exp too large", malformed, "exp", claim("exp", (1ll << 40) + 1)},
      {"exp far too large", malformed, "exp", claim("exp", 1e300)},
      {"exp null", malformed, "exp", claim("exp", nullptr)},
      {"exp true", malformed, "exp", claim("exp", true)},
      {"iat to come", denied, "iat", claim("iat", kNow + 61)},
      {"iat in milliseconds", denied, "iat", claim("iat", kNow * 500)},
      {"iat before this sign-in", denied, "earlier sign-in", claim("iat", kAsked - 61)},
      {"iat missing", malformed, "iat", no_claim("iat")},
      {"iat a text", malformed, "iat", claim("iat", "now")},
      {"nbf to come", denied, "nbf", claim("nbf", kNow + 61)},
      {"nbf a text", malformed, "nbf", claim("nbf", "1")},
      {"auth_time a text", malformed, "auth_time", claim("auth_time", "1")},
      {"nonce of another sign-in", denied, "\"other\"", claim("nonce", "other")},
      {"nonce that begins alike", denied, "nonce", claim("nonce", "n-0S6_WzA2M")},
      {"nonce missing", denied, "nonce", no_claim("nonce")},
      {"nonce empty", denied, "nonce", claim("nonce", "")},
      {"nonce a list", denied, "nonce", claim("nonce", {"n-0S6_WzA2Mj"})},

      // of whom
      {"sub missing", malformed, "sub", no_claim("sub")},
      {"sub empty", malformed, "sub", claim("sub", "")},
      {"sub of 256 bytes", malformed, "sub", claim("sub", std::string(256, 's'))},
      {"sub a number", malformed, "sub", claim("sub", 1)},
      {"sub with a new line", malformed, "u\\x0a1", claim("sub", "u\n1")},
      {"sub that turns the text around", malformed, "sub", claim("sub", "u\u202e1")},
      {"amr a text", malformed, "amr", claim("amr", "pwd")},
      {"amr with a number", malformed, "amr", claim("amr", {"pwd", 1})},
      {"amr of 33 methods", malformed, "amr", claim("amr", std::vector<std::string>(33, "pwd"))},
      {"amr with a method of 65 bytes", malformed, "amr", claim("amr", std::vector<std::string>{std::string(65, 'm')})},
      {"acr a number", malformed, "acr", claim("acr", 1)},
      {"acr with an escape", malformed, "acr", claim("acr", "\x1b[2J")},
  };
}

TEST(IdToken, says_who_signed_in_and_how) {
  for (const char* alg : {"RS256", "PS256", "ES256", "EdDSA"}) {
    const auto token = Attempt(alg).check();
    ASSERT_TRUE(token) << alg << ": " << token.error().text;
    EXPECT_EQ(token->subject, "u-1");
    EXPECT_EQ(token->expires, UnixTime(seconds(kNow + 300)));
    EXPECT_EQ(token->authenticated, UnixTime(seconds(kNow - 20)));
    EXPECT_EQ(token->methods, (std::vector<std::string>{"pwd", "otp"}));
    EXPECT_EQ(token->context, "1");
    EXPECT_EQ(token->claims, Attempt(alg).claims);
  }
}

// Row 27 of the threats.
TEST(IdToken, refuses_a_good_token_of_which_one_thing_was_changed) {
  std::set<std::string> names;
  for (const Bad& bad : bad_tokens()) {
    SCOPED_TRACE(bad.name);
    EXPECT_TRUE(names.insert(bad.name).second);
    Attempt attempt(bad.alg);
    ASSERT_TRUE(attempt.check()) << attempt.check().error().text;
    bad.change(attempt);
    const auto got = attempt.check();
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, bad.code) << got.error().text;
    EXPECT_NE(got.error().text.find(bad.says), std::string::npos) << got.error().text;
    EXPECT_TRUE(got.error().text.starts_with("the ID token")) << got.error().text;
    EXPECT_EQ(printable(got.error().text, 1000), got.error().text);   // one line, and moves no cursor
  }
  EXPECT_GE(names.size(), 90u);
}

TEST(IdToken, takes_what_a_provider_may_leave_out_or_say_otherwise) {
  const std::pair<const char*, std::function<void(Attempt&)>> changes[] = {
      {"no typ", [](Attempt& a) { a.header.erase("typ"); }},
      {"typ as a media type", header("typ", "application/JWT")},
      {"no kid and one key", [](Attempt& a) { a.header.erase("kid"); }},
      {"a key in the header", header("jwk", foreign_rsa_signer().jwk("rsa"))},
      {"a list of one audience", claim("aud", {"tg"})},
      {"our audience twice", claim("aud", {"tg", "tg"})},
      {"azp without need", claim("azp", "tg")},
      {"several audiences with azp", [](Attempt& a) { a.claims["aud"] = {"wiki", "tg"}; a.claims["azp"] = "tg"; }},
      {"exp a minute ago", claim("exp", kNow - 60)},
      {"exp with a fraction", claim("exp", kNow + 0.5)},
      {"exp in 34,000 years", claim("exp", 1ll << 40)},
      {"iat in a minute", claim("iat", kNow + 60)},
      {"iat with a fraction, in a minute", claim("iat", kNow + 60.9)},
      {"iat a minute before we asked", claim("iat", kAsked - 60)},
      {"nbf in a minute", claim("nbf", kNow + 60)},
      {"no nbf", no_claim("nbf")},
      {"no nonce where none was sent", [](Attempt& a) { a.claims.erase("nonce"); a.rules.nonce.clear(); }},
      {"any nonce where none was sent", [](Attempt& a) { a.claims["nonce"] = 1; a.rules.nonce.clear(); }},
      {"sub of 255 bytes", claim("sub", std::string(255, 's'))},
      {"sub beyond ASCII", claim("sub", "Zoë")},
      {"32 methods", claim("amr", std::vector<std::string>(32, std::string(64, 'm')))},
      {"a claim of nobody's", claim("x", {{"y", {1, nullptr}}})},
  };
  for (const auto& [name, change] : changes) {
    Attempt attempt;
    change(attempt);
    const auto got = attempt.check();
    EXPECT_TRUE(got) << name << ": " << got.error().text;
  }
}

TEST(IdToken, has_nothing_where_the_provider_says_nothing) {
  Attempt attempt;
  for (const char* name : {"auth_time", "amr", "acr"}) attempt.claims.erase(name);
  const auto got = attempt.check();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->authenticated, std::nullopt);
  EXPECT_TRUE(got->methods.empty());
  EXPECT_EQ(got->context, "");
}

TEST(IdToken, floors_a_time_with_a_fraction) {
  Attempt attempt;
  attempt.claims["exp"] = kNow + 1.9;
  EXPECT_EQ(attempt.check().value().expires, UnixTime(seconds(kNow + 1)));
}

TEST(IdToken, names_both_values_in_one_line) {
  Attempt attempt;
  attempt.claims["iss"] = "https://a\nb";
  EXPECT_EQ(attempt.check().error().text,
            R"(the ID token's issuer (iss) is "https://a\x0ab", not "https://id.example.com/realms/home")");
  attempt = Attempt();
  attempt.claims["exp"] = kNow - 120;
  EXPECT_EQ(attempt.check().error().text,
            "the ID token expired (exp) at 2027-01-15 07:58 UTC (1799999880), and now it is 2027-01-15 08:00 UTC "
            "(1800000000); are the clocks of the controller and the provider right?");
}

TEST(IdToken, does_not_tell_the_nonce_that_would_be_right) {
  Attempt attempt;
  attempt.claims["nonce"] = "guess";
  EXPECT_EQ(attempt.check().error().text.find(attempt.rules.nonce), std::string::npos);
}

TEST(IdToken, finds_a_claim_by_name_or_path) {
  const Json claims = {{"email", "a@example.com"},
                       {"groups", {"ops", "dev"}},
                       {"realm_access", {{"roles", {"admin"}}, {"a.b", "deep"}}},
                       {"https://example.com/roles", {"literal"}},
                       {"x.y", "whole"},
                       {"x", {{"y", "nested"}}}};
  using Texts = std::vector<std::string>;
  EXPECT_EQ(text_claim(claims, "email"), "a@example.com");
  EXPECT_EQ(text_claim(claims, "x.y"), "whole");
  EXPECT_EQ(text_claim(claims, "realm_access.a.b"), "deep");
  EXPECT_EQ(list_claim(claims, "email"), Texts{"a@example.com"});
  EXPECT_EQ(list_claim(claims, "groups"), (Texts{"ops", "dev"}));
  EXPECT_EQ(list_claim(claims, "realm_access.roles"), Texts{"admin"});
  EXPECT_EQ(list_claim(claims, "https://example.com/roles"), Texts{"literal"});
  for (const char* name : {"", ".", "..", "nobody", "email.x", "groups.0", "realm_access", "realm_access.", ".roles",
                           "realm_access.roles.admin", "realm_access.nobody"}) {
    EXPECT_EQ(text_claim(claims, name), std::nullopt) << name;
    EXPECT_EQ(list_claim(claims, name), Texts{}) << name;
  }
  EXPECT_EQ(text_claim(claims, "groups"), std::nullopt);
  EXPECT_EQ(text_claim(Json::array(), "email"), std::nullopt);
  EXPECT_EQ(list_claim(Json(), "email"), Texts{});
}

TEST(IdToken, leaves_out_entries_that_are_no_names) {
  const std::string longest(256, 'g');
  std::vector<std::string> late(1001);   // what is left out does not count
  late.push_back("g");
  const Json claims = {{"groups", {"a", "", 1, nullptr, {"x"}, "b\n", longest, longest + "g", "\x1b[2J", "c"}},
                       {"many", std::vector<std::string>(1001, "g")},
                       {"late", late},
                       {"long", longest + "g"},
                       {"empty", ""},
                       {"control", "a\tb"},
                       {"number", 1}};
  EXPECT_EQ(list_claim(claims, "groups"), (std::vector<std::string>{"a", longest, "c"}));
  EXPECT_EQ(list_claim(claims, "many").size(), 1000u);
  EXPECT_EQ(list_claim(claims, "late"), std::vector<std::string>{"g"});
  for (const char* name : {"long", "empty", "control", "number"}) {
    EXPECT_EQ(text_claim(claims, name), std::nullopt) << name;
    EXPECT_TRUE(list_claim(claims, name).empty()) << name;
  }
}

}  // namespace tg::id_token_test
