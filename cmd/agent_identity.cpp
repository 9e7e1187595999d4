#include "cmd/agent_identity.h"

#include <filesystem>

#include <fmt/format.h>

#include "cmd/clock.h"
#include "core/encoding.h"
#include "core/json.h"
#include "core/text.h"
#include "net/files.h"
#include "net/keys.h"

namespace tg::cmd {
namespace {

struct Enrolled {
  std::string key, chain, root;
  std::string clock;   // why the controller's certificate is not valid by this machine's clock; "" when it is
};

// enroll spends the token: one connection, one question, one answer.
class Enrolment {
 public:
  Enrolment(const Token& token, std::string key, std::string csr)
      : token_(token), key_(std::move(key)), csr_(std::move(csr)) {}

  Result<Enrolled> run(const MakeResolver& dns, std::chrono::seconds timeout) {
    auto context = net::TlsContext::pinned(token_.ca_pin, net::kAlpnControl);
    if (!context) return pass_on(context);
    net::Timer deadline(loop_, [this] { finish(unreachable({Errc::timed_out, "it does not answer"})); });
    deadline.after(timeout);
    const net::ResolveHost resolve = dns(loop_);   // owns the resolver
    net::Dial dial(loop_, token_.controller, resolve, timeout, [&](Result<net::Fd> fd) {
      if (!fd) return finish(unreachable(fd.error()));
      tls_ = std::make_unique<net::Tls>(loop_, std::move(*fd), *context,
                                        net::Tls::Callbacks{[this] { ask(); }, [this](Bytes b) { answered(b); }, {},
                                                            [this](const Error& e) { ended(e); }});
    });
    loop_.run();
    tls_.reset();
    return std::move(result_);
  }

 private:
  tl::unexpected<Error> unreachable(const Error& why) const {
    const std::string what_to_do =
        why.code == Errc::not_found
            ? "see that 'tg controller serve --public' names it rightly, and make a new token"
            : fmt::format("see that it runs there, and that nothing on the way blocks TCP port {}",
                          token_.controller.port);
    return fail(Errc::unreachable, fmt::format("the controller at {} cannot be reached: {}; {}",
                                               token_.controller.to_string(), why.text, what_to_do));
  }

  // The chain to the pinned root is not enough: every agent has one. Only the controller is told the secret.
  void ask() {
    const auto& who = tls_->identity();
    if (!who || who->role != "controller") {
      return finish(fail(Errc::denied, fmt::format("{} is not a controller", token_.controller.to_string())));
    }
    tls_->write(control_frame({{"type", "enroll"},
                               {"token_id", hex(token_.id)},
                               {"secret", hex(token_.secret)},
                               {"role", to_string(token_.role)},
                               {"name", net::host_name()},
                               {"csr", csr_}}));
  }

  void answered(Bytes bytes) {
    reader_.feed(bytes);
    auto next = reader_.next();
    if (!next) return finish(pass_on(next));
    if (!*next) return;
    const Json& m = **next;
    if (m["type"] == "enrolled") return finish(accept(m));
    if (m["type"] != "error") {
      return finish(fail(Errc::protocol, fmt::format("{} sent an {}", token_.controller.to_string(),
                                                     unknown_message(m["type"].get<std::string>()))));
    }
    const std::string code = text_or(m, "code", "denied");
    const std::string text = printable(text_or(m, "text", "the controller refuses the token"));
    finish(fail(code == "expired" ? Errc::expired : Errc::denied, text));
  }

  Result<Enrolled> accept(const Json& m) const {
    const UnixTime now = net::Loop::wall();
    const auto& controller = *tls_->identity();
    const bool valid = now + kClockTolerance >= controller.not_before && now - kClockTolerance <= controller.not_after;
    // The root that the token pins, whatever the message says.
    return Enrolled{key_, text_or(m, "chain", ""), tls_->root_pem(),
                    valid ? "" : clock_problem(now, told_time(m).value_or(now))};
  }

  void ended(const Error& e) {
    if (e.code == Errc::denied) {
      return finish(fail(Errc::denied, fmt::format("{} is not the controller that the token is for: {}",
                                                   token_.controller.to_string(), e.text)));
    }
    finish(unreachable(e));
  }

  void finish(Result<Enrolled> r) {
    if (done_) return;
    done_ = true;
    result_ = std::move(r);
    loop_.stop();
  }

  net::Loop loop_;
  const Token& token_;
  std::string key_, csr_;
  std::unique_ptr<net::Tls> tls_;
  ControlReader reader_;
  Result<Enrolled> result_ = fail(Errc::unreachable, "");
  bool done_ = false;
};

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
                "'tg controller {device,connector,relay} token NAME'");
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
  out.credentials_ = {std::move(*key), std::move(*chain), std::move(*root)};
  if (auto read = out.read_leaf(); !read) return damaged("chain.pem holds no certificate");
  const auto thumbprint = net::key_thumbprint(out.credentials_.key);
  if (!thumbprint) return damaged("key.pem holds no key");
  if (*thumbprint != out.self_.key_thumbprint) return damaged("the certificate in chain.pem is not for key.pem");
  if (text_or(j, "uri", "") != net::to_uri(out.self_)) return damaged("agent.json and chain.pem name different agents");
  return out;
}

Result<> AgentIdentity::save() const {
  const Json about = {{"controller", controller_.to_string()}, {"uri", net::to_uri(self_)}, {"token", token_id_}};
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
  // The same command line again, as a service manager does it: the token has done its work.
  if (known && known->token_id_ == hex(token->id)) return known;
  if (token->role != role) {
    return fail(Errc::invalid_argument,
                fmt::format("this token is for a {}, not for a {}", to_string(token->role), to_string(role)));
  }
  auto key = net::new_key_pem();
  if (!key) return pass_on(key);
  auto csr = net::make_csr(*key);
  if (!csr) return pass_on(csr);
  auto enrolled = Enrolment(*token, *key, *csr).run(dns, timeout);
  if (!enrolled) return pass_on(enrolled);
  AgentIdentity out;
  out.state_ = state;
  out.controller_ = token->controller;
  out.token_id_ = hex(token->id);
  out.credentials_ = {enrolled->key, enrolled->chain, enrolled->root};
  if (auto read = out.read_leaf(); !read) return pass_on(read);
  // The token is spent: what it bought is kept, and works once the clock is right.
  if (auto saved = out.save(); !saved) return pass_on(saved);
  if (!enrolled->clock.empty()) {
    return fail(Errc::unreachable, fmt::format("{}, and start again; until then no certificate is valid here",
                                               enrolled->clock));
  }
  return out;
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
