// The part of the control streams where people sign in.
#include <fmt/format.h>

#include "cmd/controller/control_fields.h"
#include "cmd/controller/control_server.h"
#include "cmd/controller/secrets.h"
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
    return fail(Errc::unsupported, "this controller has no identity provider: sign in with a password (--user EMAIL), if you "
                                   "have one, or ask an administrator for a token ('tg controller device token USER')");
  }
  std::string names;
  for (const IdentityProviderRecord& p : all) names += (names.empty() ? "" : ", ") + p.spec.name;
  if (name.empty() && all.size() > 1) {
    return fail(Errc::invalid_argument, "say at which provider to sign in: --provider with one of " + names);
  }
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& p) { return name.empty() || p.spec.name == name; });
  if (found == all.end()) {
    return fail(Errc::not_found, fmt::format("there is no identity provider \"{}\" here, only {}", printable(name, 64), names));
  }
  auto out = provider_to_ask(found->spec, store_, *means_);
  if (!out) return own_trouble(out.error());
  return out;
}

void ControlServer::sign_in(AgentStream& s, const Json& message) {
  const UnixTime now = net::Loop::wall();
  const auto refuse = [&](const Error& e) { s.refuse(e.code, e.text, now); };
  if (must_reload_ && !reload()) return refuse({Errc::io, "the controller can't read its state"});
  const std::string source = source_of(s.source()).to_string();
  if (const auto wait = pace_.wait(source, net::Loop::now())) {
    const auto left = std::chrono::ceil<std::chrono::seconds>(*wait);
    return refuse({Errc::exhausted, fmt::format("too many sign-ins from here; try again in {} s", left.count())});
  }
  pace_.count(source, net::Loop::now());
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
  visitor.who.name = name_field(message, "name");
  visitor.number = ++last_visitor_;
  const bool by_password = !text_or(message, "user", "").empty();
  auto begun = by_password ? ask_password(s, visitor, message) : at_provider(s, visitor, message);
  if (!begun) return refuse(begun.error());
  no_longer_counted(s);   // among the strangers, of whom silent ones would drive it out
  if (const auto gone = crowd_of(visitor).add(visitor.number, source)) {
    const auto oldest = std::find_if(signing_in_.begin(), signing_in_.end(),
                                     [&](const auto& one) { return one.second.number == *gone; });
    AgentStream* const other = oldest->first;
    signing_in_.erase(oldest);
    other->refuse(Errc::exhausted, "too many people are signing in; try again", now);
  }
  signing_in_.emplace(&s, std::move(visitor));
}

// at_provider begins to ask an identity provider.
Result<> ControlServer::at_provider(AgentStream& s, Visitor& visitor, const Json& message) {
  auto provider = provider_of(message);
  if (!provider) return pass_on(provider);
  auto web = means_->web();
  if (!web) return own_trouble(web.error());
  visitor.who.provider = *provider;
  visitor.who.provider.client_secret.clear();
  AgentStream* const self = &s;
  auto machine = std::make_unique<DeviceSignIn>(std::move(*provider), net::Loop::now(), net::Loop::wall());
  const DeviceSignIn* const asked = machine.get();
  visitor.signing_in = std::make_unique<SigningIn>(
      loop_, std::move(machine), *web, means_->resolve(),
      SigningIn::Callbacks{[this, self, asked] { show_code(*self, *asked); },
                           [this, self](Result<Person> person) { vouched_for(*self, std::move(person)); }});
  s.wait_for(kBeforeTheCode);
  return {};
}

void ControlServer::show_code(AgentStream& s, const DeviceSignIn& machine) {
  const DeviceCode& code = *machine.code();
  const Duration left = code.expires - net::Loop::now();
  const UnixTime expires = net::Loop::wall() + std::chrono::duration_cast<std::chrono::seconds>(left);
  s.wait_for(left + kAfterTheCode);
  s.send({{"type", "sign_in_at"},
          {"provider", signing_in_.at(&s).who.provider.name},
          {"url", code.url},
          {"complete_url", code.complete_url},
          {"code", code.code},
          {"expires", expires.time_since_epoch().count()},
          {"time", net::Loop::wall().time_since_epoch().count()}});
}

void ControlServer::vouched_for(AgentStream& s, Result<Person> person) {
  Visitor visitor = std::move(signing_in_.at(&s));
  leave(s);
  over_.push_back(std::move(visitor.signing_in));   // it is running
  bury_.after(Duration::zero());
  if (!person) {
    ++counts_.not_signed_in;
    net::log(net::Level::warning, "sign-in from {}: {}", s.source().to_string(), person.error().text);
    return s.refuse(person.error().code, person.error().text, net::Loop::wall());
  }
  visitor.who.person = std::move(*person);
  let_in(s, std::move(visitor));
}

// let_in gives the session, and an identity to a new device, or says why not. The device may have been blocked, and the provider
// removed, meanwhile.
void ControlServer::let_in(AgentStream& s, Visitor visitor) {
  const UnixTime now = net::Loop::wall();
  const auto refuse = [&](const Error& e) {
    ++counts_.not_signed_in;
    net::log(net::Level::warning, "sign-in from {}: {}", s.source().to_string(), e.text);
    s.refuse(e.code, e.text, now);
  };
  if (must_reload_ && !reload()) return refuse({Errc::io, "the controller can't read its state"});
  if (s.identified()) {
    if (auto may = permitted(s); !may) return refuse(may.error());
  }
  auto in = store_.sign_in(visitor.who, now, s.source().to_string());
  const bool refused = !in && (in.error().code == Errc::denied || in.error().code == Errc::exhausted);
  if (refused) return refuse(in.error());
  if (!in) {
    net::log(net::Level::error, "sign-in: {}", in.error().text);
    return refuse({Errc::io, "the controller could not write its state; ask an administrator"});
  }
  Json answer = {{"type", "signed_in"}};
  if (!s.identified()) {
    auto issued = pki_.issue("device", in->device, visitor.csr, now);
    if (!issued) return refuse(issued.error());
    answer = {{"type", "enrolled"}, {"uri", issued->uri}, {"chain", issued->chain}, {"root", pki_.files().root}};
  }
  answer["time"] = now.time_since_epoch().count();
  answer["user"] = in->user;
  answer["until"] = in->until.time_since_epoch().count();
  ++counts_.signed_in;
  s.send(answer);
  s.close();
  changed();
}

void ControlServer::leave(AgentStream& s) {
  const auto visitor = signing_in_.find(&s);
  if (visitor == signing_in_.end()) return;
  crowd_of(visitor->second).remove(visitor->second.number);
  signing_in_.erase(visitor);
}

}  // namespace tg::controller
