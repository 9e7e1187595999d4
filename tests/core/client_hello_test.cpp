#include "core/client_hello.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <rapidcheck/gtest.h>

namespace tg::client_hello_test {

// real_hello is what BoringSSL sends for `name`.
Buffer real_hello(const char* name) {
  bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_method()));
  SSL_CTX_set_grease_enabled(context.get(), 1);
  bssl::UniquePtr<SSL> ssl(SSL_new(context.get()));
  SSL_set_connect_state(ssl.get());
  if (name != nullptr) SSL_set_tlsext_host_name(ssl.get(), name);
  SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_do_handshake(ssl.get());
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  BIO_mem_contents(SSL_get_wbio(ssl.get()), &data, &size);
  return {data, data + size};
}

// The second encoder, so that one mistake cannot hide in both.
Buffer extension(std::uint16_t type, const Buffer& body) {
  Buffer out;
  Writer w(out);
  w.u16(type);
  w.u16(static_cast<std::uint16_t>(body.size()));
  w.bytes(body);
  return out;
}

Buffer server_name(std::string_view name, std::uint8_t type = 0) {
  Buffer list;
  Writer w(list);
  w.u16(static_cast<std::uint16_t>(name.size() + 3));
  w.u8(type);
  w.u16(static_cast<std::uint16_t>(name.size()));
  w.text(name);
  return extension(0, list);
}

Buffer message(const Buffer& extensions, bool with_extensions = true, std::uint8_t session = 32) {
  Buffer body;
  Writer b(body);
  b.u16(0x0303);
  b.bytes(Buffer(32, 0xaa));
  b.u8(session);
  b.bytes(Buffer(session, 0xbb));
  b.u16(2);
  b.u16(0x1301);
  b.u8(1);
  b.u8(0);
  if (with_extensions) {
    b.u16(static_cast<std::uint16_t>(extensions.size()));
    b.bytes(extensions);
  }
  Buffer out;
  Writer w(out);
  w.u8(1);
  w.u24(static_cast<std::uint32_t>(body.size()));
  w.bytes(body);
  return out;
}

Buffer record(Bytes part, std::uint8_t type = 22) {
  Buffer out;
  Writer w(out);
  w.u8(type);
  w.u16(0x0301);
  w.u16(static_cast<std::uint16_t>(part.size()));
  w.bytes(part);
  return out;
}

// parse gives the parser a block of exactly this size, so that a sanitizer sees an overread.
Result<std::optional<ClientHello>> parse(Bytes b) {
  const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[b.size()]);
  std::copy(b.begin(), b.end(), exact.get());
  return parse_client_hello({exact.get(), b.size()});
}

std::string name_in(const Buffer& b) {
  const auto r = parse(b);
  if (!r) return "refused";
  return *r ? "\"" + (*r)->server_name + "\"" : "more";
}

TEST(ClientHello, reads_what_boringssl_sends) {
  const Buffer hello = real_hello("Ticket.tg.example.com");
  const auto r = parse(hello);
  ASSERT_TRUE(r && *r);
  EXPECT_EQ((*r)->server_name, "ticket.tg.example.com");
  EXPECT_EQ((*r)->size, hello.size());
  EXPECT_EQ(name_in(real_hello(nullptr)), "\"\"");
}

TEST(ClientHello, wants_more_for_every_prefix) {
  const Buffer hello = real_hello("nas.tg");
  for (std::size_t n = 0; n < hello.size(); ++n)
    EXPECT_EQ(name_in(Buffer(hello.begin(), hello.begin() + static_cast<std::ptrdiff_t>(n))), "more") << n;
  Buffer with_more = hello;
  with_more.push_back(23);
  EXPECT_EQ(parse(with_more)->value().size, hello.size());
}

RC_GTEST_PROP(ClientHello, may_be_spread_over_records, ()) {
  const Buffer whole = message(server_name("a.b"));
  Buffer stream;
  for (std::size_t at = 0; at < whole.size();) {
    const auto n = std::min(*rc::gen::inRange<std::size_t>(1, 60), whole.size() - at);
    const Buffer one = record(Bytes(whole).subspan(at, n));
    stream.insert(stream.end(), one.begin(), one.end());
    at += n;
  }
  const auto r = parse(stream);
  RC_ASSERT((r.has_value() && r->has_value()));
  RC_ASSERT((*r)->server_name == "a.b");
  RC_ASSERT((*r)->size == stream.size());
  stream.pop_back();
  RC_ASSERT(name_in(stream) == "more");
}

RC_GTEST_PROP(ClientHello, survives_any_damage, ()) {
  static const Buffer good = real_hello("nas.tg");
  for (int i = 0; i < 100; ++i) {
    Buffer b = good;
    for (int n = *rc::gen::inRange(1, 4); n > 0; --n)
      b[*rc::gen::inRange<std::size_t>(0, b.size())] = *rc::gen::arbitrary<std::uint8_t>();
    b.resize(*rc::gen::inRange<std::size_t>(0, b.size() + 1));
    const auto r = parse(b);
    if (r && *r) RC_ASSERT((*r)->size <= b.size());
  }
}

TEST(ClientHello, tells_strangers_apart_at_the_first_byte) {
  for (const char* text : {"GET / HTTP/1.1", "SSH-2.0-x", "\x05\x01", "\x80\x2e\x01"}) {
    EXPECT_EQ(name_in({static_cast<std::uint8_t>(text[0])}), "refused");
  }
  EXPECT_EQ(name_in({22}), "more");
  EXPECT_EQ(name_in({22, 2}), "refused");
  EXPECT_EQ(name_in({22, 3, 1}), "more");
  EXPECT_EQ(name_in({22, 3, 1, 0, 0}), "refused");               // an empty record
  EXPECT_EQ(name_in({22, 3, 1, 0x40, 1}), "refused");            // above 2^14
  EXPECT_EQ(name_in({22, 3, 1, 0, 100, 2}), "refused");          // a ServerHello
  EXPECT_EQ(name_in({22, 3, 1, 0, 100, 1, 0, 0}), "more");
  EXPECT_EQ(name_in({22, 3, 1, 0, 100, 1, 0, 0x40, 0}), "refused");   // 16,384 and a header: too large
  EXPECT_EQ(name_in({22, 3, 1, 0, 100, 1, 0, 0, 10}), "refused");     // the record holds more than the message
  Buffer alert_inside = record(Bytes(message(server_name("a.b"))).first(10));
  alert_inside.push_back(21);
  EXPECT_EQ(name_in(alert_inside), "refused");
}

TEST(ClientHello, is_at_most_16_kib_with_its_records) {
  const auto padded = [](std::size_t n) { return message(extension(21, Buffer(n))); };
  const std::size_t fixed = padded(0).size();
  EXPECT_EQ(name_in(record(padded(kClientHelloMax - 5 - fixed))), "\"\"");
  EXPECT_EQ(name_in(record(padded(kClientHelloMax - 4 - fixed))), "refused");
  Buffer many;
  const Buffer big = padded(4000);
  for (const std::uint8_t& b : big) {
    const Buffer one = record({&b, 1});
    many.insert(many.end(), one.begin(), one.end());
  }
  EXPECT_EQ(name_in(many), "refused");
}

TEST(ClientHello, refuses_lengths_that_lie) {
  EXPECT_EQ(name_in(record(message({}, false))), "\"\"");           // TLS 1.2 without extensions
  EXPECT_EQ(name_in(record(message({}))), "\"\"");
  EXPECT_EQ(name_in(record(message({}, true, 33))), "refused");
  const Buffer good = record(message(server_name("a.b")));
  EXPECT_EQ(name_in(good), "\"a.b\"");
  const std::size_t ciphers = 5 + 4 + 2 + 32 + 1 + 32;
  for (const std::size_t at : {ciphers, ciphers + 1, ciphers + 4, ciphers + 6, ciphers + 7, ciphers + 10, ciphers + 11,
                               ciphers + 12, ciphers + 13, ciphers + 15, ciphers + 16}) {
    for (const int change : {-1, 1, 5, 255}) {
      Buffer b = good;
      b[at] = static_cast<std::uint8_t>(b[at] + change);
      if (change == 255 && b[at] == good[at]) continue;
      EXPECT_EQ(name_in(b), "refused") << at << " " << change;
    }
  }
}

TEST(ClientHello, refuses_bytes_behind_the_extensions) {
  Buffer two = extension(21, {});
  const Buffer name = server_name("a.b");
  two.insert(two.end(), name.begin(), name.end());
  Buffer hello = record(message(two));
  EXPECT_EQ(name_in(hello), "\"a.b\"");
  hello[hello.size() - two.size() - 1] = 4;   // the list ends behind the first
  EXPECT_EQ(name_in(hello), "refused");
}

TEST(ClientHello, takes_one_host_name_of_known_characters) {
  EXPECT_EQ(name_in(record(message(server_name("A_b-1.Example.COM")))), "\"a_b-1.example.com\"");
  for (const std::string_view bad : {std::string_view(""), std::string_view("a\0b", 3), std::string_view("a b"),
                                     std::string_view("a\n"), std::string_view("\xc3\xbc")}) {
    EXPECT_EQ(name_in(record(message(server_name(bad)))), "refused");
  }
  EXPECT_EQ(name_in(record(message(server_name(std::string(255, 'a'))))), "\"" + std::string(255, 'a') + "\"");
  EXPECT_EQ(name_in(record(message(server_name(std::string(256, 'a'))))), "refused");
  EXPECT_EQ(name_in(record(message(server_name("a.b", 7)))), "\"\"");   // another type of name
  Buffer twice = server_name("a.b");
  const Buffer second = server_name("c.d");
  twice.insert(twice.end(), second.begin(), second.end());
  EXPECT_EQ(name_in(record(message(twice))), "refused");
  Buffer two_names;
  Writer w(two_names);
  w.u16(8);
  for (const char* n : {"a", "b"}) { w.u8(0); w.u16(1); w.text(n); }
  EXPECT_EQ(name_in(record(message(extension(0, two_names)))), "refused");
}

}  // namespace tg::client_hello_test
