#include "core/http_reader.h"

#include <http_parser.h>

#include <algorithm>

#include <fmt/format.h>

#include "core/text.h"

namespace tg {
namespace {

bool is_visible(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return c == '\t' || (c >= ' ' && c != '\x7f'); });
}

}  // namespace

struct HttpReader::State {
  explicit State(BodyLimit limit) : body_limit(std::move(limit)) {
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = this;
  }

  BodyLimit body_limit;
  http_parser parser{};
  Buffer pending{};               // not parsed yet
  HttpAsked asked{};
  std::string target{}, name{}, value{};
  bool in_value = false;
  bool begun = false;             // the first byte of a request is here
  bool head_done = false;
  bool whole = false;
  bool wants_continue = false;
  std::size_t head = 0;           // bytes of it given to the parser
  std::size_t most = 0;           // of the body
  std::optional<HttpRefusal> refusal{};

  static State& of(http_parser* p) { return *static_cast<State*>(p->data); }
  int refuse(int status, std::string text) {
    refusal = HttpRefusal{status, std::move(text), head_done && parser.method == HTTP_HEAD};
    return -1;
  }

  int begin() {
    asked = {};
    target.clear();
    name.clear();
    value.clear();
    in_value = head_done = whole = wants_continue = false;
    begun = true;
    return 0;
  }

  int on_name(std::string_view part) {
    if (head_done) return 0;      // trailers are not looked at
    if (in_value && header() != 0) return -1;
    name += part;
    return 0;
  }
  int on_value(std::string_view part) {
    if (head_done) return 0;
    in_value = true;
    value += part;
    return 0;
  }

  int header() {
    in_value = false;
    if (!is_http_token(name)) return refuse(400, "a header has a name that is none: \"" + printable(name, 64) + "\"");
    if (!is_visible(value)) return refuse(400, "the header " + name + " has control characters");
    if (asked.headers.size() == kHeadersMax) return refuse(431, fmt::format("more than {} headers", kHeadersMax));
    asked.headers.emplace_back(lower(std::exchange(name, {})), std::exchange(value, {}));
    return 0;
  }

  // What http_parser takes it for: 0 as it is, otherwise an error.
  int headers_done() {
    if (in_value && header() != 0) return -1;
    head_done = true;
    asked.method = http_method_str(static_cast<http_method>(parser.method));
    if (parser.http_major != 1) return refuse(505, "only HTTP/1.1 is spoken here");
    if (target.empty() || target.front() != '/') return refuse(400, "the target is no path");
    const auto question = target.find('?');
    asked.path = target.substr(0, question);
    if (question != target.npos) asked.query = target.substr(question + 1);
    const auto count = [&](std::string_view which) {
      return std::count_if(asked.headers.begin(), asked.headers.end(), [&](const auto& h) { return h.first == which; });
    };
    if (parser.http_minor >= 1 && count("host") != 1) return refuse(400, "there must be one Host");
    if (const std::string* encoding = asked.header("transfer-encoding"); encoding != nullptr && lower(*encoding) != "chunked") {
      return refuse(501, "the only transfer encoding that is understood here is chunked");
    }
    if (const std::string* expect = asked.header("expect"); expect != nullptr) {
      if (lower(*expect) != "100-continue") return refuse(417, "the only expectation that is met here is 100-continue");
    }
    asked.keep_alive = http_should_keep_alive(&parser) != 0;
    parser.upgrade = 0;            // whoever offers another protocol gets this one
    const auto limit = body_limit(asked);
    if (!limit) return refuse(limit.error().status, limit.error().text);
    most = *limit;
    if ((parser.flags & F_CONTENTLENGTH) != 0 && parser.content_length > most) return too_long();
    wants_continue = parser.http_minor >= 1 && asked.header("expect") != nullptr;
    return 0;
  }

  int too_long() { return refuse(413, most == 0 ? "no body is taken here" : fmt::format("the body is longer than {} bytes", most)); }

  int on_body(std::string_view part) {
    wants_continue = false;
    if (asked.body.size() + part.size() > most) return too_long();
    asked.body += part;
    return 0;
  }

  int complete() {
    whole = true;
    http_parser_pause(&parser, 1);
    return 0;
  }

  static const http_parser_settings& settings() {
    static const http_parser_settings all = [] {
      http_parser_settings s;
      http_parser_settings_init(&s);
      s.on_message_begin = [](http_parser* p) { return of(p).begin(); };
      s.on_url = [](http_parser* p, const char* at, std::size_t n) {
        of(p).target.append(at, n);
        return 0;
      };
      s.on_header_field = [](http_parser* p, const char* at, std::size_t n) { return of(p).on_name({at, n}); };
      s.on_header_value = [](http_parser* p, const char* at, std::size_t n) { return of(p).on_value({at, n}); };
      s.on_headers_complete = [](http_parser* p) { return of(p).headers_done(); };
      s.on_body = [](http_parser* p, const char* at, std::size_t n) { return of(p).on_body({at, n}); };
      s.on_message_complete = [](http_parser* p) { return of(p).complete(); };
      return s;
    }();
    return all;
  }

  // parse takes a part of `pending`, and says whether it did.
  bool parse() {
    std::size_t size = pending.size();
    if (!head_done) {
      if (head >= kHeadMax) {
        refuse(431, fmt::format("what is in front of the body is longer than {} bytes", kHeadMax));
        return false;
      }
      size = std::min(size, kHeadMax - head);
    }
    const std::size_t used = http_parser_execute(&parser, &settings(), reinterpret_cast<const char*>(pending.data()), size);
    if (!head_done) head += used;
    pending.erase(pending.begin(), pending.begin() + static_cast<std::ptrdiff_t>(std::min(used, pending.size())));
    if (refusal) return false;
    const auto code = static_cast<http_errno>(parser.http_errno);
    if (code == HPE_PAUSED || (code == HPE_OK && used == size)) return true;
    if (code == HPE_INVALID_METHOD) refuse(501, "that is no method that is known here");
    else if (code == HPE_HEADER_OVERFLOW) refuse(431, "the headers are too long");
    else refuse(400, std::string("that is not HTTP/1.1: ") + http_errno_description(code));
    return false;
  }
};

HttpReader::HttpReader(BodyLimit body_limit) : state_(std::make_unique<State>(std::move(body_limit))) {}
HttpReader::~HttpReader() = default;

void HttpReader::feed(Bytes bytes) { state_->pending.insert(state_->pending.end(), bytes.begin(), bytes.end()); }

tl::expected<std::optional<HttpAsked>, HttpRefusal> HttpReader::next() {
  State& s = *state_;
  while (!s.refusal && !s.whole && !s.pending.empty() && s.parse()) {}
  if (s.refusal) return tl::unexpected(*s.refusal);
  if (!s.whole) return std::optional<HttpAsked>();
  s.whole = s.begun = false;
  s.head = 0;
  s.head_done = false;
  http_parser_pause(&s.parser, 0);
  return std::optional(std::exchange(s.asked, {}));
}

bool HttpReader::begun() const noexcept { return state_->begun; }
bool HttpReader::wants_continue() noexcept { return std::exchange(state_->wants_continue, false); }

const char* http_reason(int status) noexcept {
  switch (status) {
#define TG_REASON(number, name, text) case number: return #text;
    HTTP_STATUS_MAP(TG_REASON)
#undef TG_REASON
    default: return "Unknown";
  }
}

std::string http_head(const HttpReply& reply, std::size_t body, bool keep_alive) {
  std::string out = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nX-Content-Type-Options: nosniff\r\n"
                                "Connection: {}\r\n",
                                reply.status, http_reason(reply.status), reply.content_type, body, keep_alive ? "keep-alive" : "close");
  for (const auto& [name, value] : reply.headers) out += fmt::format("{}: {}\r\n", name, value);
  return out + "\r\n";
}

}  // namespace tg
