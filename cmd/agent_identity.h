// Who an agent is to the controller: its key and certificate, from the first token to the daily renewal.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cmd/first_contact.h"
#include "core/controller_address.h"
#include "core/token.h"
#include "core/view.h"
#include "net/tls.h"

namespace tg::cmd {

// AgentIdentity lives in the state directory: key.pem, chain.pem, root.pem and agent.json, all of mode 0600.
class AgentIdentity {
 public:
  // load reads what an earlier enroll left. Errors: login_needed when this machine was never enrolled; malformed when
  // the files do not belong together; denied.
  static Result<AgentIdentity> load(const std::string& state);

  // obtain returns the identity in `state`; with a `token` that was not used here yet, it enrolls first, which needs
  // the controller. A device may have the key of a service for a token: with it the controller is asked whether it still
  // knows the device, which is enrolled anew when not; it takes the place of no other identity (conflict). It runs an event loop of its own for at most `timeout`.
  // Errors: login_needed (no token, nothing in `state`); denied or expired (the controller refuses the token);
  // malformed (as load); unreachable, also when this machine's clock is so far off that the controller's certificate is
  // not valid by it (the identity is in `state` all the same); invalid_argument (no token, or one for another role).
  static Result<AgentIdentity> obtain(const std::string& state, std::string_view token, Token::Role role,
                                      const MakeResolver& dns, std::chrono::seconds timeout);

  // Session is what signing in came to.
  struct Session {
    std::string user;
    UnixTime until{};
    bool new_device = false;
  };
  // sign_in has a person sign in at the controller, and makes this machine a device of his when it is none yet. `at` is needed for
  // that. `how`: {"provider":NAME or ""} or {"user":EMAIL}; what the controller says on the way (control_server.h) goes to
  // `meanwhile`. Errors: those of load but login_needed, and of ask_first; conflict (the machine belongs to another controller);
  // invalid_argument (no `at`).
  static Result<Session> sign_in(const std::string& state, const std::optional<ControllerAddress>& at, const Json& how,
                                 const MakeResolver& dns, std::chrono::seconds timeout, const Meanwhile& meanwhile);

  const net::Identity& self() const noexcept { return self_; }
  const HostPort& controller() const noexcept { return controller_; }

  Result<net::TlsContext> client_context(std::string_view alpn) const {
    return net::TlsContext::client(credentials_, alpn);
  }
  Result<net::TlsContext> server_context(std::string_view alpn) const {
    return net::TlsContext::server(credentials_, alpn);
  }

  // renewal_due is half of the present certificate's life. wants_renewal says whether that is over, or has not begun:
  // the certificate was made while the controller's clock was ahead, and only the controller takes it.
  UnixTime renewal_due() const noexcept { return renewal_due_; }
  bool wants_renewal(UnixTime now) const noexcept { return now >= renewal_due_ || now < self_.not_before; }
  // renewal returns the message that asks for the next one, and renewed takes the answer and saves it. Errors of
  // renewed: malformed; denied (it is somebody else's, or for another key); io (it is used, but will be lost).
  Result<Json> renewal() const;
  Result<> renewed(const Json& answer);

 private:
  static Result<AgentIdentity> enrolled(const std::string& state, const HostPort& controller, const Token* token,
                                        std::string key, const Reply& reply);
  Result<bool> still_known(const MakeResolver& dns, std::chrono::seconds timeout) const;
  Result<> read_leaf();
  Result<> save() const;

  std::string state_;
  net::Credentials credentials_;
  net::Identity self_;
  HostPort controller_;
  std::string token_id_;
  bool by_key_ = false;        // the token is a service's key
  UnixTime renewal_due_{};
};

}  // namespace tg::cmd
