// People who sign in to the HTTP API with a browser, by the authorization code grant (core/oidc.h), and their sessions.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "cmd/controller/api.h"
#include "cmd/controller/signing_in.h"
#include "cmd/controller/store.h"
#include "cmd/controller/web_request.h"
#include "core/crowd.h"
#include "core/guess_limit.h"
#include "net/http_server.h"
#include "net/loop.h"

namespace tg::controller {

// WebSignIn answers at / and from /sign-in on, over TLS alone. What is under way is in memory and lost with the process; a
// session is in the store, by the hash of what the browser keeps.
class WebSignIn {
 public:
  static constexpr std::size_t kSignIns = 1024;         // people who are signing in, in all: one more ends the oldest
  static constexpr std::size_t kSignInsPerSource = 64;  // and from one source, likewise
  static constexpr std::size_t kWaiting = 64;           // of whom a connection waits for the provider's answer; one more is refused
  static constexpr std::size_t kFormMax = 4096;         // bytes

  struct Means {
    SignInMeans providers;
    std::function<void()> changed;                      // somebody was signed in: the store has changed
  };
  // `self` is how people reach this.
  WebSignIn(net::Loop& loop, Store& store, Means means, const HostPort& self);

  // takes says whether a path is answered here.
  static bool takes(std::string_view path);
  void answer(const HttpAsked& asked, const net::HttpPeer& from, net::HttpServer::Reply reply);

  // caller returns whom the session stands for that a request shows: nothing when it shows none. Errors: for one that must not go
  // on.
  tl::expected<std::optional<Caller>, HttpRefusal> caller(const HttpAsked& asked, const net::HttpPeer& from);

 private:
  // Visitor is somebody whose browser is at a provider, or has come back.
  struct Visitor {
    std::uint64_t number = 0;
    Buffer browser;                     // SHA-256 of the cookie that this browser was given
    SignIn who;
    std::string from;
    Buffer before;                      // the session that this browser had, by its hash; or nothing
    std::unique_ptr<SigningIn> signing_in;
    CodeSignIn* machine = nullptr;      // of signing_in
    net::HttpServer::Reply reply;       // whoever waits for an answer now
  };
  void front(const HttpAsked& asked, const net::HttpServer::Reply& reply);
  void start(const HttpAsked& asked, const net::HttpPeer& from, const net::HttpServer::Reply& reply);
  void came_back(const HttpAsked& asked, const net::HttpServer::Reply& reply);
  void sign_out(const HttpAsked& asked, const net::HttpPeer& from, const net::HttpServer::Reply& reply);
  void ended(const Buffer& key, Result<Person> person);
  void let_in(Visitor visitor);
  Visitor take(const Buffer& key);
  Result<OidcProvider> provider_of(const std::string& name);
  Result<std::optional<WebCaller>> signed_in(const HttpAsked& asked);

  net::Loop& loop_;
  Store& store_;
  Means means_;
  std::string origin_;
  std::map<Buffer, Visitor> visitors_;  // by the SHA-256 of their state
  Crowd crowd_{kSignIns, kSignInsPerSource};
  std::uint64_t last_ = 0;
  GuessLimit pace_{20, std::chrono::seconds(3)};   // sign-ins that one source begins
};

}  // namespace tg::controller
