#include <gtest/gtest.h>

#include "core/encoding.h"
#include "core/json.h"
#include "core/oidc.h"
#include "tests/core/jws_signer.h"

namespace tg::oidc_code_test {

using std::chrono::seconds;
using State = OidcSignIn::State;

constexpr const char* kIssuer = "https://id.example.com";
constexpr const char* kBack = "https://tg.example.com:8445/sign-in/callback";
constexpr UnixTime kWall{seconds(1'800'000'000)};

// Site is a provider that keeps to the standards, with documents that a test may change, and the browser that goes there and
// back.
struct Site {
  OidcProvider settings{"company", kIssuer, "tg", "", {"openid", "email"}, "email", false, "groups"};
  CodeSecrets secrets{"state-1", "nonce-1", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"};   // of RFC 7636 appendix B
  Json about = {{"issuer", kIssuer}, {"authorization_endpoint", "https://id.example.com/auth"},
                {"token_endpoint", "https://id.example.com/token"}, {"jwks_uri", "https://keys.example.com/jwks"},
                {"userinfo_endpoint", "https://id.example.com/me"}, {"authorization_response_iss_parameter_supported", true}};
  Json claims = {{"iss", kIssuer}, {"aud", "tg"}, {"sub", "u-1"}, {"iat", kWall.time_since_epoch().count()},
                 {"exp", kWall.time_since_epoch().count() + 300}, {"amr", {"pwd"}}, {"nonce", "nonce-1"}};
  Json me = {{"sub", "u-1"}, {"email", "alice@example.com"}, {"email_verified", true}, {"groups", {"family"}}};
  QueryItems query = {{"code", "c-1"}, {"state", "state-1"}, {"iss", kIssuer}};
  std::optional<Result<HttpResponse>> instead{};   // of the token
  std::vector<HttpRequest> seen{};
  Instant now{};
  UnixTime wall = kWall;
  std::optional<CodeSignIn> machine{};

  static HttpResponse json(const Json& j, int status = 200) { return {status, "application/json", j.dump()}; }

  Result<HttpResponse> answer(const HttpRequest& r) {
    if (r.url == std::string(kIssuer) + "/.well-known/openid-configuration") return json(about);
    if (r.url == about["token_endpoint"]) {
      if (instead) return *instead;
      return json({{"id_token", signed_with(rsa_signer(), "RS256", R"({"alg":"RS256","kid":"k1"})", claims.dump())},
                   {"access_token", "a-1"}, {"token_type", "Bearer"}});
    }
    if (r.url == about["jwks_uri"]) return json({{"keys", {rsa_signer().jwk("k1")}}});
    if (r.url == about["userinfo_endpoint"]) return json(me);
    return HttpResponse{404, "text/html", "what?"};
  }

  // go_on fetches for as long as the machine wants something at once.
  CodeSignIn& go_on() {
    while (auto request = machine->next(now)) {
      seen.push_back(*request);
      machine->answer(answer(*request), now, wall);
    }
    return *machine;
  }
  // begin goes on until the browser is to go to the provider.
  CodeSignIn& begin() {
    machine.emplace(settings, secrets, kBack, now, wall);
    return go_on();
  }
  CodeSignIn& run() {
    if (begin().state() != State::waiting) return *machine;
    const auto took = machine->returned(query, now);
    EXPECT_TRUE(took) << took.error().text;
    return go_on();
  }
  std::string failure(Errc code) {
    CodeSignIn& m = run();
    EXPECT_EQ(m.state(), State::failed);
    EXPECT_EQ(to_string(m.error().code), to_string(code)) << m.error().text;
    EXPECT_EQ(m.error().text.find('\n'), std::string::npos);
    EXPECT_TRUE(m.error().text.starts_with("the identity provider company: ")) << m.error().text;
    return m.error().text;
  }
  std::size_t asked_for_tokens() const {
    std::size_t out = 0;
    for (const HttpRequest& r : seen) out += about["token_endpoint"] == r.url ? 1 : 0;
    return out;
  }
};

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(CodeSignIn, ends_with_the_person_whom_the_provider_vouches_for) {
  Site s;
  CodeSignIn& m = s.run();
  ASSERT_EQ(m.state(), State::done) << m.error().text;
  EXPECT_EQ(m.person().subject, "u-1");
  EXPECT_EQ(m.person().email, "alice@example.com");
  EXPECT_EQ(m.person().groups, std::vector<std::string>{"family"});
  EXPECT_EQ(m.next_at(), kNever);
}

TEST(CodeSignIn, sends_the_browser_where_the_standards_say) {
  Site s;
  CodeSignIn& m = s.begin();
  ASSERT_EQ(m.state(), State::waiting);
  EXPECT_EQ(m.url(),
            "https://id.example.com/auth?response_type=code&client_id=tg"
            "&redirect_uri=https%3A%2F%2Ftg.example.com%3A8445%2Fsign-in%2Fcallback&scope=openid%20email"
            "&state=state-1&nonce=nonce-1"
            "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
            "&code_challenge_method=S256");
  EXPECT_EQ(m.next_at(), s.now + CodeSignIn::kLongest);
  Site more;
  more.about["authorization_endpoint"] = "https://id.example.com/auth?tenant=7";
  EXPECT_TRUE(more.begin().url().starts_with("https://id.example.com/auth?tenant=7&response_type=code&"));
}

TEST(CodeSignIn, shows_the_code_with_its_verifier) {
  Site s;
  ASSERT_EQ(s.run().state(), State::done);
  ASSERT_EQ(s.seen.size(), 4u);
  EXPECT_EQ(s.seen[1].method, "POST");
  EXPECT_EQ(s.seen[1].body,
            "grant_type=authorization_code&code=c-1&redirect_uri=https%3A%2F%2Ftg.example.com%3A8445%2Fsign-in%2Fcallback"
            "&code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk&client_id=tg");
  for (const HttpRequest& r : s.seen) EXPECT_EQ(r.url.find("dBjftJeZ"), std::string::npos) << "the verifier is in no URL";
}

TEST(CodeSignIn, needs_no_device_grant) {
  Site s;
  EXPECT_EQ(s.run().state(), State::done);
  Site none;
  none.about.erase("authorization_endpoint");
  EXPECT_SAYS(none.failure(Errc::protocol), "authorization_endpoint");
  for (const char* url : {"http://id.example.com/auth", "javascript:alert(1)", "https://id.example.com/auth#x"}) {
    Site wrong;
    wrong.about["authorization_endpoint"] = url;
    EXPECT_SAYS(wrong.failure(Errc::protocol), "authorization_endpoint");
  }
}

TEST(CodeSignIn, does_without_pkce_at_no_provider) {
  Site s;
  s.about["code_challenge_methods_supported"] = {"plain"};
  EXPECT_SAYS(s.failure(Errc::unsupported), "PKCE");
  Site good;
  good.about["code_challenge_methods_supported"] = {"plain", "S256"};
  EXPECT_EQ(good.run().state(), State::done);
}

TEST(CodeSignIn, takes_no_answer_to_another_sign_in_and_waits_on) {
  for (const QueryItems& query : {QueryItems{{"code", "c-1"}, {"state", "state-2"}, {"iss", kIssuer}},
                                  QueryItems{{"code", "c-1"}, {"iss", kIssuer}},
                                  QueryItems{{"code", "c-1"}, {"state", ""}, {"iss", kIssuer}},
                                  QueryItems{{"code", "c-1"}, {"state", "state-1"}, {"state", "state-1"}, {"iss", kIssuer}}}) {
    Site s;
    CodeSignIn& m = s.begin();
    const auto took = m.returned(query, s.now);
    ASSERT_FALSE(took);
    EXPECT_EQ(took.error().code, Errc::denied);
    EXPECT_EQ(s.go_on().state(), State::waiting);
    EXPECT_EQ(s.asked_for_tokens(), 0u);
  }
}

TEST(CodeSignIn, takes_an_answer_of_this_provider_alone) {
  const auto with = [](QueryItems query, bool promised = true) {
    Site s;
    s.query = std::move(query);
    if (!promised) s.about.erase("authorization_response_iss_parameter_supported");
    const std::string said = s.failure(Errc::denied);
    EXPECT_EQ(s.asked_for_tokens(), 0u) << "a code of somebody else is shown to nobody";
    return said;
  };
  EXPECT_SAYS(with({{"code", "c-1"}, {"state", "state-1"}, {"iss", "https://evil.example.com"}}), "evil");
  EXPECT_SAYS(with({{"code", "c-1"}, {"state", "state-1"}, {"iss", "https://evil.example.com"}}, false), "evil");
  EXPECT_SAYS(with({{"code", "c-1"}, {"state", "state-1"}}), "does not say whose it is");
  with({{"code", "c-1"}, {"state", "state-1"}, {"iss", kIssuer}, {"iss", "https://evil.example.com"}});
  Site silent;
  silent.about.erase("authorization_response_iss_parameter_supported");
  silent.query = {{"code", "c-1"}, {"state", "state-1"}};
  EXPECT_EQ(silent.run().state(), State::done);
}

TEST(CodeSignIn, takes_one_answer_and_no_second_one) {
  Site s;
  CodeSignIn& m = s.begin();
  ASSERT_TRUE(m.returned(s.query, s.now));
  auto again = m.returned(s.query, s.now);
  ASSERT_FALSE(again) << "the code was not even shown yet";
  EXPECT_EQ(again.error().code, Errc::conflict);
  EXPECT_EQ(s.go_on().state(), State::done);
  again = m.returned(s.query, s.now);
  ASSERT_FALSE(again);
  EXPECT_EQ(s.go_on().state(), State::done);
  EXPECT_EQ(s.asked_for_tokens(), 1u);
  Site failed;
  failed.query = {{"error", "access_denied"}, {"state", "state-1"}, {"iss", kIssuer}};
  failed.failure(Errc::denied);
  EXPECT_FALSE(failed.machine->returned({{"code", "c-1"}, {"state", "state-1"}, {"iss", kIssuer}}, failed.now));
  EXPECT_EQ(failed.machine->state(), State::failed);
}

TEST(CodeSignIn, takes_no_answer_before_it_asks) {
  Site s;
  s.machine.emplace(s.settings, s.secrets, kBack, s.now, s.wall);
  EXPECT_FALSE(s.machine->returned(s.query, s.now));
  EXPECT_EQ(s.machine->state(), State::discovering);
}

TEST(CodeSignIn, wants_one_code) {
  for (const QueryItems& query : {QueryItems{{"state", "state-1"}, {"iss", kIssuer}},
                                  QueryItems{{"code", ""}, {"state", "state-1"}, {"iss", kIssuer}},
                                  QueryItems{{"code", "c-1"}, {"code", "c-2"}, {"state", "state-1"}, {"iss", kIssuer}},
                                  QueryItems{{"code", std::string(20'000, 'c')}, {"state", "state-1"}, {"iss", kIssuer}}}) {
    Site s;
    s.query = query;
    EXPECT_SAYS(s.failure(Errc::protocol), "no code");
    EXPECT_EQ(s.asked_for_tokens(), 0u);
  }
}

TEST(CodeSignIn, says_what_the_provider_says) {
  Site no;
  no.query = {{"error", "access_denied"}, {"error_description", "gone"}, {"state", "state-1"}, {"iss", kIssuer}};
  EXPECT_SAYS(no.failure(Errc::denied), "the sign-in was refused there");
  Site other;
  other.query = {{"error", "invalid_scope"}, {"error_description", "no\x1b[31m"}, {"state", "state-1"}, {"iss", kIssuer}};
  EXPECT_SAYS(other.failure(Errc::denied), "it says invalid_scope: no\\x1b[31m");
  Site both;
  both.query = {{"error", "server_error"}, {"code", "c-1"}, {"state", "state-1"}, {"iss", kIssuer}};
  EXPECT_SAYS(both.failure(Errc::denied), "server_error");
  EXPECT_EQ(both.asked_for_tokens(), 0u);
}

TEST(CodeSignIn, wants_the_nonce_of_this_sign_in_in_the_id_token) {
  for (const Json& nonce : {Json(), Json("nonce-2"), Json(""), Json(1)}) {
    Site s;
    s.claims["nonce"] = nonce;
    EXPECT_SAYS(s.failure(Errc::denied), "nonce");
  }
  Site none;
  none.claims.erase("nonce");
  EXPECT_SAYS(none.failure(Errc::denied), "nonce");
}

TEST(CodeSignIn, wants_the_access_token_that_the_id_token_is_about) {
  Site s;
  s.claims["at_hash"] = base64url(Bytes(sha256(as_bytes("a-1"))).first(16));
  EXPECT_EQ(s.run().state(), State::done);
  for (const Json& other : {Json(base64url(Bytes(sha256(as_bytes("a-2"))).first(16))),
                            Json(base64url(sha256(as_bytes("a-1")))), Json(7)}) {
    Site wrong;
    wrong.claims["at_hash"] = other;
    EXPECT_SAYS(wrong.failure(Errc::denied), "at_hash");
  }
}

TEST(CodeSignIn, shows_a_code_once_also_when_nobody_answers) {
  Site down;
  down.instead = Result<HttpResponse>(fail(Errc::timed_out, "id.example.com:443: no answer"));
  EXPECT_SAYS(down.failure(Errc::unreachable), "no answer");
  EXPECT_EQ(down.asked_for_tokens(), 1u);
  Site used;
  used.instead = Site::json({{"error", "invalid_grant"}, {"error_description", "used already"}}, 400);
  EXPECT_SAYS(used.failure(Errc::denied), "invalid_grant: used already");
  EXPECT_EQ(used.asked_for_tokens(), 1u);
}

TEST(CodeSignIn, ends_when_the_browser_does_not_come_back) {
  Site s;
  CodeSignIn& m = s.begin();
  s.now += CodeSignIn::kLongest - seconds(1);
  EXPECT_EQ(s.go_on().state(), State::waiting);
  s.now += seconds(1);
  EXPECT_EQ(s.go_on().state(), State::failed);
  EXPECT_EQ(m.error().code, Errc::expired);
  EXPECT_FALSE(m.returned(s.query, s.now));
  Site late;
  late.begin();
  late.now += CodeSignIn::kLongest;
  ASSERT_TRUE(late.machine->returned(late.query, late.now));
  EXPECT_EQ(late.machine->error().code, Errc::expired) << "also where nobody has looked meanwhile";
}

TEST(CodeSignIn, believes_an_id_token_no_more_than_another_way_does) {
  const auto with = [](const char* claim, Json value) {
    Site s;
    s.claims[claim] = std::move(value);
    return s.failure(Errc::denied);
  };
  EXPECT_SAYS(with("aud", "another"), "another");
  EXPECT_SAYS(with("iss", "https://evil.example.com"), "evil");
  with("iat", kWall.time_since_epoch().count() - 3600);
  with("exp", kWall.time_since_epoch().count() - 3600);
  Site other;
  other.me["sub"] = "u-2";
  EXPECT_SAYS(other.failure(Errc::denied), "somebody else");
}

}  // namespace tg::oidc_code_test
