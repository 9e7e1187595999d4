// The tunnel between a client and a connector: many flows over one ordered byte stream (a TLS connection). Sans-I/O:
// bytes in, bytes out, time as a parameter. Layout, states and limits: core/FRAME.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "core/bytes.h"
#include "core/frame.h"
#include "core/result.h"
#include "core/time.h"

namespace tg {

// Pull is what came of asking the owner of a stream for bytes to send.
struct Pull {
  std::size_t size = 0;     // bytes written to the front of `out`
  bool more = false;        // ask again; otherwise, and whenever there were no bytes, not before readable() is called
  bool fin = false;         // nothing will follow: FIN is sent behind these bytes
};

// TunnelHandler is what a Tunnel calls. No call may re-enter feed() or produce(), or destroy the Tunnel; every other
// member may be called. Once on_reset or on_answer, or both FINs, were seen or sent, the stream is gone and its id is
// never used again. Bytes handed over live as long as the call.
class TunnelHandler {
 public:
  virtual ~TunnelHandler() = default;

  // Towards the connector.
  virtual void on_grant(std::string_view jws) = 0;                    // when it holds, it replaces the one before
  virtual void on_open(StreamId id, const OpenRequest& request) = 0;  // answer with opened() or reset(), now or later
  virtual void on_query(StreamId id, const Query& query) = 0;         // answer with answer()

  // Towards the client.
  virtual void on_opened(StreamId id) = 0;
  // `rcode` is DNS's. `records`: answer and authority of a DNS message in wire form, or empty; see Query.
  virtual void on_answer(StreamId id, std::uint8_t rcode, Bytes records) = 0;

  // Both ways. TCP streams: on_data takes all of it, keeping what it can't pass on (never more than the stream's
  // window); consumed() gives the credit back.
  virtual void on_data(StreamId id, Bytes data) = 0;
  virtual void on_fin(StreamId id) = 0;
  virtual void on_datagram(StreamId id, Bytes datagram) = 0;          // UDP streams, one whole datagram
  virtual void on_echo(StreamId id, const Echo& echo) = 0;            // ICMP streams
  virtual void on_reset(StreamId id, Code code) = 0;
  // on_goaway: open nothing more. Live streams go on; those that the peer never took up are reset with shutting_down
  // right after this call. With protocol_error or flood the tunnel is over: feed() fails, and the owner ends the
  // streams.
  virtual void on_goaway(Code code) = 0;

  // pull writes bytes to be sent on TCP stream `id` to `out`, which is never empty. Called from produce() for a stream
  // that was called readable(). Bytes returned after a reset() from within are dropped.
  virtual Pull pull(StreamId id, MutBytes out) = 0;
};

// TunnelLimits are one side's promises. The peer's may differ: OPEN and OPENED say the first credit.
struct TunnelLimits {
  std::uint32_t first_credit = 256 * 1024;          // bytes a peer may send on a new stream
  std::uint32_t max_credit = 32 * 1024 * 1024;      // what a stream's credit may grow to: 1 Gbit/s over 200 ms
  std::uint64_t total_credit = 64 * 1024 * 1024;    // above this sum of windows none grows, and new streams start small
  std::uint32_t least_credit = 16 * 1024;           // what a new stream gets then
  std::size_t max_streams = 65536;
  std::size_t max_queued_datagrams = 4 * 1024 * 1024;  // bytes of datagrams waiting to be sent; more are dropped, as a
                                                       // full interface queue would
  std::size_t max_queued_control = 1024 * 1024;     // bytes of control frames waiting; more is Code::flood
  Duration ping_after = std::chrono::seconds(15);   // silence after which the peer is asked
  Duration dead_after = std::chrono::seconds(60);   // and after which, unanswered, it is dead: live streams are worth
                                                    // the wait, as TCP's own would be
  // Of a client: a word that may need an answer is followed by a PING when nothing was heard for ask_after, and the
  // peer is silent() when nothing was heard for silent_after. Only a suspicion: nothing ends.
  Duration ask_after = std::chrono::seconds(1);
  Duration silent_after = std::chrono::seconds(2);
};

// Tunnel multiplexes. It never drops or resends stream bytes, keeps no stream's bytes itself (they are pulled when
// there is room, and handed over as they come), serves streams in turn, and lets control frames overtake data. Not
// thread-safe. Every `now` must be no earlier than the one before.
class Tunnel {
 public:
  enum class Side : std::uint8_t { client, connector };

  Tunnel(Side side, TunnelHandler& handler, Instant now, TunnelLimits limits = {});
  ~Tunnel();
  Tunnel(const Tunnel&) = delete;
  Tunnel& operator=(const Tunnel&) = delete;

  // --- client
  // send_grant returns false, and sends nothing, when `jws` is above kGrantMax.
  bool send_grant(std::string_view jws);
  // open and query return the new stream's id. Errors: Errc::exhausted (max_streams, a peer that does not read, or so
  // many streams reset within a second that the peer could take it for an attack), Errc::closed (after GOAWAY or an
  // error), Errc::invalid_argument (a host or name that does not fit a frame).
  Result<StreamId> open(const OpenRequest& request);
  Result<StreamId> query(const Query& query);

  // --- connector
  void opened(StreamId id);
  void answer(StreamId id, std::uint8_t rcode, Bytes records);

  // --- both
  // readable says that pull() has something (bytes, or the end) for this TCP stream. Cheap to call twice.
  void readable(StreamId id);
  // consumed gives back credit for bytes that on_data handed over and that have now left this process.
  void consumed(StreamId id, std::size_t bytes);
  // datagram and echo return false when it was dropped: the queue was full, it is above kDatagramMax or kEchoMax, the
  // stream is gone or of another kind, or (connector) not yet opened().
  bool datagram(StreamId id, Bytes payload);
  bool echo(StreamId id, const Echo& echo);
  // reset ends the stream both ways at once. Unknown ids are ignored: the peer may have been faster.
  void reset(StreamId id, Code code);
  // goaway says goodbye: no new streams from the peer; live ones go on.
  void goaway(Code code);

  // --- bytes and time feed takes bytes from the peer, in any cut. Errors: Errc::protocol, a flood too (a GOAWAY with
  // the reason is queued; close once it is sent); Errc::closed (the peer's GOAWAY said that we broke the protocol). An
  // error is for good.
  Result<> feed(Bytes bytes, Instant now);
  // produce writes frames to the front of `out` and returns their size; 0 when there is nothing to send. Give it the
  // room of one TLS record (16384): no frame is cut, and a record is filled before it returns.
  std::size_t produce(MutBytes out, Instant now);
  bool wants_output() const noexcept;
  // on_timeout sends what is due. Errors: Errc::timed_out when the peer is dead; those of feed() when the tunnel is
  // over.
  Result<> on_timeout(Instant now);
  Instant next_deadline() const noexcept;

  // ping asks the peer for a sign of life now; its answer is one, and dead_after and silent_after apply.
  // owed returns since when an answer is owed, or kNever. asked is true when nothing was heard for ask_after, words of ours that were
  // not just a PING are not known to have arrived, and none is on its way any more (see progress); until a byte comes. Another tunnel
  // by the same way should be asked then, too. doubt says that such a one is silent, and has been owed an answer `since`: a PING
  // that was sent, or from now one that was not yet, has ask_after to be answered, or twice the round trip, and silent_after at most.
  void ping(Instant now);
  void doubt(Instant since, Instant now);
  Instant owed() const noexcept;
  bool asked() const noexcept;
  // silent says that the peer owes an answer, and that no byte has come from it for silent_after. Set by on_timeout(),
  // over with the next byte.
  bool silent() const noexcept;
  // progress says that bytes of ours were still arriving at the peer's host at `when`: an answer may wait behind them.
  // It puts silent() off, to four times silent_after at most.
  void progress(Instant when) noexcept;

  bool alive(StreamId id) const noexcept;
  // credit returns how many bytes the peer still takes on a stream; 0 when it is gone, or not opened yet.
  std::size_t credit(StreamId id) const noexcept;
  std::size_t streams() const noexcept;
  bool going_away() const noexcept;                 // either side has said GOAWAY
  std::optional<Duration> round_trip() const noexcept;   // smoothed, from PINGs
  // Pings counts the PINGs that were answered; `last` is how long the latest answer took.
  struct Pings {
    std::uint64_t answered = 0;
    Duration last{};
  };
  Pings pings() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tg
