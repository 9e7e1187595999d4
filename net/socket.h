// Sockets as owned descriptors, made non-blocking and close-on-exec, with errors that say what was tried.
#pragma once

#include <sys/socket.h>

#include <string>

#include "core/ip.h"
#include "core/result.h"

namespace tg::net {

// descriptors returns how many this process may have open.
std::size_t descriptors();

// Fd owns a descriptor and closes it.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) noexcept : fd_(fd) {}
  Fd(Fd&& o) noexcept : fd_(o.release()) {}
  Fd& operator=(Fd&& o) noexcept;
  ~Fd();
  int get() const noexcept { return fd_; }
  int release() noexcept { const int fd = fd_; fd_ = -1; return fd; }
  void reset() noexcept;
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// SockAddr turns an Endpoint into what the kernel takes, and back.
struct SockAddr {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
  SockAddr() = default;
  explicit SockAddr(const Endpoint& e) noexcept;
  sockaddr* raw() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* raw() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
  Endpoint endpoint() const noexcept;
};

// os_error makes an Error from errno's value: "could not WHAT: REASON". Errc: refused, unreachable, timed_out, denied
// (EACCES, EPERM), conflict (EADDRINUSE), exhausted (EMFILE, ENFILE, ENOMEM), and otherwise io.
Error os_error(int err, const std::string& what);

// tcp_listen errors name the address, and for a port in use say so.
Result<Fd> tcp_listen(const Endpoint& at, int backlog = 1024);
// start_connect starts a connection (SOCK_STREAM), which is done when the descriptor is writable, see connect_error; or it
// gives a datagram socket its peer. The error is errno's value, for who passes it on: no route and no host differ.
tl::expected<Fd, int> start_connect(const Endpoint& to, int type);
// tcp_connect is start_connect with an error in words.
Result<Fd> tcp_connect(const Endpoint& to);
// connect_error returns the errno that a started connection ended with, 0 when it stands.
int connect_error(int fd) noexcept;
Result<Fd> udp_bind(const Endpoint& at);
Result<Fd> udp_connect(const Endpoint& to);
Result<Fd> unix_listen(const std::string& path);   // mode 0600; replaces a socket that nobody answers on
Result<Fd> unix_connect(const std::string& path);
// accept_from returns an accepted connection, or an invalid Fd when nobody waits.
Fd accept_from(int listener, Endpoint* peer = nullptr);

// set_socket_mark gives every socket that connects after it a mark (SO_MARK, socket(7); needs CAP_NET_ADMIN): a client's own traffic
// is told from what it captures by that, so that no Resource can swallow the way to the controller. 0: none.
void set_socket_mark(std::uint32_t mark) noexcept;

// set_transparent has a listener take connections to addresses that are not this host's (IP_TRANSPARENT, ip(7); needs
// CAP_NET_ADMIN).
Result<> set_transparent(int fd);
void set_nodelay(int fd) noexcept;
// set_reset_on_close makes close() send RST.
void set_reset_on_close(int fd) noexcept;
void clear_reset_on_close(int fd) noexcept;
Endpoint local_endpoint(int fd) noexcept;

}  // namespace tg::net
