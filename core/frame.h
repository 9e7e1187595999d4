// The frames of tg/1: what they carry, and their bytes. Grammar, examples and limits: core/FRAME.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/resource.h"
#include "core/result.h"

namespace tg {

using StreamId = std::uint32_t;   // 0 is the tunnel itself

// Code says why a stream or a tunnel ended. The first ones carry the far errno, in a numbering of our own, since
// errno's differs among systems. Numbers are wire format: never renumber.
enum class Code : std::uint16_t {
  none = 0,                // cancelled by the peer without a reason worth telling
  refused = 1,             // ECONNREFUSED, or ICMP port unreachable for UDP
  host_unreachable = 2,    // EHOSTUNREACH, and what has no code of its own (net/far_error.h says all)
  network_unreachable = 3, // ENETUNREACH, at once (no route) or from a router
  timed_out = 4,           // ETIMEDOUT
  reset = 5,               // ECONNRESET, EPIPE: the far side sent RST
  name_not_found = 16,     // NXDOMAIN or no address
  name_failed = 17,        // the private DNS did not answer, or SERVFAIL
  denied = 32,             // the grant does not cover this Resource, or it is not the winner, or none was presented
  port_not_allowed = 33,   // the Resource's rules do not let this protocol or port through
  address_forbidden = 34,  // the name resolved to an address that a connector does not dial
  grant_expired = 35,
  revoked = 36,
  exhausted = 48,          // out of streams, descriptors or memory
  unsupported = 49,        // for example: ICMP is not possible on this host
  shutting_down = 64,      // GOAWAY: the connector is restarting; go elsewhere
  protocol_error = 65,     // GOAWAY: the peer broke the protocol
  flood = 66,              // GOAWAY: a budget is used up
};
std::string_view to_string(Code c) noexcept;   // "refused", "host_unreachable", …; "unknown" for a newer peer's

// OpenRequest asks a connector for one flow.
struct OpenRequest {
  ResourceId resource = 0;
  Protocol protocol = Protocol::tcp;
  std::uint16_t port = 0;       // 0 for ICMP
  std::string host;             // canonical name, or an address in text: 1 to kHostMax bytes of visible ASCII
  bool operator==(const OpenRequest&) const = default;
};

// Query asks the connector's private DNS about a name of a Resource. The answer's records never hold an address.
struct Query {
  ResourceId resource = 0;
  std::string name;             // canonical
  std::uint16_t type = 0;       // DNS type; A means "does this name exist?"
  bool operator==(const Query&) const = default;
};

// Echo is one ICMP echo request or reply on an ICMP stream.
struct Echo {
  std::uint16_t sequence = 0;
  Bytes payload;
};

enum class FrameType : std::uint8_t {
  grant = 1, open = 2, opened = 3, data = 4, fin = 5, reset = 6, window = 7,
  datagram = 8, echo = 9, query = 10, ping = 11, goaway = 12,
};
std::string_view to_string(FrameType t) noexcept;   // "GRANT", "OPEN", …

inline constexpr std::uint8_t kFlagMore = 1;     // GRANT, DATAGRAM, ECHO, QUERY reply: the very next frame goes on
inline constexpr std::uint8_t kFlagReply = 2;    // QUERY: the connector's answer
inline constexpr std::uint8_t kFlagAck = 4;      // PING: the answer

inline constexpr std::size_t kFrameHeader = 8;
inline constexpr std::size_t kFrameMax = 16384;  // header and payload: a TLS record's text (RFC 8446 section 5.1)
inline constexpr std::size_t kPayloadMax = kFrameMax - kFrameHeader;
inline constexpr std::size_t kHostMax = 253;
inline constexpr std::size_t kGrantMax = 256 * 1024;       // of all pieces together, as the next two
inline constexpr std::size_t kDatagramMax = 65535;
inline constexpr std::size_t kAnswerMax = 65535;           // rcode and records
inline constexpr std::size_t kEchoMax = kDatagramMax - 2;  // of an Echo's payload
inline constexpr std::uint32_t kCreditMax = 0x7fffffff;    // of one stream, in one direction

struct FrameHeader {
  FrameType type = FrameType::data;
  std::uint8_t flags = 0;
  std::uint16_t length = 0;     // of the payload
  StreamId stream = 0;
  bool operator==(const FrameHeader&) const = default;
};

// read_header and write_header use the first kFrameHeader bytes.
FrameHeader read_header(Bytes from) noexcept;
void write_header(MutBytes to, const FrameHeader& h) noexcept;
// write_window writes a whole WINDOW frame of kWindowFrame bytes.
inline constexpr std::size_t kWindowFrame = kFrameHeader + 4;
void write_window(MutBytes to, StreamId id, std::uint32_t increment) noexcept;

// header_problem says what is wrong with a header, before a byte of its payload is read; "" when nothing is.
// `from_client`: the client sent it. `continuing`: the frame before had kFlagMore.
std::string_view header_problem(const FrameHeader& h, bool from_client, bool continuing) noexcept;
// assembled_max returns how long a message of this type may be with all its pieces.
std::size_t assembled_max(FrameType t) noexcept;

// Whole frames are appended to `out`; a message above kPayloadMax in pieces. The caller keeps to the maxima above.
void encode_grant(Buffer& out, std::string_view jws);
void encode_open(Buffer& out, StreamId id, const OpenRequest& request, std::uint32_t credit);
void encode_opened(Buffer& out, StreamId id, std::uint32_t credit);
void encode_reset(Buffer& out, StreamId id, Code code);
void encode_datagram(Buffer& out, StreamId id, Bytes payload);
void encode_echo(Buffer& out, StreamId id, const Echo& echo);
void encode_query(Buffer& out, StreamId id, const Query& query);
void encode_answer(Buffer& out, StreamId id, std::uint8_t rcode, Bytes records);
void encode_ping(Buffer& out, bool ack, std::uint64_t number);
void encode_goaway(Buffer& out, Code code, StreamId last);
// encoded_size returns the bytes that a payload of `n` takes on the wire, headers of its pieces included.
std::size_t encoded_size(std::size_t n) noexcept;

// Decoders take the (assembled) payload of a frame whose header had no problem. Errors: Errc::protocol.
struct OpenFrame {
  OpenRequest request;
  std::uint32_t credit = 0;     // bytes that the connector may send before the first WINDOW; 0 unless TCP
};
struct Answer {
  std::uint8_t rcode = 0;
  Bytes records;                // points into the payload
};
struct Goaway {
  Code code = Code::none;
  StreamId last = 0;            // the last stream that was taken up; later ones never were
};
Result<OpenFrame> decode_open(Bytes payload);
Result<std::uint32_t> decode_credit(Bytes payload);   // OPENED and WINDOW
Code decode_reset(Bytes payload) noexcept;
Result<Echo> decode_echo(Bytes payload);
Result<Query> decode_query(Bytes payload);
Result<Answer> decode_answer(Bytes payload);
std::uint64_t decode_ping(Bytes payload) noexcept;
Goaway decode_goaway(Bytes payload) noexcept;

}  // namespace tg
