// The part of the control streams where people sign in.
#include <fmt/format.h>

#include "cmd/controller/control_fields.h"
#include "cmd/controller/control_server.h"
#include "net/log.h"

namespace tg::controller {
namespace {

// The connection goes on for as long as the code is good, and a little for the last exchanges.
constexpr Duration kAfterTheCode = std::chrono::seconds(60);
constexpr Duration kBeforeTheCode = 3 * SigningIn::kPatience;

}  // namespace

// provider_of returns the identity provider that was asked for: the only one where none was named.
Result<OidcProvider> ControlServer::provider_of(const Json& message) const {
  const auto& all = directory_->model().identity_providers;
  const std::string name = name_field(message, "provider");
  if (all.empty() || !means_) {
    return fail(Errc::unsupported, "this controller has no identity provider: an administrator makes a token with "
                                   "'tg controller device token USER'");
  }
  std::string names;
  for (const IdentityProviderRecord& p : all) names += (names.empty() ? "" : ", ") + p.spec.name;
  if (name.empty() && all.size() > 1) return fail(Errc::invalid_argument, "say at which provider to sign in: --provider with one of " + names);
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& p) { return name.empty() || p.spec.name == name; });
  if (found == all.end()) {
    return fail(Errc::not_found, fmt::format("there is no identity provider \"{}\" here, only {}", printable(name, 64), names));
  }
  const IdentityProviderSpec& spec = found->spec;
  auto secret = found->has_secret ? means_->secret(spec.name) : Result<std::string>("");
  if (!secret) return pass_on(secret);
  return OidcProvider{spec.name, spec.issuer, spec.client_id, *secret, spec.scopes, spec.email_claim, spec.trust_email, spec.groups_claim};
}

void ControlServer::sign_in(AgentStream& s, const Json& message) {
  const UnixTime now = net::Loop::wall();
  const auto refuse = [&](const Error& e) { s.refuse(e.code, e.text, now); };
  if (must_reload_ && !reload()) return refuse({Errc::io, "the controller can't read its state"});
  Visitor visitor;
  if (s.identified()) {
    if (auto may = permitted(s); !may) return refuse(may.error());
    if (s.who().role != "device") return refuse({Errc::denied, fmt::format("a {} has nobody who signs in", s.who().role)});
    visitor.who.device = s.who().id;
    arriving_.erase(s.who().role + "/" + s.who().id);   // no rival of the client that runs
  } else {
    visitor.csr = pem_field(message, "csr");
    auto key = csr_thumbprint(visitor.csr);
    if (!key) return refuse(key.error());
    visitor.who.key = std::move(*key);
  }
  auto provider = provider_of(message);
  if (!provider) return refuse(provider.error());
  auto web = means_->web();
  if (!web) return refuse(web.error());
  visitor.who.provider = provider->name;
  visitor.who.name = name_field(message, "name");
  visitor.number = ++last_visitor_;
  if (const auto gone = visitors_.add(visitor.number, source_of(s.source()).to_string())) {
    const auto oldest = std::find_if(signing_in_.begin(), signing_in_.end(), [&](const auto& one) { return one.second.number == *gone; });
    AgentStream* const other = oldest->first;
    signing_in_.erase(oldest);
    other->refuse(Errc::exhausted, "too many people are signing in; try again", now);
  }
  AgentStream* const self = &s;
  visitor.signing_in = std::make_unique<SigningIn>(
      loop_, std::move(*provider), *web, means_->resolve(),
      SigningIn::Callbacks{[this, self](const DeviceCode& code) { show_code(*self, code); },
                           [this, self](Result<Person> person) { vouched_for(*self, std::move(person)); }});
  signing_in_.emplace(self, std::move(visitor));
  s.wait_for(kBeforeTheCode);
}

void ControlServer::show_code(AgentStream& s, const DeviceCode& code) {
  const Duration left = code.expires - net::Loop::now();
  const UnixTime expires = net::Loop::wall() + std::chrono::duration_cast<std::chrono::seconds>(left);
  s.wait_for(left + kAfterTheCode);
  s.send({{"type", "sign_in_at"}, {"provider", signing_in_.at(&s).who.provider}, {"url", code.url}, {"complete_url", code.complete_url},
          {"code", code.code}, {"expires", expires.time_since_epoch().count()}});
}

// vouched_for lets in, or says why not. The device may have been blocked, and the provider removed, meanwhile.
void ControlServer::vouched_for(AgentStream& s, Result<Person> person) {
  const UnixTime now = net::Loop::wall();
  Visitor visitor = std::move(signing_in_.at(&s));
  leave(s);
  over_.push_back(std::move(visitor.signing_in));   // it is running
  bury_.after(Duration::zero());
  const auto refuse = [&](const Error& e) {
    net::log(net::Level::warning, "sign-in from {}: {}", s.source().to_string(), e.text);
    s.refuse(e.code, e.text, now);
  };
  if (!person) return refuse(person.error());
  if (must_reload_ && !reload()) return refuse({Errc::io, "the controller can't read its state"});
  if (s.identified()) {
    if (auto may = permitted(s); !may) return refuse(may.error());
  }
  visitor.who.person = std::move(*person);
  auto in = store_.sign_in(visitor.who, now, s.source().to_string());
  const bool refused = !in && (in.error().code == Errc::denied || in.error().code == Errc::exhausted);
  if (refused) return refuse(in.error());
  if (!in) return refuse({Errc::io, "the controller could not write its state; ask an administrator"});
  Json answer = {{"type", "signed_in"}};
  if (!s.identified()) {
    auto issued = pki_.issue("device", in->device, visitor.csr, now);
    if (!issued) return refuse(issued.error());
    answer = {{"type", "enrolled"}, {"uri", issued->uri}, {"chain", issued->chain}, {"root", pki_.files().root}};
  }
  answer["time"] = now.time_since_epoch().count();
  answer["user"] = in->user;
  answer["until"] = in->until.time_since_epoch().count();
  s.send(answer);
  s.close();
  changed();
}

void ControlServer::leave(AgentStream& s) {
  const auto visitor = signing_in_.find(&s);
  if (visitor == signing_in_.end()) return;
  visitors_.remove(visitor->second.number);
  signing_in_.erase(visitor);
}

}  // namespace tg::controller
