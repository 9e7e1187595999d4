// link: a line with delay, jitter, a rate, loss and reordering between two Ethernet interfaces of its network namespace. For a
// kernel without sch_netem. What it decides is in link.h, what may be asked of it in options.h.
//
//      laptop             a namespace with this program             internet
//      eth0 ═════════════ A    ──▶  Link  ──▶    B ════════════════ laptop
//                              ◀──  Link  ◀──
//
// Frames are read and written as they are, by AF_PACKET sockets, with the header that says what is left to do to them: a
// super-packet goes through as one. Where packets are to be lost or overtaken one by one, the hosts must not make any
// (`ip link set … gso_max_segs 1`): tests/support/link.py sees to that, and `super_packets` among the counters shows it.
#include <fmt/format.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <system_error>

#include "core/vnet_header.h"
#include "tests/support/link/link.h"
#include "tests/support/link/options.h"

namespace tg::link {
namespace {

static_assert(std::endian::native == std::endian::little, "the sockets' header has the machine's byte order");

constexpr std::size_t kBatch = 64;
constexpr std::size_t kRounds = 4;               // batches of one socket before the others have their turn
constexpr std::size_t kFrameMax = 66 * 1024;     // a super-packet, its headers, and ours
constexpr int kReceiveBuffer = 64 * 1024 * 1024; // in kernel memory, many times the frames' bytes
constexpr Duration kGrain = std::chrono::microseconds(50);   // no sleep is shorter: what is due meanwhile is that late

[[noreturn]] void give_up(std::string_view what) {
  const std::string why = std::generic_category().message(errno);
  fmt::print(stderr, "link: {}: {}\n", what, why);
  std::exit(1);
}

int checked(int result, std::string_view what) {
  if (result < 0) give_up(what);
  return result;
}

Instant now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return Instant(std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec));
}

// End is one interface: a socket that sees every frame which its host sent, and, as it passes the qdisc by, none of ours.
class End {
 public:
  explicit End(const std::string& interface)
      : name_(interface), fd_(checked(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0), "socket")) {
    const auto set = [&](int level, int option, int value, const char* what) {
      checked(::setsockopt(fd_, level, option, &value, sizeof value), what);
    };
    set(SOL_PACKET, PACKET_VNET_HDR, 1, "PACKET_VNET_HDR");
    set(SOL_PACKET, PACKET_QDISC_BYPASS, 1, "PACKET_QDISC_BYPASS");
    set(SOL_SOCKET, SO_RCVBUFFORCE, kReceiveBuffer, "SO_RCVBUFFORCE");
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = __builtin_bswap16(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    if (address.sll_ifindex == 0) give_up(interface);
    checked(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
  }
  End(const End&) = delete;
  End& operator=(const End&) = delete;
  ~End() { ::close(fd_); }

  int fd() const noexcept { return fd_; }
  const std::string& name() const noexcept { return name_; }

  // read hands what has come to `link`.
  void read(Link& link);
  // write sends what `link` lets go by `now`, and says how late the latest of it was.
  void write(Link& link, Instant now);
  std::string counters(const Link& link) const;

 private:
  std::uint64_t send(std::array<Packet, kBatch>& packets, std::size_t count);

  std::string name_;
  int fd_;
  std::uint64_t not_sent_ = 0;       // by us, to this interface: what the kernel did not take
  Duration latest_{};
};

void End::read(Link& link) {
  static std::vector<Buffer> room(kBatch, Buffer(kFrameMax));
  std::array<iovec, kBatch> parts;
  std::array<mmsghdr, kBatch> messages{};
  for (std::size_t i = 0; i < kBatch; ++i) {
    parts[i] = {room[i].data(), room[i].size()};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  for (std::size_t round = 0; round < kRounds; ++round) {
    const int got = ::recvmmsg(fd_, messages.data(), kBatch, MSG_DONTWAIT, nullptr);
    if (got < 0 && errno != EAGAIN && errno != EINTR && errno != ENETDOWN) give_up(fmt::format("read from {}", name_));
    if (got <= 0) return;
    const Instant time = now();
    for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) {
      const Bytes frame = Bytes(room[i]).first(std::min<std::size_t>(messages[i].msg_len, kFrameMax));
      const auto piece = piece_of(frame);
      if (!piece) continue;
      link.arrive({Buffer(frame.begin(), frame.end()), piece->size, piece->segments}, time);
    }
    if (static_cast<std::size_t>(got) < kBatch) return;
  }
}

void End::write(Link& link, Instant until) {
  std::array<Packet, kBatch> packets;
  for (;;) {
    std::size_t count = 0;
    for (; count < kBatch; ++count) {
      const Instant due = link.next_deadline();
      auto packet = link.leave(until);
      if (!packet) break;
      latest_ = std::max(latest_, until - due);
      packets[count] = std::move(*packet);
    }
    if (count == 0) return;
    not_sent_ += send(packets, count);
  }
}

// send returns how many of the packets the kernel did not take.
std::uint64_t End::send(std::array<Packet, kBatch>& packets, std::size_t count) {
  std::array<iovec, kBatch> parts;
  std::array<mmsghdr, kBatch> messages{};
  for (std::size_t i = 0; i < count; ++i) {
    parts[i] = {packets[i].bytes.data(), packets[i].bytes.size()};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  std::uint64_t refused = 0;
  for (std::size_t at = 0; at < count;) {
    const int sent = ::sendmmsg(fd_, &messages[at], static_cast<unsigned>(count - at), 0);
    if (sent < 0 && errno == EINTR) continue;
    if (sent > 0) {
      at += static_cast<std::size_t>(sent);
    } else {
      refused += packets[at].segments;
      ++at;
    }
  }
  return refused;
}

// The counters of what came from this end. `not_sent` and `latest_us` are those of what was sent to it.
std::string End::counters(const Link& link) const {
  tpacket_stats missed{};
  socklen_t size = sizeof missed;
  checked(::getsockopt(fd_, SOL_PACKET, PACKET_STATISTICS, &missed, &size), "PACKET_STATISTICS");
  const LinkCounters& c = link.counters();
  return fmt::format(R"("{}": {{"packets": {}, "bytes": {}, "super_packets": {}, "missed": {}, "dropped": {}, "lost": {}, )"
                     R"("overtaken": {}, "delivered": {}, "delivered_bytes": {}, "not_sent": {}, "latest_us": {}}})",
                     name_, c.packets, c.bytes, c.super_packets, missed.tp_drops, c.dropped, c.lost, c.overtaken, c.delivered,
                     c.delivered_bytes, not_sent_, std::chrono::duration_cast<std::chrono::microseconds>(latest_).count());
}

void set_timer(int fd, Instant at) {
  itimerspec when{};
  if (at != kNever) {
    const auto since = at.time_since_epoch();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
    when.it_value = {seconds.count(), (since - seconds).count()};
  }
  checked(::timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, nullptr), "timerfd_settime");
}

int run(const CommandLine& line) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  checked(::sigprocmask(SIG_BLOCK, &ends, nullptr), "sigprocmask");
  const int signals = checked(::signalfd(-1, &ends, SFD_NONBLOCK), "signalfd");
  const int timer = checked(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), "timerfd_create");
  ::setpriority(PRIO_PROCESS, 0, -10);   // a line waits for nobody; where it may not, it is a little late

  End a(line.interfaces[0]), b(line.interfaces[1]);
  Link from_a(line.ways[0]), from_b(line.ways[1]);

  const int poll = checked(::epoll_create1(0), "epoll_create1");
  for (const int fd : {a.fd(), b.fd(), timer, signals}) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    checked(::epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
  }
  std::puts("ready");
  std::fflush(stdout);

  for (;;) {
    std::array<epoll_event, 4> events;
    const int count = ::epoll_wait(poll, events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) give_up("epoll_wait");
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == signals) {
        fmt::print("{{{}, {}}}\n", a.counters(from_a), b.counters(from_b));
        return 0;
      }
      if (fd == a.fd()) a.read(from_a);
      if (fd == b.fd()) b.read(from_b);
    }
    const Instant time = now();
    b.write(from_a, time);
    a.write(from_b, time);
    Instant next = std::min(from_a.next_deadline(), from_b.next_deadline());
    if (next != kNever) next = std::max(next, now() + kGrain);
    set_timer(timer, next);              // and what the timer had to tell is gone
  }
}

}  // namespace
}  // namespace tg::link

int main(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  if (words.size() == 1 && (words[0] == "--help" || words[0] == "-h")) {
    fmt::print("{}", tg::link::kUsage);
    return 0;
  }
  const auto line = tg::link::parse_command_line(words);
  if (!line) {
    fmt::print(stderr, "link: {}\n\n{}", line.error().text, tg::link::kUsage);
    return 2;
  }
  return tg::link::run(*line);
}
