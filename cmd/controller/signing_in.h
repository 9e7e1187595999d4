// People who are signing in, on control streams and with browsers: core/oidc driven over HTTPS.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cmd/controller/store.h"
#include "core/oidc.h"
#include "net/dial.h"
#include "net/loop.h"
#include "net/tls.h"

namespace tg::controller {

// SignInMeans is what it takes to ask an identity provider, and to look at second factors.
struct SignInMeans {
  std::function<Result<Buffer>(std::string_view name, Bytes sealed)> unseal;   // what the store keeps sealed
  std::function<Result<net::TlsContext>()> web;                             // whom to believe
  std::function<net::ResolveHost()> resolve;                                // lives as long as what it returns
};

// provider_to_ask makes of an identity provider what a sign-in there needs, its secret included. Errors: of the store, and of
// unseal.
Result<OidcProvider> provider_to_ask(const IdentityProviderSpec& spec, Store& store, const SignInMeans& means);

// own_trouble is what a stranger is told of a controller that lacks something: the rest is for its log, which it is written to.
tl::unexpected<Error> own_trouble(const Error& e);

// SigningIn drives one sign-in, from the first question to the provider to its last answer. Destroying it gives up.
class SigningIn {
 public:
  static constexpr Duration kPatience = std::chrono::seconds(10);   // with one exchange
  struct Callbacks {
    std::function<void()> on_waiting;                  // once: the machine waits for the person for the first time
    std::function<void(Result<Person>)> on_end;        // once, and the last; may destroy the SigningIn
  };
  // Calls back from the Loop, never from inside the constructor or go_on.
  SigningIn(net::Loop& loop, std::unique_ptr<OidcSignIn> machine, net::TlsContext web, net::ResolveHost resolve,
            Callbacks callbacks);
  ~SigningIn();

  // go_on looks at the machine again, which was told something.
  void go_on();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// WebRoots reads the CA certificates that providers are believed by, and again when the file has changed.
class WebRoots {
 public:
  static constexpr const char* kSystem = "/etc/ssl/certs/ca-certificates.crt";   // of Debian's package ca-certificates
  explicit WebRoots(std::string path) : path_(std::move(path)) {}
  // context errors: those of the file and of TlsContext::web; the text names the file and the option.
  Result<net::TlsContext> context();

 private:
  std::string path_;
  std::string version_;                                // of the file that context_ is from
  std::optional<net::TlsContext> context_;
};

}  // namespace tg::controller
