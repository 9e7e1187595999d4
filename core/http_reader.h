// HTTP/1.1 requests out of the bytes of a connection (RFC 9112), with limits. Sans-I/O.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <tl/expected.hpp>

#include "core/bytes.h"
#include "core/http.h"

namespace tg {

// HttpRefusal is why a connection is of no use any more: what its last answer says.
struct HttpRefusal {
  int status = 400;        // 400 no request; 413 a body, 431 headers, 414 a target that are too long; 501 what is not done here;
                           // or what BodyLimit says
  std::string text;
  bool head = false;       // the request was HEAD: no body goes with the answer
};

// HttpReader reads one request after the other. What is refused ends the reading.
class HttpReader {
 public:
  static constexpr std::size_t kHeadMax = 16u << 10;   // bytes of a request line and headers
  static constexpr std::size_t kHeadersMax = 64;       // how many

  // `body_limit` says how long the body may be, or refuses, once everything in front of it is known.
  using BodyLimit = std::function<tl::expected<std::size_t, HttpRefusal>(const HttpAsked&)>;
  explicit HttpReader(BodyLimit body_limit);
  ~HttpReader();
  HttpReader(const HttpReader&) = delete;
  HttpReader& operator=(const HttpReader&) = delete;

  void feed(Bytes bytes);
  // next returns the next whole request, or nothing when more bytes are needed.
  tl::expected<std::optional<HttpAsked>, HttpRefusal> next();

  // begun says that a part of a request is here.
  bool begun() const noexcept;
  // wants_continue is true once for a request whose sender waits for "100 Continue" before he sends the body.
  bool wants_continue() noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// http_head returns the first bytes of an answer: status line and headers, with the empty line. `body`: its length.
std::string http_head(const HttpReply& reply, std::size_t body, bool keep_alive);
// http_reason returns the words of a status (RFC 9110 section 15).
const char* http_reason(int status) noexcept;

}  // namespace tg
