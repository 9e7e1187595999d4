#include "cmd/controller/signing_in.h"

#include <sys/stat.h>

#include <fmt/format.h>

#include "cmd/controller/secrets.h"
#include "net/files.h"
#include "net/http_client.h"
#include "net/log.h"

namespace tg::controller {

struct SigningIn::State {
  State(net::Loop& l, std::unique_ptr<OidcSignIn> m, net::TlsContext w, net::ResolveHost r, Callbacks c)
      : loop(l), web(std::move(w)), resolve(std::move(r)), callbacks(std::move(c)), machine(std::move(m)),
        timer(l, [this] { step(); }) {}

  net::Loop& loop;
  net::TlsContext web;
  net::ResolveHost resolve;
  Callbacks callbacks;
  std::unique_ptr<OidcSignIn> machine;
  net::Timer timer;
  std::unique_ptr<net::HttpExchange> exchange{};
  bool told = false;

  void step() {
    if (auto request = machine->next(net::Loop::now())) {
      exchange = std::make_unique<net::HttpExchange>(loop, web, resolve, std::move(*request), kPatience,
                                                     [this](Result<HttpResponse> got) { answered(got); });
      return;
    }
    go_on();
  }

  void answered(const Result<HttpResponse>& got) {
    const auto done = std::move(exchange);   // lives until its callback has returned
    machine->answer(got, net::Loop::now(), net::Loop::wall());
    if (machine->state() == OidcSignIn::State::waiting && !std::exchange(told, true)) callbacks.on_waiting();
    go_on();
  }

  void go_on() {
    if (!machine->over()) return timer.at(machine->next_at());
    const auto end = std::move(callbacks.on_end);
    if (machine->state() == OidcSignIn::State::done) return end(machine->person());
    end(tl::unexpected(machine->error()));
  }
};

SigningIn::SigningIn(net::Loop& loop, std::unique_ptr<OidcSignIn> machine, net::TlsContext web, net::ResolveHost resolve,
                     Callbacks callbacks)
    : state_(std::make_shared<State>(loop, std::move(machine), std::move(web), std::move(resolve), std::move(callbacks))) {
  go_on();
}
SigningIn::~SigningIn() = default;

tl::unexpected<Error> own_trouble(const Error& e) {
  net::log(net::Level::error, "nobody can sign in: {}", e.text);
  return fail(Errc::io, "the controller can't ask its identity provider; its log says why");
}

void SigningIn::go_on() { state_->timer.after(Duration::zero()); }

Result<OidcProvider> provider_to_ask(const IdentityProviderSpec& spec, Store& store, const SignInMeans& means) {
  auto sealed = store.provider_secret(spec.name);
  if (!sealed) return pass_on(sealed);
  auto secret = *sealed ? means.unseal(kProviderSecret, **sealed) : Result<Buffer>();
  if (!secret) return pass_on(secret);
  return OidcProvider{spec.name,   spec.issuer,      spec.client_id,   std::string(as_text(*secret)),
                      spec.scopes, spec.email_claim, spec.trust_email, spec.groups_claim};
}

Result<net::TlsContext> WebRoots::context() {
  struct stat about{};
  const bool there = ::stat(path_.c_str(), &about) == 0;
  const std::string version =
      there ? fmt::format("{} {} {}.{}", about.st_ino, about.st_size, about.st_mtim.tv_sec, about.st_mtim.tv_nsec) : "";
  if (context_ && there && version == version_) return *context_;
  const auto named = [&](const Error& e) {
    return fail(e.code, fmt::format("the CA certificates that identity providers are believed by can't be read: {}: {}; install "
                                    "ca-certificates, or see --ca-bundle", path_, e.text));
  };
  auto text = net::read_file(path_);
  if (!text) return named(text.error());
  auto made = net::TlsContext::web(*text);
  if (!made) return named(made.error());
  version_ = version;
  context_ = *made;
  return made;
}

}  // namespace tg::controller
