// The control streams: agents are let in, told what concerns them, and told again at once when it changes.
//
// Without a certificate a peer may say one thing:
//   {"type":"enroll","token_id":hex,"secret":hex,"role":"device"|"connector"|"relay","name":hostname,"csr":PEM}
//     -> {"type":"enrolled","uri":…,"chain":PEM,"root":PEM,"time":unix}
// or, when he has no token:
//   {"type":"sign_in","provider":name or "","name":hostname,"csr":PEM}
//     -> {"type":"sign_in_at","provider":…,"url":…,"complete_url":…,"code":…,"expires":unix,"time":unix}
//        and then {"type":"enrolled",…,"user":e-mail,"until":unix}
// or, with a password:
//   {"type":"sign_in","user":e-mail,"name":hostname,"csr":PEM}
//     -> {"type":"password_for","salt":hex,"n":N,"r":R,"p":P}, for somebody who is unknown too
//   {"type":"password","key":hex of password_key}
//     -> {"type":"code_wanted"}, where there is a second factor, and then {"type":"code","code":"123456"}
//     -> {"type":"enrolled",…,"user":e-mail,"until":unix}
// and with a certificate:
//   {"type":"sign_in","provider":name or ""} or {"type":"sign_in","user":e-mail}, before a hello and in its place
//     -> the same, but {"type":"signed_in","user":e-mail,"until":unix} in the end
//   {"type":"hello","version":"0.1.0","name":hostname,"process":random,"direct":["IP:PORT",…]}
//     -> {"type":"snapshot","revision":N,"time":unix,"items":{key:value}}
//        and then {"type":"delta","revision":N,"set":{…},"remove":[…]} whenever the agent's View changes
//   {"type":"renew","csr":PEM}  -> {"type":"renewed","chain":PEM}
//   {"type":"request_access","resource":id,"seconds":N or 0,"reason":text}, from devices
//     -> {"type":"access_asked","id":…} or {"type":"access_asked","code":…,"text":why not}
//   {"type":"ping"}             -> {"type":"pong","time":unix}
//   {"type":"goodbye"}          either way
// and a connector, which was told "events":true, sends what became of flows, one message after the other was kept:
//   {"type":"events","spool":16 hex digits,"first":N,"events":[…]}   see core/connection_event.h
//     -> {"type":"events_kept","spool":…,"through":N}
// A refusal is {"type":"error","code":…,"text":one line,"time":unix}, and the stream ends.
//
// A certificate is renewed for the key that it had. Of one identity there is one stream. A new process takes the place of the one before (which may be dead, and not
// noticed yet); a process that comes back after it lost its place that way proves that two of them live, and gets it
// back only when the other is silent or gone. Both are told "conflict", and the controller's log says it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "cmd/controller/pki.h"
#include "cmd/controller/agent_stream.h"
#include "cmd/controller/signing_in.h"
#include "cmd/controller/store.h"
#include "cmd/controller/views.h"
#include "core/crowd.h"
#include "core/guess_limit.h"
#include "core/metrics.h"
#include "net/acceptor.h"

namespace tg::controller {

struct ControlSettings {
  std::string relay;                          // "HOST:PORT" of the embedded relay, as agents are told; "": none
  std::chrono::seconds grace{0};              // see ConnectorSelf
  StreamLimits stream;
  std::size_t strangers = 0;                  // connections without a known agent, in all: one more ends the oldest. 0: what there is
                                              // room for, see serve.cpp
  std::size_t strangers_per_source = 256;     // and from one IPv4 address or IPv6 /64, likewise
  std::chrono::seconds password_session = std::chrono::hours(12);   // how long a sign-in with a password is good for
  std::size_t sign_ins = 1024;                // people who are signing in, in all: one more ends the oldest
  std::size_t sign_ins_per_source = 128;      // and from one source, likewise
  Duration push_interval = std::chrono::milliseconds(200);   // between two rounds of telling; the first is at once
  Duration telling = std::chrono::milliseconds(50);          // in one turn of the Loop; one agent at least
};

// OnlineAgent is a connected agent, for status and lists.
struct OnlineAgent {
  std::string role;
  std::string id;
  std::string address;                        // where it comes from
  std::string version;
};

// ControlServer serves one listener until it is destroyed. Store and Pki outlive it.
class ControlServer {
 public:
  ControlServer(net::Loop& loop, net::Fd listener, Store& store, const Pki& pki, LeaseKeys keys,
                net::TlsContext context,
                ControlSettings settings);
  ~ControlServer();

  // changed says that the store has changed: everybody whom it concerns is told.
  void changed();
  // set_context replaces the controller's own certificate for new streams.
  void set_context(net::TlsContext context) { context_ = std::move(context); }
  // let_sign_in has people sign in, who otherwise are told that they cannot.
  void let_sign_in(SignInMeans means) { means_ = std::move(means); }
  // take_events has the events of connectors handed over, with the id of who sent them. An error ends the stream.
  using TakeEvents = std::function<Result<>(const std::string& connector, const Json& message)>;
  void take_events(TakeEvents take) { take_events_ = std::move(take); }
  // tell_connector says something to a connector that is there.
  void tell_connector(const std::string& id, const Json& message);
  // model is what agents are told of.
  const Model& model() const noexcept { return directory_->model(); }
  // goodbye tells every agent and stops accepting.
  void goodbye();

  std::vector<OnlineAgent> online() const;
  bool is_online(std::string_view role, const std::string& id) const;
  std::size_t streams() const noexcept { return streams_.size(); }
  void add_metrics(Metrics& m) const;

 private:
  void admit(net::Fd fd, const Endpoint& from);
  void opened(AgentStream& s);
  void said(AgentStream& s, const Json& message);
  void ended(AgentStream& s);

  // Lost is a process whose place another process of the same agent took.
  struct Lost {
    std::string process;
    Instant when{};
  };

  // Visitor is somebody who is signing in.
  struct Visitor {
    std::uint64_t number = 0;           // in the crowd_of him
    SignIn who;
    std::string csr;                    // of a new device
    std::unique_ptr<SigningIn> signing_in;                     // at a provider, or
    enum class Owes : std::uint8_t { nothing, password, code } owes = Owes::nothing;   // something that only he knows
    Buffer verifier;                    // of the password that he knew
  };

  void enroll(AgentStream& s, const Json& message);
  void sign_in(AgentStream& s, const Json& message);
  Result<> at_provider(AgentStream& s, Visitor& visitor, const Json& message);
  Result<OidcProvider> provider_of(const Json& message) const;
  void visitor_said(AgentStream& s, const Json& message);
  Result<> ask_password(AgentStream& s, Visitor& visitor, const Json& message);
  void check_password(AgentStream& s, const Json& message);
  void check_code(AgentStream& s, const Json& message);
  Result<bool> code_is_right(const std::string& email, const std::string& code, UnixTime now);
  // The limits that one guess counts for, and under which keys.
  using Limits = std::vector<std::pair<GuessLimit*, std::string>>;
  Limits limits_of(const AgentStream& s, const Visitor& visitor);
  Result<> count_guess(const AgentStream& s, const Limits& limits);
  static void forgive_guess(const Limits& limits);
  Crowd& crowd_of(const Visitor& visitor) { return visitor.owes == Visitor::Owes::nothing ? visitors_ : typing_; }
  void let_in(AgentStream& s, Visitor visitor);
  void show_code(AgentStream& s, const DeviceSignIn& machine);
  void vouched_for(AgentStream& s, Result<Person> person);
  void leave(AgentStream& s);
  void look_at_time();
  void forget_idle();
  void hello(AgentStream& s, const Json& message);
  Result<> take_place(AgentStream& s);
  void alarm(const AgentStream& s, const std::string& other);
  void welcome(AgentStream& s, UnixTime now);
  void renew(AgentStream& s, const Json& message);
  // permitted says why the agent behind `s` must go, or nothing.
  Result<> permitted(const AgentStream& s) const;

  void request_access(AgentStream& s, const Json& message);

  ToldView view_of(AgentStream& s, Judge& judge);
  void tell(AgentStream& s, Judge& judge);
  void tell_all();
  void tell_some();
  void schedule();
  void upkeep();
  Result<> reload();
  void update_presence();
  void no_longer_counted(AgentStream& s);
  void arrived(AgentStream& s);
  void note_seen(const AgentStream& s, UnixTime now);
  void save_seen();

  net::Loop& loop_;
  Store& store_;
  const Pki& pki_;
  const LeaseKeys keys_;
  net::TlsContext context_;
  const ControlSettings settings_;

  std::shared_ptr<const Directory> directory_;
  std::vector<RelayPlace> relays_;                     // those in use
  Presence presence_;
  Teller teller_;
  std::deque<std::string> to_tell_;                    // keys of agents_: they are yet to hear of a change
  bool tell_again_ = false;                            // of another one, after that
  std::unordered_map<AgentStream*, std::unique_ptr<AgentStream>> streams_;
  std::map<std::string, AgentStream*> agents_;             // "device/ID": the stream of each known agent
  std::map<std::string, AgentStream*> arriving_;           // likewise: the newest stream that has not said hello yet
  std::map<std::string, std::deque<Lost>> lost_;       // likewise: processes that lost their place to another
  std::map<std::string, Instant> alarmed_;             // likewise: when the log was told of two processes
  Crowd crowd_;                                        // streams that are not those of known agents, by number
  std::unordered_map<std::uint64_t, AgentStream*> strangers_;
  std::uint64_t last_stranger_ = 0;
  // What has happened since the start.
  struct Counts {
    std::uint64_t let_in = 0, not_let_in = 0, signed_in = 0, not_signed_in = 0, told = 0, renewed = 0;
  };
  Counts counts_;
  std::map<std::string, UnixTime> seen_;               // when agents came or went; written in batches
  std::optional<SignInMeans> means_;
  TakeEvents take_events_;
  std::map<AgentStream*, Visitor> signing_in_;
  Crowd visitors_;                                     // those at a provider, by number, and
  Crowd typing_;                                       // those with a password
  std::uint64_t last_visitor_ = 0;
  GuessLimit pace_{20, std::chrono::seconds(3)};               // sign-ins that one source begins
  GuessLimit guesses_{10, std::chrono::minutes(6)};            // of one source at one account: ten an hour
  GuessLimit guesses_of_source_{30, std::chrono::minutes(2)};  // at all accounts
  GuessLimit guesses_at_account_{100, std::chrono::seconds(36)};   // of all sources
  GuessLimit codes_at_account_{10, std::chrono::hours(1)};     // likewise, of codes alone: a million is not much
  std::vector<std::unique_ptr<SigningIn>> over_;       // to be destroyed when nothing of them is running
  UnixTime next_end_ = UnixTime::max();                // when time alone changes what somebody reaches
  UnixTime last_upkeep_{};
  Instant next_forgetting_{};
  Instant last_told_{};
  bool must_reload_ = false;
  bool tidy_ = false;                                  // what a large state was read with, once all are told
  GuessLimit wishes_{20, std::chrono::minutes(1)};             // requests for access that one device makes

  net::Timer bury_;
  net::Timer ends_;
  net::Timer push_;
  net::Timer tell_more_;
  net::Timer upkeep_;
  net::Acceptor acceptor_;
};

}  // namespace tg::controller
