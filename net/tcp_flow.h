// One TCP connection of this host, joined to a stream of a tunnel. The same on both ends.
#pragma once

#include <sys/uio.h>

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/device_quota.h"
#include "core/tunnel.h"
#include "net/loop.h"
#include "net/socket.h"
#include "net/tunnel_link.h"

namespace tg::net {

// TcpFlow moves bytes between a connected socket and a stream. FIN travels as a half-close both ways, RST as RST, also while
// the stream takes nothing. A peer that is silent is asked by the kernel whether it is still there. What the
// socket does not take at once is kept here, bounded by the stream's credit and by what `kept` allows: with more to keep the
// flow ends, with RST to the socket's peer and Code::exhausted to the tunnel's. It takes twice as much memory at most. What was
// received together is sent together, and of a socket that has much, more is read at once than fits into a record: never more than
// the peer takes, and of each of the N streams of a tunnel kAhead / N at most.
class TcpFlow final : private TunnelLink::Batch {
 public:
  // `ended` is called once, when both directions have ended (from the Loop, so that the FIN is on its way) or the socket has
  // failed (also from within data() and pull()); it destroys the TcpFlow.
  TcpFlow(Loop& loop, Fd fd, TunnelLink& link, StreamId id, std::function<void()> ended, DeviceQuota::Hold kept = {});
  ~TcpFlow() override;

  static constexpr std::size_t kAhead = 256 * 1024;   // bytes

  // The tunnel's calls for this stream.
  Pull pull(MutBytes out);
  void data(Bytes bytes);
  void fin();
  // reset is the stream's end; it destroys nothing, and `ended` is not called. RST is what the socket's peer gets whenever this is
  // destroyed, or its process ends, before both directions have ended.
  void reset();
  // release gives the socket to who destroys this.
  Fd release() noexcept;

  // from_socket counts what the tunnel was given, to_socket what the socket has taken.
  std::uint64_t from_socket() const noexcept { return from_socket_; }
  std::uint64_t to_socket() const noexcept { return to_socket_; }
  // failure is what the stream was reset with; Code::none before, and when both directions have ended.
  Code failure() const noexcept { return failure_; }

 private:
  void on_readable();
  ssize_t receive(MutBytes out);
  std::size_t read_ahead(std::size_t asked) const noexcept;
  void on_writable();
  void on_error();
  void broken();
  void batch_over() override;
  void send_gathered();
  bool send(std::span<iovec> parts);
  void shut_when_sent();
  void keep(Bytes bytes);
  void failed(Code code = Code::reset);
  void finish_if_over();

  Loop& loop_;
  TunnelLink& link_;
  Fd fd_;
  Watch watch_;
  Timer watch_again_;           // for errors, while something else than one would be told without end
  Timer over_;                  // set when both directions have ended
  Timer stalled_;               // set when the socket has failed and there is something to read in it
  StreamId id_;
  std::function<void()> ended_;
  DeviceQuota::Hold kept_;
  bool waits_ = false;           // for the end of the batch: the link knows this
  std::vector<iovec> gathered_;  // for the socket, when the batch is over; refers to what the link received
  std::unique_ptr<std::uint8_t[]> ahead_;   // what was read beyond what the tunnel asked for, from ahead_at_ to ahead_end_
  std::size_t ahead_room_ = 0, ahead_at_ = 0, ahead_end_ = 0;
  Buffer pending_;              // for the socket
  std::size_t pending_at_ = 0;
  std::uint64_t from_socket_ = 0;
  std::uint64_t to_socket_ = 0;
  bool socket_ended_ = false;   // the socket said FIN, and so did we
  bool stream_ended_ = false;   // the stream said FIN
  bool shut_ = false;           // and the socket was told
  bool broken_ = false;         // the socket has failed
  Code failure_ = Code::none;
};

}  // namespace tg::net
