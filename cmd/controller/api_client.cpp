#include "cmd/controller/api_client.h"

#include <fmt/format.h>

#include "cmd/controller/api_endpoints.h"
#include "cmd/controller/pki.h"
#include "cmd/controller/state_dir.h"
#include "cmd/system_dns.h"
#include "core/encoding.h"
#include "core/text.h"
#include "core/token.h"
#include "net/http_client.h"
#include "net/socket.h"

namespace tg::controller {
namespace {

constexpr std::size_t kAnswerMax = 256u << 20;      // a list of all that there is
constexpr std::uint64_t kPage = 10'000;

std::string start_hint(const std::string& state) {
  return std::string("start it with: tg controller serve") + (state == "/var/lib/tg/controller" ? "" : " --state " + state);
}

// Way is how to get there.
struct Way {
  net::HttpWay http;
  std::string base;             // of URLs
};

Result<Way> local_way(const std::string& state) {
  const std::string path = StateDir::admin_socket(state);
  auto fd = net::unix_connect(path);
  if (!fd && fd.error().code == Errc::denied) return fail(Errc::denied, fmt::format("{} belongs to somebody else; run with sudo", path));
  if (!fd) return fail(Errc::unreachable, fmt::format("tg controller is not running (nobody answers on {}); {}", path, start_hint(state)));
  Way out;
  out.http.plain = std::move(*fd);
  out.base = "http://localhost";
  return out;
}

Result<Way> web_way(net::Loop& loop, const Whom& whom) {
  const auto token = Token::parse(whom.token);
  if (!token) return fail(Errc::invalid_argument, "--api-token: this is no token, or a part of one is missing");
  if (token->role != Token::Role::api) {
    return fail(Errc::invalid_argument, fmt::format("--api-token: this is a token for a {}; 'tg controller api-token create' makes the right "
                                                    "ones", to_string(token->role)));
  }
  Way out;
  out.base = "https://" + token->controller.to_string();
  Buffer pin = token->ca_pin;
  if (!whom.url.empty()) {
    const auto hash = whom.url.find('#');
    out.base = whom.url.substr(0, hash);
    while (out.base.ends_with('/')) out.base.pop_back();
    if (!out.base.starts_with("https://") || out.base.find_first_of("/?", 8) != out.base.npos) {
      return fail(Errc::invalid_argument, fmt::format("--controller {}: is not https://HOST[:PORT][#PIN]", printable(whom.url, 200)));
    }
    if (hash != whom.url.npos) {
      auto read = unbase64url(whom.url.substr(hash + 1));
      if (!read || read->size() != 32) return fail(Errc::invalid_argument, "--controller: behind the # is no pin of 43 characters");
      pin = std::move(*read);
    }
  }
  auto tls = whom.ca.empty() ? net::TlsContext::pinned(pin, "http/1.1") : net::TlsContext::web(whom.ca);
  if (!tls) return fail(tls.error().code, "--controller-ca: " + tls.error().text);
  out.http.tls = std::move(*tls);
  out.http.resolve = cmd::resolver_for(cmd::system_dns())(loop);
  if (whom.ca.empty()) {
    out.http.expect_uri = net::to_uri({"tg-" + hex(Bytes(pin).first(4)), "controller", std::string(kControllerId), {}, {}, {}});
  }
  return out;
}

// answer_of makes AdminApi's answer of HTTP's.
Result<Json> answer_of(const Json& question, const HttpResponse& response) {
  auto body = parse_json(response.body);
  if (!body || !body->is_object()) {
    return fail(Errc::protocol, fmt::format("no tg controller answers there (status {}, and no JSON)", response.status));
  }
  if (response.status >= 300 && !body->contains("problems")) {
    const Errc code = errc_named(text_or(*body, "code", "")).value_or(Errc::protocol);
    return fail(code, text_or(*body, "detail", fmt::format("status {}", response.status)));
  }
  const std::string type = text_or(question, "type", "");
  Json out = std::move(*body);
  if (type == "show") out = Json{{"item", std::move(out)}};
  if (type == "state") out = Json{{"state", std::move(out)}};
  out["type"] = "ok";
  return out;
}

// ask_once sends one request, and waits for the answer.
Result<Json> ask_once(const Whom& whom, const Json& question, std::chrono::seconds timeout) {
  Json asked = question;
  asked.erase("sudo");
  auto request = request_of(asked);
  if (!request) return pass_on(request);
  net::Loop loop;
  const bool local = whom.token.empty();
  auto way = local ? local_way(whom.state) : web_way(loop, whom);
  if (!way) return pass_on(way);
  way->http.body_max = kAnswerMax;
  request->url = way->base + std::string(kApiBase) + request->url;
  request->headers.emplace_back("Prefer", "return=minimal");
  if (!local) request->headers.emplace_back("Authorization", "Bearer " + whom.token);
  const std::string sudo = text_or(question, "sudo", "");
  if (local && !sudo.empty()) request->headers.emplace_back("Tg-Sudo-User", percent_encoded(sudo));
  std::optional<Result<HttpResponse>> response;
  net::HttpExchange exchange(loop, std::move(way->http), std::move(*request), timeout, [&](Result<HttpResponse> r) {
    response = std::move(r);
    loop.stop();
  });
  loop.run();
  if (*response) return answer_of(question, **response);
  const Error& e = response->error();
  if (e.code == Errc::timed_out) return fail(e.code, fmt::format("tg controller did not answer within {} s; see --timeout", timeout.count()));
  if (local && e.code == Errc::closed) return fail(Errc::unreachable, "tg controller ended before it answered");
  if (local) return tl::unexpected(e);
  return fail(e.code == Errc::closed || e.code == Errc::refused ? Errc::unreachable : e.code, "the controller's API at " + e.text);
}

}  // namespace

Result<Json> ask_controller(const Whom& whom, const Json& question, std::chrono::seconds timeout) {
  if (whom.token.empty() && !(whom.url + whom.ca).empty()) {
    return fail(Errc::invalid_argument, "--controller takes an API token: --api-token FILE, or TG_API_TOKEN; 'tg controller api-token create' "
                                        "makes one");
  }
  if (text_or(question, "type", "") != "list" || question.contains("limit")) return ask_once(whom, question, timeout);
  Json page = question;
  page["limit"] = kPage;
  Json items = Json::array();
  for (;;) {
    auto answer = ask_once(whom, page, timeout);
    if (!answer) return answer;
    for (Json& item : (*answer)["items"]) items.push_back(std::move(item));
    const std::string next = text_or(*answer, "next", "");
    if (next.empty()) return Json{{"type", "ok"}, {"items", std::move(items)}};
    page["cursor"] = next;
  }
}

Result<Json> ask_controller(const std::string& state, const Json& question, std::chrono::seconds timeout) {
  return ask_controller(Whom{state, {}, {}, {}}, question, timeout);
}

}  // namespace tg::controller
