// One agent's control stream, seen from the controller: TLS, frames, deadlines. What is said on it is
// control_server.h's.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/controller/leases.h"
#include "core/view.h"
#include "net/loop.h"
#include "net/tls.h"

namespace tg::controller {

// StreamLimits bound what a peer can cost before and after it is known.
struct StreamLimits {
  Duration patience = std::chrono::seconds(10);      // from the end of the handshake to enrolment, or to hello
  Duration linger = std::chrono::seconds(5);         // for the last bytes to leave
  std::size_t message_burst = 100;                   // messages at once
  Duration message_every = std::chrono::milliseconds(100);   // and one more in each such time
  std::size_t frame = 256 * 1024;                    // the longest message of a known agent
  std::size_t told = kControlFrameMax;               // and to one: longer, and the stream ends
  std::size_t backlog = 8 * 1024 * 1024;             // bytes of output above which nothing new is queued
};

// AgentStream calls back from the Loop and is destroyed by its owner only in, or after, `ended`.
//
//   handshake ──▶ stranger (no certificate) ──▶ closing
//            └──▶ identified ──hello──▶ ready ──▶ closing
class AgentStream {
 public:
  enum class State : std::uint8_t { handshake, stranger, identified, ready, closing };
  struct Callbacks {
    std::function<void(AgentStream&)> opened;                 // the handshake is done: state() is stranger or identified
    std::function<void(AgentStream&, const Json&)> said;
    std::function<void(AgentStream&)> room;                   // the backlog is gone
    std::function<void(AgentStream&, const Error&)> ended;    // once, posted: nothing of the AgentStream is running
  };

  AgentStream(net::Loop& loop, net::Fd fd, const net::TlsContext& context, const StreamLimits& limits,
          Callbacks callbacks);
  AgentStream(const AgentStream&) = delete;
  AgentStream& operator=(const AgentStream&) = delete;

  State state() const noexcept { return state_; }
  bool identified() const noexcept { return tls_.identity().has_value(); }
  // The peer's identity; only when identified().
  const net::Identity& who() const { return *tls_.identity(); }
  // came_from says where the connection is from, as accept said.
  void came_from(const IpAddress& source) { source_ = source; }
  const IpAddress& source() const noexcept { return source_; }
  // heard is when the peer last said something.
  Instant heard() const noexcept { return heard_; }

  void ready();                                           // hello was accepted
  void wait_for(Duration patience) { deadline_.after(patience); }   // in the place of limits.patience, from now on
  void send(const Json& message);                         // refuses the peer when it is too long to be told
  void send(std::string_view message);                    // one that is JSON already, and no error
  bool full() const noexcept { return tls_.queued() > limits_.backlog; }
  // refuse sends an error and closes; close sends what is queued and closes.
  void refuse(Errc code, const std::string& text, UnixTime now);
  void close();

  // What the owner keeps with a known agent.
  ToldView view;                                // what it has been told
  std::optional<Leases> leases;           // of a device
  std::vector<std::string> direct;        // of a connector
  std::string name;                       // as it calls itself
  std::string version;
  std::string process;                    // a random name of the agent's process
  bool behind = false;                    // its view could not be sent
  std::uint64_t stranger = 0;             // its number among the strangers; 0: it is none

 private:
  void on_open();
  void on_data(Bytes bytes);
  void on_close(const Error& error);
  bool too_fast();
  void send_frame(const Result<Buffer>& frame, bool is_error);

  net::Loop& loop_;
  const StreamLimits limits_;
  Callbacks callbacks_;
  IpAddress source_;
  State state_ = State::handshake;
  ControlReader reader_;
  Instant heard_{};
  Instant spent_until_{};                 // the message budget: each message moves it on
  bool over_ = false;
  std::shared_ptr<AgentStream*> self_;        // null inside once this is destroyed
  net::Timer deadline_;
  net::Tls tls_;

 public:
  ~AgentStream() { *self_ = nullptr; }
};

}  // namespace tg::controller
