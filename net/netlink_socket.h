// A netlink socket (netlink(7)): messages to the kernel, and its answers, which come at once.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "net/socket.h"

namespace tg::net {

// NetlinkSocket asks the kernel and waits for its answer. `what` is what is being done, in words, for errors: "add a route". They
// say the kernel's reason where it gives one; Errc::denied without CAP_NET_ADMIN, not_found, conflict, unsupported, io.
class NetlinkSocket {
 public:
  // open: `protocol` is NETLINK_ROUTE or another.
  static Result<NetlinkSocket> open(int protocol);

  // change sends one message that asks for an acknowledgement (NLM_F_ACK). An errno that is `harmless` is none.
  Result<> change(Buffer message, const std::string& what, int harmless = 0);
  // batch sends messages that all ask for one between a begin and an end that do not: all of them come to pass, or none
  // (nfnetlink).
  Result<> batch(Buffer begin, std::vector<Buffer> messages, Buffer end, const std::string& what);
  // dump asks for a list, and returns the datagrams of messages that it comes in. It is asked for again when it changed meanwhile
  // (NLM_F_DUMP_INTR).
  Result<std::vector<Buffer>> dump(Buffer message, const std::string& what);

  // take_fd leaves this closed: for what lives as long as its socket.
  Fd take_fd() && noexcept { return std::move(fd_); }

 private:
  NetlinkSocket() = default;
  std::uint32_t number(Buffer& message);
  // acknowledged waits for the answers to messages `first` to `last`, and looks at those from `begin` on.
  Result<> acknowledged(std::uint32_t begin, std::uint32_t first, std::uint32_t last, const std::string& what, int harmless);
  Result<> send(Bytes messages, const std::string& what);
  Result<std::size_t> receive(const std::string& what);

  Fd fd_;
  std::uint32_t sequence_ = 0;
  Buffer in_;
};

}  // namespace tg::net
