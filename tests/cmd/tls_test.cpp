// TLS between tg's own processes, over a real socket pair on loopback and with the controller's own CA.
#include "net/tls.h"

#include <gtest/gtest.h>
#include <openssl/nid.h>
#include <sys/socket.h>

#include "cmd/controller/pki.h"
#include "controller_agent.h"

namespace tg::controller::tls_test {

struct Ends {
  std::unique_ptr<net::Tls> server, client;
  bool server_open = false, client_open = false;
  std::optional<Error> server_end, client_end;
  std::string at_server, at_client;
};

class TlsTest : public ::testing::Test {
 protected:
  net::Loop loop_;
  Turner turner_{loop_};
  UnixTime now_ = net::Loop::wall();
  Pki pki_ = must(Pki::create(now_));

  net::TlsContext server(const Pki& pki, const std::string& role, std::string_view alpn = net::kAlpnTunnel) {
    return must(net::TlsContext::server(must(pki.own(role, "0011223344556677", now_)), alpn));
  }
  net::TlsContext client(const Pki& pki, const std::string& role, std::string_view alpn = net::kAlpnTunnel) {
    return must(net::TlsContext::client(must(pki.own(role, "8899aabbccddeeff", now_)), alpn));
  }

  std::unique_ptr<Ends> connect(const net::TlsContext& s, const net::TlsContext& c, const std::string& expect = "") {
    auto ends = std::make_unique<Ends>();
    Ends* e = ends.get();
    net::Fd listener = must(net::tcp_listen(must(Endpoint::parse("127.0.0.1:0"))));
    net::Fd fd = must(net::tcp_connect(net::local_endpoint(listener.get())));
    net::Fd accepted;
    EXPECT_TRUE(turner_.until([&] { return static_cast<bool>(accepted = net::accept_from(listener.get())); }));
    e->server = std::make_unique<net::Tls>(
        loop_, std::move(accepted), s,
        net::Tls::Callbacks{[e] { e->server_open = true; }, [e](Bytes b) { e->at_server += as_text(b); }, {},
                            [e](const Error& why) { e->server_end = why; }});
    e->client = std::make_unique<net::Tls>(
        loop_, std::move(fd), c,
        net::Tls::Callbacks{[e] { e->client_open = true; }, [e](Bytes b) { e->at_client += as_text(b); }, {},
                            [e](const Error& why) { e->client_end = why; }},
        "", expect);
    return ends;
  }
};

TEST_F(TlsTest, both_sides_learn_who_the_other_is_from_the_leaf) {
  const auto e = connect(server(pki_, "connector"), client(pki_, "device"));
  ASSERT_TRUE(turner_.until([&] { return e->server_open && e->client_open; }));
  EXPECT_EQ(net::to_uri(*e->client->identity()), "tg://" + pki_.instance() + "/connector/0011223344556677");
  EXPECT_EQ(net::to_uri(*e->server->identity()), "tg://" + pki_.instance() + "/device/8899aabbccddeeff");
}

#ifdef NID_X25519Kyber768
// The client's own first bytes are shown to a server, and its answer is read as it comes. A hybrid share is, each in two
// bytes: the extension key_share, its length, the group X25519Kyber768Draft00, and the length of X25519's 32 bytes with
// Kyber768's 1184 of a key or 1088 of a ciphertext (draft-tls-westerbaan-xyber768d00).
TEST_F(TlsTest, both_sides_choose_the_hybrid_group) {
  net::Fd listener = must(net::tcp_listen(must(Endpoint::parse("127.0.0.1:0"))));
  const Endpoint at = net::local_endpoint(listener.get());
  const auto accepted = [&] {
    net::Fd fd;
    EXPECT_TRUE(turner_.until([&] { return static_cast<bool>(fd = net::accept_from(listener.get())); }));
    return fd;
  };
  const auto read = [&](int fd, std::size_t least) {
    Buffer got;
    EXPECT_TRUE(turner_.until([&] {
      std::uint8_t chunk[8192];
      const ssize_t n = ::recv(fd, chunk, sizeof chunk, 0);
      if (n > 0) got.insert(got.end(), chunk, chunk + n);
      return got.size() >= least;
    }));
    return got;
  };
  const net::Tls client_end(loop_, must(net::tcp_connect(at)), client(pki_, "device"),
                            net::Tls::Callbacks{[] {}, [](Bytes) {}, {}, [](const Error&) {}});
  const net::Fd stands_in = accepted();
  const Buffer hello = read(stands_in.get(), 1300);
  EXPECT_NE(hex(hello).find("639904c0"), std::string::npos);
  const net::Fd raw = must(net::tcp_connect(at));
  const net::Tls server_end(loop_, accepted(), server(pki_, "connector"),
                            net::Tls::Callbacks{[] {}, [](Bytes) {}, {}, [](const Error&) {}});
  ASSERT_EQ(::send(raw.get(), hello.data(), hello.size(), 0), static_cast<ssize_t>(hello.size()));
  EXPECT_NE(hex(read(raw.get(), 1200)).find("0033046463990460"), std::string::npos);
}
#endif

TEST_F(TlsTest, a_megabyte_goes_both_ways_unchanged) {
  const auto e = connect(server(pki_, "connector"), client(pki_, "device"));
  ASSERT_TRUE(turner_.until([&] { return e->server_open && e->client_open; }));
  std::string sent;
  for (int i = 0; sent.size() < 1'000'000; ++i) sent += std::to_string(i * 7919);
  e->client->write(as_bytes(sent));
  e->server->write(as_bytes(sent));
  ASSERT_TRUE(turner_.until([&] { return e->at_server.size() >= sent.size() && e->at_client.size() >= sent.size(); }));
  EXPECT_TRUE(e->at_server == sent);
  EXPECT_TRUE(e->at_client == sent);
}

TEST_F(TlsTest, reading_paused_holds_everything_back_and_loses_nothing) {
  const auto e = connect(server(pki_, "connector"), client(pki_, "device"));
  ASSERT_TRUE(turner_.until([&] { return e->server_open && e->client_open; }));
  e->server->pause_reading(true);
  const std::string sent(300'000, 'x');
  e->client->write(as_bytes(sent));
  e->client->flush();
  e->server->write(as_bytes("behind it"));   // when this is there, the other had its time
  ASSERT_TRUE(turner_.until([&] { return e->at_client == "behind it"; }));
  EXPECT_EQ(e->at_server, "");
  e->server->pause_reading(false);
  EXPECT_TRUE(turner_.until([&] { return e->at_server.size() == sent.size(); }));
}

TEST_F(TlsTest, an_orderly_close_is_told_as_such) {
  const auto e = connect(server(pki_, "connector"), client(pki_, "device"));
  ASSERT_TRUE(turner_.until([&] { return e->server_open && e->client_open; }));
  e->client->write(as_bytes("last words"));
  e->client->close();
  ASSERT_TRUE(turner_.until([&] { return e->server_end.has_value(); }));
  EXPECT_EQ(e->at_server, "last words");
  EXPECT_EQ(e->server_end->code, Errc::closed);
}

TEST_F(TlsTest, a_server_of_another_ca_is_not_believed) {
  const Pki other = must(Pki::create(now_));
  const auto e = connect(server(other, "connector"), client(pki_, "device"));
  ASSERT_TRUE(turner_.until([&] { return e->client_end.has_value(); }));
  EXPECT_EQ(e->client_end->code, Errc::denied);
  EXPECT_NE(e->client_end->text.find("another CA"), std::string::npos) << e->client_end->text;
  EXPECT_FALSE(e->client_open);
}

TEST_F(TlsTest, a_client_of_another_ca_gets_in_nowhere) {
  const Pki other = must(Pki::create(now_));
  net::Credentials mixed = must(other.own("device", "8899aabbccddeeff", now_));
  mixed.root = pki_.files().root;   // it knows whom to trust, and is nobody here
  const auto e = connect(server(pki_, "connector"), must(net::TlsContext::client(mixed, net::kAlpnTunnel)));
  ASSERT_TRUE(turner_.until([&] { return e->server_end.has_value(); }));
  EXPECT_FALSE(e->server_open);
}

// Row 7 of the threats: a valid chain of the victim's is put behind the attacker's own leaf. Only the leaf may count.
TEST_F(TlsTest, a_filler_certificate_in_the_chain_gives_no_identity) {
  net::Credentials own = must(pki_.own("device", "8899aabbccddeeff", now_));
  own.chain += must(pki_.own("connector", "0011223344556677", now_)).chain;
  const auto e = connect(server(pki_, "connector"), must(net::TlsContext::client(own, net::kAlpnTunnel)));
  ASSERT_TRUE(turner_.until([&] { return e->server_open || e->server_end; }));
  if (e->server_open) {
    EXPECT_EQ(e->server->identity()->role, "device");
  }
}

TEST_F(TlsTest, another_connector_than_the_expected_one_is_refused) {
  const auto e = connect(server(pki_, "connector"), client(pki_, "device"),
                         "tg://" + pki_.instance() + "/connector/ffffffffffffffff");
  ASSERT_TRUE(turner_.until([&] { return e->client_end.has_value(); }));
  EXPECT_EQ(e->client_end->code, Errc::denied);
  EXPECT_FALSE(e->client_open);
}

TEST_F(TlsTest, another_protocol_is_refused) {
  const auto e = connect(server(pki_, "connector", net::kAlpnTunnel), client(pki_, "device", net::kAlpnControl));
  ASSERT_TRUE(turner_.until([&] { return e->client_end && e->server_end; }));
  EXPECT_FALSE(e->client_open);
}

TEST_F(TlsTest, a_leaf_that_is_over_or_has_not_begun_is_refused_except_where_it_may_be_renewed) {
  const Pki pki = must(Pki::create(now_ - std::chrono::hours(72)));
  const net::Credentials server = must(pki.own("connector", "0011223344556677", now_));
  for (const std::chrono::hours when : {std::chrono::hours(-72), std::chrono::hours(72)}) {
    const net::Credentials device = must(pki.own("device", "8899aabbccddeeff", now_ + when));
    const auto off = must(net::TlsContext::client(device, net::kAlpnTunnel));
    const auto strict = connect(must(net::TlsContext::server(server, net::kAlpnTunnel)), off);
    ASSERT_TRUE(turner_.until([&] { return strict->server_end.has_value(); }));
    EXPECT_FALSE(strict->server_open) << when.count();
    const auto renewing = connect(must(net::TlsContext::server(server, net::kAlpnTunnel, false)), off);
    ASSERT_TRUE(turner_.until([&] { return renewing->server_open; })) << when.count();
    EXPECT_EQ(renewing->server->identity()->role, "device");
  }
}

TEST_F(TlsTest, a_controller_whose_leaf_has_not_begun_is_refused) {
  const net::Credentials ahead = must(pki_.own("controller", "main", now_ + std::chrono::hours(72)));
  const auto e = connect(must(net::TlsContext::server(ahead, net::kAlpnControl, false)),
                         client(pki_, "device", net::kAlpnControl));
  ASSERT_TRUE(turner_.until([&] { return e->client_end.has_value(); }));
  EXPECT_FALSE(e->client_open);
  EXPECT_EQ(e->client_end->code, Errc::unreachable) << "it is not somebody else";
  EXPECT_NE(e->client_end->text.find("valid only from 20"), std::string::npos) << e->client_end->text;
}

TEST_F(TlsTest, a_controller_whose_leaf_is_over_is_refused_with_the_date) {
  const Pki pki = must(Pki::create(now_ - std::chrono::hours(72)));
  const net::Credentials old = must(pki.own("controller", "main", now_ - std::chrono::hours(48)));
  const auto e = connect(must(net::TlsContext::server(old, net::kAlpnControl, false)),
                         client(pki, "device", net::kAlpnControl));
  ASSERT_TRUE(turner_.until([&] { return e->client_end.has_value(); }));
  EXPECT_FALSE(e->client_open);
  EXPECT_EQ(e->client_end->code, Errc::unreachable);
  EXPECT_NE(e->client_end->text.find("was valid until 20"), std::string::npos) << e->client_end->text;
  EXPECT_NE(e->client_end->text.find("set this machine's clock (timedatectl set-ntp true)"), std::string::npos);
}

TEST_F(TlsTest, garbage_instead_of_a_handshake_ends_in_an_error) {
  net::Fd listener = must(net::tcp_listen(must(Endpoint::parse("127.0.0.1:0"))));
  const net::Fd stranger = must(net::tcp_connect(net::local_endpoint(listener.get())));
  net::Fd accepted;
  ASSERT_TRUE(turner_.until([&] { return static_cast<bool>(accepted = net::accept_from(listener.get())); }));
  std::optional<Error> end;
  const net::Tls tls(loop_, std::move(accepted), server(pki_, "connector"),
                     net::Tls::Callbacks{[] {}, [](Bytes) {}, {}, [&](const Error& e) { end = e; }});
  const std::string noise = "GET / HTTP/1.1\r\n\r\n";
  ASSERT_GT(::send(stranger.get(), noise.data(), noise.size(), 0), 0);
  ASSERT_TRUE(turner_.until([&] { return end.has_value(); }));
  EXPECT_EQ(end->code, Errc::protocol);
}

}  // namespace tg::controller::tls_test
