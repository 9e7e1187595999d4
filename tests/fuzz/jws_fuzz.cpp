// What a provider of sign-ins answers, or one who stands in for it: its keys, and ID tokens.
#include "core/id_token.h"
#include "tests/core/jws_signer.h"
#include "tests/fuzz/seeds.h"

namespace {

using namespace tg;

constexpr std::int64_t kNow = 1'800'000'000;
constexpr const char* kHeader = R"({"alg":"EdDSA"})";

const JwkSet& rfc_keys() { static const JwkSet keys = JwkSet::parse(kRfcKeys).value(); return keys; }
const JwkSet& our_keys() {
  static const JwkSet keys = JwkSet::parse(Json({{"keys", {ed25519_signer().jwk("k")}}}).dump()).value();
  return keys;
}

// check returns whether the token is taken, in which case what it says keeps the rules.
bool check(std::string_view compact, const JwkSet& keys) {
  const UnixTime now{std::chrono::seconds(kNow)}, minute_ago = now - std::chrono::seconds(60);
  const auto token = check_id_token(compact, keys, {"https://id.example.com", "tg", "n-1", now, now});
  if (!token) {
    TG_CHECK(token.error().text.starts_with("the ID token") && token.error().text.find('\n') == std::string::npos);
    return false;
  }
  TG_CHECK(!token->subject.empty() && token->subject.size() <= 255 && token->expires >= minute_ago);
  TG_CHECK(token->methods.size() <= 32 && token->claims["iss"] == "https://id.example.com");
  for (const char* name : {"groups", "realm_access.roles", "a.b.c"}) {
    const auto list = list_claim(token->claims, name);
    TG_CHECK(list.size() <= 1000);
    if (const auto text = text_claim(token->claims, name)) TG_CHECK(list == std::vector<std::string>{*text});
  }
  return true;
}

bool key_set(std::string_view text) {
  const auto keys = JwkSet::parse(text);
  if (!keys) return false;
  TG_CHECK(keys->size() <= JwkSet::kKeysMax);
  check(signed_with(ed25519_signer(), "EdDSA", R"({"alg":"EdDSA","kid":"k"})", "{}"), *keys);
  for (const char* alg : {"RS256", "PS256", "ES256"})   // no key has signed this
    TG_CHECK(!verify_jws(signing_input(std::string(R"({"alg":")") + alg + "\"}", "{}") + "." + std::string(86, 'A'), *keys));
  return keys->size() > 0;
}

bool id_token(std::string_view compact) { return check(compact, our_keys()); }
bool rfc_token(std::string_view compact) {
  check(compact, rfc_keys());
  return verify_jws(compact, rfc_keys()).has_value();
}

// claims and header let the fuzzer past the signature, which it cannot guess.
bool claims(std::string_view text) { return check(signed_with(ed25519_signer(), "EdDSA", kHeader, text), our_keys()); }
bool header(std::string_view text) {
  return verify_jws(signed_with(ed25519_signer(), "EdDSA", text, "{}"), our_keys()).has_value();
}

// Each seed, and what is to understand it; every input goes through them all.
constexpr Seed kSeeds[] = {
    {"keys", key_set},    {"rs256", rfc_token}, {"ps256", rfc_token}, {"es256", rfc_token},
    {"id_token", id_token}, {"claims", claims},   {"header", header},
};

}  // namespace

std::span<const Seed> seeds() { return kSeeds; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const Seed& seed : kSeeds) seed.understood(as_text({data, size}));
  return 0;
}
