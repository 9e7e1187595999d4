// net::HttpServer against real clients (curl), and against peers that do what curl does not.
#include "net/http_server.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstdio>
#include <mutex>
#include <thread>

#include "tests/support/folder.h"
#include "web_server.h"

namespace tg::net::http_server_test {

// Server answers every request with what it was, and runs its Loop in a thread of its own while a test talks to it.
class Server {
 public:
  explicit Server(HttpLimits limits = {}) : limits_(limits) {
    Fd listener = *tcp_listen({kLoopback4, 0});
    port_ = local_endpoint(listener.get()).port;
    thread_ = std::thread([this, fd = std::move(listener)]() mutable {
      Loop loop;
      Timer held(loop, [this] {
        if (const auto reply = std::exchange(held_, nullptr)) reply({200, "text/plain", "late", {}});
      });
      HttpServer::Hooks hooks;
      hooks.body_limit = [](const HttpAsked& head, const HttpPeer&) { return std::size_t{head.path == "/none" ? 0u : 1000u}; };
      hooks.answer = [&](const HttpAsked& a, const HttpPeer& from, const HttpServer::Reply& reply) {
        if (a.path == "/held") {
          held_ = reply;
          return held.after(std::chrono::milliseconds(300));
        }
        if (a.path == "/large") return reply({200, "text/plain", std::string(20'000'000, 'x'), {}});
        reply({200, "text/plain", a.method + " " + a.path + " " + a.body + " " + from.address.to_string() + "\n", {{"X-Own", "yes"}}});
      };
      hooks.refused = [](const HttpRefusal& r) { return HttpReply{r.status, "text/plain", r.text + "\n", {}}; };
      HttpServer server(loop, std::move(fd), std::nullopt, std::move(hooks), limits_);
      {
        const std::lock_guard lock(mutex_);
        loop_ = &loop;
      }
      loop.run();
      const std::lock_guard lock(mutex_);
      loop_ = nullptr;
    });
    while (true) {
      const std::lock_guard lock(mutex_);
      if (loop_ != nullptr) break;
    }
  }
  ~Server() {
    loop_->stop();
    thread_.join();
  }

  std::string url(const std::string& path) const { return "http://127.0.0.1:" + std::to_string(port_) + path; }
  Fd connect() const {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SockAddr to(Endpoint{kLoopback4, port_});
    EXPECT_EQ(::connect(fd, to.raw(), to.size), 0);
    return Fd(fd);
  }

 private:
  HttpLimits limits_;
  std::uint16_t port_ = 0;
  HttpServer::Reply held_;
  std::mutex mutex_;
  Loop* loop_ = nullptr;
  std::thread thread_;
};

std::string curl(const std::string& words) {
  FILE* pipe = ::popen(("curl -sS -m 10 " + words + " 2>&1").c_str(), "r");
  std::string out;
  std::array<char, 4096> chunk{};
  for (std::size_t n; (n = std::fread(chunk.data(), 1, chunk.size(), pipe)) > 0;) out.append(chunk.data(), n);
  ::pclose(pipe);
  return out;
}

void say(const Fd& fd, std::string_view text) { ASSERT_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size())); }

// heard returns what comes until the end, or until `enough` is in it.
std::string heard(const Fd& fd, std::string_view enough = {}) {
  std::string out;
  std::array<char, 65536> chunk{};
  pollfd p{fd.get(), POLLIN, 0};
  while ((enough.empty() || out.find(enough) == out.npos) && ::poll(&p, 1, 5000) > 0) {
    const ssize_t n = ::recv(fd.get(), chunk.data(), chunk.size(), 0);
    if (n <= 0) break;
    out.append(chunk.data(), static_cast<std::size_t>(n));
  }
  return out;
}

const std::string kGet = "GET /a HTTP/1.1\r\nHost: tg\r\n\r\n";

TEST(AnHttpServer, answers_curl) {
  const Server server;
  EXPECT_EQ(curl(server.url("/a?b=c")), "GET /a  127.0.0.1\n");
  EXPECT_EQ(curl("-X PUT -d body " + server.url("/a")), "PUT /a body 127.0.0.1\n");
  EXPECT_EQ(curl(server.url("/held")), "late");
  const std::string head = curl("-I " + server.url("/large"));
  EXPECT_NE(head.find("Content-Length: 20000000"), head.npos);
  EXPECT_NE(head.find("HTTP/1.1 200 OK"), head.npos);
  EXPECT_EQ(curl(server.url("/large")).size(), 20'000'000u);
  EXPECT_EQ(curl("-w '%{num_connects}' " + server.url("/a") + " " + server.url("/b")), "GET /a  127.0.0.1\n1GET /b  127.0.0.1\n0");
}

TEST(AnHttpServer, takes_bodies_as_long_as_it_is_told_and_says_so_before_they_come) {
  const Server server;
  const std::string expect = "-H 'Expect: 100-continue' --expect100-timeout 5 -w ' %{http_code} %{size_upload}' ";
  EXPECT_EQ(curl(expect + "-d x " + server.url("/none")), "no body is taken here\n 413 0");
  EXPECT_EQ(curl(expect + "-d '" + std::string(1001, 'x') + "' " + server.url("/a")), "the body is longer than 1000 bytes\n 413 0");
  EXPECT_EQ(curl(expect + "-d '" + std::string(1000, 'x') + "' -o /dev/null " + server.url("/a")), " 200 1000");
}

TEST(AnHttpServer, answers_requests_in_their_order_however_they_come) {
  const Server server;
  const Fd fd = server.connect();
  say(fd, "GET /held HTTP/1.1\r\nHost: tg\r\n\r\n" + kGet + "GET /c HTTP/1.1\r\nHost: tg\r\nConnection: close\r\n\r\n");
  const std::string all = heard(fd);
  const auto late = all.find("late"), a = all.find("GET /a"), c = all.find("GET /c");
  EXPECT_TRUE(late < a && a < c && c != all.npos) << all;
}

TEST(AnHttpServer, says_what_is_wrong_and_hangs_up) {
  const Server server;
  const Fd fd = server.connect();
  say(fd, "nonsense\r\n\r\n");
  EXPECT_EQ(heard(fd).substr(0, 34), "HTTP/1.1 501 Not Implemented\r\nCont");
}

TEST(AnHttpServer, waits_for_nobody_for_long) {
  const Server server({.patience = std::chrono::milliseconds(300), .idle = std::chrono::milliseconds(300)});
  const Fd silent = server.connect(), slow = server.connect(), idle = server.connect(), deaf = server.connect();
  say(slow, "GET / HT");
  say(idle, kGet);
  EXPECT_NE(heard(idle, "GET /a").find("200 OK"), std::string::npos);
  say(deaf, "GET /large HTTP/1.1\r\nHost: tg\r\n\r\n");
  const std::string begun = heard(deaf, "200 OK");
  const Fd later = server.connect();   // whose time ends after that of `deaf`
  for (const Fd* fd : {&silent, &slow, &idle, &later}) EXPECT_EQ(heard(*fd), "");
  EXPECT_LT(begun.size() + heard(deaf, std::string(1, '\0')).size(), 20'000'000u) << "it did not read, and lost the rest";
}

TEST(AnHttpServer, has_room_for_those_who_come_when_others_only_sit_there) {
  const Server server({.connections = 4, .per_source = 4});
  std::vector<Fd> sitting;
  for (int i = 0; i < 20; ++i) sitting.push_back(server.connect());
  EXPECT_EQ(curl(server.url("/a")), "GET /a  127.0.0.1\n");
  EXPECT_EQ(heard(sitting[0]), "") << "the oldest had to go";
  const Fd asking = server.connect();
  say(asking, "GET /held HTTP/1.1\r\nHost: tg\r\n\r\n");
  EXPECT_EQ(curl(server.url("/a")), "GET /a  127.0.0.1\n");   // by then the request before it is with the owner
  std::vector<Fd> more;
  for (int i = 0; i < 10; ++i) more.push_back(server.connect());
  EXPECT_NE(heard(asking, "late").find("late"), std::string::npos) << "who is being answered has not";
}

TEST(AnHttpServer, does_not_mind_who_leaves_before_the_answer) {
  const Server server;
  for (int i = 0; i < 50; ++i) {
    const Fd fd = server.connect();
    say(fd, i % 2 == 0 ? "GET /held HTTP/1.1\r\nHost: tg\r\n\r\n" : "GET /large HTTP/1.1\r\nHost: tg\r\n\r\n");
    if (i % 3 == 0) set_reset_on_close(fd.get());
  }
  EXPECT_EQ(curl(server.url("/a")), "GET /a  127.0.0.1\n");
}

}  // namespace tg::net::http_server_test
