// net::HttpExchange against a real nginx, and against servers that do what nginx cannot be made to.
#include "net/http_client.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <random>

#include "tests/support/folder.h"
#include "net/http_server.h"
#include "web_server.h"

namespace tg::net::http_client_test {

// --- nginx

const std::string kJson = R"({"issuer":"https://id.example.com"})";

// Nginx runs from its making to its end, without the machine's configuration. It is given its listening sockets, so its
// ports are its own and answer at once; for that it needs a master process. It ends with the test, also when that
// crashes.
class Nginx {
 public:
  Nginx() : modern_(*tcp_listen({kLoopback4, 0})), old_(*tcp_listen({kLoopback4, 0})) {
    write("ec.pem", ca().issue({.names = "DNS:id.example.com"}));
    write("rsa.pem", ca().issue({.names = "DNS:id.example.com", .rsa = true}));
    std::filesystem::create_directory(folder_ / "www");
    file("www/openid-configuration.json", kJson);
    file("www/full", std::string(HttpWay::kBodyMax, 'f'));
    file("www/too-full", std::string(HttpWay::kBodyMax + 1, 'f'));
    file("www/large.shtml", std::string(300'000, 's'));
    const std::string locations =
        "root " + folder_ / "www" + ";\n"
        "location = /.well-known/openid-configuration { default_type application/json;\n"
        "try_files /openid-configuration.json =404; }\n"
        "location = /token { default_type text/plain; return 200 \"$request_method $http_host $content_type "
        "$content_length $http_authorization $http_connection $http_accept $ssl_protocol\"; }\n"
        "location = /moved { return 302 https://elsewhere.example/; }\n"
        "location = /nothing { return 204; }\n"
        "location = /large.shtml { ssi on; }\n";   // of unknown length: chunked
    const auto server = [&](const Fd& at, const std::string& pem, const std::string& versions) {
      return "server { listen 127.0.0.1:" + std::to_string(local_endpoint(at.get()).port) + " ssl;\n" +
             "ssl_certificate " + pem + "; ssl_certificate_key " + pem + "; ssl_protocols " + versions + ";\n" +
             locations + "}\n";
    };
    std::string temporary;
    for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
      temporary += std::string(kind) + "_temp_path " + folder_ / kind + ";\n";
    }
    file("conf", "daemon off; user root; worker_processes 1;\n"
                 "pid " + folder_ / "pid" + "; error_log " + folder_ / "log" + ";\n"
                 "events { worker_connections 512; }\n"
                 "http { access_log off; types { text/html html shtml; application/json json; }\n" + temporary +
                     server(modern_, folder_ / "ec.pem", "TLSv1.2 TLSv1.3") +
                     server(old_, folder_ / "rsa.pem", "TLSv1.2") + "}\n");
    start();
  }
  ~Nginx() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);   // not SIGKILL: it has a worker to end
    ::waitpid(pid_, nullptr, 0);
  }

  std::string url(const std::string& path) const { return at(modern_) + path; }
  std::string old_url(const std::string& path) const { return at(old_) + path; }   // TLS 1.2 alone, and RSA
  // log is what it complained of.
  std::string log() const {
    std::ifstream file(folder_ / "log");
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  static std::string at(const Fd& fd) {
    return "https://id.example.com:" + std::to_string(local_endpoint(fd.get()).port);
  }
  void file(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  void write(const std::string& name, const Pair& pair) { file(name, pair.chain + to_pem(pair.key.get())); }
  void start() {
    const std::string inherited = std::to_string(modern_.get()) + ";" + std::to_string(old_.get()) + ";";
    const std::string conf = folder_ / "conf", log = folder_ / "log";
    const int parent = ::getpid();
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    for (const Fd* fd : {&modern_, &old_}) ::fcntl(fd->get(), F_SETFD, 0);
    ::setenv("NGINX", inherited.c_str(), 1);
    ::execl("/usr/sbin/nginx", "nginx", "-p", folder_.path().c_str(), "-c", conf.c_str(), "-e", log.c_str(), nullptr);
    ::perror("nginx does not start (is nginx-light installed?)");
    ::_exit(127);
  }

  test::Folder folder_;
  Fd modern_, old_;
  int pid_ = -1;
};

class WithNginx : public testing::Test {
 protected:
  static void SetUpTestSuite() { nginx_ = std::make_unique<Nginx>(); }
  static void TearDownTestSuite() { nginx_.reset(); }
  void TearDown() override {
    if (HasFailure()) ADD_FAILURE() << "nginx says: " << nginx_->log();
  }
  static inline std::unique_ptr<Nginx> nginx_;
};

TEST_F(WithNginx, gets_a_document) {
  const auto got = fetch({.url = nginx_->url("/.well-known/openid-configuration?x=1")});
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->content_type, "application/json");
  EXPECT_EQ(got->body, kJson);
}

TEST_F(WithNginx, sends_a_form_with_headers_over_tls_13_and_12) {
  for (const std::string& url : {nginx_->url("/token"), nginx_->old_url("/token")}) {
    const auto got = fetch({"POST", url,
                            {{"Content-Type", "application/x-www-form-urlencoded"}, {"Authorization", "Basic eA=="}},
                            "a=b"});
    ASSERT_TRUE(got) << got.error().text;
    const std::string host = url.substr(8, url.find('/', 8) - 8);
    const std::string version = url == nginx_->url("/token") ? "TLSv1.3" : "TLSv1.2";
    EXPECT_EQ(got->body, "POST " + host + " application/x-www-form-urlencoded 3 Basic eA== close */* " + version);
  }
}

TEST_F(WithNginx, takes_a_chunked_body) {
  const auto got = fetch({.url = nginx_->url("/large.shtml")});
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->content_type, "text/html");
  EXPECT_EQ(got->body, std::string(300'000, 's'));
}

TEST_F(WithNginx, hands_over_any_status_and_follows_nothing) {
  EXPECT_EQ(fetch({.url = nginx_->url("/gone")}).value().status, 404);
  EXPECT_EQ(fetch({.url = nginx_->url("/moved")}).value().status, 302);
  const auto empty = fetch({.url = nginx_->url("/nothing")});
  EXPECT_EQ(empty.value().status, 204);
  EXPECT_EQ(empty.value().body, "");
  const auto head = fetch({.method = "HEAD", .url = nginx_->url("/full")});
  EXPECT_EQ(head.value().status, 200);
  EXPECT_EQ(head.value().body, "");
}

TEST_F(WithNginx, takes_a_body_of_a_mebibyte_and_not_a_byte_more) {
  const auto full = fetch({.url = nginx_->url("/full")});
  ASSERT_TRUE(full) << full.error().text;
  EXPECT_EQ(full->body.size(), HttpWay::kBodyMax);
  expect_error(fetch({.url = nginx_->url("/too-full")}), Errc::exhausted, kHost, "larger than 1048576 bytes");
}

// asked_over_a_socket asks a server on a unix socket, in the same Loop. `seen`: whom that saw.
Answered asked_over_a_socket(HttpRequest request, std::size_t most = HttpWay::kBodyMax, std::optional<unsigned>* seen = nullptr) {
  test::Folder folder;
  const std::string path = folder / "socket";
  Loop loop;
  HttpServer::Hooks hooks;
  hooks.body_limit = [](const HttpAsked&, const HttpPeer&) { return std::size_t{1'000'000}; };
  hooks.answer = [&](const HttpAsked& a, const HttpPeer& from, const HttpServer::Reply& reply) {
    if (seen != nullptr) *seen = from.user;
    const std::string more(a.path == "/long" ? 3'000'000 : 0, 'l');
    reply({200, "text/plain", a.method + " " + a.path + "?" + a.query + " " + std::to_string(a.body.size()) + more, {}});
  };
  hooks.refused = [](const HttpRefusal& r) { return HttpReply{r.status, "text/plain", r.text, {}}; };
  const HttpServer server(loop, *unix_listen(path), std::nullopt, std::move(hooks));
  HttpWay way;
  way.plain = *unix_connect(path);
  way.body_max = most;
  std::optional<Answered> out;
  const HttpExchange exchange(loop, std::move(way), std::move(request), 8s, [&](Answered got) {
    out = std::move(got);
    loop.stop();
  });
  loop.run();
  return std::move(*out);
}

TEST(OverASocket, asks_in_the_clear_and_is_known) {
  std::optional<unsigned> seen;
  const auto got = asked_over_a_socket({"PUT", "http://localhost/a?b=c", {}, std::string(700'000, 'x')}, HttpWay::kBodyMax, &seen);
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->body, "PUT /a?b=c 700000");
  EXPECT_EQ(seen, ::getuid());
}

TEST(OverASocket, hears_why_it_may_not_while_it_is_still_talking) {
  const auto got = asked_over_a_socket({"PUT", "http://localhost/a", {}, std::string(20'000'000, 'x')});
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->status, 413);
  EXPECT_EQ(got->body, "the body is longer than 1000000 bytes");
}

TEST(OverASocket, takes_as_much_as_it_wants) {
  EXPECT_EQ(asked_over_a_socket({.url = "http://localhost/long"}).error().code, Errc::exhausted);
  const auto got = asked_over_a_socket({.url = "http://localhost/long"}, 4'000'000);
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->body.size(), 3'000'000u + 12);
  EXPECT_EQ(asked_over_a_socket({.url = "https://localhost/"}).error().code, Errc::invalid_argument);
}

TEST_F(WithNginx, many_exchanges_at_once_do_not_disturb_each_other) {
  Loop loop;
  std::vector<std::unique_ptr<HttpExchange>> all;
  int left = 100;
  for (int i = 0; i < 100; ++i) {
    all.push_back(std::make_unique<HttpExchange>(
        loop, web(), here, HttpRequest{.url = nginx_->url(i % 2 == 0 ? "/moved" : "/gone")}, 8s,
        [&, i](Answered got) {
          EXPECT_TRUE(got && got->status == (i % 2 == 0 ? 302 : 404)) << i;
          all[static_cast<std::size_t>(i)].reset();   // from inside its callback
          if (--left == 0) loop.stop();
        }));
  }
  loop.run();
}

TEST_F(WithNginx, is_not_believed_under_another_name) {
  std::string url = nginx_->url("/gone");
  url.replace(url.find("id."), 2, "xx");
  expect_error(fetch({.url = url}), Errc::denied, "xx.example.com:", "its certificate is for another name");
}

// --- what is sent

TEST(HttpClient, sends_what_rfc_9112_wants_and_nothing_else) {
  Server server(usual(), says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  ASSERT_TRUE(fetch({.url = server.url("?q=1"), .headers = {{"Accept", "application/json"}}}));
  EXPECT_EQ(server.seen().request, "GET /?q=1 HTTP/1.1\r\nHost: " + server.name() +
                                       "\r\nConnection: close\r\nAccept: application/json\r\n"
                                       "Accept-Encoding: identity\r\nUser-Agent: tg/" TG_VERSION "\r\n\r\n");
  EXPECT_EQ(server.seen().sni, kHost);
}

TEST(HttpClient, sends_a_large_body_whole) {
  Server server(usual(), says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  const std::string body(1'000'000, 'b');
  ASSERT_TRUE(fetch({"POST", server.url(), {}, body}));
  EXPECT_TRUE(server.seen().request.ends_with("Content-Length: 1000000\r\n\r\n" + body));
}

TEST(HttpClient, says_that_a_post_is_empty) {
  Server server(usual(), says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  ASSERT_TRUE(fetch({.method = "POST", .url = server.url()}));
  EXPECT_NE(server.seen().request.find("\r\nContent-Length: 0\r\n"), std::string::npos);
}

TEST(HttpClient, refuses_urls_that_are_not_plain_https) {
  const std::string nul("https://h/\0", 11);
  for (const std::string& url : std::vector<std::string>{
        "", "/", "h", "http://h/", "ftp://h/",
        "https:/h", "https:h", "https://", "https:///x",
        "https://h:0/", "https://h:65536/", "https://h:/",
        "https://h:x/", "https://h:-1/", "https://u@h/",
        "https://u:p@h/", "https://@h/", "https://h/#f", "https://h/#",
        "https://h/ ", " https://h/", "https://h/a b", "https://h/\r\nX: y",
        "https://h/\t", nul, "https://h/\x7f", "https://h/\xc3\xa4",
        "https://h\\x/", "https://[1.2.3.4]/", "https://[h]/", "https://[::1/",
        "https://[fe80::1%25eth0]/", "https://::1/", "https://h./",
        "https://.h/", "https://a..b/", "https://a%2eb/", "https://*.h/",
        "https://" + std::string(64, 'a') + "/", "https://h/" + std::string(9000, 'a'), "https://h:443:443/"}) {
    const auto got = fetch({.url = url}, web(), [](auto&&, auto&&) { ADD_FAILURE() << "was asked for"; });
    ASSERT_FALSE(got) << url;
    EXPECT_EQ(got.error().code, Errc::invalid_argument) << url;
    EXPECT_EQ(got.error().text.find("u:p"), std::string::npos) << "the secret is told";
  }
}

TEST(HttpClient, takes_no_request_that_would_add_a_line_of_its_own) {
  const std::vector<HttpRequest> bad{
      {.method = ""}, {.method = "GET /"}, {.method = "GET\r\n"}, {.method = "CONNECT"}, {.method = "G\xc3\x84T"},
      {.headers = {{"", "x"}}}, {.headers = {{"A B", "x"}}}, {.headers = {{"A:", "x"}}}, {.headers = {{"A\r\nB", "x"}}},
      {.headers = {{"A", "x\r\nB: y"}}}, {.headers = {{"A", "x\n"}}}, {.headers = {{"A", "\tx"}}},
      {.headers = {{"A", " x"}}},
      {.headers = {{"A", std::string("x\0y", 3)}}}, {.headers = {{"A", "\x7f"}}}, {.headers = {{"A", "\xff"}}},
      {.headers = {{"hOST", "h"}}}, {.headers = {{"content-length", "1"}}}, {.headers = {{"Connection", "keep-alive"}}},
      {.headers = {{"Transfer-Encoding", "chunked"}}}};
  for (HttpRequest request : bad) {
    request.url = "https://h.example/";
    const auto got = fetch(request, web(), [](auto&&, auto&&) { ADD_FAILURE() << "was asked for"; });
    expect_error(got, Errc::invalid_argument, "h.example:443: ", "");
  }
}

// --- what is answered

Answered answer_of(const std::string& text, bool cut = false) {
  const Server server(usual(), [&](Line& line) {
    line.say(text);
    line.cut = cut;
  });
  return fetch({.url = server.url()});
}

TEST(HttpClient, skips_1xx_and_does_not_take_their_headers) {
  const auto got = answer_of("HTTP/1.1 100 Continue\r\n\r\n"
                             "HTTP/1.1 103 Early Hints\r\nContent-Type: early\r\nLink: </x>\r\n\r\n"
                             "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: late\r\n\r\nok");
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->content_type, "late");
  EXPECT_EQ(got->body, "ok");
}

const std::string kChunked = "HTTP/1.1 200 OK\r\nX-Empty:\r\nTransfer-Encoding: chunked\r\n"
                             "Content-Type: text/plain; charset=utf-8\r\n\r\n"
                             "5;ext=\"1\"\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nContent-Type: evil\r\nX: y\r\n\r\n";

TEST(HttpClient, takes_chunks_and_no_header_out_of_trailers) {
  const auto got = answer_of(kChunked);
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->content_type, "text/plain; charset=utf-8");
  EXPECT_EQ(got->body, "hello world");
  const auto bare = answer_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "0\r\nContent-Type: evil\r\nX: y\r\n\r\n");
  ASSERT_TRUE(bare) << bare.error().text;
  EXPECT_EQ(bare->content_type, "");
}

TEST(HttpClient, takes_an_answer_that_comes_byte_by_byte) {
  const Server server(usual(), [](Line& line) {
    for (const char c : kChunked) line.say({&c, 1});
  });
  const auto got = fetch({.url = server.url()});
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->content_type, "text/plain; charset=utf-8");
  EXPECT_EQ(got->body, "hello world");
}

TEST(HttpClient, takes_a_body_that_ends_with_the_connection_only_when_that_ends_in_order) {
  for (const char* version : {"1.0", "1.1"}) {
    const std::string text = std::string("HTTP/") + version + " 200 OK\r\n\r\nall of it";
    EXPECT_EQ(answer_of(text).value().body, "all of it");
    expect_error(answer_of(text, true), Errc::protocol, kHost, "cut off");   // threat: somebody on the way cuts it
  }
}

TEST(HttpClient, does_not_wait_for_the_end_of_a_connection_whose_answer_is_whole) {
  Server server(usual(), [](Line& line) {
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n");
    line.wait_for_end();
  });
  EXPECT_EQ(fetch({.url = server.url()}).value().body, "ok");
}

TEST(HttpClient, an_answer_that_ends_too_early_is_none) {
  for (const char* text : {"", "HTTP/1.1", "HTTP/1.1 200 OK\r\nContent-", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
                           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
                           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", "HTTP/1.1 100 Continue\r\n\r\n"}) {
    expect_error(answer_of(text), Errc::closed, kHost, "the connection ended");
  }
  expect_error(answer_of("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", true), Errc::protocol, kHost, "cut off");
}

TEST(HttpClient, what_is_not_http_1_is_refused) {
  const std::string tail = "\r\n\r\nbody";
  for (const std::string& text : std::vector<std::string>{
        "SSH-2.0-OpenSSH_9.2\r\n", std::string("\0\0\x12\4\0\0\0\0\0", 9), "HTTP/2.0 200 OK" + tail, "HTTP/1.1 20 OK" + tail,
        "HTTP/1.1 099 OK" + tail, "HTTP/1.1 600 OK" + tail, "HTTP/1.1 -1 OK" + tail, "HTTP/1.1 101 Switching Protocols" + tail,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA B: c" + tail, "HTTP/1.1 200 OK\r\nno colon" + tail, "HTTP/1.1 200 OK\r\nA: b\1" + tail,
        "HTTP/1.1 200 OK\r\nContent-Length: x" + tail, "HTTP/1.1 200 OK\r\nContent-Length: -1" + tail,
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999" + tail,
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 3" + tail,
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked" + tail,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked" + tail, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked" + tail,
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip" + tail,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : gzip, chunked" + tail, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nX"}) {
    SCOPED_TRACE(text);
    expect_error(answer_of(text), Errc::protocol, kHost + ":", "");
  }
}

// endless says `begin`, and then `more` until the client leaves.
Server::Talk endless(const std::string& begin, const std::string& more) {
  return [=](Line& line) {
    line.say(begin);
    while (line.say(more)) {}
  };
}

TEST(HttpClient, an_answer_without_end_is_left) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const std::string chunked = ok + "Transfer-Encoding: chunked\r\n\r\n";
  const std::string much(16000, 'x');
  struct Case { std::string begin, more, has; };
  for (const auto& [begin, more, has] : std::vector<Case>{
           {ok + "\r\n", much, "body is larger than 1048576 bytes"},
           {chunked, "3e80\r\n" + much + "\r\n", "body is larger than 1048576 bytes"},
           {chunked, "1;" + much + "\r\nx\r\n", "too large"},
           {chunked + "1;", much, "too large"},
           {chunked + "0\r\n", "X: " + much + "\r\n", "too large"},
           {ok, "X: " + much + "\r\n", "headers are larger than 65536 bytes"},
           {ok + "X: ", much, "headers are larger than 65536 bytes"},
           {ok + "X:", std::string(16000, ' '), "headers are larger than 65536 bytes"},
           {"HTTP/1.1 200 ", much, "headers are larger than 65536 bytes"},
           {"", "HTTP/1.1 100 Continue\r\n\r\n", "headers are larger than 65536 bytes"},
           {"", "\r\n", "headers are larger than 65536 bytes"}}) {
    SCOPED_TRACE(begin + more.substr(0, 20));
    const Server server(usual(), endless(begin, more));
    expect_error(fetch({.url = server.url()}), Errc::exhausted, kHost, has);
  }
}

TEST(HttpClient, a_body_that_is_announced_as_too_large_is_not_waited_for) {
  const Server server(usual(), [](Line& line) {
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n");
    line.wait_for_end();
  });
  expect_error(fetch({.url = server.url()}), Errc::exhausted, server.name(), "larger than 1048576 bytes");
}

TEST(HttpClient, takes_headers_of_64_kib_and_not_a_byte_more) {
  const std::string begin = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: ";
  const std::string fits = begin + std::string(HttpExchange::kHeadersMax - begin.size() - 4, 'x') + "\r\n\r\nok";
  EXPECT_EQ(answer_of(fits).value().body, "ok");
  expect_error(answer_of(begin + "x" + fits.substr(begin.size())), Errc::exhausted, kHost, "headers are larger than 65536");
}

TEST(HttpClient, whatever_is_answered_ends_in_an_answer_or_an_error) {
  std::mt19937 random(7);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  std::string text;
  const Server server(usual(), [&](Line& line) { line.say(text); });   // written before the connection is there
  for (int i = 0; i < 150; ++i) {
    text = kChunked;
    for (std::size_t changes = 1 + below(4); changes > 0; --changes) {
      const std::size_t at = below(text.size());
      if (below(3) == 0) text.erase(at, 1 + below(8));
      else text[at] = below(4) == 0 ? static_cast<char>(below(256)) : kChunked[below(kChunked.size())];
    }
    const auto got = fetch({.url = server.url()});
    if (!got) {
      const Errc code = got.error().code;
      EXPECT_TRUE(code == Errc::protocol || code == Errc::closed || code == Errc::exhausted)
          << hex(as_bytes(text)) << ": " << got.error().text;
    }
  }
}

// --- time, and ends

TEST(HttpClient, a_server_that_is_silent_is_given_up_on) {
  const Fd listener = *tcp_listen({kLoopback4, 0});   // the kernel accepts; nobody says anything
  const std::string at = kHost + ":" + std::to_string(local_endpoint(listener.get()).port);
  expect_error(fetch({.url = "https://" + at}, web(), here, 150ms), Errc::timed_out, at + ": ", "within 0.15 s");
  for (const char* begin : {"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbeg"}) {
    const Server server(usual(), [&](Line& line) {
      line.say(begin);
      line.wait_for_end();
    });
    expect_error(fetch({.url = server.url()}, web(), here, 150ms), Errc::timed_out, server.name(), "within 0.15 s");
  }
  expect_error(fetch({.url = "https://id.example.com/"}, web(), [](auto&&, auto&&) {}, 50ms), Errc::timed_out,
               "id.example.com:443: ", "");
}

TEST(HttpClient, says_why_there_is_no_connection) {
  const auto unknown = [](auto&&, const auto& found) { found(fail(Errc::not_found, "it does not exist")); };
  const auto homeless = [](auto&&, const auto& found) { found(Addresses{}); };
  expect_error(fetch({.url = "https://id.example.com/"}, web(), unknown), Errc::not_found, "id.example.com:443: ",
               "does not exist");
  expect_error(fetch({.url = "https://id.example.com:444/"}, web(), homeless), Errc::not_found,
               "id.example.com:444: ", "no address");
  std::uint16_t port = 0;
  {
    const Fd listener = *tcp_listen({kLoopback4, 0});
    port = local_endpoint(listener.get()).port;
  }
  const std::string at = "127.0.0.1:" + std::to_string(port);
  expect_error(fetch({.url = "https://" + at}), Errc::refused, at + ": ", "");
}

TEST(HttpClient, is_silent_once_it_is_destroyed) {
  Loop loop;
  const Server server(usual(), [](Line& line) { line.wait_for_end(); });
  std::function<void(Result<Addresses>)> late;
  const auto never = [](Answered) { ADD_FAILURE(); };
  std::vector<std::unique_ptr<HttpExchange>> all;
  const auto add = [&](const std::string& url, ResolveHost resolve) {
    all.push_back(std::make_unique<HttpExchange>(loop, web(), std::move(resolve), HttpRequest{.url = url}, 20ms, never));
  };
  add("bad", here);                                                        // before the Loop has run
  all.clear();
  add(server.url(), here);
  add(server.url(), [&](auto&&, auto found) { late = std::move(found); });
  std::unique_ptr<HttpExchange> own;
  own = std::make_unique<HttpExchange>(loop, web(), [&](auto&&, const auto& found) {
    own.reset();                                                           // by what it has called
    found(fail(Errc::not_found, ""));
  }, HttpRequest{.url = server.url()}, 20ms, never);
  loop.post([&] {
    loop.post([&] {
      EXPECT_FALSE(own);
      all.clear();
      late(Addresses{kLoopback4});
    });
  });
  Timer end(loop, [&] { loop.stop(); });
  end.after(60ms);   // longer than their timeouts
  loop.run();
}

}  // namespace tg::net::http_client_test
