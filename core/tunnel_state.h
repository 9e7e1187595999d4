// The inside of a Tunnel, for core/tunnel*.cpp only.
//
//   bytes ─▶ feed ─▶ header ─▶ DATA: payload goes to on_data as it comes          (tunnel_feed.cpp)
//                          └─▶ others: payload until complete, pieces joined ─▶ dispatch   (tunnel_dispatch.cpp)
//   bytes ◀─ produce ◀─ open datagram, control, WINDOWs, datagrams, DATA in turn  (tunnel_produce.cpp)
//   open, reset, consumed, …, time                                                (tunnel.cpp)
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "core/tunnel.h"
#include "core/tunnel_budget.h"
#include "core/tunnel_queue.h"
#include "core/tunnel_streams.h"

namespace tg {

struct Tunnel::State {
  State(Side s, TunnelHandler& h, Instant t, const TunnelLimits& l)
      : side(s), handler(h), limits(l), now(t), last_heard(t), next_probe(t) {}

  // --- receiving
  void feed(Bytes in);
  void take_header();
  void begin_data();
  void take_data(Bytes piece);
  void take_frame(Bytes payload);
  void dispatch(FrameType type, std::uint8_t flags, StreamId id, Bytes payload);
  void dispatch_stream(Stream& s, FrameType type, Bytes payload);
  void on_open(StreamId id, Bytes payload);
  void on_query(StreamId id, Bytes payload);
  void on_opened(Stream& s, Bytes payload);
  void on_fin(Stream& s);
  void on_reset(Stream& s, Code code);
  void on_window(Stream& s, Bytes payload);
  void on_answer(Stream& s, Bytes payload);
  void on_ping(std::uint8_t flags, std::uint64_t number);
  void on_goaway(const Goaway& g);
  // admit makes the stream that OPEN or QUERY asks for, or returns null when there is none to be.
  Stream* admit(StreamId id, Stream::Kind kind);

  // --- sending
  std::size_t produce(MutBytes out);
  bool send_datagram_frame(MutBytes out, std::size_t& n);
  bool send_control(MutBytes out, std::size_t& n);
  bool send_windows(MutBytes out, std::size_t& n);
  bool send_data(MutBytes out, std::size_t& n);
  bool send_fin(Stream& s, MutBytes out, std::size_t& n);
  bool wants_output() const noexcept;

  // --- both
  Result<> may_open(std::string_view host) const;
  void update_ready(Stream& s) noexcept;
  void end(Stream& s);                       // takes it out of everything
  void end_if_done(Stream& s);
  std::uint32_t first_credit() const noexcept;
  void set_window(Stream& s, std::uint32_t window) noexcept;
  void grow(Stream& s, std::uint32_t consumed) noexcept;
  void control_added();                      // checks the bound of the control queue
  void send_ping();
  void note_said(bool ping = false) noexcept;
  Instant due() const noexcept;
  Instant owed() const noexcept { return said == kNever ? kNever : std::max(said, last_heard); }   // since when an answer is
  Instant ask_from() const noexcept;         // kNever where a PING is out
  Instant tell_from() const noexcept;        // kNever while no words are owed an answer, or that was told
  Instant silent_from() const noexcept;      // kNever while no answer is owed
  void sample_round_trip() noexcept;
  // fail ends the tunnel, with a GOAWAY where `code` is not none.
  void fail(Code code, Errc errc, std::string text);
  void broken(std::string_view what, FrameType type, StreamId id);   // a breach of the protocol
  void flooded(std::string_view what);
  Result<> result();

  const Side side;
  TunnelHandler& handler;
  const TunnelLimits limits;
  Instant now;
  bool busy = false;                         // inside feed() or produce()
  std::optional<Error> over;                 // why the tunnel is over
  bool over_told = false;

  StreamTable streams;
  StreamList<&Stream::ready> ready;
  StreamList<&Stream::giving> giving;
  std::uint64_t windows = 0;                 // sum of all streams' windows

  FrameQueue control;
  FrameQueue datagrams;
  bool in_datagram = false;                  // a piece with MORE was the last frame sent
  std::size_t datagram_run = 0;              // bytes of datagrams since DATA last had its turn

  enum class Phase : std::uint8_t { header, data, payload };
  Phase phase = Phase::header;
  std::array<std::uint8_t, kFrameHeader> head{};
  std::size_t head_size = 0;
  FrameHeader frame;                         // being received
  std::size_t left = 0;                      // of a DATA frame's payload
  Buffer partial;                            // payload of another frame, while incomplete
  std::optional<FrameHeader> joining;        // first header of a message in pieces
  Buffer joined;

  bool goaway_sent = false;
  bool goaway_received = false;
  StreamId goaway_last = 0;                  // as the peer said

  // What the peer may still send on streams that we have reset: those reset before the PING that is out was queued, and
  // those since. Its answer shows that the peer has seen the former.
  std::uint64_t late_before = 0;
  std::uint64_t late_since = 0;

  Budgets budgets;
  Budget own_resets = kOwnResets;

  Instant last_heard;
  bool ping_out = false;
  bool ping_sent = false;                    // and has left this queue
  std::uint64_t ping_number = 0;
  Instant ping_at{};

  // Since when there are words of ours of which nothing shows that they have arrived; an answer to a PING shows it of
  // what was said before the PING. kNever: there are none. Clients only.
  Instant said = kNever;
  Instant said_since_ping = kNever;
  Instant said_words = kNever;               // as `said`, of others than that PING
  bool asked = false;                        // see Tunnel::asked
  Instant progress_at{};
  Instant grace_until{};                     // this process did not run; until then the peer has time to be heard
  bool silent = false;
  Instant next_probe;
  std::optional<Duration> round_trip;
  // The least round trips measured since `least_since`, and in the kLeastFor before it: those without a queue on the way.
  Duration least = Duration::max();
  Duration least_before = Duration::max();
  Instant least_since{};
  Pings pings;
};

}  // namespace tg
