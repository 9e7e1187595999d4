// Both captures of TCP against the real kernel, each test in a network namespace of its own:
//
//   application ──▶ 100.96.0.7 ──▶ tg0 ──▶ Rewriter or Splitter ──▶ tg0 ──▶ listener on 172.16.30.1
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>

#include "core/rewrite.h"
#include "core/split.h"
#include "net/routes.h"
#include "net/split_filter.h"
#include "net/tun.h"
#include "tests/support/netns.h"

namespace tg::net::capture_netns_test {

using tg::test::in_netns;

constexpr Ipv4 kLocal{0xAC101E01}, kFar{0x64600007};
const std::vector<Cidr> kPool{*Cidr::parse("100.96.0.0/12")};
enum class Way { rewrite, split };

Routes::Config plan(const Tun& tun, std::uint32_t mtu = 65535) {
  Routes::Config c;
  c.index = tun.index();
  c.mtu = mtu;
  return c;
}

bool wait_for(int fd, short events, int ms = 5000) {
  pollfd p{fd, events, 0};
  return poll(&p, 1, ms) == 1;
}

// by_both runs a test by each way.
void by_both(const std::function<void(Way)>& test) {
  for (const Way way : {Way::rewrite, Way::split}) {
    SCOPED_TRACE(way == Way::split ? "split" : "rewrite");
    in_netns([&] { test(way); });
  }
}

// Rig is a TUN with everything behind it, turned by hand.
struct Rig {
  explicit Rig(Way way, bool offload = true, std::uint32_t mtu = 65535)
      : tun(*Tun::open({"tg0", offload})), routes(*Routes::install(plan(tun, mtu))), listener(*tcp_listen({kLocal, 0})),
        capture(machine(way)) {
    EXPECT_TRUE(routes.capture(kPool));
    if (way == Way::rewrite) return;
    EXPECT_TRUE(set_transparent(listener.get()));
    auto installed = SplitFilter::install("tg0", {kLocal, port()});
    EXPECT_TRUE(installed) << installed.error().text;
    if (installed) filter = std::move(*installed);
    EXPECT_TRUE(routes.turn_round());
  }
  std::uint16_t port() const { return local_endpoint(listener.get()).port; }
  std::unique_ptr<FlowCapture> machine(Way way) const {
    if (way == Way::split) return std::make_unique<Splitter>(Splitter::Config());
    Rewriter::Config c;
    c.listen_port = port();
    return std::make_unique<Rewriter>(c);
  }

  // turn takes what waits in the TUN.
  void turn() {
    VnetHeader h;
    for (;;) {
      const auto got = tun.read(buffer, h);
      ASSERT_TRUE(got) << got.error().text;
      if (got->empty()) return;
      ++packets;
      largest = std::max(largest, got->size());
      gso += h.gso() ? 1 : 0;
      const auto out = capture->process(*got, h, now);
      if (out.action == FlowCapture::Action::write) put(h, *got);
      if (out.action == FlowCapture::Action::reply) put({}, out.reply);
      if (out.event == FlowCapture::Event::opened) on_open(out.flow);
      if (out.event == FlowCapture::Event::cancelled && on_cancel) on_cancel(out.flow);
      if (out.action == FlowCapture::Action::pass && on_other) on_other(*got);
    }
  }
  void put(const VnetHeader& h, Bytes packet) {
    const auto done = tun.write(h, packet);
    EXPECT_TRUE(done) << done.error().text;
  }
  void admit(FlowId id) {
    const auto syn = capture->admit(id, now);
    ASSERT_TRUE(syn);
    put({}, *syn);
  }
  // until turns until `done`, for at most 10 s.
  template <class Done>
  bool until(Done done) {
    for (int i = 0; i < 10000; ++i) {
      turn();
      if (done()) return true;
      wait_for(tun.fd(), POLLIN, 1);
    }
    return false;
  }
  // connect starts a connection and returns it with the errno that it ends with.
  std::pair<Fd, int> connect(Endpoint to = {kFar, 443}) {
    Fd app = std::move(*tcp_connect(to));
    pollfd p{app.get(), POLLOUT, 0};
    EXPECT_TRUE(until([&] { return poll(&p, 1, 0) == 1; }));
    const int err = connect_error(app.get());
    return {std::move(app), err};
  }
  // found is the flow of an accepted socket.
  std::optional<FlowId> found(const Fd& end, const Endpoint& peer) {
    const Endpoint local = local_endpoint(end.get());
    return capture->accepted({peer.address.v4(), peer.port}, {local.address.v4(), local.port});
  }
  Fd accept(Endpoint& peer) {
    Fd fd;
    EXPECT_TRUE(until([&] { fd = accept_from(listener.get(), &peer); return static_cast<bool>(fd); }));
    return fd;
  }

  Tun tun;
  Routes routes;
  Fd listener;
  std::unique_ptr<FlowCapture> capture;
  std::optional<SplitFilter> filter;
  Instant now{};
  Buffer buffer = Buffer(Tun::kPacketMax);
  std::function<void(FlowId)> on_open = [this](FlowId id) { admit(id); };
  std::function<void(FlowId)> on_cancel;
  std::function<void(Bytes)> on_other;
  std::size_t largest = 0;
  std::size_t gso = 0;
  std::size_t packets = 0;      // that came out of the TUN
};

// moves sends `size` bytes from one socket to another through the rig, and says whether they arrived unchanged.
bool moves(Rig& rig, const Fd& from, const Fd& to, std::size_t size) {
  Buffer sent(size), got;
  std::uint32_t x = 1;
  for (auto& b : sent) b = static_cast<std::uint8_t>((x = x * 1664525 + 1013904223) >> 24);
  std::size_t at = 0;
  Buffer part(1 << 20);
  const bool done = rig.until([&] {
    if (at < size) {
      const ssize_t n = send(from.get(), sent.data() + at, size - at, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) at += static_cast<std::size_t>(n);
    }
    const ssize_t n = recv(to.get(), part.data(), part.size(), MSG_DONTWAIT);
    if (n > 0) got.insert(got.end(), part.begin(), part.begin() + n);
    return got.size() >= size;
  });
  return done && got == sent;
}

// carries opens a flow, and moves a megabyte each way.
void carries(Rig& rig) {
  auto [app, err] = rig.connect();
  ASSERT_EQ(err, 0);
  Endpoint peer;
  const Fd end = rig.accept(peer);
  EXPECT_TRUE(moves(rig, app, end, 1 << 20));
  EXPECT_TRUE(moves(rig, end, app, 1 << 20));
}

TEST(CaptureInNetns, connects_after_the_owner_admits_and_shows_the_dialled_address) {
  by_both([](Way way) {
    Rig rig(way);
    FlowId held = FlowId::none;
    rig.on_open = [&](FlowId id) { held = id; };
    Fd app = std::move(*tcp_connect({kFar, 443}));
    ASSERT_TRUE(rig.until([&] { return held != FlowId::none; }));
    EXPECT_FALSE(wait_for(app.get(), POLLOUT, 0));
    EXPECT_EQ(rig.capture->key_of(held)->dst, (Ipv4Port{kFar, 443}));
    rig.admit(held);
    Endpoint peer;
    const Fd end = rig.accept(peer);
    EXPECT_EQ(connect_error(app.get()), 0);
    EXPECT_EQ(rig.found(end, peer), held);
    SockAddr far;
    ASSERT_EQ(getpeername(app.get(), far.raw(), &far.size), 0);
    EXPECT_EQ(far.endpoint(), (Endpoint{kFar, 443}));
    EXPECT_EQ(local_endpoint(app.get()).address, IpAddress(kLocal));
  });
}

TEST(CaptureInNetns, refusals_reach_connect_as_themselves) {
  by_both([](Way way) {
    Rig rig(way);
    rig.on_open = [&](FlowId id) { rig.put({}, rig.capture->refuse_reset(id)); };
    EXPECT_EQ(rig.connect().second, ECONNREFUSED);
    for (const auto code : {Unreachable::host, Unreachable::prohibited}) {
      rig.on_open = [&, code](FlowId id) { rig.put({}, rig.capture->refuse_unreachable(id, code)); };
      EXPECT_EQ(rig.connect().second, EHOSTUNREACH);
    }
    rig.on_open = [&](FlowId id) { rig.put({}, rig.capture->refuse_unreachable(id, Unreachable::net)); };
    EXPECT_EQ(rig.connect().second, ENETUNREACH);
    EXPECT_EQ(rig.capture->counts().held, 0u);
  });
}

TEST(RewriteInNetns, moves_megabytes_both_ways_in_every_mode) {
  for (const auto& [offload, mtu] : {std::pair{true, 65535u}, {true, 1500u}, {false, 1500u}, {false, 65535u}}) {
    in_netns([offload = offload, mtu = mtu] {
      Rig rig(Way::rewrite, offload, mtu);
      EXPECT_EQ(rig.tun.offload(), offload);
      auto [app, err] = rig.connect();
      ASSERT_EQ(err, 0);
      Endpoint peer;
      const Fd end = rig.accept(peer);
      EXPECT_TRUE(moves(rig, app, end, 8 << 20));
      EXPECT_TRUE(moves(rig, end, app, 8 << 20));
      if (!offload || mtu == 1500) {
        EXPECT_EQ(rig.gso > 0, offload);
      }
      if (offload) EXPECT_GT(rig.largest, 20000u);
      else EXPECT_LE(rig.largest, mtu);
      EXPECT_EQ(rig.tun.offload(), offload);     // no write was refused
    });
  }
}

TEST(RewriteInNetns, goes_on_in_software_when_offload_ends_in_mid_flow) {
  in_netns([] {
    Rig rig(Way::rewrite, true, 1500);
    auto [app, err] = rig.connect();
    ASSERT_EQ(err, 0);
    Endpoint peer;
    const Fd end = rig.accept(peer);
    EXPECT_TRUE(moves(rig, app, end, 1 << 20));
    // Waits in the TUN as a packet to be segmented.
    ASSERT_GT(send(app.get(), Buffer(60000, 'x').data(), 60000, MSG_DONTWAIT), 20000);
    rig.tun.stop_offload();
    std::size_t got = 0;
    Buffer part(1 << 16);
    EXPECT_TRUE(rig.until([&] {
      const ssize_t n = recv(end.get(), part.data(), part.size(), MSG_DONTWAIT);
      if (n > 0) got += static_cast<std::size_t>(n);
      return got == 60000;
    }));
    EXPECT_TRUE(moves(rig, end, app, 1 << 20));
  });
}

TEST(TunInNetns, ends_offload_for_good_when_the_kernel_refuses_a_packet) {
  in_netns([] {
    Rig rig(Way::rewrite);
    Buffer udp;
    ASSERT_TRUE(build_udp(udp, {kFar, 53}, {kLocal, 4000}, as_bytes("hello"), 1));
    VnetHeader odd;
    odd.flags = VnetHeader::kNeedsCsum;
    odd.csum_start = 60000;                       // outside the packet: EINVAL, and nothing to do in software either
    odd.csum_offset = 6;
    const auto out = rig.tun.write(odd, udp);
    ASSERT_FALSE(out);
    EXPECT_EQ(out.error().code, Errc::malformed);
    EXPECT_FALSE(rig.tun.offload());
    carries(rig);
  });
}

TEST(CaptureInNetns, half_close_and_reset_travel_as_themselves) {
  by_both([](Way way) {
    Rig rig(way);
    auto [app, err] = rig.connect();
    ASSERT_EQ(err, 0);
    Endpoint peer;
    Fd end = rig.accept(peer);
    char c = 0;
    ASSERT_EQ(shutdown(app.get(), SHUT_WR), 0);
    EXPECT_TRUE(rig.until([&] { return recv(end.get(), &c, 1, MSG_DONTWAIT) == 0; }));
    EXPECT_TRUE(moves(rig, end, app, 100000));
    set_reset_on_close(end.get());
    end.reset();
    EXPECT_TRUE(rig.until([&] { return recv(app.get(), &c, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET; }));
  });
}

TEST(CaptureInNetns, a_restarted_client_resets_old_connections) {
  by_both([](Way way) {
    Rig rig(way);
    auto [app, err] = rig.connect();
    ASSERT_EQ(err, 0);
    if (way == Way::split) {   // what a killed one leaves: the application's end alone
      Endpoint peer;
      const Fd end = rig.accept(peer);
      ASSERT_EQ(std::system("nft add table ip w; nft add chain ip w o '{ type filter hook output priority 0; }'; "
                            "nft add rule ip w o tcp sport 443 drop"), 0);
      set_reset_on_close(end.get());
      close(end.get());
      ASSERT_EQ(std::system("nft delete table ip w"), 0);
    }
    rig.capture = rig.machine(way);
    char c = 'x';
    ASSERT_EQ(send(app.get(), &c, 1, MSG_NOSIGNAL), 1);
    EXPECT_TRUE(rig.until([&] { return recv(app.get(), &c, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET; }));
  });
}

TEST(PacketsInNetns, udp_replies_and_port_unreachable_reach_the_socket) {
  in_netns([] {
    Rig rig(Way::rewrite);
    const Fd app = std::move(*udp_connect({kFar, 9000}));
    bool refuse = false;
    rig.on_other = [&](Bytes packet) {
      const auto ip = parse_ipv4(packet);
      const auto u = ip ? parse_udp(*ip) : std::nullopt;
      if (!u || ip->dst != kFar) return;
      Buffer out;
      if (refuse) build_unreachable(out, *ip, Unreachable::port, kFar);
      const Buffer turned(u->payload.rbegin(), u->payload.rend());
      if (!refuse) build_udp(out, {ip->dst, u->dst_port}, {ip->src, u->src_port}, turned, 1);
      rig.put({}, out);
    };
    const Buffer big(8000, 'a');
    for (const std::string& text : {std::string("abc"), std::string(8000, 'z') + "!"}) {
      ASSERT_EQ(send(app.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
      std::string got(10000, 0);
      ssize_t n = 0;
      ASSERT_TRUE(rig.until([&] { n = recv(app.get(), got.data(), got.size(), MSG_DONTWAIT); return n >= 0; }));
      EXPECT_EQ(got.substr(0, static_cast<std::size_t>(n)), std::string(text.rbegin(), text.rend()));
    }
    refuse = true;
    char c = 0;
    ASSERT_EQ(send(app.get(), "x", 1, 0), 1);
    EXPECT_TRUE(rig.until([&] { return recv(app.get(), &c, 1, MSG_DONTWAIT) < 0 && errno == ECONNREFUSED; }));
  });
}

TEST(PacketsInNetns, an_echo_is_answered) {
  in_netns([] {
    Rig rig(Way::rewrite);
    const Fd ping(socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP));
    ASSERT_TRUE(ping);
    rig.on_other = [&](Bytes packet) {
      const auto ip = parse_ipv4(packet);
      const auto m = ip && ip->protocol == 1 ? parse_icmp(*ip) : std::nullopt;
      if (!m || m->type != IcmpMessage::kEcho) return;
      EXPECT_TRUE(checksum_ok(*ip));
      Buffer out;
      build_echo_reply(out, ip->dst, ip->src, m->id, m->sequence, m->payload);
      rig.put({}, out);
    };
    Buffer request;
    ASSERT_TRUE(build_echo_reply(request, kLocal, kFar, 77, 5, as_bytes("payload")));
    request.erase(request.begin(), request.begin() + 20);
    request[0] = IcmpMessage::kEcho;
    request[2] = static_cast<std::uint8_t>(request[2] - 8);     // the type is 8 more, so the checksum 0x0800 less
    const SockAddr far(Endpoint{kFar, 0});
    ASSERT_GT(sendto(ping.get(), request.data(), request.size(), 0, far.raw(), far.size), 0);
    Buffer in(2000);
    std::optional<Ipv4Packet> ip;
    EXPECT_TRUE(rig.until([&] {
      const ssize_t n = recv(ping.get(), in.data(), in.size(), MSG_DONTWAIT);
      if (n <= 0) return false;
      ip = parse_ipv4(Bytes(in).first(static_cast<std::size_t>(n)));
      return ip && ip->src == kFar;
    }));
    ASSERT_TRUE(ip);
    EXPECT_EQ(as_text(parse_icmp(*ip)->payload), "payload");
  });
}

TEST(CaptureInNetns, a_thousand_flows_at_once_each_reach_their_own_end) {
  by_both([](Way way) {
    Rig rig(way);
    std::vector<std::pair<Fd, std::uint16_t>> apps;
    for (std::uint16_t i = 0; i < 1000; ++i) {
      const auto port = static_cast<std::uint16_t>(1000 + i);
      apps.emplace_back(std::move(*tcp_connect({Ipv4{kFar.value + i % 7}, port})), port);
      if (i % 100 == 0) rig.turn();
    }
    std::size_t accepted = 0;
    std::vector<Fd> ends;
    ASSERT_TRUE(rig.until([&] {
      Endpoint peer;
      while (Fd fd = accept_from(rig.listener.get(), &peer)) {
        const auto id = rig.found(fd, peer);
        EXPECT_TRUE(id);
        const std::uint16_t port = rig.capture->key_of(*id)->dst.port;
        EXPECT_EQ(send(fd.get(), &port, 2, MSG_NOSIGNAL), 2);
        ends.push_back(std::move(fd));
        ++accepted;
      }
      return accepted == 1000;
    })) << accepted;
    for (const auto& [app, port] : apps) {
      std::uint16_t got = 0;
      ASSERT_TRUE(rig.until([&, fd = app.get()] { return recv(fd, &got, 2, MSG_DONTWAIT) == 2; }));
      ASSERT_EQ(got, port);
    }
  });
}

TEST(SplitInNetns, moves_megabytes_both_ways_and_the_tun_sees_one_packet_of_a_flow) {
  for (const auto& [offload, mtu] : {std::pair{true, 65535u}, {true, 1500u}, {false, 1500u}, {false, 65535u}}) {
    in_netns([offload = offload, mtu = mtu] {
      Rig rig(Way::split, offload, mtu);
      auto [app, err] = rig.connect();
      ASSERT_EQ(err, 0);
      Endpoint peer;
      const Fd end = rig.accept(peer);
      EXPECT_EQ(peer.address, IpAddress(kLocal));
      EXPECT_EQ(local_endpoint(end.get()), (Endpoint{kFar, 443}));
      EXPECT_TRUE(moves(rig, app, end, 8 << 20));
      EXPECT_TRUE(moves(rig, end, app, 8 << 20));
      EXPECT_EQ(rig.packets, 1u);
    });
  }
}

TEST(SplitInNetns, who_has_given_up_before_the_far_side_connected_is_told_of) {
  in_netns([] {
    Rig rig(Way::split);
    FlowId held = FlowId::none, cancelled = FlowId::none;
    rig.on_open = [&](FlowId id) { held = id; };
    rig.on_cancel = [&](FlowId id) { cancelled = id; };
    Fd app = std::move(*tcp_connect({kFar, 443}));
    ASSERT_TRUE(rig.until([&] { return held != FlowId::none; }));
    app.reset();
    rig.admit(held);
    EXPECT_TRUE(rig.until([&] { return cancelled == held; }));
    Endpoint peer;
    EXPECT_FALSE(accept_from(rig.listener.get(), &peer));
  });
}

TEST(SplitInNetns, an_application_with_another_address_and_strict_return_paths_are_served) {
  in_netns([] {
    auto netlink = *Netlink::open();
    constexpr Ipv4 kOther{0x0A090909};
    ASSERT_TRUE(netlink.change_link(1, {.up = true}));
    ASSERT_TRUE(netlink.add_address({1, kOther, 32}));
    std::ofstream("/proc/sys/net/ipv4/conf/all/rp_filter") << 1;
    Rig rig(Way::split);
    const Fd app(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const SockAddr near(Endpoint{kOther, 0}), far(Endpoint{kFar, 443});
    ASSERT_EQ(::bind(app.get(), near.raw(), near.size), 0);
    ASSERT_TRUE(::connect(app.get(), far.raw(), far.size) == 0 || errno == EINPROGRESS);
    Endpoint peer;
    const Fd end = rig.accept(peer);
    EXPECT_EQ(peer.address, IpAddress(kOther));
    EXPECT_TRUE(moves(rig, app, end, 1 << 20));
    EXPECT_TRUE(moves(rig, end, app, 1 << 20));
  });
}

TEST(SplitInNetns, syn_cookies_lead_to_the_listener) {
  in_netns([] {
    std::ofstream("/proc/sys/net/ipv4/tcp_syncookies") << 2;
    Rig rig(Way::split);
    carries(rig);
  });
}

TEST(SplitInNetns, nobody_dials_the_listener_itself) {
  in_netns([] {
    Rig rig(Way::split);
    const Fd app = std::move(*tcp_connect({kLocal, rig.port()}));
    EXPECT_FALSE(wait_for(app.get(), POLLOUT, 100));
    Endpoint peer;
    EXPECT_FALSE(accept_from(rig.listener.get(), &peer));
    EXPECT_EQ(rig.connect().second, 0);
  });
}

TEST(SplitInNetns, nobody_else_changes_the_filter_and_it_goes_with_its_owner) {
  in_netns([] {
    auto tun = *Tun::open({"tg0"});
    auto mine = SplitFilter::install("tg0", {kLocal, 7000});
    ASSERT_TRUE(mine) << mine.error().text;
    const auto second = SplitFilter::install("tg0", {kLocal, 7001});
    ASSERT_FALSE(second);
    EXPECT_EQ(std::system("nft flush ruleset; nft list ruleset | grep -q tproxy"), 0);
    EXPECT_NE(std::system("nft delete table ip tg 2>/dev/null"), 0);
    { const SplitFilter gone = std::move(*mine); }
    EXPECT_EQ(std::system("test -z \"$(nft list ruleset)\""), 0);
    EXPECT_TRUE(SplitFilter::install("tg0", {kLocal, 7001}));
  });
}

TEST(SplitInNetns, without_the_right_to_it_the_error_says_so) {
  in_netns([] {
    ASSERT_EQ(setuid(65534), 0);
    const auto none = SplitFilter::install("tg0", {kLocal, 7000});
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code, Errc::denied) << none.error().text;
    EXPECT_FALSE(set_transparent(Fd(socket(AF_INET, SOCK_STREAM, 0)).get()));
  });
}

TEST(SplitInNetns, mend_puts_back_what_turns_packets_round) {
  in_netns([] {
    using Words = std::vector<std::string>;
    Rig rig(Way::split);
    auto netlink = *Netlink::open();
    EXPECT_EQ(*rig.routes.mend(), Words{});
    ASSERT_TRUE(netlink.remove_rule({7262, 7262, kSplitMark, false}));
    EXPECT_EQ(*rig.routes.mend(), Words{"the rule"});
    ASSERT_TRUE(netlink.remove_route({kPool[0], 7262, Route::Kind::local, 1}));
    EXPECT_EQ(*rig.routes.mend(), Words{"a route"});
    EXPECT_TRUE(rig.routes.settings_hold());
    ASSERT_TRUE(netlink.change_link(rig.tun.index(), {.takes_own = false}));
    EXPECT_FALSE(rig.routes.settings_hold());
    EXPECT_EQ(*rig.routes.mend(), Words{"accept_local"});
    EXPECT_EQ(rig.connect().second, 0);
    ASSERT_TRUE(rig.routes.remove());
    const auto rules = *netlink.rules();
    const auto routes = *netlink.routes();
    for (const Rule& r : rules) EXPECT_NE(r.table, 7262u);
    for (const Route& r : routes) EXPECT_NE(r.table, 7262u);
  });
}

}  // namespace tg::net::capture_netns_test
