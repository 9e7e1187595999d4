// Signing in at an OpenID Connect provider by the device authorization grant (RFC 8628), without sockets.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/http.h"
#include "core/json_fwd.h"
#include "core/result.h"
#include "core/time.h"

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

// DeviceCode is what the person needs, who may have no browser here: to be shown at once.
struct DeviceCode {
  std::string url;                   // verification_uri
  std::string complete_url;          // with the code in it, for a QR; "" where the provider gives none
  std::string code;                  // user_code
  Instant expires{};
};

// DeviceSignIn is one sign-in. It says what to fetch, its driver fetches; whoever vouched for the person is asked anew for
// everything: nothing is kept from one sign-in to the next, and a rotated key is a key like any other.
//
//   discovering ─▶ asking ─▶ waiting ⇄ polling ─▶ fetching_keys ─▶ fetching_claims (when the ID token lacks some) ─▶ done
//        └────────────┴──────────────────┴───────────────┴────────────────┴─▶ failed
//
// Pure: no clock, no socket.
class DeviceSignIn {
 public:
  enum class State : std::uint8_t {
    discovering, asking, waiting, polling, fetching_keys, fetching_claims, done, failed
  };
  static constexpr std::chrono::seconds kLongest = std::chrono::minutes(30);   // whatever the provider says
  static constexpr int kAttempts = 3;                                          // at what must not cost a sign-in

  DeviceSignIn(OidcProvider provider, Instant now, UnixTime wall);

  State state() const noexcept { return state_; }
  bool over() const noexcept { return state_ == State::done || state_ == State::failed; }

  // next returns the request to send now; nothing while one is under way, before next_at(), and when it is over. Its answer,
  // or why there is none, goes to answer().
  std::optional<HttpRequest> next(Instant now);
  Instant next_at() const noexcept { return next_at_; }   // when to ask next() again; kNever while an answer is due
  void answer(const Result<HttpResponse>& got, Instant now, UnixTime wall);

  const std::optional<DeviceCode>& code() const noexcept { return code_; }   // from `waiting` on
  const Person& person() const noexcept { return person_; }                  // when done
  // error, when failed: denied (refused there, or what it says of the person is not enough), expired (nobody signed in in
  // time), unreachable (it does not answer), protocol (it says what makes no sense). One line that names the provider.
  const Error& error() const noexcept { return error_; }

 private:
  void fail_with(Errc code, const std::string& what);
  void discovered(const HttpResponse& r);
  void asked(const HttpResponse& r, Instant now);
  void polled(const HttpResponse& r, Instant now);
  void got_keys(const HttpResponse& r, UnixTime wall);
  void got_claims(const HttpResponse& r);
  void finish(const Json& info);
  bool vouched(const Json& claims) const;
  bool lacks_claims(const Json& claims) const;
  HttpRequest post(const std::string& url, std::vector<std::pair<std::string, std::string>> form) const;

  const OidcProvider provider_;
  const UnixTime began_;
  State state_ = State::discovering;
  bool under_way_ = false;
  Instant next_at_;
  int attempts_ = 0;
  std::string device_endpoint_, token_endpoint_, jwks_uri_, userinfo_endpoint_;
  bool secret_in_body_ = false;
  std::string device_code_, raw_token_, access_token_;
  Duration interval_{};
  std::string trouble_;              // why the last poll had no answer
  std::optional<DeviceCode> code_;
  std::shared_ptr<const IdToken> token_;
  Person person_;
  Error error_{Errc::failed, ""};
};

}  // namespace tg
