#include "core/http_reader.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tg::http_reader_test {

constexpr std::size_t kBody = 100;

struct Reading {
  HttpReader reader{[this](const HttpAsked& head) {
    asked_limit.push_back(head.path);
    return kBody;
  }};
  std::vector<std::string> asked_limit;

  // all feeds `text`, and returns the requests, and the refusal's status behind them (0: none).
  std::pair<std::vector<HttpAsked>, int> all(std::string_view text, std::size_t step = std::string_view::npos) {
    std::vector<HttpAsked> out;
    while (true) {
      const auto part = text.substr(0, step);
      reader.feed(as_bytes(part));
      text.remove_prefix(part.size());
      for (;;) {
        auto one = reader.next();
        if (!one) return {std::move(out), one.error().status};
        if (!*one) break;
        out.push_back(std::move(**one));
      }
      if (text.empty()) return {std::move(out), 0};
    }
  }
};
using ARequest = testing::Test;
using AConnection = testing::Test;

std::vector<HttpAsked> good(std::string_view text) {
  Reading r;
  auto [asked, status] = r.all(text);
  EXPECT_EQ(status, 0) << text;
  return std::move(asked);
}
int refused(std::string_view text) {
  Reading r;
  return r.all(text).second;
}

TEST(ARequest, is_read_with_all_that_it_says) {
  const auto asked = good("PUT /api/v1/users?after=7&most=1 HTTP/1.1\r\nHost: tg\r\nX-Two:  a b \r\nContent-Length: 4\r\n\r\nbody");
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].method, "PUT");
  EXPECT_EQ(asked[0].path, "/api/v1/users");
  EXPECT_EQ(asked[0].query, "after=7&most=1");
  EXPECT_EQ(asked[0].body, "body");
  EXPECT_TRUE(asked[0].keep_alive);
  ASSERT_NE(asked[0].header("x-two"), nullptr);
  EXPECT_EQ(asked[0].header("x-two")->substr(0, 3), "a b");
  EXPECT_EQ(asked[0].header("X-Two"), nullptr) << "names are in lower case";
}

TEST(ARequest, may_have_its_body_in_chunks) {
  const auto asked = good("POST / HTTP/1.1\r\nHost: tg\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n");
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].body, "abcde");
  EXPECT_EQ(asked[0].header("trailer"), nullptr);
}

TEST(ARequest, says_whether_the_connection_goes_on) {
  EXPECT_TRUE(good("GET / HTTP/1.1\r\nHost: tg\r\n\r\n")[0].keep_alive);
  EXPECT_FALSE(good("GET / HTTP/1.1\r\nHost: tg\r\nConnection: close\r\n\r\n")[0].keep_alive);
  EXPECT_FALSE(good("GET / HTTP/1.0\r\n\r\n")[0].keep_alive);
  EXPECT_TRUE(good("GET / HTTP/1.1\r\nHost: tg\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")[0].keep_alive);
}

TEST(ARequest, that_is_none_is_refused) {
  const std::string many = [] {
    std::string out = "GET / HTTP/1.1\r\nHost: tg\r\n";
    for (std::size_t i = 0; i < HttpReader::kHeadersMax; ++i) out += "A" + std::to_string(i) + ": b\r\n";
    return out + "\r\n";
  }();
  const std::pair<std::string, int> table[] = {
      {"hello\r\n\r\n", 501},
      {"GET\r\n\r\n", 501},
      {"GET / HTTP/2.0\r\n\r\n", 505},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET http://elsewhere/ HTTP/1.1\r\nHost: tg\r\n\r\n", 400},
      {"CONNECT tg:443 HTTP/1.1\r\nHost: tg\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: tg\r\nBad Name: x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: tg\r\nX: a\x01b\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: tg\r\nContent-Length: 101\r\n\r\n", 413},
      {"POST / HTTP/1.1\r\nHost: tg\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: tg\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: tg\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: tg\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nHost: tg\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + std::string(101, 'x') + "\r\n0\r\n\r\n", 413},
      {"POST / HTTP/1.1\r\nHost: tg\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: tg\r\nExpect: a miracle\r\n\r\n", 417},
      {"GET / HTTP/1.1\r\nHost: tg\r\nX: " + std::string(HttpReader::kHeadMax, 'x'), 431},
      {"GET /" + std::string(HttpReader::kHeadMax, 'x') + " HTTP/1.1\r\nHost: tg\r\n\r\n", 431},
      {many, 431},
  };
  for (const auto& [text, status] : table) {
    EXPECT_EQ(refused(text), status) << text.substr(0, 100);
    Reading slow;
    EXPECT_EQ(slow.all(text, 1).second, status) << "byte by byte: " << text.substr(0, 100);
  }
}

TEST(AConnection, has_one_request_after_the_other_and_none_behind_a_refusal) {
  Reading r;
  auto [asked, status] = r.all("GET /1 HTTP/1.1\r\nHost: tg\r\n\r\nPOST /2 HTTP/1.1\r\nHost: tg\r\nContent-Length: 1\r\n\r\nxnonsense\r\n\r\n"
                               "GET /3 HTTP/1.1\r\nHost: tg\r\n\r\n");
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_EQ(asked[1].body, "x");
  EXPECT_EQ(status, 501);
  EXPECT_EQ(r.all("GET /4 HTTP/1.1\r\nHost: tg\r\n\r\n").second, 501);
  EXPECT_EQ(r.asked_limit, (std::vector<std::string>{"/1", "/2"}));
}

TEST(AConnection, is_told_to_continue_once_the_head_is_good) {
  Reading r;
  r.all("POST / HTTP/1.1\r\nHost: tg\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_TRUE(r.reader.begun());
  EXPECT_TRUE(r.reader.wants_continue());
  EXPECT_FALSE(r.reader.wants_continue()) << "once";
  EXPECT_EQ(r.all("abc").first.at(0).body, "abc");
  EXPECT_FALSE(r.reader.begun());
  Reading too_long;
  EXPECT_EQ(too_long.all("POST / HTTP/1.1\r\nHost: tg\r\nContent-Length: 300\r\nExpect: 100-continue\r\n\r\n").second, 413);
  EXPECT_FALSE(too_long.reader.wants_continue()) << "and not before it is known that the body is taken";
}

RC_GTEST_PROP(AConnection, may_come_in_any_pieces, ()) {
  std::string text;
  const int count = *rc::gen::inRange(1, 5);
  for (int i = 0; i < count; ++i) {
    const std::string body = *rc::gen::container<std::string>(rc::gen::arbitrary<char>());
    const std::string part = body.substr(0, kBody);
    text += "POST /" + std::to_string(i) + " HTTP/1.1\r\nHost: tg\r\n";
    if (*rc::gen::arbitrary<bool>() || part.empty()) {
      text += "Content-Length: " + std::to_string(part.size()) + "\r\n\r\n" + part;
    } else {
      char size[16];
      std::snprintf(size, sizeof size, "%zx", part.size());
      text += "Transfer-Encoding: chunked\r\n\r\n" + std::string(size) + "\r\n" + part + "\r\n0\r\n\r\n";
    }
  }
  Reading at_once, in_pieces;
  const auto whole = at_once.all(text);
  RC_ASSERT(whole.second == 0 && whole.first.size() == static_cast<std::size_t>(count));
  const auto pieces = in_pieces.all(text, *rc::gen::inRange<std::size_t>(1, 40));
  RC_ASSERT(pieces.second == 0 && pieces.first.size() == whole.first.size());
  for (std::size_t i = 0; i < whole.first.size(); ++i) {
    RC_ASSERT(pieces.first[i].body == whole.first[i].body && pieces.first[i].path == whole.first[i].path);
  }
}

TEST(ARequest, is_refused_behind_its_head_by_who_is_asked_for_the_limit) {
  HttpReader reader([](const HttpAsked& head) -> tl::expected<std::size_t, HttpRefusal> {
    if (head.header("authorization") == nullptr) return tl::unexpected(HttpRefusal{401, "who are you?"});
    return kBody;
  });
  reader.feed(as_bytes("POST / HTTP/1.1\r\nHost: tg\r\nAuthorization: x\r\nContent-Length: 2\r\n\r\nokPOST / HTTP/1.1\r\nHost: tg\r\nContent-Length: 9\r\n\r\n"));
  const auto first = reader.next();
  ASSERT_TRUE(first && *first);
  EXPECT_EQ((*first)->body, "ok");
  const auto second = reader.next();
  ASSERT_FALSE(second) << "before a byte of the body is there";
  EXPECT_EQ(second.error().status, 401);
  EXPECT_EQ(second.error().text, "who are you?");
}

TEST(AnAnswer, begins_with_what_it_is) {
  EXPECT_EQ(http_head({404, "text/plain", "no\n", {{"Allow", "GET"}}}, 3, false),
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nX-Content-Type-Options: nosniff\r\n"
            "Connection: close\r\nAllow: GET\r\n\r\n");
  EXPECT_STREQ(http_reason(599), "Unknown");
}

}  // namespace tg::http_reader_test
