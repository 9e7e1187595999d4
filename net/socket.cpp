#include "net/socket.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tg::net {

std::size_t descriptors() {
  constexpr rlim_t kMost = 1u << 30;   // RLIM_INFINITY is more
  rlimit files{};
  return ::getrlimit(RLIMIT_NOFILE, &files) == 0 ? std::min(files.rlim_cur, kMost) : 1024;
}

Fd& Fd::operator=(Fd&& o) noexcept {
  if (this != &o) {
    reset();
    fd_ = o.release();
  }
  return *this;
}
Fd::~Fd() { reset(); }
void Fd::reset() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

SockAddr::SockAddr(const Endpoint& e) noexcept {
  const Bytes raw_address = e.address.bytes();
  if (e.address.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(e.port);
    std::memcpy(&in.sin_addr, raw_address.data(), 4);
    std::memcpy(&storage, &in, sizeof in);
    size = sizeof in;
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(e.port);
    std::memcpy(&in.sin6_addr, raw_address.data(), 16);
    std::memcpy(&storage, &in, sizeof in);
    size = sizeof in;
  }
}

Endpoint SockAddr::endpoint() const noexcept {
  if (storage.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &storage, sizeof in);
    return {Ipv4{ntohl(in.sin_addr.s_addr)}, ntohs(in.sin_port)};
  }
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &storage, sizeof in);
    std::array<std::uint8_t, 16> bytes;
    std::memcpy(bytes.data(), &in.sin6_addr, 16);
    return {IpAddress::v6(bytes).unmapped(), ntohs(in.sin6_port)};
  }
  return {};
}

Error os_error(int err, const std::string& what) {
  Errc code = Errc::io;
  switch (err) {
    case ECONNREFUSED: code = Errc::refused; break;
    case EHOSTUNREACH: case ENETUNREACH: case ENETDOWN: case EHOSTDOWN: code = Errc::unreachable; break;
    case ETIMEDOUT: code = Errc::timed_out; break;
    case EACCES: case EPERM: code = Errc::denied; break;
    case EADDRINUSE: code = Errc::conflict; break;
    case EMFILE: case ENFILE: case ENOMEM: case ENOBUFS: code = Errc::exhausted; break;
    case ENOENT: code = Errc::not_found; break;
    default: break;
  }
  return {code, fmt::format("could not {}: {}", what, std::strerror(err))};
}

namespace {

std::uint32_t socket_mark = 0;   // of the whole process, set once at its start

Result<Fd> make_socket(int family, int type, const std::string& what) {
  Fd fd(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return tl::unexpected(os_error(errno, what));
  return fd;
}

Result<Fd> bound(const Endpoint& at, int type, const char* verb) {
  const std::string what = fmt::format("{} {}", verb, at.to_string());
  auto fd = make_socket(at.address.is_v4() ? AF_INET : AF_INET6, type, what);
  if (!fd) return fd;
  const int on = 1;
  if (type == SOCK_STREAM) ::setsockopt(fd->get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const SockAddr address(at);
  if (::bind(fd->get(), address.raw(), address.size) != 0) {
    Error e = os_error(errno, what);
    if (errno == EADDRINUSE) e.text = fmt::format("could not {}: another program uses this port", what);
    if (errno == EACCES && at.port < 1024) e.text += " (ports below 1024 need root)";
    return tl::unexpected(std::move(e));
  }
  return fd;
}

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(Errc::invalid_argument,
                fmt::format("the path {} is too long for a socket (at most {} characters); use a shorter --state", path,
                            sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

}  // namespace

Result<Fd> tcp_listen(const Endpoint& at, int backlog) {
  auto fd = bound(at, SOCK_STREAM, "listen on");
  if (fd && ::listen(fd->get(), backlog) != 0) return tl::unexpected(os_error(errno, "listen on " + at.to_string()));
  return fd;
}

tl::expected<Fd, int> start_connect(const Endpoint& to, int type) {
  Fd fd(::socket(to.address.is_v4() ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return tl::unexpected(errno);
  if (socket_mark != 0 && ::setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &socket_mark, sizeof socket_mark) != 0) {
    return tl::unexpected(errno);
  }
  const SockAddr address(to);
  if (::connect(fd.get(), address.raw(), address.size) != 0 && errno != EINPROGRESS) return tl::unexpected(errno);
  return fd;
}

Result<Fd> tcp_connect(const Endpoint& to) {
  auto fd = start_connect(to, SOCK_STREAM);
  if (!fd) return tl::unexpected(os_error(fd.error(), "connect to " + to.to_string()));
  return std::move(*fd);
}

int connect_error(int fd) noexcept {
  int err = 0;
  socklen_t size = sizeof err;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) != 0) return errno;
  return err;
}

Result<Fd> udp_bind(const Endpoint& at) { return bound(at, SOCK_DGRAM, "listen (UDP) on"); }

Result<Fd> udp_connect(const Endpoint& to) {
  auto fd = start_connect(to, SOCK_DGRAM);
  if (!fd) return tl::unexpected(os_error(fd.error(), "send to " + to.to_string()));
  return std::move(*fd);
}

Result<Fd> unix_connect(const std::string& path) {
  const auto address = unix_address(path);
  if (!address) return tl::unexpected(address.error());
  auto fd = make_socket(AF_UNIX, SOCK_STREAM, "open " + path);
  if (!fd) return fd;
  if (::connect(fd->get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return tl::unexpected(os_error(errno, "open " + path));
  }
  return fd;
}

Result<Fd> unix_listen(const std::string& path) {
  const auto address = unix_address(path);
  if (!address) return tl::unexpected(address.error());
  if (unix_connect(path)) return fail(Errc::conflict, fmt::format("another tg uses {}", path));
  ::unlink(path.c_str());
  auto fd = make_socket(AF_UNIX, SOCK_STREAM, "listen on " + path);
  if (!fd) return fd;
  const mode_t before = ::umask(0177);
  const int bound_ok = ::bind(fd->get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address);
  const int err = errno;
  ::umask(before);
  if (bound_ok != 0) return tl::unexpected(os_error(err, "listen on " + path));
  if (::listen(fd->get(), 64) != 0) return tl::unexpected(os_error(errno, "listen on " + path));
  return fd;
}

Fd accept_from(int listener, Endpoint* peer) {
  SockAddr address;
  Fd fd(::accept4(listener, address.raw(), &address.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (fd && peer != nullptr) *peer = address.endpoint();
  return fd;
}

void set_socket_mark(std::uint32_t mark) noexcept { socket_mark = mark; }

Result<> set_transparent(int fd) {
  const int on = 1;
  if (::setsockopt(fd, SOL_IP, IP_TRANSPARENT, &on, sizeof on) != 0) return tl::unexpected(os_error(errno, "make a listener transparent"));
  return {};
}

void set_nodelay(int fd) noexcept {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void set_reset_on_close(int fd) noexcept {
  const linger now{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void clear_reset_on_close(int fd) noexcept {
  const linger never{0, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &never, sizeof never);
}

Endpoint local_endpoint(int fd) noexcept {
  SockAddr address;
  if (::getsockname(fd, address.raw(), &address.size) != 0) return {};
  return address.endpoint();
}

}  // namespace tg::net
