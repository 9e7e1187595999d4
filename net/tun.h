// The TUN interface: IP packets of the host as a descriptor (Linux Documentation/networking/tuntap.rst).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/result.h"
#include "core/vnet_header.h"
#include "net/socket.h"

namespace tg::net {

// is_interface_name says whether Linux takes `s` as the name of an interface: 1 to 15 characters, no space, no slash.
bool is_interface_name(std::string_view s) noexcept;

// Tun owns an interface, which goes away with it. Packets carry a VnetHeader: checksums and segmentation of TCP over
// IPv4 are left to whoever takes a packet last, so that one read or write moves up to 64 KiB.
class Tun {
 public:
  // kPacketMax is what the buffer given to read() must hold.
  static constexpr std::size_t kPacketMax = 65535;

  struct Options {
    std::string name = "tg0";
    bool offload = true;      // TUN_F_CSUM and TUN_F_TSO4; not TUN_F_TSO_ECN
  };

  // open makes the interface; it is down and has no address. Errors: unsupported (no /dev/net/tun), denied (no right),
  // conflict (the name is in use), invalid_argument (no name of an interface), io.
  static Result<Tun> open(const Options& options);

  int fd() const noexcept { return fd_.get(); }         // non-blocking
  const std::string& name() const noexcept { return name_; }
  int index() const noexcept { return index_; }         // of the interface, for rtnetlink

  // read takes one packet into `buffer` and returns its bytes there, or none when nobody waits. A packet with a header
  // that makes no sense is skipped. Errors: io; the interface is gone.
  Result<MutBytes> read(MutBytes buffer, VnetHeader& header);

  // write hands one packet to the kernel. A kernel that refuses a packet to be segmented or with a partial checksum
  // (EINVAL) is given none any more: offload ends for good, and this packet and those after it are done in software.
  // What the kernel has no room for is dropped, as any network would, and counted. Errors: io, malformed.
  Result<> write(const VnetHeader& header, Bytes packet);

  bool offload() const noexcept { return offload_; }
  std::uint64_t dropped() const noexcept { return dropped_; }

  // stop_offload ends offload: the kernel segments before read() from now on (what is queued still comes as it is).
  void stop_offload();

 private:
  Tun() = default;
  int put(const VnetHeader& header, Bytes packet) noexcept;    // 0 or errno
  Result<> put_in_software(const VnetHeader& header, Bytes packet);
  Result<> outcome(int err);

  Fd fd_;
  std::string name_;
  int index_ = 0;
  bool offload_ = false;
  std::uint64_t dropped_ = 0;
  Buffer spare_;
};

}  // namespace tg::net
