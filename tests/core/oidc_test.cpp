#include "core/oidc.h"

#include <gtest/gtest.h>

#include "core/json.h"
#include "tests/core/jws_signer.h"

namespace tg::oidc_test {

using std::chrono::seconds;
using State = DeviceSignIn::State;

constexpr const char* kIssuer = "https://id.example.com";
constexpr UnixTime kWall{seconds(1'800'000'000)};

// Provider answers as one does that keeps to the standards, with documents that a test may change. Time moves when the machine
// waits.
struct Provider {
  OidcProvider settings{"company", kIssuer, "tg", "", {"openid", "email"}, "email", false, "groups"};
  Json about = {{"issuer", kIssuer}, {"device_authorization_endpoint", "https://id.example.com/device/auth"},
                {"token_endpoint", "https://id.example.com/token"}, {"jwks_uri", "https://keys.example.com/jwks"},
                {"userinfo_endpoint", "https://id.example.com/me"}};
  Json asked = {{"device_code", "d-1"}, {"user_code", "BKGJ-WWCQ"}, {"verification_uri", "https://id.example.com/device"},
                {"verification_uri_complete", "https://id.example.com/device?user_code=BKGJ-WWCQ"}, {"expires_in", 600},
                {"interval", 5}};
  Json claims = {{"iss", kIssuer}, {"aud", "tg"}, {"sub", "u-1"}, {"iat", kWall.time_since_epoch().count()},
                 {"exp", kWall.time_since_epoch().count() + 300}, {"amr", {"pwd", "otp"}}, {"acr", "2"}};
  Json me = {{"sub", "u-1"}, {"email", "Alice@example.com"}, {"email_verified", true}, {"groups", {"engineering", "family"}}};
  std::vector<Result<HttpResponse>> polls;   // that come before the token
  std::vector<HttpRequest> seen;
  Instant now{};
  UnixTime wall = kWall;
  int trouble = 0;                            // how many of the requests for keys and claims fail
  std::optional<DeviceSignIn> machine{};

  static HttpResponse json(const Json& j, int status = 200) { return {status, "application/json", j.dump()}; }
  static HttpResponse error(const char* name, int status = 400) { return json({{"error", name}}, status); }

  Result<HttpResponse> answer(const HttpRequest& r) {
    if (r.url == std::string(kIssuer) + "/.well-known/openid-configuration") return json(about);
    if (r.url == about["device_authorization_endpoint"]) return json(asked);
    if (r.url == about["token_endpoint"]) {
      if (!polls.empty()) {
        auto next = polls.front();
        polls.erase(polls.begin());
        return next;
      }
      return json({{"id_token", signed_with(rsa_signer(), "RS256", R"({"alg":"RS256","kid":"k1"})", claims.dump())},
                   {"access_token", "a-1"}, {"token_type", "Bearer"}});
    }
    if (trouble > 0 && trouble-- > 0) return fail(Errc::timed_out, "id.example.com:443: no answer");
    if (r.url == about["jwks_uri"]) return json({{"keys", {rsa_signer().jwk("k1")}}});
    if (r.url == about["userinfo_endpoint"]) return json(me);
    return HttpResponse{404, "text/html", "what?"};
  }

  // run goes on until the machine is over.
  DeviceSignIn& run() {
    machine.emplace(settings, now, wall);
    for (int turns = 0; !machine->over() && turns < 10'000; ++turns) {
      if (auto request = machine->next(now)) {
        seen.push_back(*request);
        machine->answer(answer(*request), now, wall);
      } else if (!machine->over()) {
        const Instant then = machine->next_at();
        EXPECT_NE(then, kNever);
        wall += std::chrono::ceil<seconds>(then - now);
        now = then;
      }
    }
    return *machine;
  }

  std::string failure(Errc code) {
    DeviceSignIn& m = run();
    EXPECT_EQ(m.state(), State::failed);
    EXPECT_EQ(to_string(m.error().code), to_string(code)) << m.error().text;
    EXPECT_EQ(m.error().text.find('\n'), std::string::npos);
    EXPECT_TRUE(m.error().text.starts_with("the identity provider company: ")) << m.error().text;
    return m.error().text;
  }

  std::string header(const HttpRequest& r, const char* name) const {
    for (const auto& [key, value] : r.headers) {
      if (key == name) return value;
    }
    return {};
  }
};

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(DeviceSignIn, ends_with_the_person_whom_the_provider_vouches_for) {
  Provider p;
  p.polls = {Provider::error("authorization_pending")};
  DeviceSignIn& m = p.run();
  ASSERT_EQ(m.state(), State::done) << m.error().text;
  EXPECT_EQ(m.person().subject, "u-1");
  EXPECT_EQ(m.person().email, "Alice@example.com");
  EXPECT_EQ(m.person().groups, (std::vector<std::string>{"engineering", "family"}));
  EXPECT_EQ(m.person().methods, (std::vector<std::string>{"pwd", "otp"}));
  EXPECT_EQ(m.person().context, "2");
  EXPECT_EQ(m.next_at(), kNever);
}

TEST(DeviceSignIn, shows_the_code_before_anybody_has_signed_in) {
  Provider p;
  DeviceSignIn m(p.settings, p.now, p.wall);
  while (m.state() != State::waiting) m.answer(p.answer(*m.next(p.now)), p.now, p.wall);
  ASSERT_TRUE(m.code());
  EXPECT_EQ(m.code()->code, "BKGJ-WWCQ");
  EXPECT_EQ(m.code()->url, "https://id.example.com/device");
  EXPECT_EQ(m.code()->complete_url, "https://id.example.com/device?user_code=BKGJ-WWCQ");
  EXPECT_EQ(m.code()->expires, p.now + seconds(600));
  EXPECT_EQ(m.next_at(), p.now + seconds(5));
  EXPECT_FALSE(m.next(p.now + seconds(4)));
}

TEST(DeviceSignIn, sends_what_the_standards_say) {
  Provider p;
  ASSERT_EQ(p.run().state(), State::done);
  ASSERT_EQ(p.seen.size(), 5u);
  EXPECT_EQ(p.seen[0].method, "GET");
  EXPECT_EQ(p.seen[1].method, "POST");
  EXPECT_EQ(p.seen[1].body, "scope=openid%20email&client_id=tg");
  EXPECT_EQ(p.header(p.seen[1], "Content-Type"), "application/x-www-form-urlencoded");
  EXPECT_EQ(p.seen[2].body, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=d-1&client_id=tg");
  EXPECT_EQ(p.seen[3].url, "https://keys.example.com/jwks");
  EXPECT_EQ(p.header(p.seen[4], "Authorization"), "Bearer a-1");
}

TEST(DeviceSignIn, asks_for_the_description_where_an_issuer_with_a_path_has_it) {
  for (const char* issuer : {"https://id.example.com/realms/home", "https://id.example.com/realms/home/"}) {
    Provider p;
    p.settings.issuer = issuer;
    EXPECT_EQ(DeviceSignIn(p.settings, p.now, p.wall).next(p.now)->url,
              "https://id.example.com/realms/home/.well-known/openid-configuration");
  }
}

TEST(DeviceSignIn, shows_its_secret_as_the_provider_takes_it) {
  Provider basic;
  basic.settings.client_secret = "a b:c/ü";
  ASSERT_EQ(basic.run().state(), State::done);
  // base64 of "tg:a%20b%3Ac%2F%C3%BC" (RFC 6749 section 2.3.1), by another encoder
  EXPECT_EQ(basic.header(basic.seen[1], "Authorization"), "Basic dGc6YSUyMGIlM0FjJTJGJUMzJUJD");
  EXPECT_EQ(basic.seen[1].body, "scope=openid%20email");
  Provider post;
  post.settings.client_secret = "s";
  post.about["token_endpoint_auth_methods_supported"] = {"client_secret_post"};
  ASSERT_EQ(post.run().state(), State::done);
  EXPECT_EQ(post.header(post.seen[1], "Authorization"), "");
  EXPECT_EQ(post.seen[1].body, "scope=openid%20email&client_id=tg&client_secret=s");
}

TEST(DeviceSignIn, does_not_ask_for_claims_that_the_id_token_has) {
  Provider p;
  p.claims.update(p.me);
  ASSERT_EQ(p.run().state(), State::done);
  EXPECT_EQ(p.seen.size(), 4u);
}

TEST(DeviceSignIn, does_not_mix_the_address_of_one_document_with_the_word_of_the_other) {
  Provider p;
  p.claims["email"] = "ceo@example.com";
  p.me["email"] = "mallory@evil.example.net";
  ASSERT_EQ(p.run().state(), State::done);
  EXPECT_EQ(p.machine->person().email, "mallory@evil.example.net") << "which alone is verified";
  Provider none;
  none.claims["email"] = "ceo@example.com";
  none.me.erase("email");
  EXPECT_SAYS(none.failure(Errc::denied), "does not say that ceo@example.com was verified");
}

TEST(DeviceSignIn, believes_the_id_token_over_the_user_info) {
  Provider p;
  p.claims["email"] = "alice@example.com";
  p.claims["email_verified"] = true;
  p.me["email"] = "root@example.com";
  ASSERT_EQ(p.run().state(), State::done);
  EXPECT_EQ(p.machine->person().email, "alice@example.com");
}

TEST(DeviceSignIn, polls_more_slowly_when_told_so) {
  Provider p;
  p.polls = {Provider::error("slow_down"), Provider::error("authorization_pending"), Provider::error("slow_down")};
  ASSERT_EQ(p.run().state(), State::done);
  EXPECT_EQ(p.now - Instant{}, seconds(5 + 10 + 10 + 15));
}

TEST(DeviceSignIn, goes_on_when_a_poll_has_no_answer) {
  Provider p;
  p.polls = {fail(Errc::unreachable, "no route"), Provider::error("x", 429), Provider::error("authorization_pending")};
  ASSERT_EQ(p.run().state(), State::done);
  EXPECT_EQ(p.now - Instant{}, seconds(5 + 10 + 20 + 20));
}

TEST(DeviceSignIn, asks_again_for_keys_and_claims_since_the_person_has_signed_in_already) {
  Provider p;
  p.trouble = 2;
  EXPECT_EQ(p.run().state(), State::done);
  Provider down;
  down.trouble = 3;
  EXPECT_SAYS(down.failure(Errc::unreachable), "no answer");
}

TEST(DeviceSignIn, ends_when_nobody_signs_in_in_time) {
  Provider told;
  told.polls = {Provider::error("authorization_pending"), Provider::error("expired_token")};
  EXPECT_SAYS(told.failure(Errc::expired), "nobody signed in there in time");
  Provider silent;
  silent.polls.assign(1000, Provider::error("authorization_pending"));
  silent.failure(Errc::expired);
  EXPECT_EQ(silent.now - Instant{}, seconds(600));
  Provider down;
  down.polls.assign(1000, fail(Errc::unreachable, "no route"));
  EXPECT_SAYS(down.failure(Errc::expired), "lately, no route");
}

TEST(DeviceSignIn, waits_for_half_an_hour_at_most_whatever_the_provider_says) {
  Provider p;
  p.asked["expires_in"] = 1'000'000'000;
  p.asked["interval"] = 100'000;
  p.polls.assign(1000, Provider::error("authorization_pending"));
  p.failure(Errc::expired);
  EXPECT_EQ(p.now - Instant{}, DeviceSignIn::kLongest);
}

TEST(DeviceSignIn, says_that_it_was_refused) {
  Provider p;
  p.polls = {Provider::error("access_denied")};
  EXPECT_SAYS(p.failure(Errc::denied), "the sign-in was refused there");
  Provider other;
  other.polls = {Provider::json({{"error", "invalid_grant"}, {"error_description", "gone\x1b[31m"}}, 400)};
  EXPECT_SAYS(other.failure(Errc::denied), "it says invalid_grant: gone\\x1b[31m");
}

TEST(DeviceSignIn, takes_nothing_from_a_provider_of_another_name) {
  Provider p;
  p.about["issuer"] = "https://id.example.com/";
  EXPECT_SAYS(p.failure(Errc::protocol), "calls itself \"https://id.example.com/\"");
}

TEST(DeviceSignIn, says_what_is_missing_in_a_description) {
  Provider none;
  none.about.erase("device_authorization_endpoint");
  EXPECT_SAYS(none.failure(Errc::unsupported), "RFC 8628");
  for (const char* key : {"token_endpoint", "jwks_uri"}) {
    for (const Json& wrong : {Json(), Json(7), Json("http://id.example.com/plain"), Json("https://id.example.com/\n")}) {
      Provider p;
      p.about[key] = wrong;
      p.failure(Errc::protocol);
    }
  }
  Provider text;
  text.about = "hello";
  text.failure(Errc::protocol);
}

TEST(DeviceSignIn, shows_no_page_but_an_https_one) {
  for (const char* url : {"http://id.example.com/device", "javascript:alert(1)", "file:///etc/passwd", "https://id.example.com/\x1b[2J"}) {
    Provider p;
    p.asked["verification_uri"] = url;
    EXPECT_SAYS(p.failure(Errc::protocol), "verification_uri");
    Provider complete;
    complete.asked["verification_uri_complete"] = url;
    ASSERT_EQ(complete.run().state(), State::done);
    EXPECT_EQ(complete.machine->code()->complete_url, "");
  }
}

TEST(DeviceSignIn, takes_lengths_of_time_as_providers_write_them) {
  for (const Json& life : {Json(600), Json(600.0), Json("600"), Json(600.7)}) {
    Provider p;
    p.asked["expires_in"] = life;
    p.asked["interval"] = nullptr;
    ASSERT_EQ(p.run().state(), State::done);
    EXPECT_EQ(p.now - Instant{}, seconds(5));
  }
  for (const Json& none : {Json("soon"), Json(""), Json(-1), Json(true), Json("600 s"), Json("nan")}) {
    Provider p;
    p.asked["expires_in"] = none;
    EXPECT_SAYS(p.failure(Errc::protocol), "expires_in");
  }
}

TEST(DeviceSignIn, says_what_is_missing_in_an_answer) {
  for (const char* key : {"device_code", "user_code", "verification_uri", "expires_in"}) {
    Provider p;
    p.asked.erase(key);
    EXPECT_SAYS(p.failure(Errc::protocol), key);
  }
  Provider p;
  p.polls = {Provider::json({{"access_token", "a"}})};
  EXPECT_SAYS(p.failure(Errc::protocol), "openid");
}

TEST(DeviceSignIn, refuses_an_id_token_that_is_not_for_us_or_from_before) {
  const auto with = [](const char* claim, Json value) {
    Provider p;
    p.claims[claim] = std::move(value);
    return p.failure(Errc::denied);
  };
  EXPECT_SAYS(with("aud", "another"), "another");
  EXPECT_SAYS(with("iss", "https://evil.example.com"), "evil");
  with("iat", kWall.time_since_epoch().count() - 3600);
  with("exp", kWall.time_since_epoch().count() - 3600);
}

TEST(DeviceSignIn, refuses_user_info_of_somebody_else) {
  Provider p;
  p.me["sub"] = "u-2";
  EXPECT_SAYS(p.failure(Errc::denied), "somebody else");
}

TEST(DeviceSignIn, wants_an_address_that_was_verified_unless_told_to_trust) {
  for (const Json& verified : {Json(), Json(false), Json("false"), Json(1)}) {
    Provider p;
    p.me["email_verified"] = verified;
    EXPECT_SAYS(p.failure(Errc::denied), "trust_email");
    p.settings.trust_email = true;
    p.seen.clear();
    EXPECT_EQ(p.run().state(), State::done);
  }
  Provider text;
  text.me["email_verified"] = "true";
  EXPECT_EQ(text.run().state(), State::done);
  Provider none;
  none.me.erase("email");
  EXPECT_SAYS(none.failure(Errc::denied), "no e-mail address");
}

TEST(DeviceSignIn, takes_groups_only_from_the_claim_that_it_was_told) {
  Provider p;
  p.settings.groups_claim = "";
  ASSERT_EQ(p.run().state(), State::done);
  EXPECT_TRUE(p.machine->person().groups.empty());
  Provider nested;
  nested.settings.groups_claim = "realm_access.roles";
  nested.claims["realm_access"] = {{"roles", {"admin"}}};
  ASSERT_EQ(nested.run().state(), State::done);
  EXPECT_EQ(nested.machine->person().groups, std::vector<std::string>{"admin"});
}

TEST(DeviceSignIn, fails_at_once_when_the_provider_is_down) {
  Provider p;
  DeviceSignIn m(p.settings, p.now, p.wall);
  ASSERT_TRUE(m.next(p.now));
  EXPECT_FALSE(m.next(p.now)) << "one request at a time";
  m.answer(fail(Errc::unreachable, "id.example.com:443: connection refused"), p.now, p.wall);
  EXPECT_EQ(m.error().code, Errc::unreachable);
  EXPECT_EQ(m.error().text, "the identity provider company: id.example.com:443: connection refused");
}

}  // namespace tg::oidc_test
