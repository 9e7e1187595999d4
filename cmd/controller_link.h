// An agent's line to its controller: what the agent is told, and its certificate kept fresh.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cmd/agent_identity.h"
#include "cmd/view_file.h"
#include "core/json_fwd.h"
#include "core/view.h"
#include "net/control_stream.h"

namespace tg::cmd {

// random_process returns the name that one process has in its hellos.
std::string random_process();

// ControllerLink keeps the control stream, says hello, keeps the View up to date, renews the certificate when it wants
// to be, and notices a silent controller within 15 s; connectors and relays, a way that forgot them within 3 s. It
// comes back by itself, for ever; the View outlives an absence, and with a KeptView this process.
class ControllerLink {
 public:
  struct Callbacks {
    std::function<void()> on_view;               // view() has changed
    std::function<void()> on_state;              // up() or problem() has changed
    std::function<bool(const Json&)> on_answer = {};   // to something that was said(): false when it is no such answer
  };

  // KeptView is where the View is kept, and for how long after the controller last meant it it may be used. It is used when
  // the first attempt to reach the controller has failed: what that says goes first. Whoever is not let in any more has none.
  struct KeptView {
    std::string path;
    std::function<std::chrono::seconds(const View&)> good_for;
  };

  // `hello`: more members for the hello message, asked for at each connection. `identity` must outlive the link. A
  // process makes one link: by the random number that it says in its hellos the controller tells a reconnection from
  // another process with the same identity.
  ControllerLink(net::Loop& loop, AgentIdentity& identity, net::ResolveHost resolve, std::function<Json()> hello,
                 Callbacks callbacks, std::optional<KeptView> kept = {});
  ~ControllerLink();

  const View& view() const noexcept;
  bool up() const noexcept { return up_since().has_value(); }   // the stream stands and a snapshot has come
  std::optional<Instant> up_since() const noexcept;
  const std::string& problem() const noexcept;   // why it is down; "" while it is up
  // clock says how far this machine's clock is off, and what to do; "" while it is near enough to the controller's.
  const std::string& clock() const noexcept;
  // refusal says why the controller does not let this agent in: it is blocked (denied), was removed or had another machine enrolled
  // in its place (removed), or another process uses its identity (conflict). The View is then empty.
  std::optional<Errc> refusal() const noexcept;

  // somebody_else says that where the controller should be another one answers, which this agent does not believe.
  bool somebody_else() const noexcept;

  // kept_as_of is when the controller last meant the View, where that is a kept one and was not told to this process.
  std::optional<UnixTime> kept_as_of() const noexcept;

  // check_now is for when the network has changed: dial at once, or find out soon whether the line still works.
  void check_now();
  // say sends a message that only some agents have; false while the controller is away.
  bool say(const Json& message);
  // hello_again tells the controller what has changed about this agent.
  void hello_again();
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tg::cmd
