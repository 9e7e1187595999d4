#include "cmd/client/background.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include <fmt/format.h>

#include "net/loop.h"
#include "net/socket.h"

namespace tg::client {
namespace {

constexpr std::chrono::seconds kEndPatience{5};

constexpr std::string_view kStays = "stays ";

// In the child: reports one line, "ok", "stays TEXT" or "CODE TEXT", at most once.
[[noreturn]] void be_child(const std::string& log, net::Fd report,
                           const std::function<Result<int>(const Arrived& arrived)>& serve) {
  ::setsid();
  const net::Fd null(::open("/dev/null", O_RDONLY));
  net::Fd out(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!out) out = net::Fd(::open("/dev/null", O_WRONLY));   // a state directory that cannot be used is told by serve
  ::dup2(null.get(), STDIN_FILENO);
  ::dup2(out.get(), STDOUT_FILENO);
  ::dup2(out.get(), STDERR_FILENO);
  const auto tell = [&report](const std::string& line) {
    if (report && ::write(report.get(), line.data(), line.size()) < 0) std::_Exit(1);
    report.reset();
  };
  const auto status = serve([&tell](const std::string& missing) {
    tell(missing.empty() ? "ok\n" : fmt::format("{}{}\n", kStays, missing));
  });
  if (!status) tell(fmt::format("{} {}\n", static_cast<int>(status.error().code), status.error().text));
  std::_Exit(status ? *status : exit_code(status.error().code));
}

// Reads until the writer has gone, or `until`.
std::string read_report(int fd, Instant until) {
  std::string line;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - net::Loop::now()).count();
    pollfd p{fd, POLLIN, 0};
    if (left <= 0) return line;
    const int ready = ::poll(&p, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return line;
    char chunk[4096];
    const ssize_t n = ::read(fd, chunk, sizeof chunk);
    if (n <= 0) return line.empty() ? "1 the client ended without a word; see its log\n" : line;
    line.append(chunk, static_cast<std::size_t>(n));
    if (line.ends_with('\n')) return line;
  }
}

// Ends the child in good order, and by force when it does not.
void end_child(pid_t child) {
  ::kill(child, SIGTERM);
  const Instant until = net::Loop::now() + kEndPatience;
  while (::waitpid(child, nullptr, WNOHANG) == 0) {
    if (net::Loop::now() > until) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
      return;
    }
    pause_briefly();
  }
}

}  // namespace

void pause_briefly() { ::poll(nullptr, 0, 20); }

Result<> start_in_background(const std::string& log, Instant until,
                             const std::function<Result<int>(const Arrived& arrived)>& serve,
                             const std::function<std::string()>& why_not) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return tl::unexpected(net::os_error(errno, "make a pipe"));
  const net::Fd hear(ends[0]);
  net::Fd tell(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return tl::unexpected(net::os_error(errno, "start a process"));
  if (child == 0) be_child(log, std::move(tell), serve);
  tell.reset();
  const std::string line = read_report(hear.get(), until);
  if (line == "ok\n") return {};
  if (line.starts_with(kStays)) {
    return fail(Errc::login_needed, line.substr(kStays.size(), line.find('\n') - kStays.size()) +
                                        "; the client runs, and comes online as soon as that is done");
  }
  if (line.empty()) {
    const std::string why = why_not();
    end_child(child);
    return fail(Errc::unreachable, why);
  }
  ::waitpid(child, nullptr, 0);
  char* rest = nullptr;
  const long code = std::strtol(line.c_str(), &rest, 10);
  std::string text = *rest == ' ' ? rest + 1 : rest;
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return fail(static_cast<Errc>(code), text);
}

}  // namespace tg::client
