#include "tests/support/dnsmasq.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "net/loop.h"
#include "net/socket.h"

namespace tg::test {
namespace {

constexpr Duration kStartDeadline = std::chrono::seconds(10);
const Ipv4 kLoopback{0x7F000001};

// free_port is free for UDP and TCP at this moment; somebody may still be faster.
std::uint16_t free_port() {
  for (int i = 0; i < 20; ++i) {
    const auto udp = net::udp_bind({kLoopback, 0});
    if (!udp) return 0;
    const std::uint16_t port = net::local_endpoint(udp->get()).port;
    if (net::tcp_listen({kLoopback, port})) return port;
  }
  return 0;
}

// read_until collects output until `word` is in it, or the writer has ended, or the deadline has come.
std::string read_until(int fd, const std::string& word) {
  const Instant deadline = net::Loop::now() + kStartDeadline;
  std::string text;
  while (text.find(word) == text.npos) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - net::Loop::now());
    pollfd p{fd, POLLIN, 0};
    if (left.count() <= 0 || ::poll(&p, 1, static_cast<int>(left.count())) <= 0) break;
    char buffer[4096];
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n <= 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  return text;
}

}  // namespace

Dnsmasq::Dnsmasq(const std::vector<std::string>& options) {
  if (folder_.path().empty()) {
    error_ = "no temporary folder";
    return;
  }
  for (int tries = 0; tries < 5 && !start(options); ++tries) kill_and_wait();
}

Dnsmasq::~Dnsmasq() { kill_and_wait(); }

bool Dnsmasq::start(const std::vector<std::string>& options) {
  endpoint_ = {kLoopback, free_port()};
  std::vector<std::string> words{"dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--no-resolv",
                                 "--no-hosts", "--bind-interfaces", "--listen-address=127.0.0.1", "--user=root",
                                 "--port=" + std::to_string(endpoint_.port), "--pid-file=" + folder_ / "pid"};
  words.insert(words.end(), options.begin(), options.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  const net::Fd ours(ends[0]);
  net::Fd theirs(ends[1]);
  const char* path = std::getenv("PATH");
  const std::string search = std::string(path ? path : "/usr/bin") + ":/usr/sbin:/sbin";
  const int parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    ::dup2(theirs.get(), 2);
    ::dup2(theirs.get(), 1);
    ::setenv("PATH", search.c_str(), 1);
    ::execvp("dnsmasq", arguments.data());
    const std::string why = std::string("dnsmasq does not start (is it installed?): ") + std::strerror(errno);
    (void)!::write(2, why.data(), why.size());
    ::_exit(127);
  }
  theirs.reset();
  const std::string said = read_until(ours.get(), "started, version");
  if (said.find("started, version") == said.npos) {
    error_ = "dnsmasq is not running: " + said;
    return false;
  }
  // Nobody reads what it says from now on; it must not wait for us, and goes on without (EPIPE).
  error_.clear();
  return true;
}

void Dnsmasq::kill_and_wait() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace tg::test
