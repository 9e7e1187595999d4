// An agent's side of a control stream: JSON messages over mTLS, dialled again for ever.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/backoff.h"
#include "core/view.h"
#include "net/dial.h"
#include "net/tls.h"

namespace tg::net {

// kFirstRetry and kLongestRetry bound the wait between two attempts of anything that comes back by itself. With the
// time of an attempt, kAttempt, a way that is there again is found within 5 s.
inline constexpr Duration kFirstRetry = std::chrono::milliseconds(200);
inline constexpr Duration kLongestRetry = std::chrono::milliseconds(1500);
inline constexpr Duration kAttempt = std::chrono::milliseconds(3000);
// kGoodbyeRetry is the longest wait after a peer has said goodbye: it has to end, and to start, and all that it served
// come at once.
inline constexpr Duration kGoodbyeRetry = std::chrono::milliseconds(1000);
// kCheckPatience is how long a line may be silent after the network has changed.
inline constexpr Duration kCheckPatience = std::chrono::milliseconds(1500);

// random_seed returns 64 bits from the system's generator.
std::uint64_t random_seed();

// kForgottenAfter is how soon a watchful ControlStream notices that a way has forgotten the connection.
inline constexpr Duration kForgottenAfter = std::chrono::seconds(3);

// ControlStream keeps one connection to `peer`, and dials again with jitter whenever it ends. Callbacks come from the
// Loop and may not destroy the ControlStream. Of a controller it takes messages up to kControlFrameMax, of anybody else
// up to kControlBeforeIdentity.
class ControlStream {
 public:
  // A way can forget a connection without a word: a home's router that was restarted, say. Who is watchful has the
  // kernel probe the peer's after each second of silence, and is told within kForgottenAfter. That is 52 bytes a second
  // each way, no process of ours wakes for them, and a lost one is made good by the next. Devices are not: their
  // batteries would pay for it, and their flows do not wait for this stream.
  enum class Watchful { no, yes };
  struct Callbacks {
    std::function<void()> on_up;                     // connected and verified: say hello
    std::function<void(const Json&)> on_message;
    std::function<void(const Error&)> on_down;       // once for each failed attempt and each lost connection
  };

  // `context` is asked for at each attempt, so that a renewed certificate is used. `expect_role`: the role in the
  // peer's SAN URI, which must carry `instance` too.
  ControlStream(Loop& loop, HostPort peer, ResolveHost resolve, std::function<Result<TlsContext>()> context,
                std::string instance, std::string expect_role, Watchful watchful, Callbacks callbacks);
  ~ControlStream();

  bool up() const noexcept;
  // heard is when bytes of the peer last came: a long message takes its time.
  Instant heard() const noexcept;
  // send drops the message when the stream is down.
  void send(const Json& message);
  // refuse tells the peer that it does not know a message of this type, hangs up, and dials again as retry_late does.
  void refuse(const std::string& type);
  // retry_now dials at once, dropping a connection that may be dead: the network has changed.
  void retry_now();
  // These hang up, and dial again after half of a time to all of it: retry_soon after kGoodbyeRetry, when the peer says
  // that it restarts, and retry_late after kLongestRetry, when it refuses.
  void retry_soon();
  void retry_late();
  // retry_after hangs up, and dials again after `delay`, which must differ from agent to agent.
  void retry_after(Duration delay);
  // close says goodbye and stays down.
  void close();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tg::net
