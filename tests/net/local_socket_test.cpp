#include "core/json.h"
#include "net/local_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <ctime>
#include <filesystem>
#include <optional>
#include <thread>
#include <vector>

#include "tests/support/folder.h"

namespace tg::net::local_socket_test {

// A server on a thread of its own that answers {"type":"ok"} with what `answer` adds.
struct ALocalServer : testing::Test {
  test::Folder folder;
  std::string path = folder / "control.sock";
  Loop loop;
  std::unique_ptr<LocalServer> server;
  std::thread thread;

  void serve(LocalServer::Handler handler, std::size_t longest = kControlBeforeIdentity) {
    auto started = LocalServer::start(loop, path, std::move(handler), longest);
    ASSERT_TRUE(started) << started.error().text;
    server = std::move(*started);
    thread = std::thread([this] { loop.run(); });
  }
  void TearDown() override {
    if (thread.joinable()) {
      loop.post([this] { loop.stop(); });
      thread.join();
    }
    server.reset();
    EXPECT_FALSE(std::filesystem::exists(path));
  }
  Result<Json> ask(const Json& request, std::chrono::seconds timeout = std::chrono::seconds(20)) {
    return local_request(path, "server", request, timeout);
  }
  // A connection that stays open.
  Fd connect() {
    Fd fd = std::move(unix_connect(path).value());
    ::fcntl(fd.get(), F_SETFL, 0);
    const timeval patience{20, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
  }
  static void say(const Fd& fd, Bytes b) {
    ASSERT_EQ(::write(fd.get(), b.data(), b.size()), static_cast<ssize_t>(b.size()));
  }
  // The next message, or nothing when the connection ends.
  static std::optional<Json> hear(const Fd& fd, ControlReader& reader) {
    for (;;) {
      if (auto m = reader.next().value()) return m;
      std::uint8_t chunk[65536];
      const ssize_t n = ::read(fd.get(), chunk, sizeof chunk);
      if (n <= 0) return std::nullopt;
      reader.feed({chunk, static_cast<std::size_t>(n)});
    }
  }
};

void echo(const Json& request, const LocalServer::Reply& reply) {
  reply({{"type", "ok"}, {"n", request.value("n", 0)}});
}

TEST_F(ALocalServer, passes_every_error_on_as_it_was) {
  serve([](const Json& request, const LocalServer::Reply& reply) {
    reply(local_error({*errc_named(request["code"].get<std::string>()), "line\none \"quoted\""}));
  });
  for (const Errc code : {Errc::invalid_argument, Errc::not_found, Errc::conflict, Errc::denied, Errc::login_needed,
                          Errc::unsupported, Errc::io}) {
    const auto answer = ask({{"type", "x"}, {"code", to_string(code)}});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, code);
    EXPECT_EQ(answer.error().text, "line\\x0aone \"quoted\"") << "one line";
  }
}

TEST_F(ALocalServer, answers_with_an_error_what_is_too_long_to_be_told) {
  serve([](const Json&, const LocalServer::Reply& reply) {
    reply({{"type", "ok"}, {"text", std::string(kControlFrameMax, 'x')}});
  });
  const auto answer = ask({{"type", "list"}});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::exhausted);
  EXPECT_NE(answer.error().text.find("the answer is too long"), std::string::npos) << answer.error().text;
}

TEST_F(ALocalServer, is_not_asked_what_is_too_long) {
  serve(echo);
  const auto answer = ask({{"type", "apply"}, {"text", std::string(kControlFrameMax, 'x')}});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::exhausted);
  EXPECT_TRUE(ask({{"type", "x"}}));
}

TEST_F(ALocalServer, says_what_is_wrong_with_a_request_before_it_hangs_up) {
  serve(echo);
  const Fd fd = connect();
  ControlReader reader;
  Buffer too_long;
  Writer(too_long).u32(kControlBeforeIdentity + 1);
  say(fd, too_long);
  const auto answer = hear(fd, reader);
  ASSERT_TRUE(answer);
  EXPECT_EQ((*answer)["type"], "error");
  EXPECT_EQ((*answer)["code"], "protocol");
  EXPECT_FALSE(hear(fd, reader));
}

TEST_F(ALocalServer, carries_messages_as_long_as_they_may_be) {
  serve([](const Json& request, const LocalServer::Reply& reply) { reply(request); }, kControlFrameMax);
  const Json long_one = {{"type", "ok"}, {"text", std::string(20u << 20, 'x')}};
  const auto answer = ask(long_one);
  ASSERT_TRUE(answer) << answer.error().text;
  EXPECT_TRUE(*answer == long_one);
}

TEST_F(ALocalServer, answers_questions_in_their_order_and_only_while_the_answers_are_taken) {
  std::atomic<int> asked = 0;
  serve([&](const Json& request, const LocalServer::Reply& reply) {
    ++asked;
    reply({{"type", "ok"}, {"n", request["n"]}, {"text", std::string(1u << 20, 'x')}});
  });
  const Fd fd = connect();
  Buffer many;
  for (int n = 0; n < 50; ++n) {
    const Buffer one = control_frame({{"type", "x"}, {"n", n}});
    many.insert(many.end(), one.begin(), one.end());
  }
  say(fd, many);
  ControlReader reader;
  EXPECT_EQ((*hear(fd, reader))["n"], 0);
  EXPECT_LT(asked, 10) << "whoever does not listen is not answered";
  for (int n = 1; n < 50; ++n) EXPECT_EQ((*hear(fd, reader))["n"], n);
}

TEST_F(ALocalServer, has_room_for_so_many_at_once_and_for_others_afterwards) {
  serve(echo);
  std::vector<Fd> open;
  for (std::size_t i = 0; i < LocalServer::kPeers; ++i) {
    open.push_back(connect());
    ControlReader reader;
    say(open.back(), control_frame({{"type", "x"}}));
    ASSERT_TRUE(hear(open.back(), reader)) << i;
  }
  EXPECT_FALSE(ask({{"type", "x"}}));
  open.clear();
  const Instant end = Loop::now() + std::chrono::seconds(20);
  bool answered = false;
  while (!answered && Loop::now() < end) answered = ask({{"type", "x"}}).has_value();
  EXPECT_TRUE(answered);
}

TEST_F(ALocalServer, rests_while_there_are_no_descriptors_left) {
  serve(echo);
  ASSERT_TRUE(ask({{"type", "x"}}));
  const Fd waiting(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{static_cast<rlim_t>(waiting.get()), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const int connected = ::connect(waiting.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const std::clock_t begin = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));   // what is measured is this time
  const std::clock_t used = std::clock() - begin;
  ::setrlimit(RLIMIT_NOFILE, &before);
  ASSERT_EQ(connected, 0);
  EXPECT_LT(used, CLOCKS_PER_SEC / 10) << "it spins";
  say(waiting, control_frame({{"type", "x"}}));
  ControlReader reader;
  EXPECT_TRUE(hear(waiting, reader)) << "and then it is answered";
}

constexpr uid_t kOne = 61001, kOther = 61002;

bool become(uid_t uid) {
  return ::setgroups(0, nullptr) == 0 && ::setresgid(uid, uid, uid) == 0 && ::setresuid(uid, uid, uid) == 0;
}

// What a process of `uid` gets: 0 an answer, 1 a connection that ends without one, 2 no connection.
int asked_as(uid_t uid, const std::string& path) {
  const Buffer request = control_frame({{"type", "x"}});   // the child of a process with threads allocates nothing
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  path.copy(to.sun_path, sizeof to.sun_path - 1);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    if (uid != 0 && !become(uid)) ::_exit(3);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) ::_exit(2);
    char answer[64];
    const bool said = ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) > 0;
    ::_exit(said && ::read(fd, answer, sizeof answer) > 4 ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// The permissions of the socket and its folder keep others out already; here they do not.
// Row 13 of the threats; of the controller's socket: tests/e2e/test_api.py.
TEST_F(ALocalServer, answers_root_and_its_own_user_and_nobody_else_whatever_the_permissions_are) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be somebody else";
  std::atomic<int> asked = 0;
  serve([&](const Json& request, const LocalServer::Reply& reply) {
    ++asked;
    echo(request, reply);
  });
  ASSERT_EQ(::chmod(folder.path().c_str(), 0755), 0);
  EXPECT_EQ(asked_as(kOther, path), 2) << "the socket's own permissions";
  ASSERT_EQ(::chmod(path.c_str(), 0666), 0);
  EXPECT_EQ(asked_as(kOther, path), 1);
  EXPECT_EQ(asked, 0) << "the handler heard of it";
  EXPECT_EQ(asked_as(0, path), 0);
  EXPECT_EQ(asked, 1);
}

TEST_F(ALocalServer, of_another_user_answers_that_user_and_root) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be somebody else";
  ASSERT_EQ(::chmod(folder.path().c_str(), 0777), 0);
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {   // no thread runs yet
    ::alarm(60);
    if (!become(kOne)) ::_exit(3);
    Loop own;
    const auto started = LocalServer::start(own, path, echo);
    if (!started || ::chmod(path.c_str(), 0666) != 0 || ::write(ready[1], "x", 1) != 1) ::_exit(4);
    own.run();
    ::_exit(0);
  }
  ::close(ready[1]);
  char byte = 0;
  EXPECT_EQ(::read(ready[0], &byte, 1), 1) << "it has not started";
  ::close(ready[0]);
  EXPECT_EQ(asked_as(kOne, path), 0);
  EXPECT_EQ(asked_as(0, path), 0);
  EXPECT_EQ(asked_as(kOther, path), 1);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::unlink(path.c_str());
}

TEST(LocalRequest, says_that_nobody_answers) {
  const auto answer = local_request("/tmp/tg-nobody/control.sock", "server", {{"type", "x"}}, std::chrono::seconds(1));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::unreachable);
  EXPECT_EQ(answer.error().text, "tg server is not running (nobody answers on /tmp/tg-nobody/control.sock)");
}

}  // namespace tg::net::local_socket_test
