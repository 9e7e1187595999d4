#include "core/frame.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <memory>

namespace tg::frame_test {

// Exact is a copy on the heap of exactly its own size, so that a sanitizer sees an overread.
class Exact {
 public:
  explicit Exact(Bytes b) : data_(new std::uint8_t[b.size()]), size_(b.size()) {
    std::copy(b.begin(), b.end(), data_.get());
  }
  Bytes bytes() const { return {data_.get(), size_}; }

 private:
  std::unique_ptr<std::uint8_t[]> data_;
  std::size_t size_;
};

Buffer from_hex(std::string_view text) {
  Buffer out;
  int high = -1;
  for (const char c : text) {
    if (c == ' ') continue;
    const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    if (high < 0) { high = digit; continue; }
    out.push_back(static_cast<std::uint8_t>(high << 4 | digit));
    high = -1;
  }
  return out;
}

std::string to_hex(Bytes b) {
  std::string out;
  for (const std::uint8_t v : b) {
    out += "0123456789abcdef"[v >> 4];
    out += "0123456789abcdef"[v & 15];
  }
  return out;
}

void expect_bytes(const Buffer& out, std::string_view hex) { EXPECT_EQ(to_hex(out), to_hex(from_hex(hex))); }

// A second decoder of pieces: returns the whole payload, checking each header.
Buffer join(Bytes stream, FrameType type, std::uint8_t flags, StreamId id) {
  Buffer whole;
  bool continuing = false;
  for (;;) {
    EXPECT_GE(stream.size(), kFrameHeader);
    const FrameHeader h = read_header(stream);
    EXPECT_EQ(h.type, type);
    EXPECT_EQ(h.stream, id);
    EXPECT_EQ(h.flags & ~kFlagMore, flags);
    const bool client = type != FrameType::query || (flags & kFlagReply) == 0;
    EXPECT_EQ(header_problem(h, client, continuing), "");
    const Bytes payload = stream.subspan(kFrameHeader, h.length);
    whole.insert(whole.end(), payload.begin(), payload.end());
    stream = stream.subspan(kFrameHeader + h.length);
    if ((h.flags & kFlagMore) == 0) break;
    continuing = true;
  }
  EXPECT_TRUE(stream.empty());
  return whole;
}

// The bytes of core/FRAME.md's examples.
TEST(Frame, has_the_bytes_of_the_page) {
  Buffer b;
  encode_grant(b, "ey.J");
  expect_bytes(b, "01 00 0004 00000000 65 79 2e 4a");
  b.clear();
  encode_open(b, 1, {7, Protocol::tcp, 443, "nas.home.int"}, 262144);
  expect_bytes(b, "02 00 001b 00000001 0000000000000007 06 01bb 00040000 6e61732e686f6d652e696e74");
  b.clear();
  encode_opened(b, 1, 262144);
  expect_bytes(b, "03 00 0004 00000001 00040000");
  b.resize(8);
  write_header(b, {FrameType::data, 0, 5, 1});
  expect_bytes(b, "04 00 0005 00000001");
  write_header(b, {FrameType::fin, 0, 0, 1});
  expect_bytes(b, "05 00 0000 00000001");
  b.clear();
  encode_reset(b, 1, Code::refused);
  expect_bytes(b, "06 00 0002 00000001 0001");
  b.resize(kWindowFrame);
  write_window(b, 1, 131072);
  expect_bytes(b, "07 00 0004 00000001 00020000");
  b.clear();
  encode_datagram(b, 2, as_bytes("hi"));
  expect_bytes(b, "08 00 0002 00000002 6869");
  b.clear();
  encode_echo(b, 3, {9, as_bytes("ping")});
  expect_bytes(b, "09 00 0006 00000003 0009 70696e67");
  b.clear();
  encode_query(b, 4, {7, "a.corp", 15});
  expect_bytes(b, "0a 00 0010 00000004 0000000000000007 000f 612e636f7270");
  b.clear();
  encode_answer(b, 4, 3, {});
  expect_bytes(b, "0a 02 0001 00000004 03");
  b.clear();
  encode_ping(b, false, 1);
  expect_bytes(b, "0b 00 0008 00000000 0000000000000001");
  b.clear();
  encode_ping(b, true, 1);
  expect_bytes(b, "0b 04 0008 00000000 0000000000000001");
  b.clear();
  encode_goaway(b, Code::shutting_down, 4);
  expect_bytes(b, "0c 00 0006 00000000 0040 00000004");
}

TEST(Frame, cuts_a_long_message_into_pieces_that_fit_a_record) {
  const std::string jws(kGrantMax, 'x');
  Buffer b;
  encode_grant(b, jws);
  EXPECT_EQ(b.size(), encoded_size(jws.size()));
  EXPECT_EQ(as_text(join(b, FrameType::grant, 0, 0)), jws);
  const FrameHeader first = read_header(b);
  EXPECT_EQ(first.length + kFrameHeader, kFrameMax);
  EXPECT_EQ(first.flags, kFlagMore);
}

RC_GTEST_PROP(Frame, datagram_survives_its_pieces, ()) {
  const auto size = *rc::gen::element<std::size_t>(0, 1, kPayloadMax - 1, kPayloadMax, kPayloadMax + 1,
                                                      2 * kPayloadMax, kDatagramMax);
  Buffer payload(size);
  for (std::size_t i = 0; i < size; ++i) payload[i] = static_cast<std::uint8_t>(i * 31 >> 3);
  Buffer b;
  encode_datagram(b, 5, payload);
  RC_ASSERT(b.size() == encoded_size(size));
  RC_ASSERT(join(Exact(b).bytes(), FrameType::datagram, 0, 5) == payload);
}

RC_GTEST_PROP(Frame, answer_and_echo_survive_their_pieces, (std::uint8_t rcode, std::uint16_t sequence)) {
  const auto size = *rc::gen::element<std::size_t>(0, 1, kPayloadMax - 3, kPayloadMax - 2, kPayloadMax - 1,
                                                      kPayloadMax, kEchoMax);
  Buffer body(size, rcode);
  Buffer b;
  encode_answer(b, 6, rcode, body);
  const Buffer whole = join(b, FrameType::query, kFlagReply, 6);
  const auto answer = decode_answer(Exact(whole).bytes());
  RC_ASSERT(answer.has_value());
  RC_ASSERT(answer->rcode == rcode);
  RC_ASSERT(answer->records.size() == size);
  b.clear();
  encode_echo(b, 6, {sequence, body});
  RC_ASSERT(b.size() == encoded_size(size + 2));
  const Buffer echoed = join(b, FrameType::echo, 0, 6);
  const auto echo = decode_echo(echoed);
  RC_ASSERT(echo.has_value());
  RC_ASSERT(echo->sequence == sequence);
  RC_ASSERT(std::equal(body.begin(), body.end(), echo->payload.begin(), echo->payload.end()));
}

RC_GTEST_PROP(Frame, header_survives,
              (std::uint8_t type, std::uint8_t flags, std::uint16_t length, std::uint32_t stream)) {
  const FrameHeader h = {static_cast<FrameType>(type), flags, length, stream};
  std::array<std::uint8_t, kFrameHeader> b{};
  write_header(b, h);
  RC_ASSERT(read_header(b) == h);
}

RC_GTEST_PROP(Frame, open_and_query_survive, (std::uint64_t resource, std::uint16_t port, std::uint32_t credit)) {
  const auto host = *rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::inRange<char>(0x21, 0x7f)));
  RC_PRE(host.size() <= kHostMax);
  const auto protocol = *rc::gen::element(Protocol::tcp, Protocol::udp, Protocol::icmp);
  const OpenRequest request = {resource, protocol, protocol == Protocol::icmp ? std::uint16_t{0} : port, host};
  const std::uint32_t given = protocol == Protocol::tcp ? credit & kCreditMax : 0;
  Buffer b;
  encode_open(b, 1, request, given);
  RC_ASSERT(header_problem(read_header(b), true, false).empty());
  const auto open = decode_open(Exact(Bytes(b).subspan(kFrameHeader)).bytes());
  RC_ASSERT(open.has_value());
  RC_ASSERT(open->request == request);
  RC_ASSERT(open->credit == given);
  const Query query = {resource, host, port};
  b.clear();
  encode_query(b, 1, query);
  const auto decoded = decode_query(Exact(Bytes(b).subspan(kFrameHeader)).bytes());
  RC_ASSERT(decoded.has_value());
  RC_ASSERT(*decoded == query);
}

TEST(Frame, refuses_headers_that_cannot_be) {
  const auto problem = [](std::uint8_t type, std::uint8_t flags, std::uint16_t length, StreamId stream,
                          bool client = true, bool continuing = false) {
    return header_problem({static_cast<FrameType>(type), flags, length, stream}, client, continuing);
  };
  EXPECT_EQ(problem(0, 0, 0, 0), "unknown type");
  EXPECT_EQ(problem(13, 0, 0, 0), "unknown type");
  EXPECT_EQ(problem(255, 0, 0, 0), "unknown type");
  EXPECT_EQ(problem(1, 0, 1, 0, false), "sent by the wrong side");    // GRANT by a connector
  EXPECT_EQ(problem(2, 0, 20, 1, false), "sent by the wrong side");   // OPEN by a connector
  EXPECT_EQ(problem(3, 0, 4, 1, true), "sent by the wrong side");     // OPENED by a client
  EXPECT_EQ(problem(10, kFlagReply, 4, 1, true), "sent by the wrong side");
  EXPECT_EQ(problem(10, 0, 14, 1, false), "sent by the wrong side");
  EXPECT_EQ(problem(1, 0, 1, 1), "wrong stream");
  EXPECT_EQ(problem(4, 0, 1, 0), "wrong stream");
  EXPECT_EQ(problem(11, 0, 8, 1), "wrong stream");
  EXPECT_EQ(problem(4, kFlagMore, 1, 1), "unknown flag");
  EXPECT_EQ(problem(8, 0x80, 1, 1), "unknown flag");
  EXPECT_EQ(problem(11, kFlagMore, 8, 0), "unknown flag");
  EXPECT_EQ(problem(2, 0, 15, 1), "wrong length");
  EXPECT_EQ(problem(2, 0, 16, 1), "");
  EXPECT_EQ(problem(2, 0, 15 + 253, 1), "");
  EXPECT_EQ(problem(2, 0, 15 + 254, 1), "wrong length");
  EXPECT_EQ(problem(4, 0, kPayloadMax, 1), "");
  EXPECT_EQ(problem(4, 0, kPayloadMax + 1, 1), "wrong length");
  EXPECT_EQ(problem(4, 0, 65535, 1), "wrong length");
  EXPECT_EQ(problem(5, 0, 1, 1), "wrong length");
  EXPECT_EQ(problem(6, 0, 1, 1), "wrong length");
  EXPECT_EQ(problem(7, 0, 5, 1), "wrong length");
  EXPECT_EQ(problem(9, 0, 1, 1), "wrong length");
  EXPECT_EQ(problem(11, 0, 7, 0), "wrong length");
  EXPECT_EQ(problem(12, 0, 8, 0), "wrong length");
  EXPECT_EQ(problem(8, kFlagMore, 0, 1), "wrong length");             // a piece without a byte would go on for ever
  EXPECT_EQ(problem(9, 0, 1, 1, true, true), "");                     // but a last piece may be short
}

TEST(Frame, refuses_payloads_that_cannot_be) {
  const auto open = [](std::string_view hex) { return decode_open(Exact(from_hex(hex)).bytes()).has_value(); };
  EXPECT_TRUE(open("0000000000000007 06 01bb 00040000 61"));
  EXPECT_FALSE(open("0000000000000007 06 01bb 00040000"));        // no host
  EXPECT_FALSE(open("0000000000000007 06 01bb"));
  EXPECT_FALSE(open("0000000000000007 84 01bb 00000000 61"));     // SCTP
  EXPECT_FALSE(open("0000000000000007 06 01bb 80000000 61"));     // 2^31
  EXPECT_FALSE(open("0000000000000007 11 01bb 00000001 61"));     // credit for UDP
  EXPECT_FALSE(open("0000000000000007 01 01bb 00000000 61"));     // a port for ICMP
  EXPECT_TRUE(open("0000000000000007 01 0000 00000000 61"));
  EXPECT_FALSE(open("0000000000000007 06 01bb 00040000 6100"));   // NUL
  EXPECT_FALSE(open("0000000000000007 06 01bb 00040000 6120"));
  EXPECT_FALSE(open("0000000000000007 06 01bb 00040000 617f"));
  EXPECT_FALSE(open("0000000000000007 06 01bb 00040000 c3a4"));
  EXPECT_FALSE(decode_query(from_hex("0000000000000007 000f")));
  EXPECT_FALSE(decode_query(from_hex("0000000000000007 000f 0a")));
  EXPECT_FALSE(decode_query(from_hex("0000")));
  EXPECT_FALSE(decode_answer({}));
  EXPECT_FALSE(decode_echo(from_hex("01")));
  EXPECT_FALSE(decode_credit(from_hex("80000000")));
  EXPECT_FALSE(decode_credit(from_hex("000000")));
  EXPECT_FALSE(decode_credit(from_hex("0000000000")));
  EXPECT_EQ(decode_credit(from_hex("7fffffff")), kCreditMax);
}

TEST(Frame, carries_codes_and_numbers) {
  EXPECT_EQ(decode_reset(from_hex("0005")), Code::reset);
  EXPECT_EQ(to_string(decode_reset(from_hex("ffff"))), "unknown");
  EXPECT_EQ(decode_ping(from_hex("0102030405060708")), 0x0102030405060708u);
  const Goaway g = decode_goaway(from_hex("0042 0000000a"));
  EXPECT_EQ(g.code, Code::flood);
  EXPECT_EQ(g.last, 10u);
}

TEST(Frame, names_every_code_and_type) {
  const std::array<std::pair<int, std::string_view>, 18> codes = {{
      {0, "none"}, {1, "refused"}, {2, "host_unreachable"}, {3, "network_unreachable"}, {4, "timed_out"}, {5, "reset"},
      {16, "name_not_found"}, {17, "name_failed"}, {32, "denied"}, {33, "port_not_allowed"}, {34, "address_forbidden"},
      {35, "grant_expired"}, {36, "revoked"}, {48, "exhausted"}, {49, "unsupported"}, {64, "shutting_down"},
      {65, "protocol_error"}, {66, "flood"},
  }};
  for (const auto& [number, name] : codes) EXPECT_EQ(to_string(static_cast<Code>(number)), name);
  EXPECT_EQ(to_string(FrameType::grant), "GRANT");
  EXPECT_EQ(to_string(FrameType::goaway), "GOAWAY");
  EXPECT_EQ(to_string(static_cast<FrameType>(0)), "unknown");
  EXPECT_EQ(to_string(static_cast<FrameType>(13)), "unknown");
}

}  // namespace tg::frame_test
