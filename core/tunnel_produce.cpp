// From what waits to bytes. In this order: the rest of a datagram in pieces (nothing may come between them), control,
// WINDOW, datagrams, DATA. A frame that does not fit ends the record: what comes later in this order may depend on it,
// as DATA does on OPENED.
#include <algorithm>

#include "core/tunnel_state.h"

namespace tg {
namespace {

// kLeastDataRoom is the least room for which a stream is asked when something is in the record already: a pull is a
// read from a socket, and dear for a few bytes.
constexpr std::size_t kLeastDataRoom = 1024;
// kDatagramRun is how many bytes of datagrams may pass before one frame of DATA goes, so that a flood of UDP leaves a
// share to TCP.
constexpr std::size_t kDatagramRun = 64 * 1024;
// kWindowsEarned is how many WINDOWs a frame of DATA may bring back.
constexpr std::int64_t kWindowsEarned = 2;

std::size_t copy_frame(MutBytes out, FrameQueue& from) {
  const Bytes frame = from.front();
  std::copy(frame.begin(), frame.end(), out.begin());
  const std::size_t n = frame.size();
  from.pop();
  return n;
}

}  // namespace

bool Tunnel::State::wants_output() const noexcept {
  if (in_datagram || !control.empty()) return true;
  return !over && (!giving.empty() || !datagrams.empty() || !ready.empty());
}

std::size_t Tunnel::State::produce(MutBytes out) {
  std::size_t n = 0;
  for (;;) {
    const MutBytes room = out.subspan(n);
    bool sent = false;
    if (in_datagram) {
      sent = send_datagram_frame(room, n);
    } else if (!control.empty()) {
      sent = send_control(room, n);
    } else if (over) {
      return n;
    } else if (!giving.empty()) {
      sent = send_windows(room, n);
    } else if (!datagrams.empty() && (datagram_run < kDatagramRun || ready.empty())) {
      sent = send_datagram_frame(room, n);
    } else if (!ready.empty()) {
      if (n > 0 && room.size() < kLeastDataRoom) return n;
      sent = send_data(room, n);
    }
    if (!sent) return n;
  }
}

bool Tunnel::State::send_datagram_frame(MutBytes out, std::size_t& n) {
  const FrameHeader h = read_header(datagrams.front());
  if (!in_datagram && !streams.contains(h.stream)) {       // its stream ended: drop it with all its pieces
    bool more = true;
    while (more) {
      more = (read_header(datagrams.front()).flags & kFlagMore) != 0;
      datagrams.pop();
    }
    return true;
  }
  if (out.size() < kFrameHeader + h.length) return false;
  in_datagram = (h.flags & kFlagMore) != 0;
  const std::size_t size = copy_frame(out, datagrams);
  note_said();
  datagram_run += size;
  n += size;
  return true;
}

bool Tunnel::State::send_control(MutBytes out, std::size_t& n) {
  std::size_t done = 0;
  while (!control.empty() && control.front().size() <= out.size() - done) {
    const FrameHeader h = read_header(control.front());
    if (h.type == FrameType::ping && h.flags == 0) {
      ping_at = now;   // the time in our own queue is no round trip
      note_said(true);
      ping_sent = true;
    } else if (h.type == FrameType::open || h.type == FrameType::query) {
      note_said();
    }
    done += copy_frame(out.subspan(done), control);
  }
  n += done;
  return done > 0;
}

bool Tunnel::State::send_windows(MutBytes out, std::size_t& n) {
  std::size_t done = 0;
  while (!giving.empty() && out.size() - done >= kWindowFrame) {
    Stream& s = giving.front();
    giving.remove(s);
    const std::uint32_t owed = s.owed();
    s.receive_credit += owed;
    write_window(out.subspan(done), s.id, owed);
    done += kWindowFrame;
  }
  n += done;
  return done > 0;
}

bool Tunnel::State::send_data(MutBytes out, std::size_t& n) {
  Stream* s = &ready.front();
  const StreamId id = s->id;
  if (s->fin_due) return send_fin(*s, out, n);
  if (out.size() <= kFrameHeader) return false;

  const std::size_t allowed = std::min(s->send_credit, s->turn_left);
  const std::size_t room = std::min(out.size() - kFrameHeader, allowed);
  s->readable = false;
  const Pull pull = handler.pull(id, out.subspan(kFrameHeader, room));
  TG_CHECK(pull.size <= room);
  datagram_run = 0;
  s = streams.find(id);
  if (s == nullptr) return true;                           // reset from within
  if (pull.size > 0) {
    write_header(out, {FrameType::data, 0, static_cast<std::uint16_t>(pull.size), id});
    n += kFrameHeader + pull.size;
    note_said();
    s->send_credit -= static_cast<std::uint32_t>(pull.size);
    s->turn_left -= static_cast<std::uint32_t>(pull.size);
    budgets.windows.earn(kWindowsEarned);
    s->readable |= pull.more;
  } else {
    s->readable = false;                                   // a stream that has nothing must not be asked for ever
  }
  s->fin_due = pull.fin;
  if (pull.fin) return true;                               // it stays in front: FIN is next
  update_ready(*s);
  if (s->ready.in && s->turn_left < kLeastDataRoom) {
    ready.remove(*s);
    update_ready(*s);
  }
  return true;
}

bool Tunnel::State::send_fin(Stream& s, MutBytes out, std::size_t& n) {
  if (out.size() < kFrameHeader) return false;
  write_header(out, {FrameType::fin, 0, 0, s.id});
  n += kFrameHeader;
  note_said();
  s.fin_sent = true;
  ready.remove(s);
  end_if_done(s);
  return true;
}

}  // namespace tg
