#include "cmd/controller/web_sign_in.h"

#include <algorithm>

#include <fmt/format.h>

#include "cmd/controller/html.h"
#include "cmd/controller/vault.h"
#include "core/encoding.h"
#include "core/text.h"
#include "core/uri.h"
#include "net/log.h"

namespace tg::controller {
namespace {

constexpr std::string_view kFront = "/sign-in", kStart = "/sign-in/start", kBack = "/sign-in/callback/", kOut = "/sign-in/out";
constexpr std::size_t kRandom = 32;          // bytes of everything that nobody may guess, which are
constexpr std::size_t kRandomText = 43;      // characters
constexpr std::string_view kSignInAgain = "<p><a class=button href=/sign-in>Sign in again</a>";

// in_a_browser is how the audit log calls who shows a session's cookie.
std::string in_a_browser(const std::string& user) { return user + ", in a browser"; }

std::string random_text() { return base64url(random_bytes(kRandom)); }

HttpReply page(int status, std::string_view title, const std::string& body) {
  const std::string whole = html_page(fmt::format("tg: {}", title), fmt::format("<h1>{}</h1>{}", html_escaped(title), body));
  return {status, "text/html; charset=utf-8", whole, {}};
}

// trouble is a page about what went wrong, in words that may be anybody's.
HttpReply trouble(int status, std::string_view what) {
  return page(status, "You are not signed in", fmt::format("<p>{}.{}", html_escaped(printable(what, 1024)), kSignInAgain));
}

HttpReply see(const std::string& where) { return {303, "text/plain; charset=utf-8", "", {{"Location", where}}}; }

int status_for(Errc code) {
  switch (code) {
    case Errc::denied: return 403;
    case Errc::not_found: return 404;
    case Errc::exhausted: return 429;
    case Errc::unreachable: case Errc::timed_out: case Errc::protocol: case Errc::unsupported: return 502;   // it is the provider
    case Errc::io: return 503;
    default: return 400;
  }
}

std::string value_in(const QueryItems& query, std::string_view name) {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return {};
}

}  // namespace

WebSignIn::WebSignIn(net::Loop& loop, Store& store, Means means, const HostPort& self)
    : loop_(loop), store_(store), means_(std::move(means)), origin_(origin_of(self)) {}

bool WebSignIn::takes(std::string_view path) { return path == "/" || path == kFront || path.starts_with("/sign-in/"); }

void WebSignIn::answer(const HttpAsked& asked, const net::HttpPeer& from, net::HttpServer::Reply reply) {
  const bool posted = asked.path == kOut, back = asked.path.starts_with(kBack), starts = asked.path == kStart;
  const bool reads = asked.method == "GET" || (asked.method == "HEAD" && !back && !starts);   // those two do something
  if (asked.path != "/" && asked.path != kFront && !starts && !back && !posted) {
    return reply(page(404, "There is nothing here", "<p><a href=/sign-in>Sign in</a>"));
  }
  if (posted ? asked.method != "POST" : !reads) {
    HttpReply no = page(405, "This is not done here", "<p><a href=/sign-in>Sign in</a>");
    no.headers.emplace_back("Allow", posted ? "POST" : back || starts ? "GET" : "GET, HEAD");
    return reply(std::move(no));
  }
  if (posted) return sign_out(asked, from, reply);
  if (back) return came_back(asked, reply);
  // The provider sends the browser to where the cookie belongs.
  const std::string* host = asked.header("host");
  const bool here = host != nullptr && "https://" + lower(*host) == origin_;
  if (!here || asked.path == "/") return reply(see(here ? std::string(kFront) : origin_ + std::string(kFront)));
  if (starts) return start(asked, from, reply);
  front(asked, reply);
}

Result<std::optional<WebCaller>> WebSignIn::signed_in(const HttpAsked& asked) {
  const auto shown = cookie(asked, kSessionCookie);
  if (!shown || shown->empty()) return std::nullopt;
  return store_.web_caller(sha256(as_bytes(*shown)), net::Loop::wall());
}

tl::expected<std::optional<Caller>, HttpRefusal> WebSignIn::caller(const HttpAsked& asked, const net::HttpPeer& from) {
  if (!cookie(asked, kSessionCookie)) return std::optional<Caller>();
  if (auto no = refused_by_cookie(asked, origin_)) return tl::unexpected(std::move(*no));
  auto who = signed_in(asked);
  if (!who) return tl::unexpected(HttpRefusal{503, "the controller can't read its state"});
  if (!*who) return tl::unexpected(HttpRefusal{401, fmt::format("this session is over; sign in again: {}{}", origin_, kFront)});
  const WebCaller& w = **who;
  return Caller{in_a_browser(w.user), from.address.to_string(), w.user, w.role, Scopes::everything(), w.until};
}

// front says who is signed in, and where one can.
void WebSignIn::front(const HttpAsked& asked, const net::HttpServer::Reply& reply) {
  auto who = from_elsewhere(asked, origin_) ? Result<std::optional<WebCaller>>() : signed_in(asked);
  auto known = store_.directory();
  if (!who || !known) return reply(trouble(503, "The controller can't read its state"));
  std::string body;
  if (*who) {
    body = fmt::format("<p>You are signed in as <b>{}</b>, who is {}, until {}."
                       "<form method=post action={}><button>Sign out</button></form>",
                       html_escaped((*who)->user), to_string((*who)->role), utc_text((*who)->until), kOut);
    body += fmt::format("<p>What you can do here: <a href={0}/>the HTTP API</a>; "
                        "who it takes you for: <a href={0}/me>{0}/me</a>.", kApiBase);
    return reply(page(200, "Signed in", body));
  }
  for (const IdentityProviderRecord& p : (*known)->model().identity_providers) {
    body += fmt::format("<a class=button href='{}?provider={}'>Sign in at {}</a>", kStart, percent_encoded(p.spec.name),
                        html_escaped(p.spec.name));
  }
  if (body.empty()) body = "This controller has no identity provider; programs and people without one use an API token.";
  reply(page(200, "Sign in", "<p>" + body));
}

Result<OidcProvider> WebSignIn::provider_of(const std::string& name) {
  auto known = store_.directory();
  if (!known) return own_trouble(known.error());
  const auto& all = (*known)->model().identity_providers;
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& p) { return p.spec.name == name; });
  if (found == all.end()) {
    return fail(Errc::not_found, fmt::format("There is no identity provider \"{}\" here", printable(name, 64)));
  }
  auto out = provider_to_ask(found->spec, store_, means_.providers);
  if (!out) return own_trouble(out.error());
  return out;
}

// start asks the provider about itself, and sends the browser there. Another site's page only leads to where one can say so himself.
// Who waits for a provider that does not answer holds a connection: few do at once.
void WebSignIn::start(const HttpAsked& asked, const net::HttpPeer& from, const net::HttpServer::Reply& reply) {
  if (from_elsewhere(asked, origin_)) return reply(see(std::string(kFront)));
  const std::string source = source_of(from.address).to_string();
  if (const auto wait = pace_.wait(source, net::Loop::now())) {
    const auto left = std::chrono::ceil<std::chrono::seconds>(*wait).count();
    HttpReply no = trouble(429, fmt::format("Too many sign-ins from here; try again in {} s", left));
    no.headers.emplace_back("Retry-After", std::to_string(left));
    return reply(std::move(no));
  }
  pace_.count(source, net::Loop::now());
  const auto waiting = std::count_if(visitors_.begin(), visitors_.end(), [](const auto& one) { return one.second.reply != nullptr; });
  if (static_cast<std::size_t>(waiting) >= kWaiting) {
    return reply(trouble(503, "The identity provider is slow, and too many wait for it; try again"));
  }
  const auto query = parse_query(asked.query);
  auto provider = provider_of(query ? value_in(*query, "provider") : "");
  auto web = provider ? means_.providers.web() : Result<net::TlsContext>(tl::unexpected(provider.error()));
  if (!provider) return reply(trouble(status_for(provider.error().code), provider.error().text));
  if (!web) return reply(trouble(503, own_trouble(web.error()).value().text));

  CodeSecrets secrets{random_text(), random_text(), random_text()};
  const auto kept = cookie(asked, kSignInCookie);      // of another tab, whose sign-in goes on
  const std::string browser = kept && kept->size() == kRandomText && unbase64url(*kept) ? *kept : random_text();
  const Buffer key = sha256(as_bytes(secrets.state));
  Visitor visitor;
  visitor.number = ++last_;
  visitor.browser = sha256(as_bytes(browser));
  visitor.who.provider = *provider;
  visitor.who.provider.client_secret.clear();
  visitor.from = from.address.to_string();
  if (const auto before = cookie(asked, kSessionCookie)) visitor.before = sha256(as_bytes(*before));
  const std::string back = origin_ + std::string(kBack) + percent_encoded(provider->name);
  visitor.reply = reply;
  auto machine = std::make_unique<CodeSignIn>(std::move(*provider), std::move(secrets), back, net::Loop::now(),
                                              net::Loop::wall());
  visitor.machine = machine.get();
  visitor.signing_in = std::make_unique<SigningIn>(
      loop_, std::move(machine), *web, means_.providers.resolve(),
      SigningIn::Callbacks{[this, key, browser] {
                             Visitor& v = visitors_.at(key);
                             HttpReply go = see(v.machine->url());
                             go.headers.emplace_back("Set-Cookie", sign_in_cookie(browser));
                             std::exchange(v.reply, nullptr)(std::move(go));
                           },
                           [this, key](Result<Person> person) { ended(key, std::move(person)); }});
  if (const auto gone = crowd_.add(visitor.number, source)) {
    const auto oldest = std::find_if(visitors_.begin(), visitors_.end(),
                                     [&](const auto& one) { return one.second.number == *gone; });
    const Visitor other = take(Buffer(oldest->first));
    if (other.reply) other.reply(trouble(503, "Too many people are signing in; try again"));
  }
  visitors_.emplace(key, std::move(visitor));
}

// came_back takes what the provider sent the browser back with. The state says which sign-in it is, the cookie that it began in
// this browser: otherwise somebody could be signed in as somebody else by a link. Either is good once. Each provider has a path of its
// own to come back to, so that none is given the code of another (RFC 9700 section 4.4.2).
void WebSignIn::came_back(const HttpAsked& asked, const net::HttpServer::Reply& reply) {
  const auto query = parse_query(asked.query);
  if (!query) return reply(trouble(400, "The identity provider's answer makes no sense"));
  const Buffer key = sha256(as_bytes(value_in(*query, "state")));
  const auto found = visitors_.find(key);
  if (found == visitors_.end()) {
    return reply(trouble(400, "This sign-in is not known here: it took longer than ten minutes, was finished already, or began "
                              "elsewhere"));
  }
  Visitor& visitor = found->second;
  const auto shown = cookie(asked, kSignInCookie);
  if (!shown || !same_secret(sha256(as_bytes(*shown)), visitor.browser)) {
    net::log(net::Level::warning, "sign-in from {}: it came back in another browser than it began in", visitor.from);
    const Visitor other = take(key);
    if (other.reply) other.reply(trouble(400, "This sign-in went on in another browser"));
    return reply(trouble(403, "This sign-in began in another browser, or this browser keeps no cookies"));
  }
  if (percent_decoded(asked.path.substr(kBack.size())) != visitor.who.provider.name) {
    net::log(net::Level::warning, "sign-in from {}: it came back from another provider than it began at", visitor.from);
    const Visitor other = take(key);
    if (other.reply) other.reply(trouble(400, "This sign-in went on at another provider"));
    return reply(trouble(403, "This sign-in began at another identity provider"));
  }
  if (auto took = visitor.machine->returned(*query, net::Loop::now()); !took) {
    return reply(trouble(400, "The identity provider's answer is not taken: " + took.error().text));
  }
  visitor.reply = reply;
  visitor.signing_in->go_on();
}

WebSignIn::Visitor WebSignIn::take(const Buffer& key) {
  auto node = visitors_.extract(key);
  Visitor out = std::move(node.mapped());
  crowd_.remove(out.number);
  return out;
}

void WebSignIn::ended(const Buffer& key, Result<Person> person) {
  Visitor visitor = take(key);
  loop_.post([over = std::shared_ptr<SigningIn>(std::move(visitor.signing_in))] {});   // it is running
  if (person) {
    visitor.who.person = std::move(*person);
    return let_in(std::move(visitor));
  }
  const Error& e = person.error();
  if (!visitor.reply) return;             // who has not come back is told when he does
  net::log(net::Level::warning, "sign-in from {}: {}", visitor.from, e.text);
  visitor.reply(trouble(status_for(e.code), e.text));
}

void WebSignIn::let_in(Visitor visitor) {
  const std::string shown = random_text();
  auto in = store_.web_sign_in(visitor.who, sha256(as_bytes(shown)), net::Loop::wall(), visitor.from);
  if (!in) {
    const bool refused = in.error().code == Errc::denied || in.error().code == Errc::exhausted;
    net::log(refused ? net::Level::warning : net::Level::error, "sign-in from {}: {}", visitor.from, in.error().text);
    if (refused) return visitor.reply(trouble(403, in.error().text));
    return visitor.reply(trouble(503, "The controller could not write its state; ask an administrator"));
  }
  means_.changed();
  // The session that this browser had before could not be ended by anybody any more.
  if (!visitor.before.empty()) static_cast<void>(store_.end_web_session(visitor.before, {net::Loop::wall(), in_a_browser(in->user), visitor.from}));
  // A Strict cookie does not travel on a way that began at another site: the browser goes on from a page of ours.
  HttpReply done = page(200, "Signed in", fmt::format("<p>You are signed in as <b>{}</b>.<p><a class=button href={}>Go on</a>",
                                                      html_escaped(in->user), kFront));
  done.headers.emplace_back("Set-Cookie", session_cookie(shown));
  done.headers.emplace_back("Set-Cookie", sign_in_cookie(""));
  done.headers.emplace_back("Refresh", fmt::format("0; url={}", kFront));
  visitor.reply(std::move(done));
}

void WebSignIn::sign_out(const HttpAsked& asked, const net::HttpPeer& from, const net::HttpServer::Reply& reply) {
  if (!from_own_page(asked, origin_)) {
    return reply(page(403, "This is not done", "<p>Another page than tg's own wanted to sign you out."
                                               "<p><a href=/sign-in>Go to it</a>"));
  }
  const auto shown = cookie(asked, kSessionCookie);
  auto who = signed_in(asked);
  if (who && *who) {
    auto done = store_.end_web_session(sha256(as_bytes(*shown)),
                                       {net::Loop::wall(), in_a_browser((*who)->user), from.address.to_string()});
    if (!done) who = tl::unexpected(done.error());
  }
  if (!who) {
    return reply(page(503, "You are still signed in", "<p>The controller could not write its state; ask an administrator."
                                                      "<p><a href=/sign-in>Back</a>"));
  }
  HttpReply out = see(std::string(kFront));
  out.headers.emplace_back("Set-Cookie", session_cookie(""));
  reply(std::move(out));
}

}  // namespace tg::controller
