#include "cmd/agent_identity.h"

#include <filesystem>

#include <fmt/format.h>

#include "core/encoding.h"
#include "core/json.h"
#include "core/text.h"
#include "net/files.h"
#include "net/keys.h"

namespace tg::cmd {
namespace {

constexpr std::chrono::seconds kAskPatience(5);

// Fresh is a new key, and the request for a certificate of it.
struct Fresh {
  std::string key, csr;
};

Result<Fresh> fresh_key() {
  auto key = net::new_key_pem();
  if (!key) return pass_on(key);
  auto csr = net::make_csr(*key);
  if (!csr) return pass_on(csr);
  return Fresh{std::move(*key), std::move(*csr)};
}

}  // namespace

Result<> AgentIdentity::read_leaf() {
  auto self = net::leaf_identity(credentials_.chain);
  if (!self) return pass_on(self);
  self_ = std::move(*self);
  renewal_due_ = self_.not_before + (self_.not_after - self_.not_before) / 2;
  return {};
}

Result<AgentIdentity> AgentIdentity::load(const std::string& state) {
  const auto about = net::read_file(state + "/agent.json");
  if (!about) {
    if (about.error().code == Errc::denied) {
      return fail(Errc::denied, fmt::format("{} belongs to somebody else; run with sudo", state));
    }
    return fail(Errc::login_needed,
                "this machine is not enrolled: start once with --token, which an administrator makes with "
                "'tg controller {device,connector,relay} token NAME'; a person with an account signs in: tg client login");
  }
  AgentIdentity out;
  out.state_ = state;
  const Json j = Json::parse(*about, nullptr, false);
  auto controller = HostPort::parse(text_or(j, "controller", ""));
  auto key = net::read_file(state + "/key.pem");
  auto chain = net::read_file(state + "/chain.pem");
  auto root = net::read_file(state + "/root.pem");
  const auto damaged = [&](const std::string& how) {
    return fail(Errc::malformed, fmt::format("the identity in {0} is damaged: {1}; restore all of its files from one "
                                             "copy, or remove {0}/agent.json and start once with a new --token",
                                             state, how));
  };
  if (!controller) return damaged("agent.json names no controller");
  for (const auto& [file, content] : {std::pair("key.pem", &key), {"chain.pem", &chain}, {"root.pem", &root}}) {
    if (!*content) return damaged(fmt::format("{} cannot be read", file));
  }
  out.controller_ = std::move(*controller);
  out.token_id_ = text_or(j, "token", "");
  out.by_key_ = j.value("by_key", Json(false)) == true;
  out.credentials_ = {std::move(*key), std::move(*chain), std::move(*root)};
  if (auto read = out.read_leaf(); !read) return damaged("chain.pem holds no certificate");
  const auto thumbprint = net::key_thumbprint(out.credentials_.key);
  if (!thumbprint) return damaged("key.pem holds no key");
  if (*thumbprint != out.self_.key_thumbprint) return damaged("the certificate in chain.pem is not for key.pem");
  if (text_or(j, "uri", "") != net::to_uri(out.self_)) return damaged("agent.json and chain.pem name different agents");
  return out;
}

Result<> AgentIdentity::save() const {
  Json about = {{"controller", controller_.to_string()}, {"uri", net::to_uri(self_)}, {"token", token_id_}};
  if (by_key_) about["by_key"] = true;
  const std::string about_text = about.dump(2) + "\n";
  // agent.json goes first and comes last: without it, what is there counts as nothing.
  std::error_code gone;
  std::filesystem::remove(state_ + "/agent.json", gone);
  const std::pair<const char*, const std::string*> files[] = {{"/key.pem", &credentials_.key},
                                                              {"/chain.pem", &credentials_.chain},
                                                              {"/root.pem", &credentials_.root},
                                                              {"/agent.json", &about_text}};
  for (const auto& [file, content] : files) {
    if (auto written = net::write_file(state_ + file, *content); !written) return written;
  }
  return {};
}

Result<AgentIdentity> AgentIdentity::obtain(const std::string& state, std::string_view text, Token::Role role,
                                            const MakeResolver& dns, std::chrono::seconds timeout) {
  auto known = load(state);
  if (text.empty()) return known;
  const auto token = Token::parse(text);
  if (!token) {
    return fail(Errc::invalid_argument, fmt::format("--token: {}; 'tg controller {} token {}' on the server makes one",
                                                    token.error().text, to_string(role),
                                                    role == Token::Role::device ? "USER" : "NAME"));
  }
  if (token->role == Token::Role::api) {
    return fail(Errc::invalid_argument, "--token: this is an API token, which lets no machine in");
  }
  // The same command line again, as a service manager does it: the token has done its work.
  const bool by_key = token->role == Token::Role::service && role == Token::Role::device;
  if (known && by_key && !known->by_key_) {
    return fail(Errc::conflict, fmt::format("{} is the device of a person, or came in by a token; 'sudo tg client logout' makes it forget "
                                            "that, or give a service another --state", state));
  }
  if (known && known->token_id_ == hex(token->id)) {
    if (!by_key) return known;
    auto still = known->still_known(dns, std::min(timeout, kAskPatience));
    if (!still) return pass_on(still);
    if (*still) return known;
  }
  if (token->role != role && !by_key) {
    return fail(Errc::invalid_argument,
                fmt::format("this token is for a {}, not for a {}", to_string(token->role), to_string(role)));
  }
  auto fresh = fresh_key();
  if (!fresh) return pass_on(fresh);
  auto context = net::TlsContext::pinned(token->ca_pin, net::kAlpnControl);
  if (!context) return pass_on(context);
  const Json question = {{"type", "enroll"}, {"token_id", hex(token->id)}, {"secret", hex(token->secret)},
                         {"role", to_string(token->role)}, {"name", net::host_name()}, {"csr", fresh->csr}};
  auto reply = ask_first({token->controller, *context, question, by_key ? "key" : "token"}, dns, timeout);
  if (!reply) return pass_on(reply);
  return enrolled(state, token->controller, &*token, fresh->key, *reply);
}

// still_known asks the controller; where it can't be asked, the answer is yes. Errors: denied, above all for one that is blocked.
Result<bool> AgentIdentity::still_known(const MakeResolver& dns, std::chrono::seconds timeout) const {
  auto context = client_context(net::kAlpnControl);
  if (!context) return pass_on(context);
  const Json question = {{"type", "known"}};
  auto reply = ask_first({controller_, *context, question, "identity"}, dns, timeout);
  if (reply) return true;
  if (reply.error().code == Errc::removed) return false;
  if (reply.error().code == Errc::denied) return pass_on(reply);
  return true;
}

// enrolled makes an identity of the controller's answer, and keeps it.
// `token`: null after a sign-in.
Result<AgentIdentity> AgentIdentity::enrolled(const std::string& state, const HostPort& controller, const Token* token,
                                              std::string key, const Reply& reply) {
  if (reply.message["type"] != "enrolled") {
    return fail(Errc::protocol, fmt::format("{} sent an {}", controller.to_string(),
                                            unknown_message(reply.message["type"].get<std::string>())));
  }
  AgentIdentity out;
  out.state_ = state;
  out.controller_ = controller;
  out.token_id_ = token != nullptr ? hex(token->id) : "";
  out.by_key_ = token != nullptr && token->role == Token::Role::service;
  // The root that was pinned, whatever the message says.
  out.credentials_ = {std::move(key), text_or(reply.message, "chain", ""), reply.root};
  if (auto read = out.read_leaf(); !read) return pass_on(read);
  // The token is spent, or the person has signed in: what that bought is kept, and works once the clock is right.
  if (auto saved = out.save(); !saved) return pass_on(saved);
  if (!reply.clock.empty()) {
    return fail(Errc::unreachable, fmt::format("{}, and start again; until then no certificate is valid here", reply.clock));
  }
  return out;
}

Result<AgentIdentity::Session> AgentIdentity::sign_in(const std::string& state, const std::optional<ControllerAddress>& at,
                                                      const Json& how, const MakeResolver& dns,
                                                      std::chrono::seconds timeout, const Meanwhile& meanwhile) {
  auto known = load(state);
  if (!known && known.error().code != Errc::login_needed) return pass_on(known);
  if (!known && !at) {
    return fail(Errc::invalid_argument, "say at which controller: tg client login HOST:PORT#PIN, as 'tg controller status' shows it");
  }
  if (known && at && known->controller_.to_string() != at->controller.to_string()) {
    return fail(Errc::conflict, fmt::format("this device belongs to the controller at {}; 'sudo tg client logout' makes it forget that",
                                            known->controller_.to_string()));
  }
  Json question = how;
  question.update({{"type", "sign_in"}, {"name", net::host_name()}});
  Fresh fresh;
  if (!known) {
    auto made = fresh_key();
    if (!made) return pass_on(made);
    fresh = std::move(*made);
    question["csr"] = fresh.csr;
  }
  auto context = known ? known->client_context(net::kAlpnControl) : net::TlsContext::pinned(at->ca_pin, net::kAlpnControl);
  if (!context) return pass_on(context);
  const HostPort& controller = known ? known->controller_ : at->controller;
  auto reply = ask_first({controller, *context, question, known ? "identity" : "address"}, dns, timeout, meanwhile);
  if (!reply) return pass_on(reply);
  if (known && reply->message["type"] != "signed_in") {
    return fail(Errc::protocol, fmt::format("{} sent an {}", controller.to_string(), unknown_message(reply->message["type"].get<std::string>())));
  }
  if (!known) {
    if (auto in = enrolled(state, controller, nullptr, fresh.key, *reply); !in) return pass_on(in);
  }
  return Session{text_or(reply->message, "user", ""), UnixTime(std::chrono::seconds(number_or(reply->message, "until", 0))), !known};
}

Result<Json> AgentIdentity::renewal() const {
  auto csr = net::make_csr(credentials_.key);
  if (!csr) return pass_on(csr);
  return Json{{"type", "renew"}, {"csr", *csr}};
}

Result<> AgentIdentity::renewed(const Json& answer) {
  const std::string chain = text_or(answer, "chain", "");
  const auto fresh = net::leaf_identity(chain);
  if (!fresh) return fail(Errc::malformed, "the controller sent a certificate that cannot be read");
  if (net::to_uri(*fresh) != net::to_uri(self_)) {
    return fail(Errc::denied, "the controller sent somebody else's certificate");
  }
  if (fresh->key_thumbprint != self_.key_thumbprint) {
    return fail(Errc::denied, "the controller sent a certificate for another key");
  }
  credentials_.chain = chain;
  if (auto read = read_leaf(); !read) return read;
  return net::write_file(state_ + "/chain.pem", chain);
}

}  // namespace tg::cmd
