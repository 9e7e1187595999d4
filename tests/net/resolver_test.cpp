// net::Resolver and net::Forwarder against a real dnsmasq, and against servers that lie.
#include "net/resolver.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <memory>

#include "dns/message.h"
#include "net/forwarder.h"
#include "net/socket.h"
#include "tests/support/dnsmasq.h"

namespace tg::net::resolver_test {

using namespace std::chrono_literals;
using Addresses = Result<std::vector<IpAddress>>;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
const Endpoint kLocal{Ipv4{0x7F000001}, 0};

dns::Resolver::Config with(std::vector<Endpoint> servers) {
  dns::Resolver::Config config;
  config.servers.servers = std::move(servers);
  return config;
}

// Turning is a Loop that runs until it is told that all is done, or ten seconds have gone.
struct Turning {
  Turning() : late(loop, [this] { ADD_FAILURE() << "not done after ten seconds"; loop.stop(); }) { late.after(10s); }
  void run(int events) {
    left = events;
    loop.run();
  }
  void done() {
    if (--left == 0) loop.stop();
  }
  Loop loop;
  Timer late;
  int left = 0;
};

std::string many_words(std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += "," + std::string(200, static_cast<char>('a' + i % 26));
  return out;
}
constexpr std::size_t kBigWords = 30;   // 30 * 201 bytes: above EDNS's 1232

class WithDnsmasq : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    dnsmasq_ = std::make_unique<test::Dnsmasq>(std::vector<std::string>{
        "--local=/home.int/", "--local=/int/", "--host-record=nas.home.int,192.168.1.50,300",
        "--host-record=six.home.int,fd00::50", "--cname=www.home.int,nas.home.int", "--txt-record=nas.home.int,hello",
        "--txt-record=big.home.int" + many_words(kBigWords), "--mx-host=home.int,nas.home.int,10"});
  }
  static void TearDownTestSuite() { dnsmasq_.reset(); }
  void SetUp() override { ASSERT_EQ(dnsmasq_->error(), ""); }
  static Endpoint server() { return dnsmasq_->endpoint(); }

  static inline std::unique_ptr<test::Dnsmasq> dnsmasq_;
  Turning t;
};

// closed_port is an endpoint at which nobody listens.
Endpoint closed_port() { return local_endpoint(udp_bind(kLocal)->get()); }

TEST_F(WithDnsmasq, resolves_names_to_addresses) {
  Resolver r(t.loop, with({server()}));
  r.resolve_host("nas.home.int", [&](Addresses a) {
    EXPECT_EQ(a.value(), std::vector{ip("192.168.1.50")});
    t.done();
  });
  r.resolve_host("six.home.int", [&](Addresses a) {
    EXPECT_EQ(a.value(), std::vector{ip("fd00::50")});
    t.done();
  });
  r.resolve_host("WWW.home.int.", [&](Addresses a) {
    EXPECT_EQ(a.value(), std::vector{ip("192.168.1.50")});
    t.done();
  });
  r.resolve_host("gone.home.int", [&](Addresses a) {
    ASSERT_FALSE(a);
    EXPECT_EQ(a.error().code, Errc::not_found);
    EXPECT_EQ(a.error().text, "gone.home.int does not exist");
    t.done();
  });
  r.resolve_host("home.int", [&](Addresses a) {   // exists, but has only an MX
    ASSERT_FALSE(a);
    EXPECT_EQ(a.error().code, Errc::not_found);
    EXPECT_EQ(a.error().text, "home.int has no address");
    t.done();
  });
  t.run(5);
}

TEST_F(WithDnsmasq, answers_a_second_time_from_the_cache_and_still_not_inside_the_call) {
  Resolver r(t.loop, with({server()}));
  bool inside = false;
  r.resolve_host("nas.home.int", [&](Addresses first) {
    ASSERT_TRUE(first);
    r.set_servers({server()});   // the same: the cache stays
    inside = true;
    r.resolve_host("nas.home.int", [&, first](Addresses second) {
      EXPECT_FALSE(inside);
      EXPECT_EQ(second.value(), first.value());
      t.done();
    });
    inside = false;
  });
  t.run(1);
}

TEST_F(WithDnsmasq, looks_up_records_of_any_type) {
  Resolver r(t.loop, with({server()}));
  r.lookup("nas.home.int", dns::kTypeTxt, [&](std::uint8_t rcode, const dns::Records& records) {
    EXPECT_EQ(rcode, dns::kRcodeNoError);
    ASSERT_EQ(records.answers.size(), 1u);
    EXPECT_EQ(as_text(records.answers[0].rdata), "\x05hello");
    t.done();
  });
  r.lookup("home.int", dns::kTypeMx, [&](std::uint8_t, const dns::Records& records) {
    ASSERT_EQ(records.answers.size(), 1u);
    EXPECT_EQ(dns::target_of(records.answers[0]), dns::Name::parse("nas.home.int").value());
    t.done();
  });
  r.lookup("gone.home.int", dns::kTypeTxt, [&](std::uint8_t rcode, const dns::Records&) {
    EXPECT_EQ(rcode, dns::kRcodeNxDomain);
    t.done();
  });
  t.run(3);
}

TEST_F(WithDnsmasq, asks_over_tcp_when_an_answer_is_too_large_for_udp) {
  Resolver r(t.loop, with({server()}));
  r.lookup("big.home.int", dns::kTypeTxt, [&](std::uint8_t rcode, const dns::Records& records) {
    EXPECT_EQ(rcode, dns::kRcodeNoError);
    ASSERT_EQ(records.answers.size(), 1u);
    EXPECT_EQ(records.answers[0].rdata.size(), kBigWords * 201);
    t.done();
  });
  t.run(1);
}

TEST_F(WithDnsmasq, asks_the_second_server_at_once_when_the_first_is_not_there) {
  Resolver r(t.loop, with({closed_port(), server()}));
  const Instant start = Loop::now();
  r.resolve_host("nas.home.int", [&](Addresses a) {
    EXPECT_TRUE(a);
    EXPECT_LT(Loop::now() - start, 300ms);
    t.done();
  });
  t.run(1);
}

TEST_F(WithDnsmasq, asks_the_second_server_after_400_ms_when_the_first_is_silent) {
  const auto silent = udp_bind(kLocal);
  Resolver r(t.loop, with({local_endpoint(silent->get()), server()}));
  const Instant start = Loop::now();
  r.resolve_host("nas.home.int", [&](Addresses a) {
    EXPECT_TRUE(a);
    EXPECT_GE(Loop::now() - start, 400ms);
    t.done();
  });
  t.run(1);
}

TEST_F(WithDnsmasq, asks_the_new_servers_at_once_what_the_old_ones_have_not_answered) {
  const auto silent = udp_bind(kLocal);
  Resolver r(t.loop, with({local_endpoint(silent->get())}));
  bool inside = false;
  Instant changed{};
  r.resolve_host("nas.home.int", [&](Addresses a) {
    EXPECT_FALSE(inside);
    EXPECT_EQ(a.value(), std::vector{ip("192.168.1.50")});
    EXPECT_LT(Loop::now() - changed, 300ms);
    t.done();
  });
  Timer later(t.loop, [&] {
    inside = true;
    changed = Loop::now();
    r.set_servers({server()});
    inside = false;
  });
  later.after(100ms);
  t.run(1);
}

TEST_F(WithDnsmasq, never_calls_back_inside_a_change_of_the_servers) {
  const auto silent = udp_bind(kLocal);
  Resolver r(t.loop, with({local_endpoint(silent->get())}));
  bool inside = false;
  r.resolve_host("nas.home.int", [&](Addresses a) {
    EXPECT_FALSE(inside);
    EXPECT_EQ(a.error().code, Errc::unreachable);
    t.done();
  });
  inside = true;
  r.set_servers({});
  inside = false;
  t.run(1);
}

TEST_F(WithDnsmasq, resolves_many_names_at_once) {
  Resolver r(t.loop, with({server()}));
  constexpr int kNames = 500;
  for (int i = 0; i < kNames; ++i) {
    r.resolve_host("n" + std::to_string(i) + ".home.int", [&](Addresses a) {
      EXPECT_EQ(a.error().code, Errc::not_found);
      t.done();
    });
  }
  t.run(kNames);
}

Buffer query_bytes(std::uint16_t id, const char* name, std::uint16_t type) {
  return dns::make_query(id, {dns::Name::parse(name).value(), type}).encode();
}

// direct asks a server as any program would, over UDP.
Buffer direct(const Endpoint& server, const Buffer& query) {
  const auto fd = udp_connect(server);
  EXPECT_EQ(::send(fd->get(), query.data(), query.size(), 0), static_cast<ssize_t>(query.size()));
  pollfd p{fd->get(), POLLIN, 0};
  EXPECT_EQ(::poll(&p, 1, 5000), 1);
  Buffer reply(65536);
  reply.resize(static_cast<std::size_t>(std::max<ssize_t>(0, ::recv(fd->get(), reply.data(), reply.size(), 0))));
  return reply;
}

TEST_F(WithDnsmasq, forwards_byte_for_byte) {
  Forwarder f(t.loop, {server()});
  for (const auto& [name, type] : {std::pair{"nas.home.int", dns::kTypeTxt}, {"gone.home.int", dns::kTypeA},
                                   {"WwW.home.int", dns::kTypeA}, {"big.home.int", dns::kTypeTxt}}) {
    const Buffer query = query_bytes(0xBEEF, name, type);
    f.forward(query, false, [&, expected = direct(server(), query)](Buffer reply, auto) {
      EXPECT_EQ(reply, expected);
      t.done();
    });
  }
  t.run(4);
}

TEST_F(WithDnsmasq, forwards_tcp_over_tcp) {
  Forwarder f(t.loop, {server()});
  f.forward(query_bytes(0xBEEF, "big.home.int", dns::kTypeTxt), true, [&](Buffer reply, auto) {
    const auto m = dns::Message::parse(reply);
    ASSERT_TRUE(m);
    EXPECT_EQ(m->header.id, 0xBEEF);
    EXPECT_FALSE(m->header.tc);
    EXPECT_EQ(m->answers.at(0).rdata.size(), kBigWords * 201);
    t.done();
  });
  t.run(1);
}

TEST_F(WithDnsmasq, forwards_to_the_second_server_when_the_first_is_not_there) {
  Forwarder f(t.loop, {closed_port(), server()});
  for (const bool tcp : {false, true}) {
    f.forward(query_bytes(1, "nas.home.int", dns::kTypeA), tcp, [&](Buffer reply, auto) {
      EXPECT_EQ(dns::Message::parse(reply)->answers.size(), 1u);
      t.done();
    });
  }
  t.run(2);
}

// --- without dnsmasq

TEST(NetResolver, takes_addresses_as_they_are_and_refuses_what_is_no_name) {
  Turning t;
  Resolver r(t.loop, with({closed_port()}));
  r.resolve_host("192.168.1.50", [&](Addresses a) {
    EXPECT_EQ(a.value(), std::vector{ip("192.168.1.50")});
    t.done();
  });
  r.resolve_host("fd00::1", [&](Addresses a) {
    EXPECT_EQ(a.value(), std::vector{ip("fd00::1")});
    t.done();
  });
  for (const char* bad : {"", ".", "a..b"}) {
    r.resolve_host(bad, [&](Addresses a) {
      EXPECT_EQ(a.error().code, Errc::invalid_argument);
      t.done();
    });
  }
  r.lookup("a..b", dns::kTypeTxt, [&](std::uint8_t rcode, const dns::Records&) {
    EXPECT_EQ(rcode, dns::kRcodeFormErr);
    t.done();
  });
  t.run(6);
}

TEST(NetResolver, says_unreachable_when_no_server_is_there) {
  Turning t;
  Resolver r(t.loop, with({closed_port(), closed_port()}));
  r.resolve_host("nas.home.int", [&](Addresses a) {
    EXPECT_EQ(a.error().code, Errc::unreachable);
    t.done();
  });
  Resolver none(t.loop, with({}));
  none.resolve_host("nas.home.int", [&](Addresses a) {
    EXPECT_EQ(a.error().code, Errc::unreachable);
    t.done();
  });
  none.lookup("nas.home.int", dns::kTypeTxt, [&](std::uint8_t rcode, const dns::Records&) {
    EXPECT_EQ(rcode, dns::kRcodeServFail);
    t.done();
  });
  t.run(3);
}

TEST(NetResolver, never_calls_back_after_its_end_or_cancel) {
  Turning t;
  const auto silent = udp_bind(kLocal);
  auto config = with({local_endpoint(silent->get())});
  config.total = 50ms;
  auto r = std::make_unique<Resolver>(t.loop, config);
  Resolver other(t.loop, config);
  const auto never = [](Addresses) { ADD_FAILURE(); };
  r->resolve_host("nas.home.int", never);
  r->resolve_host("10.0.0.1", never);
  other.cancel(other.resolve_host("nas.home.int", never));
  other.cancel(other.resolve_host("10.0.0.1", never));
  Forwarder::Callback no_reply = [](Buffer, auto) { ADD_FAILURE(); };
  auto f = std::make_unique<Forwarder>(t.loop, std::vector{local_endpoint(silent->get())});
  f->forward(query_bytes(1, "a.int", dns::kTypeA), false, no_reply);
  f->forward(query_bytes(1, "a.int", dns::kTypeA), true, no_reply);
  f->forward(Buffer(12, 0xFF), false, no_reply);   // would be dropped at once
  r.reset();
  f.reset();
  Timer end(t.loop, [&] { t.done(); });
  end.after(100ms);
  t.run(1);
}

TEST(NetResolver, may_be_destroyed_by_its_own_callback) {
  Turning t;
  auto r = std::make_unique<Resolver>(t.loop, with({closed_port()}));
  int calls = 0;
  for (const char* name : {"a.int", "b.int", "10.0.0.1"}) {
    r->resolve_host(name, [&](Addresses) {
      ++calls;
      r.reset();
    });
  }
  auto f = std::make_unique<Forwarder>(t.loop, std::vector{closed_port()});
  for (int i = 0; i < 2; ++i) {
    f->forward(query_bytes(1, "a.int", dns::kTypeA), false, [&](Buffer, auto) {
      ++calls;
      f.reset();
      t.done();
    });
  }
  t.run(1);
  EXPECT_EQ(calls, 2);
}

// A server, and beside it somebody at another port who is faster and has seen the whole query.
struct Liar {
  Liar(Loop& loop, int forgeries) : honest(*udp_bind(kLocal)), liar(*udp_bind(kLocal)) {
    watch = Watch(loop, honest.get(), [this, forgeries] {
      Buffer bytes(4096);
      SockAddr from;
      const ssize_t n = ::recvfrom(honest.get(), bytes.data(), bytes.size(), 0, from.raw(), &from.size);
      if (n <= 0) return;
      ++queries;
      dns::Message m = dns::Message::parse(Bytes(bytes).first(static_cast<std::size_t>(n))).value();
      m.header.qr = m.header.ra = true;
      m.answers = {dns::make_a(m.questions[0].name, Ipv4{0x06060606}, 300)};
      const Buffer lie = m.encode();
      for (int i = 0; i < forgeries; ++i) ::sendto(liar.get(), lie.data(), lie.size(), 0, from.raw(), from.size);
      m.header.id ^= 1;
      const Buffer other_id = m.encode();
      ::sendto(honest.get(), other_id.data(), other_id.size(), 0, from.raw(), from.size);
      m.header.id ^= 1;
      m.answers = {dns::make_a(m.questions[0].name, Ipv4{0x0A000001}, 300)};
      const Buffer truth = m.encode();
      ::sendto(honest.get(), truth.data(), truth.size(), 0, from.raw(), from.size);
    });
    watch.want_read(true);
  }
  Fd honest, liar;
  Watch watch;
  int queries = 0;
};

TEST(NetResolver, believes_nobody_but_the_server) {
  Turning t;
  Liar server(t.loop, 100);
  Resolver r(t.loop, with({local_endpoint(server.honest.get())}));
  Forwarder f(t.loop, {local_endpoint(server.honest.get())});
  r.resolve_host("nas.home.int", [&](Addresses a) {
    EXPECT_EQ(a.value(), std::vector{ip("10.0.0.1")});
    t.done();
  });
  f.forward(query_bytes(5, "nas.home.int", dns::kTypeA), false, [&](Buffer reply, auto) {
    const auto m = dns::Message::parse(reply);
    EXPECT_EQ(dns::address_of(m->answers.at(0)), ip("10.0.0.1"));
    EXPECT_EQ(m->header.id, 5);
    t.done();
  });
  t.run(2);
  EXPECT_EQ(server.queries, 2);
}

}  // namespace tg::net::resolver_test
