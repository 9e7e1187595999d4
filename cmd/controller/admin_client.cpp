// The command's end of the admin socket.
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "cmd/controller/admin_api.h"
#include "cmd/controller/admin_server.h"
#include "cmd/controller/state_dir.h"

namespace tg::controller {
namespace {

Result<> wait_for(int fd, short events, Instant deadline) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - net::Loop::now()).count();
    pollfd one{fd, events, 0};
    const int n = left > 0 ? ::poll(&one, 1, static_cast<int>(left) + 1) : 0;
    if (n > 0) return {};
    if (n == 0) return fail(Errc::timed_out, "the controller did not answer in time; see --timeout");
    if (errno != EINTR) return tl::unexpected(net::os_error(errno, "wait for the controller"));
  }
}

Result<> send_all(int fd, Bytes bytes, Instant deadline) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) bytes = bytes.subspan(static_cast<std::size_t>(n));
    else if (errno == EAGAIN) {
      if (auto ready = wait_for(fd, POLLOUT, deadline); !ready) return ready;
    } else if (errno != EINTR) {
      return fail(Errc::unreachable, "the controller closed the connection; does this user own it? try sudo");
    }
  }
  return {};
}

Result<Json> receive(int fd, Instant deadline) {
  ControlReader reader;
  std::array<std::uint8_t, 65536> chunk;
  for (;;) {
    auto message = reader.next();
    if (!message) return pass_on(message);
    if (*message) return std::move(**message);
    if (auto ready = wait_for(fd, POLLIN, deadline); !ready) return pass_on(ready);
    const ssize_t n = ::recv(fd, chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (n > 0) reader.feed(Bytes(chunk).first(static_cast<std::size_t>(n)));
    else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      return fail(Errc::unreachable, "the controller closed the connection without an answer");
    }
  }
}

}  // namespace

Result<Json> ask_controller(const std::string& state, const Json& request, std::chrono::seconds timeout) {
  const Instant deadline = net::Loop::now() + timeout;
  const std::string path = StateDir::admin_socket(state);
  auto fd = net::unix_connect(path);
  if (!fd && fd.error().code == Errc::denied) {
    return fail(Errc::denied, fmt::format("{} belongs to another user; try sudo", state));
  }
  if (!fd) {
    const std::string option = state == "/var/lib/tg/controller" ? "" : " --state " + state;
    return fail(Errc::unreachable,
                fmt::format("no controller runs with the state in {0}; start it with: tg controller serve{1}", state,
                            option));
  }
  if (auto sent = send_all(fd->get(), control_frame(request), deadline); !sent) return pass_on(sent);
  auto answer = receive(fd->get(), deadline);
  if (!answer) return answer;
  if (auto good = answer_error(*answer); !good) return pass_on(good);
  return answer;
}

}  // namespace tg::controller
