// People who are signing in, for the control streams: core/oidc driven over HTTPS.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/oidc.h"
#include "net/dial.h"
#include "net/loop.h"
#include "net/tls.h"

namespace tg::controller {

// SigningIn is one sign-in, from the first question to the provider to its last answer. Destroying it gives up.
class SigningIn {
 public:
  static constexpr Duration kPatience = std::chrono::seconds(10);   // with one exchange
  struct Callbacks {
    std::function<void(const DeviceCode&)> on_code;    // once: what to show to the person
    std::function<void(Result<Person>)> on_end;        // once, and the last; may destroy the SigningIn
  };
  // Calls back from the Loop, never from inside the constructor.
  SigningIn(net::Loop& loop, OidcProvider provider, net::TlsContext web, net::ResolveHost resolve, Callbacks callbacks);
  ~SigningIn();

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
