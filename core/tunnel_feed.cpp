// From bytes to frames. DATA is checked when its header is there, and its payload is passed on as it comes; any other
// frame is complete, and a message in pieces is joined, before it is looked at.
#include <algorithm>

#include "core/tunnel_state.h"

namespace tg {
namespace {

// kProbeEvery is how often the round trip is measured while DATA comes in.
constexpr Duration kProbeEvery = std::chrono::milliseconds(200);
// kJoinedKept is how large a buffer for messages in pieces is kept for the next one.
constexpr std::size_t kJoinedKept = 128 * 1024;

}  // namespace

void Tunnel::State::feed(Bytes in) {
  last_heard = now;
  silent = false;
  asked = false;
  while (!in.empty() && !over) {
    switch (phase) {
      case Phase::header: {
        const std::size_t n = std::min(kFrameHeader - head_size, in.size());
        std::copy_n(in.begin(), n, head.begin() + static_cast<std::ptrdiff_t>(head_size));
        head_size += n;
        in = in.subspan(n);
        if (head_size < kFrameHeader) break;
        head_size = 0;
        take_header();
        if (phase == Phase::payload && frame.length == 0 && !over) {
          phase = Phase::header;
          take_frame({});
        }
        break;
      }
      case Phase::data: {
        const Bytes piece = in.first(std::min(left, in.size()));
        in = in.subspan(piece.size());
        take_data(piece);
        break;
      }
      case Phase::payload: {
        const Bytes piece = in.first(std::min(frame.length - partial.size(), in.size()));
        in = in.subspan(piece.size());
        if (piece.size() == frame.length) {          // in one go: nothing to copy
          phase = Phase::header;
          take_frame(piece);
          break;
        }
        partial.insert(partial.end(), piece.begin(), piece.end());
        if (partial.size() < frame.length) break;
        phase = Phase::header;
        take_frame(partial);
        partial.clear();
        break;
      }
    }
  }
  if (!over && !ping_out && !round_trip) send_ping();
}

void Tunnel::State::take_header() {
  frame = read_header(head);
  if (const auto problem = header_problem(frame, side == Side::connector, joining.has_value()); !problem.empty()) {
    return broken(problem, frame.type, frame.stream);
  }
  if (joining) {
    const bool same = frame.type == joining->type && frame.stream == joining->stream &&
                      (frame.flags | kFlagMore) == joining->flags;
    if (!same) return broken("a frame between the pieces of another", frame.type, frame.stream);
  }
  if (frame.type == FrameType::data) {
    begin_data();
  } else {
    phase = Phase::payload;
  }
}

void Tunnel::State::begin_data() {
  if (frame.length == 0 && !budgets.empties.take(now)) return flooded("empty DATA");
  left = frame.length;
  phase = left > 0 ? Phase::data : Phase::header;
  Stream* s = streams.find(frame.stream);
  if (s == nullptr) {
    if (!streams.existed(frame.stream)) return broken("a stream that never was", frame.type, frame.stream);
    // The peer may not have seen our RESET yet, but it had no more than this credit.
    if (left > late_before + late_since) return broken("the stream is gone", frame.type, frame.stream);
    const std::uint64_t from_before = std::min<std::uint64_t>(left, late_before);
    late_before -= from_before;
    late_since -= left - from_before;
    return;
  }
  if (s->kind != Stream::Kind::tcp) return broken("another kind of stream", frame.type, frame.stream);
  if (!s->opened) return broken("not yet opened", frame.type, frame.stream);
  if (s->fin_received) return broken("behind its FIN", frame.type, frame.stream);
  if (left > s->receive_credit) return broken("above its credit", frame.type, frame.stream);
  s->receive_credit -= frame.length;
  s->held += frame.length;
}

void Tunnel::State::take_data(Bytes piece) {
  left -= piece.size();
  if (left == 0) phase = Phase::header;
  if (!streams.find(frame.stream)) return;       // reset by us in the middle
  handler.on_data(frame.stream, piece);
  if (!ping_out && now >= next_probe && !over) {
    next_probe = now + kProbeEvery;
    send_ping();
  }
}

void Tunnel::State::take_frame(Bytes payload) {
  const bool more = (frame.flags & kFlagMore) != 0;
  if (!more && !joining) return dispatch(frame.type, frame.flags, frame.stream, payload);

  if (!joining) joining = frame;
  if (joined.size() + payload.size() > assembled_max(frame.type)) return broken("too long", frame.type, frame.stream);
  joined.insert(joined.end(), payload.begin(), payload.end());
  if (more) return;
  joining.reset();
  dispatch(frame.type, frame.flags, frame.stream, joined);
  joined.clear();
  if (joined.capacity() > kJoinedKept) joined.shrink_to_fit();
}

}  // namespace tg
