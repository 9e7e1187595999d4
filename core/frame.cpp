#include "core/frame.h"

#include <algorithm>
#include <array>

namespace tg {
namespace {

enum class From : std::uint8_t { client, connector, both };

// Shape is what a header of one type may say.
struct Shape {
  std::string_view name;
  From from = From::both;
  bool on_stream = true;        // false: stream 0
  std::uint8_t flags = 0;
  std::size_t least = 0;
  std::size_t most = 0;
};

constexpr std::size_t kOpenFixed = 8 + 1 + 2 + 4;   // resource, protocol, port, credit
constexpr std::size_t kQueryFixed = 8 + 2;          // resource, type
constexpr Shape kReply = {"QUERY reply", From::connector, true, kFlagReply | kFlagMore, 1, kPayloadMax};

constexpr std::array<Shape, 13> kShapes = {{
    {},
    {"GRANT", From::client, false, kFlagMore, 0, kPayloadMax},
    {"OPEN", From::client, true, 0, kOpenFixed + 1, kOpenFixed + kHostMax},
    {"OPENED", From::connector, true, 0, 4, 4},
    {"DATA", From::both, true, 0, 0, kPayloadMax},
    {"FIN", From::both, true, 0, 0, 0},
    {"RESET", From::both, true, 0, 2, 2},
    {"WINDOW", From::both, true, 0, 4, 4},
    {"DATAGRAM", From::both, true, kFlagMore, 0, kPayloadMax},
    {"ECHO", From::both, true, kFlagMore, 2, kPayloadMax},
    {"QUERY", From::client, true, 0, kQueryFixed + 1, kQueryFixed + kHostMax},
    {"PING", From::both, false, kFlagAck, 8, 8},
    {"GOAWAY", From::both, false, 0, 6, 6},
}};

std::uint8_t byte_of(std::uint64_t v, int shift) noexcept { return static_cast<std::uint8_t>(v >> shift); }

void write_u32(std::uint8_t* to, std::uint32_t v) noexcept {
  to[0] = byte_of(v, 24);
  to[1] = byte_of(v, 16);
  to[2] = byte_of(v, 8);
  to[3] = byte_of(v, 0);
}

void append_header(Writer& w, FrameType type, std::uint8_t flags, std::size_t length, StreamId stream) {
  w.u8(static_cast<std::uint8_t>(type));
  w.u8(flags);
  w.u16(static_cast<std::uint16_t>(length));
  w.u32(stream);
}

// append_pieces writes `head` (short) and `body` as one message, in as many frames as it takes.
void append_pieces(Buffer& out, FrameType type, std::uint8_t flags, StreamId stream, Bytes head, Bytes body) {
  Writer w(out);
  do {
    const std::size_t room = kPayloadMax - head.size();
    const Bytes piece = body.first(std::min(room, body.size()));
    body = body.subspan(piece.size());
    append_header(w, type, body.empty() ? flags : flags | kFlagMore, head.size() + piece.size(), stream);
    w.bytes(head);
    w.bytes(piece);
    head = {};
  } while (!body.empty());
}

bool visible(Bytes text) noexcept {
  return std::all_of(text.begin(), text.end(), [](std::uint8_t b) { return b > 0x20 && b < 0x7f; });
}

}  // namespace

std::string_view to_string(Code c) noexcept {
  switch (c) {
    case Code::none: return "none";
    case Code::refused: return "refused";
    case Code::host_unreachable: return "host_unreachable";
    case Code::network_unreachable: return "network_unreachable";
    case Code::timed_out: return "timed_out";
    case Code::reset: return "reset";
    case Code::name_not_found: return "name_not_found";
    case Code::name_failed: return "name_failed";
    case Code::denied: return "denied";
    case Code::port_not_allowed: return "port_not_allowed";
    case Code::address_forbidden: return "address_forbidden";
    case Code::grant_expired: return "grant_expired";
    case Code::revoked: return "revoked";
    case Code::exhausted: return "exhausted";
    case Code::unsupported: return "unsupported";
    case Code::shutting_down: return "shutting_down";
    case Code::protocol_error: return "protocol_error";
    case Code::flood: return "flood";
  }
  return "unknown";
}

std::string_view to_string(FrameType t) noexcept {
  const auto i = static_cast<std::size_t>(t);
  return i > 0 && i < kShapes.size() ? kShapes[i].name : "unknown";
}

FrameHeader read_header(Bytes from) noexcept {
  const std::uint8_t* p = from.data();
  return {static_cast<FrameType>(p[0]), p[1], static_cast<std::uint16_t>(p[2] << 8 | p[3]),
          std::uint32_t{p[4]} << 24 | std::uint32_t{p[5]} << 16 | std::uint32_t{p[6]} << 8 | std::uint32_t{p[7]}};
}

void write_header(MutBytes to, const FrameHeader& h) noexcept {
  std::uint8_t* p = to.data();
  p[0] = static_cast<std::uint8_t>(h.type);
  p[1] = h.flags;
  p[2] = byte_of(h.length, 8);
  p[3] = byte_of(h.length, 0);
  write_u32(p + 4, h.stream);
}

void write_window(MutBytes to, StreamId id, std::uint32_t increment) noexcept {
  write_header(to, {FrameType::window, 0, 4, id});
  write_u32(to.data() + kFrameHeader, increment);
}

std::string_view header_problem(const FrameHeader& h, bool from_client, bool continuing) noexcept {
  const auto i = static_cast<std::size_t>(h.type);
  if (i == 0 || i >= kShapes.size()) return "unknown type";
  const bool reply = h.type == FrameType::query && (h.flags & kFlagReply) != 0;
  const Shape& shape = reply ? kReply : kShapes[i];
  if (shape.from != From::both && (shape.from == From::client) != from_client) return "sent by the wrong side";
  if ((h.stream != 0) != shape.on_stream) return "wrong stream";
  if ((h.flags & ~shape.flags) != 0) return "unknown flag";
  const bool more = (h.flags & kFlagMore) != 0;
  // A piece may not be empty, or a message could go on for ever below its maximum. Whole messages are measured by
  // decoders.
  const std::size_t least = more ? 1 : continuing ? 0 : shape.least;
  if (h.length < least || h.length > shape.most) return "wrong length";
  return {};
}

std::size_t assembled_max(FrameType t) noexcept {
  return t == FrameType::grant ? kGrantMax : t == FrameType::query ? kAnswerMax : kDatagramMax;
}

std::size_t encoded_size(std::size_t n) noexcept {
  const std::size_t pieces = n == 0 ? 1 : (n + kPayloadMax - 1) / kPayloadMax;
  return n + pieces * kFrameHeader;
}

void encode_grant(Buffer& out, std::string_view jws) {
  append_pieces(out, FrameType::grant, 0, 0, {}, as_bytes(jws));
}

void encode_open(Buffer& out, StreamId id, const OpenRequest& request, std::uint32_t credit) {
  Writer w(out);
  append_header(w, FrameType::open, 0, kOpenFixed + request.host.size(), id);
  w.u64(request.resource);
  w.u8(static_cast<std::uint8_t>(request.protocol));
  w.u16(request.port);
  w.u32(credit);
  w.text(request.host);
}

void encode_opened(Buffer& out, StreamId id, std::uint32_t credit) {
  Writer w(out);
  append_header(w, FrameType::opened, 0, 4, id);
  w.u32(credit);
}

void encode_reset(Buffer& out, StreamId id, Code code) {
  Writer w(out);
  append_header(w, FrameType::reset, 0, 2, id);
  w.u16(static_cast<std::uint16_t>(code));
}

void encode_datagram(Buffer& out, StreamId id, Bytes payload) {
  append_pieces(out, FrameType::datagram, 0, id, {}, payload);
}

void encode_echo(Buffer& out, StreamId id, const Echo& echo) {
  const std::array<std::uint8_t, 2> sequence = {byte_of(echo.sequence, 8), byte_of(echo.sequence, 0)};
  append_pieces(out, FrameType::echo, 0, id, sequence, echo.payload);
}

void encode_query(Buffer& out, StreamId id, const Query& query) {
  Writer w(out);
  append_header(w, FrameType::query, 0, kQueryFixed + query.name.size(), id);
  w.u64(query.resource);
  w.u16(query.type);
  w.text(query.name);
}

void encode_answer(Buffer& out, StreamId id, std::uint8_t rcode, Bytes records) {
  append_pieces(out, FrameType::query, kFlagReply, id, Bytes(&rcode, 1), records);
}

void encode_ping(Buffer& out, bool ack, std::uint64_t number) {
  Writer w(out);
  append_header(w, FrameType::ping, ack ? kFlagAck : 0, 8, 0);
  w.u64(number);
}

void encode_goaway(Buffer& out, Code code, StreamId last) {
  Writer w(out);
  append_header(w, FrameType::goaway, 0, 6, 0);
  w.u16(static_cast<std::uint16_t>(code));
  w.u32(last);
}

Result<OpenFrame> decode_open(Bytes payload) {
  Reader r(payload);
  OpenFrame f;
  f.request.resource = r.u64();
  f.request.protocol = static_cast<Protocol>(r.u8());
  f.request.port = r.u16();
  f.credit = r.u32();
  const Bytes host = r.rest();
  if (!r.ok() || host.empty() || host.size() > kHostMax) return fail(Errc::protocol, "OPEN of a wrong length");
  const Protocol p = f.request.protocol;
  if (p != Protocol::tcp && p != Protocol::udp && p != Protocol::icmp) {
    return fail(Errc::protocol, "OPEN of an unknown protocol");
  }
  if (p == Protocol::icmp && f.request.port != 0) return fail(Errc::protocol, "OPEN of an ICMP port");
  if (f.credit > (p == Protocol::tcp ? kCreditMax : 0)) return fail(Errc::protocol, "OPEN with impossible credit");
  if (!visible(host)) return fail(Errc::protocol, "OPEN of a host with odd bytes");
  f.request.host = as_text(host);
  return f;
}

Result<std::uint32_t> decode_credit(Bytes payload) {
  Reader r(payload);
  const std::uint32_t credit = r.u32();
  if (!r.ok() || r.left() != 0 || credit > kCreditMax) return fail(Errc::protocol, "impossible credit");
  return credit;
}

Code decode_reset(Bytes payload) noexcept { return static_cast<Code>(Reader(payload).u16()); }

Result<Echo> decode_echo(Bytes payload) {
  Reader r(payload);
  Echo echo;
  echo.sequence = r.u16();
  if (!r.ok()) return fail(Errc::protocol, "ECHO of a wrong length");
  echo.payload = r.rest();
  return echo;
}

Result<Query> decode_query(Bytes payload) {
  Reader r(payload);
  Query q;
  q.resource = r.u64();
  q.type = r.u16();
  const Bytes name = r.rest();
  if (!r.ok() || name.empty() || name.size() > kHostMax) return fail(Errc::protocol, "QUERY of a wrong length");
  if (!visible(name)) return fail(Errc::protocol, "QUERY for a name with odd bytes");
  q.name = as_text(name);
  return q;
}

Result<Answer> decode_answer(Bytes payload) {
  Reader r(payload);
  Answer a;
  a.rcode = r.u8();
  if (!r.ok()) return fail(Errc::protocol, "QUERY reply of a wrong length");
  a.records = r.rest();
  return a;
}

std::uint64_t decode_ping(Bytes payload) noexcept { return Reader(payload).u64(); }

Goaway decode_goaway(Bytes payload) noexcept {
  Reader r(payload);
  const auto code = static_cast<Code>(r.u16());
  return {code, r.u32()};
}

}  // namespace tg
