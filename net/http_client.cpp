#include "net/http_client.h"

#include <http_parser.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "core/text.h"

namespace tg::net {
namespace {

constexpr std::size_t kUrlMax = 8192;            // http_parser_url has offsets of 16 bits
constexpr std::uint16_t kHttpsPort = 443;
constexpr std::string_view kAlnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

bool only(std::string_view s, std::string_view more) {
  for (const char c : s) {
    if (kAlnum.find(c) == kAlnum.npos && more.find(c) == more.npos) return false;
  }
  return true;
}

// is_value: RFC 9110 section 5.5, without tabs and obs-text.
bool is_value(std::string_view s) {
  for (const char c : s) {
    if (c < ' ' || c > '~') return false;
  }
  return !s.starts_with(' ') && !s.ends_with(' ');
}

// is_name: labels with dots in between, RFC 1123 section 2.1, and the underscore that people use.
bool is_name(std::string_view s) {
  if (s.empty() || s.size() > 253 || s.back() == '.' || !only(s, "-._")) return false;
  for (;;) {
    const std::size_t dot = s.find('.');
    const std::size_t label = dot == s.npos ? s.size() : dot;
    if (label == 0 || label > 63) return false;
    if (dot == s.npos) return true;
    s.remove_prefix(dot + 1);
  }
}

struct Target {
  HostPort to;
  std::string path;   // what goes into the request line: path and query
};

// The errors do not repeat the URL, which may have a secret in it.
Result<Target> parse_url(std::string_view url, std::string_view scheme) {
  const auto bad = [](std::string_view why) { return fail(Errc::invalid_argument, fmt::format("bad URL: {}", why)); };
  if (url.size() > kUrlMax) return bad(fmt::format("it is longer than {} bytes", kUrlMax));
  if (!only(url, "-._~:/?#[]@!$&'()*+,;=%")) {   // RFC 3986 section 2
    return bad("it has a space, a control character or another one that must be written as %XX");
  }
  if (lower(url.substr(0, scheme.size())) != scheme) return bad(fmt::format("it must begin with {}", scheme));
  if (url.find('#') != url.npos) return bad("it has a fragment (#), which is never sent to a server; leave it out");
  if (const auto authority = url.substr(scheme.size(), url.find_first_of("/?", scheme.size()) - scheme.size()); authority.find('@') != authority.npos) {
    return bad("it has a user before the host (@); leave that out");
  }
  http_parser_url parts;
  http_parser_url_init(&parts);
  if (http_parser_parse_url(url.data(), url.size(), 0, &parts) != 0) return bad(fmt::format("it is not {}HOST[:PORT]/PATH", scheme));
  const auto has = [&](int field) { return (parts.field_set & 1u << field) != 0; };
  const auto part = [&](int field) {
    return has(field) ? url.substr(parts.field_data[field].off, parts.field_data[field].len) : std::string_view();
  };
  Target out;
  out.to.host = lower(part(UF_HOST));
  out.to.port = has(UF_PORT) ? parts.port : kHttpsPort;
  if (out.to.port == 0) return bad("its port is 0");
  const std::size_t host_at = parts.field_data[UF_HOST].off;
  const auto address = IpAddress::parse(out.to.host);
  const bool bracketed = host_at > 0 && url[host_at - 1] == '[';
  if (bracketed ? !(address && address->is_v6()) : !address && !is_name(out.to.host)) {
    return bad(fmt::format("its host {} is neither a name nor an address", printable(out.to.host)));
  }
  out.path = has(UF_PATH) ? part(UF_PATH) : "/";
  if (has(UF_QUERY)) out.path += fmt::format("?{}", part(UF_QUERY));
  return out;
}

struct Wire {
  HostPort to;
  std::string bytes;
  bool head = false;
};

Result<Wire> encode(const HttpRequest& request, bool plain) {
  auto target = parse_url(request.url, plain ? "http://" : "https://");
  if (!target) return pass_on(target);
  Wire out;
  out.to = target->to;
  const auto bad = [&](std::string why) {
    return fail(Errc::invalid_argument, fmt::format("{}: {}", out.to.to_string(), why));
  };
  if (!is_http_token(request.method) || request.method == "CONNECT") {
    return bad(fmt::format("{} is no method for a request", printable(request.method)));
  }
  out.head = request.method == "HEAD";
  // Host goes without the port that goes without saying (RFC 9110 section 7.2).
  std::string host = out.to.to_string();
  if (out.to.port == kHttpsPort) host.resize(host.rfind(':'));
  std::string head =
      fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", request.method, target->path, host);
  bool accept = false, encoding = false, agent = false;
  for (const auto& [name, value] : request.headers) {
    if (!is_http_token(name)) return bad(fmt::format("{} is no name of a header", printable(name)));
    if (!is_value(value)) return bad(fmt::format("the header {} has a value that is not allowed", name));
    const std::string low = lower(name);
    for (const char* own : {"host", "connection", "content-length", "transfer-encoding", "upgrade", "expect"}) {
      if (low == own) return bad(fmt::format("the header {} may not be given", name));
    }
    accept |= low == "accept";
    encoding |= low == "accept-encoding";
    agent |= low == "user-agent";
    head += fmt::format("{}: {}\r\n", name, value);
  }
  if (!accept) head += "Accept: */*\r\n";
  if (!encoding) head += "Accept-Encoding: identity\r\n";   // nothing said would mean that anything is welcome
  if (!agent) head += "User-Agent: tg/" TG_VERSION "\r\n";
  const bool carries = request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
  if (carries || !request.body.empty()) head += fmt::format("Content-Length: {}\r\n", request.body.size());
  out.bytes = head + "\r\n" + request.body;
  return out;
}

// Answer reads one answer from bytes as they come. Debian builds http_parser without its strict mode, so that it takes
// spaces in names of headers, which are refused here, and any two bytes for the CRLF behind a chunk, which does no harm
// where nothing follows the answer.
class Answer {
 public:
  // `body_max`: bytes of a body. All that may come: chunks of one byte (6 bytes each), and what they are announced with.
  explicit Answer(std::size_t body_max) : body_max_(body_max), received_max_(HttpExchange::kHeadersMax + 8 * body_max) {
    http_parser_init(&parser_, HTTP_RESPONSE);
    parser_.data = this;
  }
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  // expect_no_body: the request was HEAD.
  void expect_no_body() { head_ = true; }

  // take returns true when the answer is whole; what comes behind it is not looked at.
  Result<bool> take(Bytes bytes);
  // end: the connection ended in order. It makes a body of unknown length whole.
  Result<> end();
  HttpResponse response() && { return std::move(response_); }

 private:
  static const http_parser_settings& settings();
  static Answer& of(http_parser* p) { return *static_cast<Answer*>(p->data); }
  Result<bool> feed(std::string_view text);
  int stop(Errc code, std::string text) {
    error_ = Error{code, std::move(text)};
    return -1;
  }
  int too_large() { return stop(Errc::exhausted, fmt::format("the answer's body is larger than {} bytes", body_max_)); }
  int begin();
  int name(std::string_view part);
  int value(std::string_view part);
  int header();
  int headers_done();
  int body(std::string_view part);
  int complete();

  const std::size_t body_max_, received_max_;
  http_parser parser_{};
  bool head_ = false;
  bool in_body_ = false;           // the header of the final answer is over; what comes as headers now are trailers
  bool whole_ = false;
  std::optional<Error> error_;     // set by stop()
  std::size_t received_ = 0;
  std::size_t head_bytes_ = 0;     // given to the parser until in_body_
  std::string name_, value_;       // of the header that is being read
  bool in_value_ = false;
  HttpResponse response_;
};

const http_parser_settings& Answer::settings() {
  static const http_parser_settings all = [] {
    http_parser_settings s;
    http_parser_settings_init(&s);
    s.on_message_begin = [](http_parser* p) { return of(p).begin(); };
    s.on_header_field = [](http_parser* p, const char* at, std::size_t n) { return of(p).name({at, n}); };
    s.on_header_value = [](http_parser* p, const char* at, std::size_t n) { return of(p).value({at, n}); };
    s.on_headers_complete = [](http_parser* p) { return of(p).headers_done(); };
    s.on_body = [](http_parser* p, const char* at, std::size_t n) { return of(p).body({at, n}); };
    s.on_message_complete = [](http_parser* p) { return of(p).complete(); };
    return s;
  }();
  return all;
}

int Answer::begin() {
  name_.clear();
  value_.clear();
  in_value_ = false;
  response_ = {};
  return 0;
}

int Answer::name(std::string_view part) {
  if (in_body_) return 0;
  if (in_value_ && header() != 0) return -1;
  name_ += part;
  return 0;
}

int Answer::value(std::string_view part) {
  if (in_body_) return 0;
  in_value_ = true;
  value_ += part;
  return 0;
}

int Answer::header() {
  const std::string which = lower(std::exchange(name_, {}));
  std::string text = std::exchange(value_, {});
  in_value_ = false;
  if (!is_http_token(which)) return stop(Errc::protocol, fmt::format("the answer has a header named {}", printable(which)));
  if (which == "content-type") {
    if (response_.content_type.empty()) response_.content_type = std::move(text);
  } else if (which == "transfer-encoding" || which == "content-encoding") {
    const std::string_view plain = which == "transfer-encoding" ? "chunked" : "identity";
    if (lower(text) != plain) {
      return stop(Errc::protocol,
                  fmt::format("the answer's body is encoded as {}, which was not asked for", printable(text)));
    }
  }
  return 0;
}

// What http_parser takes it for: 0 as it is, 1 no body comes, otherwise an error.
int Answer::headers_done() {
  if (in_value_ && header() != 0) return -1;
  const int status = static_cast<int>(parser_.status_code);
  if (parser_.http_major != 1 || status < 100 || status > 599 || status == HTTP_STATUS_SWITCHING_PROTOCOLS) {
    return stop(Errc::protocol, fmt::format("the answer is HTTP/{}.{} with status {}, which was not asked for",
                                            parser_.http_major, parser_.http_minor, status));
  }
  if (status < 200) return 0;   // another answer follows
  in_body_ = true;
  response_.status = status;
  if (head_) return 1;
  if ((parser_.flags & F_CONTENTLENGTH) != 0 && parser_.content_length > body_max_) return too_large();
  return 0;
}

int Answer::body(std::string_view part) {
  if (response_.body.size() + part.size() > body_max_) return too_large();
  response_.body += part;
  return 0;
}

int Answer::complete() {
  whole_ = in_body_;
  return whole_ ? 1 : 0;   // 1 stops the parser
}

Result<bool> Answer::feed(std::string_view text) {
  const std::size_t used = http_parser_execute(&parser_, &settings(), text.data(), text.size());
  if (whole_) return true;
  if (error_) return tl::unexpected<Error>(*error_);
  const auto code = static_cast<http_errno>(parser_.http_errno);
  if (code == HPE_OK && used == text.size()) return false;
  if (code == HPE_HEADER_OVERFLOW) return fail(Errc::exhausted, "the answer's headers are too large");
  return fail(Errc::protocol, fmt::format("the answer is not HTTP/1.1: {}", http_errno_description(code)));
}

Result<bool> Answer::take(Bytes bytes) {
  std::string_view text = as_text(bytes);
  received_ += text.size();
  if (received_ > received_max_) return fail(Errc::exhausted, "the answer is too large for what is in it");
  while (!text.empty() && !whole_) {
    std::size_t size = text.size();
    if (!in_body_) {
      if (head_bytes_ == HttpExchange::kHeadersMax) {
        return fail(Errc::exhausted, fmt::format("the answer's headers are larger than {} bytes", head_bytes_));
      }
      size = std::min(size, HttpExchange::kHeadersMax - head_bytes_);
      head_bytes_ += size;
    }
    if (auto fed = feed(text.substr(0, size)); !fed) return fed;
    text.remove_prefix(size);
  }
  return whole_;
}

Result<> Answer::end() {
  if (received_ == 0) return fail(Errc::closed, "the connection ended without an answer");
  if (in_body_) {
    if (auto fed = feed({}); fed && *fed) return {};
    if (error_) return tl::unexpected<Error>(*error_);
  }
  return fail(Errc::closed, "the connection ended before the answer did");
}

}  // namespace

struct HttpExchange::State : std::enable_shared_from_this<HttpExchange::State> {
  State(Loop& l, HttpWay w, std::function<void(Result<HttpResponse>)> d)
      : loop(l), way(std::move(w)), done(std::move(d)), answer(way.body_max) {}

  Loop& loop;
  HttpWay way;
  std::function<void(Result<HttpResponse>)> done;   // empty when it was called, or the owner is gone
  Wire wire;
  Answer answer;
  Timer deadline;
  std::unique_ptr<Dial> dial;
  std::unique_ptr<Tls> tls;
  Watch watch;                // of the plain socket
  std::size_t sent = 0;       // of the request, there

  void start(Result<Wire> encoded, Duration timeout);
  void connected(Result<Fd> fd);
  void go_plain();
  void read_plain();
  void write_plain();
  void take(Bytes bytes);
  void ended(const Error& why);
  void fail_with(Error e) {
    if (way.tls) e.text = fmt::format("{}: {}", wire.to.to_string(), e.text);
    finish(tl::unexpected<Error>(std::move(e)));
  }
  void finish(Result<HttpResponse> result);
  void drop();
};

void HttpExchange::State::start(Result<Wire> encoded, Duration timeout) {
  if (!encoded) return finish(pass_on(encoded));
  wire = std::move(*encoded);
  if (wire.head) answer.expect_no_body();
  const std::weak_ptr<State> weak = weak_from_this();
  deadline = Timer(loop, [weak, timeout] {
    const auto self = weak.lock();
    if (!self || !self->done) return;
    const double seconds = std::chrono::duration<double>(timeout).count();
    self->fail_with({Errc::timed_out, fmt::format("no whole answer within {:g} s", seconds)});
  });
  deadline.after(timeout);
  if (!way.tls) return go_plain();
  auto dialling = std::make_unique<Dial>(loop, wire.to, way.resolve, timeout, [weak](Result<Fd> fd) {
    if (const auto self = weak.lock()) self->connected(std::move(fd));
  });
  if (done && !tls) dial = std::move(dialling);   // otherwise it has called back already
}

void HttpExchange::State::connected(Result<Fd> fd) {
  if (!done) return;
  if (!fd) return fail_with(std::move(fd.error()));
  const std::weak_ptr<State> weak = weak_from_this();
  Tls::Callbacks calls;
  calls.on_open = [weak] {
    const auto self = weak.lock();
    if (self && self->tls) self->tls->write(as_bytes(self->wire.bytes));
  };
  calls.on_data = [weak](Bytes bytes) {
    if (const auto self = weak.lock()) self->take(bytes);
  };
  calls.on_close = [weak](const Error& why) {
    if (const auto self = weak.lock()) self->ended(why);
  };
  // A pinned peer is known by its URI, whatever its host is called.
  tls = std::make_unique<Tls>(loop, std::move(*fd), *way.tls, std::move(calls), way.expect_uri.empty() ? wire.to.host : std::string(),
                              way.expect_uri);
  dial.reset();
}

void HttpExchange::State::go_plain() {
  watch = Watch(loop, way.plain.get(), [this] { read_plain(); }, [this] { write_plain(); });
  watch.want_read(true);
  watch.want_write(true);
}

// What the server says before it has taken everything is its answer all the same: the request was too long, say.
void HttpExchange::State::write_plain() {
  const std::string_view left = std::string_view(wire.bytes).substr(sent);
  const ssize_t n = ::send(way.plain.get(), left.data(), left.size(), MSG_NOSIGNAL);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) return watch.want_write(false);
  sent += static_cast<std::size_t>(n);
  if (sent == wire.bytes.size()) watch.want_write(false);
}

void HttpExchange::State::read_plain() {
  std::uint8_t chunk[65536];
  const ssize_t n = ::recv(way.plain.get(), chunk, sizeof chunk, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0 && errno != ECONNRESET) return ended(os_error(errno, "read"));
  if (n <= 0) return ended({Errc::closed, "closed"});
  take({chunk, static_cast<std::size_t>(n)});
}

void HttpExchange::State::take(Bytes bytes) {
  if (!done) return;
  auto whole = answer.take(bytes);
  if (!whole) return fail_with(std::move(whole.error()));
  if (*whole) finish(std::move(answer).response());
}

void HttpExchange::State::ended(const Error& why) {
  if (!done) return;
  if (why.code != Errc::closed) return fail_with(why);
  if (auto whole = answer.end(); !whole) return fail_with(std::move(whole.error()));
  finish(std::move(answer).response());
}

void HttpExchange::State::finish(Result<HttpResponse> result) {
  const auto call = std::exchange(done, nullptr);
  drop();
  call(std::move(result));
}

void HttpExchange::State::drop() {
  deadline = {};
  watch = {};
  dial.reset();
  tls.reset();
}

HttpExchange::HttpExchange(Loop& loop, HttpWay way, HttpRequest request, Duration timeout, std::function<void(Result<HttpResponse>)> done)
    : state_(std::make_shared<State>(loop, std::move(way), std::move(done))) {
  loop.post([weak = std::weak_ptr<State>(state_), encoded = encode(request, !state_->way.tls), timeout] {
    if (const auto self = weak.lock(); self && self->done) self->start(encoded, timeout);
  });
}

HttpExchange::~HttpExchange() {
  state_->done = nullptr;
  state_->drop();
}

}  // namespace tg::net
