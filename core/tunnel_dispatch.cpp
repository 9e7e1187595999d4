// What a whole frame does. A stream's end is noted before its owner is told, so that the owner finds it gone.
#include <algorithm>

#include "core/tunnel_state.h"

namespace tg {

void Tunnel::State::dispatch(FrameType type, std::uint8_t flags, StreamId id, Bytes payload) {
  switch (type) {
    case FrameType::grant:
      if (!budgets.grants.take(now)) return flooded("GRANT");
      return handler.on_grant(as_text(payload));
    case FrameType::ping: return on_ping(flags, decode_ping(payload));
    case FrameType::goaway: return on_goaway(decode_goaway(payload));
    case FrameType::open: return on_open(id, payload);
    case FrameType::query:
      if ((flags & kFlagReply) == 0) return on_query(id, payload);
      break;
    default: break;
  }
  if (type == FrameType::window && !budgets.windows.take(now)) return flooded("WINDOW");
  if (Stream* s = streams.find(id)) return dispatch_stream(*s, type, payload);
  if (!streams.existed(id)) return broken("a stream that never was", type, id);
  // It ended while this was under way.
  if (type == FrameType::datagram || type == FrameType::echo) return;
  if (!budgets.late.take(now)) flooded("frames on streams that are gone");
}

void Tunnel::State::dispatch_stream(Stream& s, FrameType type, Bytes payload) {
  using Kind = Stream::Kind;
  const bool fits = type == FrameType::reset || (type == FrameType::opened && s.kind != Kind::query) ||
                    (type == FrameType::query && s.kind == Kind::query) ||
                    ((type == FrameType::fin || type == FrameType::window) && s.kind == Kind::tcp) ||
                    (type == FrameType::datagram && s.kind == Kind::udp) ||
                    (type == FrameType::echo && s.kind == Kind::icmp);
  if (!fits) return broken("another kind of stream", type, s.id);
  // A client learns from OPENED that there is a far side, before anything else but RESET. Its datagrams need not wait.
  const bool early = side == Side::connector ? type == FrameType::fin
                                             : type != FrameType::reset && type != FrameType::opened &&
                                                   type != FrameType::query;
  if (early && !s.opened) return broken("not yet opened", type, s.id);

  switch (type) {
    case FrameType::opened: return on_opened(s, payload);
    case FrameType::fin: return on_fin(s);
    case FrameType::reset: return on_reset(s, decode_reset(payload));
    case FrameType::window: return on_window(s, payload);
    case FrameType::query: return on_answer(s, payload);
    case FrameType::datagram: return handler.on_datagram(s.id, payload);
    default: break;
  }
  const auto echo = decode_echo(payload);
  if (!echo) return broken(echo.error().text, type, s.id);
  handler.on_echo(s.id, *echo);
}

Stream* Tunnel::State::admit(StreamId id, Stream::Kind kind) {
  const FrameType type = kind == Stream::Kind::query ? FrameType::query : FrameType::open;
  if (id <= streams.last()) {
    broken("an id used before", type, id);
    return nullptr;
  }
  if (goaway_received) {
    broken("behind its GOAWAY", type, id);
    return nullptr;
  }
  if (goaway_sent || streams.size() >= limits.max_streams) {
    streams.skip(id);
    if (goaway_sent) return nullptr;   // our GOAWAY tells the peer that this one never was
    encode_reset(control.back(), id, Code::exhausted);
    control_added();
    return nullptr;
  }
  return &streams.add(id, kind, now);
}

void Tunnel::State::on_open(StreamId id, Bytes payload) {
  const auto open = decode_open(payload);
  if (!open) return broken(open.error().text, FrameType::open, id);
  const Protocol p = open->request.protocol;
  Stream* s = admit(id, p == Protocol::tcp   ? Stream::Kind::tcp
                        : p == Protocol::udp ? Stream::Kind::udp
                                             : Stream::Kind::icmp);
  if (s == nullptr) return;
  s->send_credit = open->credit;
  handler.on_open(id, open->request);
}

void Tunnel::State::on_query(StreamId id, Bytes payload) {
  const auto query = decode_query(payload);
  if (!query) return broken(query.error().text, FrameType::query, id);
  if (admit(id, Stream::Kind::query) != nullptr) handler.on_query(id, *query);
}

void Tunnel::State::on_opened(Stream& s, Bytes payload) {
  const auto credit = decode_credit(payload);
  if (!credit) return broken(credit.error().text, FrameType::opened, s.id);
  if (s.opened) return broken("opened before", FrameType::opened, s.id);
  if (s.kind != Stream::Kind::tcp && *credit != 0) return broken("credit without use", FrameType::opened, s.id);
  s.opened = true;
  s.send_credit = *credit;
  s.epoch = now;
  update_ready(s);
  handler.on_opened(s.id);
}

void Tunnel::State::on_fin(Stream& s) {
  if (s.fin_received) return broken("behind its FIN", FrameType::fin, s.id);
  const StreamId id = s.id;
  s.fin_received = true;
  giving.remove(s);
  end_if_done(s);
  handler.on_fin(id);
}

void Tunnel::State::on_reset(Stream& s, Code code) {
  if (side == Side::connector && now - s.born < kRapid && !budgets.resets.take(now)) {
    return flooded("streams reset right after they were opened");
  }
  const StreamId id = s.id;
  end(s);
  handler.on_reset(id, code);
}

void Tunnel::State::on_window(Stream& s, Bytes payload) {
  const auto more = decode_credit(payload);
  if (!more) return broken(more.error().text, FrameType::window, s.id);
  if (*more == 0 || *more > kCreditMax - s.send_credit) return broken("impossible credit", FrameType::window, s.id);
  s.send_credit += *more;
  update_ready(s);
}

void Tunnel::State::on_answer(Stream& s, Bytes payload) {
  const auto answer = decode_answer(payload);
  if (!answer) return broken(answer.error().text, FrameType::query, s.id);
  const StreamId id = s.id;
  end(s);
  handler.on_answer(id, answer->rcode, answer->records);
}

void Tunnel::State::on_ping(std::uint8_t flags, std::uint64_t number) {
  if ((flags & kFlagAck) != 0) {
    if (!ping_out || number != ping_number) return broken("an answer to nothing", FrameType::ping, 0);
    return sample_round_trip();
  }
  if (!budgets.pings.take(now)) return flooded("PING");
  encode_ping(control.back(), true, number);
  control_added();
}

void Tunnel::State::on_goaway(const Goaway& g) {
  if (!budgets.pings.take(now)) return flooded("GOAWAY");
  if (g.code == Code::protocol_error || g.code == Code::flood) {
    goaway_received = true;
    fail(Code::none, Errc::closed, "the peer ended this tunnel: " + std::string(to_string(g.code)));
    return handler.on_goaway(g.code);
  }
  if (side == Side::connector ? g.last != 0 : g.last > streams.last() || (goaway_received && g.last > goaway_last)) {
    return broken("impossible last stream", FrameType::goaway, 0);
  }
  goaway_received = true;
  goaway_last = g.last;
  handler.on_goaway(g.code);
  if (side == Side::connector) return;
  for (const StreamId id : streams.above(g.last)) {
    Stream* s = streams.find(id);
    if (s == nullptr) continue;
    end(*s);
    handler.on_reset(id, Code::shutting_down);
  }
}

}  // namespace tg
