#include "cmd/controller/api_server.h"

#include <unistd.h>

#include <algorithm>

#include <fmt/format.h>

#include "cmd/controller/html.h"
#include "cmd/controller/openapi.h"
#include "core/text.h"
#include "core/token.h"
#include "core/uri.h"
#include "net/log.h"

namespace tg::controller {
namespace {

constexpr std::int64_t kWaitMost = 60'000;                        // milliseconds that a question about news may wait
constexpr std::size_t kWaits = 256, kWaitsOfOne = 16;                          // of such questions at once
constexpr Duration kLook = std::chrono::milliseconds(200);        // how often news is looked for, for those who wait
constexpr net::HttpLimits kLocal{std::chrono::seconds(60), std::chrono::seconds(60), 256, 256};
constexpr net::HttpLimits kWeb{std::chrono::seconds(60), std::chrono::seconds(60), 512, 64};

// person is how the audit log calls who asks on the socket. Whom sudo speaks for is what the asker says, who is root.
std::string person(unsigned uid, const std::string& sudo) {
  const std::string user = uid == 0 ? "root" : fmt::format("uid {}", uid);
  return sudo.empty() || uid != 0 ? user : fmt::format("{}, by sudo of {}", user, printable(sudo, 64));
}

Errc code_of(int status) {
  switch (status) {
    case 401: return Errc::login_needed;
    case 403: return Errc::denied;
    case 413: return Errc::exhausted;
    case 503: return Errc::io;
    default: return Errc::malformed;
  }
}

}  // namespace

ApiServer::ApiServer(net::Loop& loop, Store& store, Api api, std::function<bool(const Json& question)> news_for)
    : loop_(loop), store_(store), api_(std::move(api)), news_for_(std::move(news_for)), look_(loop, [this] { look(); }) {}

ApiServer::~ApiServer() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

Result<> ApiServer::serve_local(const std::string& path) {
  auto listener = net::unix_listen(path);
  if (!listener) return pass_on(listener);
  path_ = path;
  local_ = std::make_unique<net::HttpServer>(loop_, std::move(*listener), std::nullopt, hooks(), kLocal);
  return {};
}

void ApiServer::serve_web(net::Fd listener, const net::TlsContext& tls, Web web) {
  root_ = std::move(web.root);
  known_certificate_ = web.known_certificate;
  sign_in_ = std::make_unique<WebSignIn>(loop_, store_, std::move(web.means), web.self);
  web_ = std::make_unique<net::HttpServer>(loop_, std::move(listener), tls, hooks(), kWeb);
}

void ApiServer::set_context(const net::TlsContext& tls) {
  if (web_) web_->set_context(tls);
}

net::HttpServer::Hooks ApiServer::hooks() {
  net::HttpServer::Hooks out;
  out.body_limit = [this](const HttpAsked& head, const net::HttpPeer& from) -> tl::expected<std::size_t, HttpRefusal> {
    if (Api::is_public(head.path) || head.path == kStylePath) return std::size_t{0};
    if (for_browsers(head, from)) return head.method == "POST" ? WebSignIn::kFormMax : 0;
    const auto known = identify(head, from);
    if (known && !*known) return tl::unexpected(HttpRefusal{401, std::string(kNeedsToken)});
    const auto limit = known ? Api::body_limit(head, **known) : tl::unexpected(known.error());
    if (!limit) note(from, known ? (*known)->who : "somebody", limit.error().text);
    return limit;
  };
  out.answer = [this](HttpAsked asked, const net::HttpPeer& from, net::HttpServer::Reply reply) {
    take(std::move(asked), from, std::move(reply));
  };
  out.refused = [this](const HttpRefusal& r) {
    HttpReply no = problem(r.status, {code_of(r.status), r.text});
    guard(no, known_certificate_);
    ++answers_[static_cast<std::size_t>(no.status / 100)];
    return no;
  };
  return out;
}

// identify finds out who asks: nothing for somebody who does not say so. Errors: for one who must not go on.
ApiServer::Known ApiServer::identify(const HttpAsked& asked, const net::HttpPeer& from) {
  if (from.user) {
    const bool may = *from.user == 0 || *from.user == ::geteuid();
    if (!may) return tl::unexpected(HttpRefusal{403, "this socket belongs to somebody else; run with sudo"});
    const std::string* sudo = asked.header("tg-sudo-user");
    const std::string for_whom = sudo == nullptr ? "" : percent_decoded(*sudo).value_or("");
    return Caller{person(*from.user, for_whom), "socket", "", Role::owner, Scopes::everything()};
  }
  const auto shown = bearer_token(asked);
  if (!shown && asked.header("authorization") != nullptr) {
    return tl::unexpected(HttpRefusal{401, "Authorization: is not Bearer and an API token"});
  }
  if (!shown) return sign_in_ ? sign_in_->caller(asked, from) : Known(std::nullopt);
  const auto token = Token::parse(*shown);
  if (!token) return tl::unexpected(HttpRefusal{401, "this is no API token, or a part of one is missing"});
  if (token->role != Token::Role::api) {
    return tl::unexpected(HttpRefusal{401, fmt::format("this is a token for a {}, not for the API", to_string(token->role))});
  }
  auto caller = store_.api_caller(token->id, token->secret, net::Loop::wall());
  if (!caller) return tl::unexpected(HttpRefusal{503, "the controller can't read its state"});
  if (!*caller) {
    return tl::unexpected(HttpRefusal{401, "this API token is not known here (any more), has expired, or is of somebody who is blocked"});
  }
  const ApiCaller& c = **caller;
  return Caller{fmt::format("{}, by API token {}", c.user, c.token), from.address.to_string(), c.user, c.role, c.scopes, c.expires};
}

bool ApiServer::for_browsers(const HttpAsked& asked, const net::HttpPeer& from) const {
  return sign_in_ && !from.user && WebSignIn::takes(asked.path);
}

// finished adds what every answer has, and counts it.
HttpReply ApiServer::finished(HttpReply out, const net::HttpPeer& from) {
  if (!from.user) guard(out, known_certificate_);
  ++answers_[static_cast<std::size_t>(out.status / 100)];
  return out;
}

void ApiServer::take(HttpAsked asked, const net::HttpPeer& from, net::HttpServer::Reply reply) {
  if (for_browsers(asked, from)) {
    return sign_in_->answer(asked, from,
                            [this, from, reply = std::move(reply)](HttpReply out) { reply(finished(std::move(out), from)); });
  }
  const auto known = asked.query.find("wait_ms=") == asked.query.npos ? Known() : identify(asked, from);
  if (known && *known) {
    if (auto question = Api::waiting(asked, **known); question && !news_for_(*question)) {
      const std::string& who = (*known)->user.empty() ? (*known)->who : (*known)->user;
      if (waits_of(who) >= kWaitsOfOne || waiting_.size() >= kWaits) {
        return reply(finished(problem(429, {Errc::exhausted, fmt::format("{} waits for news too often already", who)}), from));
      }
      const auto patience = std::chrono::milliseconds(std::min(number_or(*question, "wait_ms", 0), kWaitMost));
      if (waiting_.empty()) look_.after(kLook);
      waiting_.push_back({std::move(asked), from, std::move(*question), who, net::Loop::now() + patience, std::move(reply)});
      return;
    }
  }
  reply(answer(asked, from));
}

// note writes down who was turned away: a line for each of a few, and how many there were.
void ApiServer::note(const net::HttpPeer& from, const std::string& who, const std::string& why) {
  const auto left_out = lines_.take(from.address.to_string(), net::Loop::now());
  if (!left_out) return;
  net::log(net::Level::warning, "API, {} at {}: {}{}", printable(who, 200), from.address.to_string(), printable(why, 300),
           *left_out == 0 ? "" : fmt::format(" ({} more like it)", *left_out));
}

std::size_t ApiServer::waits_of(const std::string& who) const {
  return static_cast<std::size_t>(std::count_if(waiting_.begin(), waiting_.end(), [&](const Waiting& w) { return w.who == who; }));
}

// Who may have asked when he began to wait may not be let in any more when there is news.
HttpReply ApiServer::answer(const HttpAsked& asked, const net::HttpPeer& from) {
  HttpReply out;
  if (Api::is_public(asked.path) || asked.path == kStylePath) {
    out = asked.method == "GET" || asked.method == "HEAD" ? page(asked.path) : problem(405, {Errc::unsupported, "there is GET alone here"});
    if (out.status == 405) out.headers.emplace_back("Allow", "GET");
  } else if (const auto known = identify(asked, from)) {
    out = api_.answer(asked, *known, net::Loop::wall());
  } else {
    out = problem(known.error().status, {code_of(known.error().status), known.error().text});
  }
  return finished(std::move(out), from);
}

HttpReply ApiServer::page(const std::string& path) const {
  if (path == kStylePath) return style();
  if (path.ends_with("/openapi.json")) return {200, "application/json", json_text(openapi()) + "\n", {{"Cache-Control", "no-cache"}}};
  if (path.ends_with("/ca.pem")) {
    if (root_.empty()) return problem(404, {Errc::not_found, "the CA is told over TLS only"});
    return {200, "application/x-pem-file", root_, {{"Cache-Control", "no-cache"}}};
  }
  HttpReply out{200, "text/html; charset=utf-8", api_page(), {{"Cache-Control", "no-cache"}}};
  guard(out, false);
  return out;
}

void ApiServer::look() {
  std::vector<Waiting> still;
  for (Waiting& w : std::exchange(waiting_, {})) {
    if (news_for_(w.question) || net::Loop::now() >= w.until) w.reply(answer(w.asked, w.from));
    else still.push_back(std::move(w));
  }
  waiting_.insert(waiting_.end(), std::make_move_iterator(still.begin()), std::make_move_iterator(still.end()));
  if (!waiting_.empty()) look_.after(kLook);
}

void ApiServer::add_metrics(Metrics& m) const {
  m.counter("tg_controller_api_answers_total", "Answers of the HTTP API, by the first digit of their status.");
  for (const std::size_t digit : {2u, 3u, 4u, 5u}) m.add(answers_[digit], {{"status", fmt::format("{}xx", digit)}});
}

}  // namespace tg::controller
