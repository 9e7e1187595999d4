#include "net/tun.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "core/offload.h"

namespace tg::net {
namespace {

constexpr const char* kDevice = "/dev/net/tun";

Error no_right() {
  return {Errc::denied, "could not make a TUN interface: it needs root or CAP_NET_ADMIN; run with sudo"};
}

Error open_error(int err) {
  if (err == EPERM || err == EACCES) return no_right();
  if (err == ENOENT || err == ENODEV || err == ENXIO) {
    return {Errc::unsupported, fmt::format("{} is missing: load the module with `modprobe tun`, or start the container "
                                           "with --device {}", kDevice, kDevice)};
  }
  return os_error(err, fmt::format("open {}", kDevice));
}

Error attach_error(int err, const std::string& name) {
  if (err == EPERM) return no_right();
  if (err == EBUSY) return {Errc::conflict, fmt::format("the interface {} is in use: another tg client runs", name)};
  if (err == EINVAL) {
    return {Errc::conflict, fmt::format("the interface {} exists and is of another kind: choose another name", name)};
  }
  return os_error(err, fmt::format("make the interface {}", name));
}

}  // namespace

bool is_interface_name(std::string_view s) noexcept {
  if (s.empty() || s.size() >= IFNAMSIZ || s == "." || s == "..") return false;
  return s.find_first_of("/%: \t\n") == std::string_view::npos;
}

Result<Tun> Tun::open(const Options& options) {
  if (!is_interface_name(options.name)) {
    return fail(Errc::invalid_argument,
                fmt::format("\"{}\" is no name of an interface: 1 to 15 characters", options.name));
  }
  Tun tun;
  tun.fd_ = Fd(::open(kDevice, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tun.fd_) return tl::unexpected(open_error(errno));

  ifreq request{};
  options.name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(tun.fd(), TUNSETIFF, &request) != 0) return tl::unexpected(attach_error(errno, options.name));
  tun.name_ = request.ifr_name;

  int size = VnetHeader::kSize;
  int little_endian = 1;
  if (ioctl(tun.fd(), TUNSETVNETHDRSZ, &size) != 0 || ioctl(tun.fd(), TUNSETVNETLE, &little_endian) != 0) {
    return tl::unexpected(os_error(errno, fmt::format("set the packet header of {}", tun.name_)));
  }
  tun.offload_ = options.offload && ioctl(tun.fd(), TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) == 0;
  if (!tun.offload_) ioctl(tun.fd(), TUNSETOFFLOAD, 0);

  const Fd query(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!query || ioctl(query.get(), SIOCGIFINDEX, &request) != 0) {
    return tl::unexpected(os_error(errno, fmt::format("find the interface {}", tun.name_)));
  }
  tun.index_ = request.ifr_ifindex;
  return tun;
}

Result<MutBytes> Tun::read(MutBytes buffer, VnetHeader& header) {
  for (;;) {
    std::array<std::uint8_t, VnetHeader::kSize> head;
    std::array<iovec, 2> parts{{{head.data(), head.size()}, {buffer.data(), buffer.size()}}};
    const ssize_t n = readv(fd(), parts.data(), static_cast<int>(parts.size()));
    if (n < 0) {
      if (errno == EAGAIN) return MutBytes{};
      if (errno == EINTR) continue;
      return tl::unexpected(os_error(errno, fmt::format("read from {}", name_)));
    }
    const auto size = static_cast<std::size_t>(n);
    const auto decoded = VnetHeader::decode(head);
    if (size <= head.size() || !decoded) continue;
    header = *decoded;
    return buffer.first(size - head.size());
  }
}

int Tun::put(const VnetHeader& header, Bytes packet) noexcept {
  auto head = header.encode();
  // writev takes its parts as not const, and does not write to them.
  std::array<iovec, 2> parts{{{head.data(), head.size()}, {const_cast<std::uint8_t*>(packet.data()), packet.size()}}};
  for (;;) {
    if (writev(fd(), parts.data(), static_cast<int>(parts.size())) >= 0) return 0;
    if (errno != EINTR) return errno;
  }
}

Result<> Tun::outcome(int err) {
  switch (err) {
    case 0: return {};
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM: ++dropped_; return {};
    case EINVAL: return fail(Errc::malformed, fmt::format("{} does not take this packet", name_));
    default: return tl::unexpected(os_error(err, fmt::format("write to {}", name_)));
  }
}

void Tun::stop_offload() {
  offload_ = false;
  ioctl(fd(), TUNSETOFFLOAD, 0);
}

Result<> Tun::write(const VnetHeader& header, Bytes packet) {
  const bool plain = !header.needs_csum() && !header.gso();
  if (plain || offload_) {
    const int err = put(header, packet);
    if (err != EINVAL || plain) return outcome(err);
    stop_offload();
  }
  return put_in_software(header, packet);
}

Result<> Tun::put_in_software(const VnetHeader& header, Bytes packet) {
  if (header.gso_type == VnetHeader::kGsoTcp4) {
    TcpSegments segments(packet, header.gso_size);
    std::size_t count = 0;
    for (; segments.next(spare_); ++count) {
      if (auto done = outcome(put({}, spare_)); !done) return done;
    }
    return count > 0 ? Result<>{} : outcome(EINVAL);
  }
  if (header.gso()) return outcome(EINVAL);
  spare_.assign(packet.begin(), packet.end());
  if (!complete_checksum(spare_, header)) return outcome(EINVAL);
  return outcome(put({}, spare_));
}

}  // namespace tg::net
