// TlsContext::web: which servers of the web are believed, and what is spoken with them.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <fstream>

#include "net/tls.h"
#include "tests/support/netns.h"
#include "web_server.h"

namespace tg::net::web_tls_test {

Answered ask(const Leaf& leaf, const std::string& host = kHost) {
  const Server server(ca().issue(leaf), says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
  return fetch({.url = server.url("/", host)});
}

TEST(WebTls, believes_a_name_of_the_san_and_no_other) {
  for (const char* names : {"DNS:id.example.com", "DNS:ID.Example.COM", "DNS:other.example,DNS:id.example.com",
                            "DNS:*.example.com"}) {
    EXPECT_TRUE(ask({.names = names})) << names;
  }
  EXPECT_TRUE(ask({}, "ID.example.COM"));
  for (const char* names : {"DNS:other.example.com", "DNS:example.com", "DNS:*.com", "DNS:*.id.example.com", "DNS:i*.example.com",
                            "DNS:*d.example.com", "DNS:*", "DNS:*.*.com", "DNS:id.example.com.evil.example",
                            "URI:https://id.example.com", "email:id@example.com", "IP:127.0.0.1"}) {
    expect_error(ask({.names = names}), Errc::denied, kHost, "its certificate is for another name");
  }
  expect_error(ask({.names = "DNS:*.example.com"}, "a.id.example.com"), Errc::denied, "a.id.example.com:",
               "for another name");
}

TEST(WebTls, does_not_look_at_the_common_name) {
  expect_error(ask({.names = "", .common_name = kHost}), Errc::denied, kHost, "its certificate is for another name");
  expect_error(ask({.names = "DNS:other.example", .common_name = kHost}), Errc::denied, kHost, "for another name");
}

TEST(WebTls, believes_an_address_only_as_an_address) {
  Server server(ca().issue({.names = "IP:127.0.0.1"}), says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  EXPECT_TRUE(fetch({.url = server.url("/", "127.0.0.1")}));
  EXPECT_EQ(server.seen().sni, "") << "RFC 6066 section 3";
  for (const char* names : {"DNS:127.0.0.1", "IP:127.0.0.2", "DNS:*.0.0.1"}) {
    expect_error(ask({.names = names}, "127.0.0.1"), Errc::denied, "127.0.0.1:", "its certificate is for another name");
  }
}

TEST(WebTls, believes_ipv6_addresses_too) {
  test::in_netns([] {   // which has ::1, whatever the machine's own network has
    const IpAddress one = *IpAddress::parse("::1");
    Server server(ca().issue({.names = "IP:::1"}), says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), TLS1_2_VERSION,
                  TLS1_3_VERSION, one);
    EXPECT_TRUE(fetch({.url = server.url("/", "[::1]")}));
    EXPECT_NE(server.seen().request.find("\r\nHost: " + server.name("[::1]") + "\r\n"), std::string::npos);
    const Server other(ca().issue({.names = "IP:::2"}), says(""), TLS1_2_VERSION, TLS1_3_VERSION, one);
    expect_error(fetch({.url = other.url("/", "[::1]")}), Errc::denied, "[::1]:", "for another name");
  });
}

TEST(WebTls, believes_no_ca_outside_the_bundle) {
  const Ca other("theirs"), namesake("ours");
  for (const Pair* issuer : {&other.issuing, &namesake.issuing, static_cast<const Pair*>(nullptr)}) {
    const Server server(sign({}, issuer), says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    expect_error(fetch({.url = server.url()}), Errc::denied, kHost, "its certificate is from a CA that is not in the bundle");
  }
  Pair lone = ca().issue({});
  lone.chain = to_pem(lone.certificate.get());   // the issuing CA is not sent along
  const Server server(lone, says(""));
  expect_error(fetch({.url = server.url()}), Errc::denied, kHost, "from a CA that is not in the bundle");
}

TEST(WebTls, believes_no_certificate_outside_its_dates) {
  expect_error(ask({.from = -48h, .to = -24h}), Errc::unreachable, kHost, "its certificate has expired, at 20");
  expect_error(ask({.from = 24h, .to = 48h}), Errc::unreachable, kHost, "its certificate is not yet valid, only from 20");
}

TEST(WebTls, believes_no_certificate_for_another_use_or_signed_by_a_leaf) {
  expect_error(ask({.usage = "clientAuth"}), Errc::denied, kHost, "its certificate was refused");
  const Pair leaf = ca().issue({});
  const Server server(sign({.common_name = "below"}, &leaf), says(""));
  expect_error(fetch({.url = server.url()}), Errc::denied, kHost, "its certificate was refused");
}

TEST(WebTls, speaks_tls_12_and_13_and_nothing_older) {
  const auto ok = says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  for (const bool rsa : {false, true}) {
    const Pair own = ca().issue({.rsa = rsa});
    for (const std::uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      Server server(own, ok, version, version);
      const auto got = fetch({.url = server.url()});
      EXPECT_TRUE(got) << rsa << " " << version << ": " << got.error().text;
    }
    for (const std::uint16_t version : {TLS1_VERSION, TLS1_1_VERSION}) {
      const Server server(own, ok, version, version);
      const auto got = fetch({.url = server.url()});
      ASSERT_FALSE(got);
      EXPECT_TRUE(got.error().code == Errc::protocol || got.error().code == Errc::denied) << got.error().text;
    }
  }
}

TEST(WebTls, sends_nothing_when_no_name_is_to_be_checked) {
  for (const std::string& name : {std::string(), std::string("a\0b", 3), std::string(300, 'a')}) {
    Loop loop;
    const Fd listener = *tcp_listen({kLoopback4, 0});
    Fd fd = *tcp_connect(local_endpoint(listener.get()));
    std::optional<Error> end;
    Tls tls(loop, std::move(fd), web(), {[] { ADD_FAILURE() << "open"; }, [](Bytes) { ADD_FAILURE(); }, {},
                                         [&](const Error& why) {
                                           end = why;
                                           loop.stop();
                                         }}, name);
    EXPECT_FALSE(end);
    loop.run();
    EXPECT_EQ(end->code, Errc::invalid_argument) << end->text;
    const Fd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    char c;
    EXPECT_EQ(::recv(accepted.get(), &c, 1, 0), 0) << "not even a ClientHello";
  }
}

TEST(WebTls, takes_a_bundle_with_something_in_it) {
  const auto error_of = [](const std::string& pem) {
    const auto made = TlsContext::web(pem);
    return made ? Error{Errc::io, "made"} : made.error();
  };
  const std::string bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  EXPECT_EQ(error_of("").code, Errc::not_found);
  EXPECT_EQ(error_of("no PEM").code, Errc::not_found);
  EXPECT_EQ(error_of(to_pem(usual().key.get())).code, Errc::not_found);
  EXPECT_EQ(error_of(bad).code, Errc::malformed);
  EXPECT_EQ(error_of("-----BEGIN CERTIFICATE-----\n").code, Errc::malformed);
  EXPECT_TRUE(error_of("").text.starts_with("no CA certificates in the bundle"));
  const Ca other("theirs");
  const std::string worse = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
  const auto mixed =
      TlsContext::web("# mine\n" + bad + other.bundle() + worse + "\nmore\n" + ca().bundle() + ca().bundle());
  ASSERT_TRUE(mixed);
  const Server server(usual(), says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  EXPECT_TRUE(fetch({.url = server.url()}, *mixed));
}

TEST(WebTls, takes_the_bundle_of_this_machine) {
  std::ifstream file("/etc/ssl/certs/ca-certificates.crt");
  ASSERT_TRUE(file) << "scripts/setup installs ca-certificates";
  const auto made = TlsContext::web({std::istreambuf_iterator<char>(file), {}});
  ASSERT_TRUE(made) << made.error().text;
  const Server server(usual(), says(""));
  expect_error(fetch({.url = server.url()}, *made), Errc::denied, kHost, "from a CA that is not in the bundle");
}

}  // namespace tg::net::web_tls_test
