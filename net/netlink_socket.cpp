#include "net/netlink_socket.h"

#include <sys/time.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "net/netlink_message.h"

namespace tg::net {
namespace {

constexpr std::size_t kReceive = 256 * 1024;

// refusal makes an Error of an error message; the kernel's own words come in the attribute NLMSGERR_ATTR_MSG.
Error refusal(const Message& m, int err, const std::string& what) {
  Error e = os_error(err, what);
  if (err == ESRCH || err == ENODEV || err == ENOENT || err == EADDRNOTAVAIL) e.code = Errc::not_found;
  if (err == EEXIST || err == EBUSY) e.code = Errc::conflict;
  if (err == EINVAL) e.code = Errc::invalid_argument;
  if (err == EOPNOTSUPP || err == EPROTONOSUPPORT || err == EAFNOSUPPORT) e.code = Errc::unsupported;
  if ((m.header.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return e;
  Bytes rest;
  const auto fixed = m.fixed<nlmsgerr>(rest);
  if (!fixed) return e;
  if ((m.header.nlmsg_flags & NLM_F_CAPPED) == 0) {
    const std::size_t length = std::max<std::size_t>(fixed->msg.nlmsg_len, sizeof(nlmsghdr));
    rest = rest.subspan(std::min(rest.size(), netlink_aligned(length - sizeof(nlmsghdr))));
  }
  while (const auto a = next_attribute(rest)) {
    if (a->type == NLMSGERR_ATTR_MSG) e.text += fmt::format(" ({})", a->text());
  }
  return e;
}

}  // namespace

Result<NetlinkSocket> NetlinkSocket::open(int protocol) {
  NetlinkSocket s;
  s.fd_ = Fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!s.fd_) {
    Error e = os_error(errno, "open a netlink socket");
    if (errno == EPROTONOSUPPORT) e.code = Errc::unsupported;
    return tl::unexpected(std::move(e));
  }
  const int on = 1;
  const timeval patience{5, 0};
  setsockopt(s.fd_.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);    // the kernel's words; since 4.12
  setsockopt(s.fd_.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  setsockopt(s.fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  s.in_.resize(kReceive);
  return s;
}

std::uint32_t NetlinkSocket::number(Buffer& message) {
  ++sequence_;
  std::memcpy(message.data() + offsetof(nlmsghdr, nlmsg_seq), &sequence_, sizeof sequence_);
  return sequence_;
}

Result<> NetlinkSocket::send(Bytes messages, const std::string& what) {
  if (::send(fd_.get(), messages.data(), messages.size(), 0) < 0) return tl::unexpected(os_error(errno, what));
  return {};
}

Result<std::size_t> NetlinkSocket::receive(const std::string& what) {
  for (;;) {
    const ssize_t n = recv(fd_.get(), in_.data(), in_.size(), MSG_TRUNC);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tl::unexpected(os_error(errno == EAGAIN ? ETIMEDOUT : errno, what));
    if (static_cast<std::size_t>(n) > in_.size()) {
      return fail(Errc::io, fmt::format("could not {}: the kernel's answer is too long", what));
    }
    return static_cast<std::size_t>(n);
  }
}

// The kernel acknowledges each message, or refuses the first that is wrong, and then the others of a batch are void. Whom it lets do
// nothing of the kind it tells so at the batch's begin.
Result<> NetlinkSocket::acknowledged(std::uint32_t begin, std::uint32_t first, std::uint32_t last, const std::string& what, int harmless) {
  while (first <= last) {
    auto size = receive(what);
    if (!size) return pass_on(size);
    Bytes rest = Bytes(in_).first(*size);
    while (const auto m = next_message(rest)) {
      Bytes attributes;
      const auto error = m->fixed<nlmsgerr>(attributes);
      const bool of_ours = m->header.nlmsg_seq >= begin && m->header.nlmsg_seq <= last;
      if (!of_ours || m->header.nlmsg_type != NLMSG_ERROR || !error) continue;
      if (error->error != 0 && -error->error != harmless) return tl::unexpected(refusal(*m, -error->error, what));
      if (m->header.nlmsg_seq == first) ++first;
    }
  }
  return {};
}

Result<> NetlinkSocket::change(Buffer message, const std::string& what, int harmless) {
  const std::uint32_t sequence = number(message);
  if (auto sent = send(message, what); !sent) return sent;
  return acknowledged(sequence, sequence, sequence, what, harmless);
}

Result<> NetlinkSocket::batch(Buffer begin, std::vector<Buffer> messages, Buffer end, const std::string& what) {
  const std::uint32_t sequence = number(begin);
  Buffer all = std::move(begin);
  for (Buffer& m : messages) {
    number(m);
    all.insert(all.end(), m.begin(), m.end());
  }
  const std::uint32_t last = sequence_;
  number(end);
  all.insert(all.end(), end.begin(), end.end());
  if (auto sent = send(all, what); !sent) return sent;
  return acknowledged(sequence, sequence + 1, last, what, 0);
}

Result<std::vector<Buffer>> NetlinkSocket::dump(Buffer message, const std::string& what) {
  for (int attempt = 0; attempt < 10; ++attempt) {
    const std::uint32_t sequence = number(message);
    if (auto sent = send(message, what); !sent) return pass_on(sent);
    std::vector<Buffer> out;
    bool done = false, changed = false;
    while (!done) {
      auto size = receive(what);
      if (!size) return pass_on(size);
      const Bytes datagram = Bytes(in_).first(*size);
      Bytes rest = datagram;
      bool ours = false;
      while (const auto m = next_message(rest)) {
        if (m->header.nlmsg_seq != sequence) continue;
        ours = true;
        changed |= (m->header.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
        if (m->header.nlmsg_type == NLMSG_DONE) done = true;
        if (m->header.nlmsg_type == NLMSG_ERROR) {
          Bytes attributes;
          const auto error = m->fixed<nlmsgerr>(attributes);
          return tl::unexpected(refusal(*m, error ? -error->error : EIO, what));
        }
      }
      if (ours) out.emplace_back(datagram.begin(), datagram.end());
    }
    if (!changed) return out;
  }
  return fail(Errc::io, fmt::format("could not {}: it changes all the time", what));
}

}  // namespace tg::net
