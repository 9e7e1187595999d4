// The part of the control streams where people type what only they know.
#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "cmd/controller/control_fields.h"
#include "cmd/controller/control_server.h"
#include "cmd/controller/names.h"
#include "cmd/controller/secrets.h"
#include "core/encoding.h"
#include "core/totp.h"
#include "net/log.h"

namespace tg::controller {
namespace {

constexpr Duration kForTyping = std::chrono::minutes(2);

// salt_of_nobody returns what an unknown user is asked with: always the same, so that nobody learns who is known.
Buffer salt_of_nobody(Bytes secret, const std::string& email) {
  const std::string text = "salt of " + email;
  std::uint8_t hash[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  TG_CHECK(HMAC(EVP_sha256(), secret.data(), secret.size(), as_bytes(text).data(), text.size(), hash, &size) != nullptr);
  return Buffer(hash, hash + kPasswordSalt);
}

std::string place_of(const AgentStream& s) { return source_of(s.source()).to_string(); }

}  // namespace

void ControlServer::visitor_said(AgentStream& s, const Json& message) {
  const std::string type = message["type"].get<std::string>();
  const auto owes = signing_in_.at(&s).owes;
  if (owes == Visitor::Owes::password && type == "password") return check_password(s, message);
  if (owes == Visitor::Owes::code && type == "code") return check_code(s, message);
  s.refuse(Errc::protocol, "who signs in has nothing else to say", net::Loop::wall());
}

// ask_password tells how the password is to be stretched; for somebody who has none as for anybody else.
Result<> ControlServer::ask_password(AgentStream& s, Visitor& visitor, const Json& message) {
  if (!means_) return fail(Errc::unsupported, "nobody signs in at this controller");
  auto email = canonical_email(text_or(message, "user", ""));
  if (!email) return fail(Errc::denied, email.error().text);
  auto record = store_.password(*email);
  if (!record) return fail(Errc::io, "the controller can't read its state");
  const PasswordCost cost = *record ? (*record)->cost : PasswordCost{};
  const Buffer salt = *record ? (*record)->salt : salt_of_nobody(keys_.ticket_key, *email);
  visitor.who.person.email = std::move(*email);
  visitor.who.lifetime = settings_.password_session;
  visitor.owes = Visitor::Owes::password;
  s.wait_for(kForTyping);
  s.send({{"type", "password_for"}, {"salt", hex(salt)}, {"n", cost.n}, {"r", cost.r}, {"p", cost.p}});
  return {};
}

ControlServer::Limits ControlServer::limits_of(const AgentStream& s, const Visitor& visitor) {
  const std::string& email = visitor.who.person.email;
  const std::string place = place_of(s);
  Limits out = {{&guesses_, email + " " + place}, {&guesses_of_source_, place}, {&guesses_at_account_, email}};
  if (visitor.owes == Visitor::Owes::code) out.emplace_back(&codes_at_account_, email);
  return out;
}

// count_guess takes one of the tries that there are, before anything is looked at: many at once are many.
Result<> ControlServer::count_guess(const AgentStream& s, const Limits& limits) {
  const Instant now = net::Loop::now();
  Duration longest{};
  for (const auto& [limit, key] : limits) longest = std::max(longest, limit->wait(key, now).value_or(Duration::zero()));
  if (longest > Duration::zero()) {
    const auto minutes = std::chrono::ceil<std::chrono::minutes>(longest).count();
    net::log(net::Level::warning, "sign-in from {}: too many wrong passwords or codes", s.source().to_string());
    ++counts_.not_signed_in;
    return fail(Errc::exhausted, fmt::format("too many wrong tries; the next one is possible in {} minute{}", minutes, minutes == 1 ? "" : "s"));
  }
  for (const auto& [limit, key] : limits) limit->count(key, now);
  return {};
}

void ControlServer::forgive_guess(const Limits& limits) {
  for (const auto& [limit, key] : limits) limit->forgive(key);
}

void ControlServer::check_password(AgentStream& s, const Json& message) {
  const UnixTime now = net::Loop::wall();
  Visitor& visitor = signing_in_.at(&s);
  const std::string email = visitor.who.person.email;
  const Limits limits = limits_of(s, visitor);
  if (auto may = count_guess(s, limits); !may) return s.refuse(may.error().code, may.error().text, now);
  auto record = store_.password(email);
  if (!record) return s.refuse(Errc::io, "the controller can't read its state", now);
  const auto key = unhex(text_or(message, "key", ""));
  const bool right = *record && key && key->size() == 32 && same_secret(sha256(*key), (*record)->verifier);
  if (!right) {
    net::log(net::Level::warning, "sign-in from {}: wrong password for {}", s.source().to_string(), printable(email));
    ++counts_.not_signed_in;
    return s.refuse(Errc::denied, "the e-mail address or the password is wrong", now);
  }
  forgive_guess(limits);
  visitor.who.person.methods = {"pwd"};
  if ((*record)->totp) {
    visitor.owes = Visitor::Owes::code;
    visitor.verifier = std::move((*record)->verifier);
    s.wait_for(kForTyping);
    return s.send({{"type", "code_wanted"}});
  }
  Visitor in = std::move(visitor);
  leave(s);
  let_in(s, std::move(in));
}

// code_is_right takes a code for good. Errors: those of the store.
Result<bool> ControlServer::code_is_right(const std::string& email, const std::string& code, UnixTime now) {
  auto record = store_.totp(email);
  if (!record) return pass_on(record);
  if (!*record) return false;   // it was taken away meanwhile: he begins again, and is asked for none
  auto secret = means_->unseal(kTotpSecretName, (*record)->secret);
  if (!secret) return pass_on(secret);
  const auto step = totp_match(*secret, code, now, (*record)->last);
  if (!step) return false;
  return store_.use_totp(email, *step);
}

void ControlServer::check_code(AgentStream& s, const Json& message) {
  const UnixTime now = net::Loop::wall();
  Visitor& visitor = signing_in_.at(&s);
  const std::string email = visitor.who.person.email;
  const Limits limits = limits_of(s, visitor);
  if (auto may = count_guess(s, limits); !may) return s.refuse(may.error().code, may.error().text, now);
  const auto record = store_.password(email);
  if (!record) return s.refuse(Errc::io, "the controller can't read its state", now);
  if (!*record || (*record)->verifier != visitor.verifier) return s.refuse(Errc::denied, "the password was changed meanwhile; sign in again", now);
  auto right = code_is_right(email, text_or(message, "code", ""), now);
  if (!right) return s.refuse(Errc::io, "the controller can't read or write its state", now);
  if (!*right) {
    net::log(net::Level::warning, "sign-in from {}: wrong code for {}", s.source().to_string(), printable(email));
    ++counts_.not_signed_in;
    return s.refuse(Errc::denied, "the code is wrong, or was used already; is this machine's clock, or the phone's, right?", now);
  }
  forgive_guess(limits);
  visitor.who.person.methods = {"pwd", "otp"};
  Visitor in = std::move(visitor);
  leave(s);
  let_in(s, std::move(in));
}

}  // namespace tg::controller
