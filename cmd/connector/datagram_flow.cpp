#include <ctime>   // which the next needs

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "cmd/connector/flow.h"
#include "core/checksum.h"
#include "net/datagrams.h"
#include "net/far_error.h"
#include "net/log.h"

namespace tg::connector {
namespace {

constexpr std::size_t kWaitingMax = 256 * 1024;   // bytes of datagrams kept until connect(), each counted as
constexpr std::size_t kWaitingMore = 64;          // so many more
constexpr int kBatchesPerTurn = 2;

// The part that UDP and ping sockets share: a connected datagram socket, what waits for it, and errors of the far side. What came
// by the tunnel together leaves together.
class DatagramFlow : public Flow, private net::TunnelLink::Batch {
 public:
  explicit DatagramFlow(FlowContext c) : c_(std::move(c)), moved_(net::Loop::now()) {}
  ~DatagramFlow() override {
    if (!waits_) return;
    c_.link.forget_batch(*this);
    leaving_.send(fd_.get());   // what came before the end is not lost
  }

  void connect(std::vector<Endpoint> targets) override {
    Code why = Code::name_not_found;
    for (const Endpoint& to : targets) {
      auto fd = open(to);
      if (fd) {
        fd_ = std::move(*fd);
        target_ = to;
        break;
      }
      why = fd.error();
    }
    if (!fd_) return end(why);
    // With these the kernel tells of every ICMP error, not only of those that it calls hard (ip(7), ipv6(7)).
    const int on = 1;
    if (target_.address.is_v6()) ::setsockopt(fd_.get(), IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
    else ::setsockopt(fd_.get(), IPPROTO_IP, IP_RECVERR, &on, sizeof on);
    watch_ = net::Watch(c_.loop, fd_.get(), [this] { receive(); });
    watch_.want_read(true);
    c_.link.tunnel().opened(c_.id);
    c_.link.kick();
    c_.opened();
    for (Buffer& b : waiting_) {
      seal(b);
      leaving_.add(b);
    }
    waiting_ = {};
    c_.kept = {};
    transmit();   // may destroy this
  }
  std::span<const Endpoint> targets() const override { return {&target_, fd_ ? 1u : 0u}; }

  Carried carried() const override { return carried_; }
  Instant idle_since() const override { return moved_; }

 protected:
  virtual tl::expected<net::Fd, Code> open(const Endpoint& to) = 0;
  virtual void received(Bytes datagram) = 0;
  // seal completes a datagram that was made before the socket was.
  virtual void seal(Buffer&) {}
  bool is_open() const { return static_cast<bool>(fd_); }
  void tell_datagram(Bytes b) {
    carried_.down += b.size();
    c_.link.tunnel().datagram(c_.id, b);
  }
  void tell_echo(const Echo& e) {
    carried_.down += e.payload.size();
    c_.link.tunnel().echo(c_.id, e);
  }

  // `payload`: how much of it is the application's.
  void submit(Bytes datagram, std::size_t payload) {
    moved_ = net::Loop::now();
    if (fd_) {
      carried_.up += payload;
      leaving_.add(datagram);
      if (!waits_) waits_ = c_.link.wait_for_batch(*this);
      if (!waits_) transmit();
    } else if (const std::size_t size = datagram.size() + kWaitingMore;
               c_.kept.count() + size <= kWaitingMax && c_.kept.add(size)) {
      carried_.up += payload;
      waiting_.emplace_back(datagram.begin(), datagram.end());
    }
  }

  FlowContext c_;

 private:
  void batch_over() override {
    waits_ = false;
    transmit();
  }

  // transmit may destroy this.
  void transmit() {
    leaving_.send(fd_.get(), [this](int err) { return err == EAGAIN || err == ENOBUFS || err == EMSGSIZE || failed(err); });
  }

  void receive() {
    for (int i = 0; i < kBatchesPerTurn; ++i) {
      const auto batch = net::receive_datagrams(fd_.get());
      const int err = batch ? 0 : batch.error() == EAGAIN && i == 0 ? queued_error() : batch.error();
      if (err != 0 && err != EAGAIN && err != EINTR && !failed(err)) return;
      if (!batch) break;
      moved_ = net::Loop::now();
      for (const net::Datagram& d : *batch) received(d.bytes);
      if (batch->size() < net::kDatagramsAtOnce) break;
    }
    c_.link.kick();
  }

  // queued_error returns the errno of an ICMP error, or 0. sendmmsg(2) takes those that come between two datagrams of a batch off the
  // socket, and tells of none.
  int queued_error() {
    std::uint8_t sink[64], control[512];
    iovec part{sink, sizeof sink};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (::recvmsg(fd_.get(), &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return 0;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      const bool ours = (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
                        (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
      sock_extended_err said{};
      if (!ours || c->cmsg_len < CMSG_LEN(sizeof said)) continue;
      std::memcpy(&said, CMSG_DATA(c), sizeof said);
      return static_cast<int>(said.ee_errno);
    }
    return EIO;
  }

  // failed takes what IP_RECVERR has queued, so that it is not told again, and ends the flow for an error that an application would
  // have seen. Returns whether it goes on.
  bool failed(int err) {
    while (const int next = queued_error()) {
      if (err == EMSGSIZE) err = next;
    }
    if (err == EMSGSIZE) return true;   // path MTU: the kernel cuts into fragments from now on
    end(net::code_of_errno(err));
    return false;
  }

  void end(Code code) {
    carried_.code = code;
    c_.link.tunnel().reset(c_.id, code);
    c_.link.kick();
    const auto ended = c_.ended;
    ended();   // destroys this
  }

  net::Fd fd_;
  net::Watch watch_;
  Instant moved_;
  Endpoint target_;
  Carried carried_;
  std::vector<Buffer> waiting_;
  net::OutgoingDatagrams leaving_;
  bool waits_ = false;          // for the end of the batch: the link knows this
};

class UdpFlow final : public DatagramFlow {
 public:
  using DatagramFlow::DatagramFlow;
  void datagram(Bytes b) override { submit(b, b.size()); }

 private:
  tl::expected<net::Fd, Code> open(const Endpoint& to) override {
    auto fd = net::start_connect(to, SOCK_DGRAM);
    if (!fd) return tl::unexpected(net::code_of_errno(fd.error()));
    const int never = IP_PMTUDISC_DONT;   // no DF: large datagrams are cut into fragments as on any host
    ::setsockopt(fd->get(), IPPROTO_IP, IP_MTU_DISCOVER, &never, sizeof never);
    return std::move(*fd);
  }
  void received(Bytes b) override { tell_datagram(b); }
};

// next_identifier: a raw socket sees every reply from its host, so no two flows may share one.
std::uint16_t next_identifier() {
  static std::atomic<std::uint16_t> last = static_cast<std::uint16_t>(net::Loop::now().time_since_epoch().count());
  return ++last;
}

// Ping sockets (icmp(7), net.ipv4.ping_group_range) need no privilege, and the kernel keeps their identifiers apart. Where they
// are not allowed a raw socket does, with CAP_NET_RAW.
class IcmpFlow final : public DatagramFlow {
 public:
  using DatagramFlow::DatagramFlow;

  void echo(const Echo& e) override {
    Buffer packet;
    Writer w(packet);
    w.u32(0);   // type, code and checksum: see seal()
    w.u16(0);
    w.u16(e.sequence);
    w.bytes(e.payload);
    if (is_open()) seal(packet);
    submit(packet, e.payload.size());
  }

 private:
  static constexpr std::uint8_t kEchoRequest6 = 128, kEchoReply6 = 129;   // RFC 4443

  // The kernel fills in the identifier of ping sockets, and the checksum of those and of IPv6.
  void seal(Buffer& packet) override {
    packet[0] = v6_ ? kEchoRequest6 : static_cast<std::uint8_t>(ICMP_ECHO);
    packet[4] = static_cast<std::uint8_t>(identifier_ >> 8);
    packet[5] = static_cast<std::uint8_t>(identifier_);
    if (raw_ && !v6_) Writer(packet).put_u16(2, checksum(packet));
  }

  tl::expected<net::Fd, Code> open(const Endpoint& to) override {
    v6_ = to.address.is_v6();
    const int family = v6_ ? AF_INET6 : AF_INET;
    const int protocol = v6_ ? static_cast<int>(IPPROTO_ICMPV6) : static_cast<int>(IPPROTO_ICMP);
    net::Fd fd(::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
    if (!fd) {
      fd = net::Fd(::socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
      raw_ = true;
      identifier_ = next_identifier();
    }
    if (!fd && errno != EPERM && errno != EACCES) return tl::unexpected(net::code_of_errno(errno));
    if (!fd) {
      net::log(net::Level::warning, "clients can't ping: set net.ipv4.ping_group_range, or run the connector with CAP_NET_RAW");
      return tl::unexpected(Code::unsupported);
    }
    const net::SockAddr address({to.address, 0});
    if (::connect(fd.get(), address.raw(), address.size) != 0) {
      return tl::unexpected(net::code_of_errno(errno));
    }
    return fd;
  }

  void received(Bytes b) override {
    if (raw_ && !v6_) {   // behind the IPv4 header
      if (b.empty()) return;
      b = b.subspan(std::min(b.size(), static_cast<std::size_t>(b[0] & 15) * 4));
    }
    Reader r(b);
    const std::uint8_t type = r.u8();
    r.skip(3);
    const std::uint16_t identifier = r.u16();
    const std::uint16_t sequence = r.u16();
    if (!r.ok() || type != (v6_ ? kEchoReply6 : ICMP_ECHOREPLY) || (raw_ && identifier != identifier_)) return;
    tell_echo({sequence, r.rest()});
  }

  std::uint16_t identifier_ = 0;
  bool raw_ = false;
  bool v6_ = false;
};

}  // namespace

std::unique_ptr<Flow> make_udp_flow(FlowContext context) { return std::make_unique<UdpFlow>(std::move(context)); }
std::unique_ptr<Flow> make_icmp_flow(FlowContext context) { return std::make_unique<IcmpFlow>(std::move(context)); }

}  // namespace tg::connector
