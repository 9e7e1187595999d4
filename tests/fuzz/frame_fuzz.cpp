// Frames from anybody: no read past the end, and what decodes encodes to the same bytes.
#include <cstdlib>
#include <memory>

#include "core/frame.h"

using namespace tg;

namespace {

void require(bool ok) {
  if (!ok) std::abort();
}

// One frame whose header had no problem, in a buffer of exactly its size.
void one(const FrameHeader& h, Bytes payload) {
  const auto exact = std::make_unique<std::uint8_t[]>(payload.size());
  std::copy(payload.begin(), payload.end(), exact.get());
  const Bytes b(exact.get(), payload.size());
  Buffer again;
  switch (h.type) {
    case FrameType::grant: encode_grant(again, as_text(b)); break;
    case FrameType::open: {
      const auto f = decode_open(b);
      if (!f) return;
      encode_open(again, h.stream, f->request, f->credit);
      break;
    }
    case FrameType::opened: {
      const auto credit = decode_credit(b);
      if (!credit) return;
      encode_opened(again, h.stream, *credit);
      break;
    }
    case FrameType::window: {
      const auto credit = decode_credit(b);
      if (!credit) return;
      again.resize(kWindowFrame);
      write_window(again, h.stream, *credit);
      break;
    }
    case FrameType::reset: encode_reset(again, h.stream, decode_reset(b)); break;
    case FrameType::datagram: encode_datagram(again, h.stream, b); break;
    case FrameType::echo: {
      const auto echo = decode_echo(b);
      if (!echo) return;
      encode_echo(again, h.stream, *echo);
      break;
    }
    case FrameType::query: {
      if ((h.flags & kFlagReply) != 0) {
        const auto answer = decode_answer(b);
        if (!answer) return;
        encode_answer(again, h.stream, answer->rcode, answer->records);
      } else {
        const auto query = decode_query(b);
        if (!query) return;
        encode_query(again, h.stream, *query);
      }
      break;
    }
    case FrameType::ping: encode_ping(again, (h.flags & kFlagAck) != 0, decode_ping(b)); break;
    case FrameType::goaway: {
      const Goaway g = decode_goaway(b);
      encode_goaway(again, g.code, g.last);
      break;
    }
    default: return;
  }
  FrameHeader whole = h;
  whole.flags &= static_cast<std::uint8_t>(~kFlagMore);
  require(again.size() == kFrameHeader + b.size());
  require(read_header(again) == whole);
  require(std::equal(b.begin(), b.end(), again.begin() + kFrameHeader));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const bool from_client = (data[0] & 1) != 0;
  const bool continuing = (data[0] & 2) != 0;
  for (Bytes rest(data + 1, size - 1); rest.size() >= kFrameHeader;) {
    const FrameHeader h = read_header(rest);
    rest = rest.subspan(kFrameHeader);
    if (!header_problem(h, from_client, continuing).empty()) continue;
    require(h.length <= kPayloadMax && assembled_max(h.type) >= h.length);
    const Bytes payload = rest.first(std::min<std::size_t>(h.length, rest.size()));
    rest = rest.subspan(payload.size());
    // A piece is no whole message; a cut payload must only not be overread, and fixed-size decoders are given whole
    // ones.
    if (payload.size() == h.length && !continuing && (h.flags & kFlagMore) == 0) one(h, payload);
    (void)decode_open(payload), (void)decode_query(payload), (void)decode_answer(payload);
    (void)decode_echo(payload), (void)decode_credit(payload), (void)decode_reset(payload);
    (void)decode_ping(payload), (void)decode_goaway(payload);
  }
  return 0;
}
