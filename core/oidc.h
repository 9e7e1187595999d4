// Signing in at an OpenID Connect provider, without sockets: by the device authorization grant (RFC 8628), and with a browser by
// the authorization code grant with PKCE (OpenID Connect Core 1.0 section 3.1, RFC 7636).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/http.h"
#include "core/json_fwd.h"
#include "core/result.h"
#include "core/time.h"
#include "core/uri.h"

namespace tg {

struct IdToken;

// OidcProvider is what has to be known of a provider to sign in there.
struct OidcProvider {
  std::string name;                  // as an administrator calls it, for messages
  std::string issuer;                // "https://…", as its tokens must name it
  std::string client_id;
  std::string client_secret;         // "": a public client
  std::vector<std::string> scopes;   // "openid" among them
  std::string email_claim = "email";
  bool trust_email = false;          // the address is taken without the provider's word that it is verified
  std::string groups_claim;          // "": groups are not asked for
};

// Person is whom a provider vouches for.
struct Person {
  std::string subject;               // "sub": the one name that never changes there
  std::string email;                 // as the provider writes it
  std::vector<std::string> groups;
  std::vector<std::string> methods;  // amr (RFC 8176): "pwd", "otp", …
  std::string context;               // acr
  std::optional<UnixTime> authenticated;
};

// OidcSignIn is one sign-in, of either kind. It says what to fetch, its driver fetches; whoever vouched for the person is asked
// anew for everything: nothing is kept from one sign-in to the next, and a rotated key is a key like any other.
//
// Pure: no clock, no socket, no random number.
class OidcSignIn {
 public:
  enum class State : std::uint8_t {
    discovering, asking, waiting, polling, redeeming, fetching_keys, fetching_claims, done, failed
  };
  static constexpr int kAttempts = 3;                                          // at what must not cost a sign-in
  virtual ~OidcSignIn() = default;

  State state() const noexcept { return state_; }
  bool over() const noexcept { return state_ == State::done || state_ == State::failed; }

  // next returns the request to send now; nothing while one is under way, before next_at(), and when it is over. Its answer,
  // or why there is none, goes to answer().
  std::optional<HttpRequest> next(Instant now);
  Instant next_at() const noexcept { return next_at_; }   // when to ask next() again; kNever while an answer is due
  void answer(const Result<HttpResponse>& got, Instant now, UnixTime wall);

  const Person& person() const noexcept { return person_; }                  // when done
  // error, when failed: denied (refused there, or what it says of the person is not enough), expired (nobody signed in in
  // time), unreachable (it does not answer), protocol (it says what makes no sense), unsupported (it lacks this way to sign in).
  // One line that names the provider.
  const Error& error() const noexcept { return error_; }

 protected:
  OidcSignIn(OidcProvider provider, std::string nonce, Instant now, UnixTime wall);

  // described gives what the provider says of itself: who is signing in goes on from there.
  virtual void described(const Json& about, Instant now) = 0;
  // own_request is asked in the states that are of one way alone. Nothing: there is none to send now.
  virtual std::optional<HttpRequest> own_request(Instant now) = 0;
  // own_answer takes what came of it. own_trouble says whether it goes on without an answer.
  virtual void own_answer(const HttpResponse& r, Instant now) = 0;
  virtual bool own_trouble(const std::string& why, Instant now) = 0;

  void fail_with(Errc code, const std::string& what);
  // wait_until has the driver come back at that time.
  void wait_until(Instant at) { state_ = State::waiting, next_at_ = at; }
  void ask_in(State state) { state_ = state; }
  // took_tokens goes on with the answer of the token endpoint (RFC 6749 section 5.1).
  void took_tokens(const Json& body);
  HttpRequest post(const std::string& url, std::vector<std::pair<std::string, std::string>> form) const;
  std::string scopes() const;
  const OidcProvider& provider() const noexcept { return provider_; }
  const std::string& token_endpoint() const noexcept { return token_endpoint_; }

 private:
  void discovered(const HttpResponse& r, Instant now);
  void got_keys(const HttpResponse& r, UnixTime wall);
  void got_claims(const HttpResponse& r);
  void finish(const Json& info);
  bool vouched(const Json& claims) const;
  bool lacks_claims(const Json& claims) const;

  OidcProvider provider_;
  std::string nonce_;                // "": none is sent
  UnixTime began_;
  State state_ = State::discovering;
  bool under_way_ = false;
  Instant next_at_;
  int attempts_ = 0;
  std::string token_endpoint_, jwks_uri_, userinfo_endpoint_;
  bool secret_in_body_ = false;
  std::string raw_token_, access_token_;
  std::shared_ptr<const IdToken> token_;
  Person person_;
  Error error_{Errc::failed, ""};
};

// DeviceCode is what the person needs, who may have no browser here: to be shown at once.
struct DeviceCode {
  std::string url;                   // verification_uri
  std::string complete_url;          // with the code in it, for a QR; "" where the provider gives none
  std::string code;                  // user_code
  Instant expires{};
};

// DeviceSignIn shows a code to the person, and polls until he has entered it in some browser.
//
//   discovering ─▶ asking ─▶ waiting ⇄ polling ─▶ fetching_keys ─▶ fetching_claims (when the ID token lacks some) ─▶ done
//        └────────────┴──────────────────┴───────────────┴────────────────┴─▶ failed
class DeviceSignIn final : public OidcSignIn {
 public:
  static constexpr std::chrono::seconds kLongest = std::chrono::minutes(30);   // whatever the provider says

  DeviceSignIn(OidcProvider provider, Instant now, UnixTime wall);

  const std::optional<DeviceCode>& code() const noexcept { return code_; }   // from `waiting` on

 private:
  void described(const Json& about, Instant now) override;
  std::optional<HttpRequest> own_request(Instant now) override;
  void own_answer(const HttpResponse& r, Instant now) override;
  bool own_trouble(const std::string& why, Instant now) override;
  void asked(const HttpResponse& r, Instant now);
  void polled(const HttpResponse& r, Instant now);

  std::string device_endpoint_, device_code_;
  Duration interval_{};
  std::string trouble_;              // why the last poll had no answer
  std::optional<DeviceCode> code_;
};

// CodeSecrets are three texts of one sign-in, each with at least 256 random bits that nobody can guess, in base64url.
struct CodeSecrets {
  std::string state;                 // comes back with the browser
  std::string nonce;                 // comes back in the ID token
  std::string verifier;              // is shown with the code (RFC 7636): 43 to 128 bytes
};

// CodeSignIn sends the person's browser to the provider, and takes what it comes back with, once.
//
//   discovering ─▶ waiting (for the browser) ─▶ redeeming ─▶ fetching_keys ─▶ fetching_claims ─▶ done
//        └─────────────┴────────────────────────────┴──────────────┴────────────────┴─▶ failed
class CodeSignIn final : public OidcSignIn {
 public:
  static constexpr std::chrono::seconds kLongest = std::chrono::minutes(10);   // until the browser has come back

  CodeSignIn(OidcProvider provider, CodeSecrets secrets, std::string redirect_uri, Instant now, UnixTime wall);

  // url is where the browser goes; "" before `waiting`.
  const std::string& url() const noexcept { return url_; }
  // returned takes the query that the browser came back with (RFC 6749 section 4.1.2, RFC 9207). Errors leave the machine as it
  // is: denied (of another sign-in: its state is wrong), conflict (nothing is waited for, or not any more). Whatever else is
  // wrong fails it: a provider's answer is taken once, good or bad.
  Result<> returned(const QueryItems& query, Instant now);

 private:
  void described(const Json& about, Instant now) override;
  std::optional<HttpRequest> own_request(Instant now) override;
  void own_answer(const HttpResponse& r, Instant now) override;
  bool own_trouble(const std::string& why, Instant now) override;

  CodeSecrets secrets_;
  std::string redirect_uri_, url_, code_;
  bool names_itself_ = false;        // it promised an iss in its answers (RFC 9207 section 3)
  Instant expires_;
};

// code_challenge is what goes to the provider first, of a verifier: S256 (RFC 7636 section 4.2).
std::string code_challenge(std::string_view verifier);

}  // namespace tg
