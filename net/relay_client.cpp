#include "net/relay_client.h"

#include <sys/socket.h>

#include <map>

#include "core/json.h"
#include "core/text.h"
#include "net/relay_protocol.h"

namespace tg::net {
namespace {
// Whether the relay's process lives; that of the way is told by the kernel.
constexpr Duration kPingEvery = std::chrono::seconds(10);
constexpr Duration kPingPatience = std::chrono::seconds(5);
constexpr Duration kWelcomePatience = kAttempt;
constexpr std::size_t kDialsMost = 128;
}

struct RelayClient::State {
  Loop& loop;
  HostPort relay;
  ResolveHost resolve;
  Callbacks callbacks;
  std::unique_ptr<ControlStream> stream{};
  std::map<std::uint64_t, std::unique_ptr<Dial>> dials{};
  std::uint64_t next = 1;
  Timer ping{}, silence{};
  bool welcome = false;      // the relay knows who we are
  std::string problem{};     // why not, as it was last told

  void set_up() {
    if (std::exchange(welcome, true)) return;
    problem.clear();
    callbacks.on_state(true, nullptr);
  }
  void set_down(const Error& why) {
    ping.cancel();
    silence.cancel();
    const bool told = !std::exchange(welcome, false) && problem == why.text;
    problem = why.text;
    if (!told) callbacks.on_state(false, &why);
  }

  void on_message(const Json& m) {
    silence.cancel();
    const std::string type = m["type"];
    if (type == "welcome") {
      set_up();
      ping.after(kPingEvery);
    } else if (type == "dial") {
      const std::string rendezvous = text_or(m, "rendezvous", "");
      if (rendezvous.starts_with(kRendezvousPrefix) && rendezvous.size() < 64) dial_back(rendezvous);
    } else if (type == "goodbye") {
      set_down({Errc::closed, "it says goodbye"});
      stream->retry_soon();   // a relay that only says goodbye must not keep this process busy
    } else if (type == "error") {
      set_down({Errc::denied, printable(text_or(m, "text", "it refuses"))});
      stream->retry_late();
    } else if (type != "pong") {
      stream->refuse(type);
    }
  }

  void dial_back(const std::string& rendezvous) {
    if (dials.size() >= kDialsMost) return;   // a relay that rings without end must not use up this process
    const std::uint64_t number = next++;
    dials[number] = std::make_unique<Dial>(loop, relay, resolve, kAttempt, [this, number, rendezvous](Result<Fd> fd) {
      const auto done = std::move(dials.extract(number).mapped());
      if (!fd) return;
      // A fresh connection takes this much in one call.
      const Buffer hello = rendezvous_hello(rendezvous + std::string(kSniSuffix));
      if (::send(fd->get(), hello.data(), hello.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(hello.size())) return;
      callbacks.on_client(std::move(*fd));
    });
  }
};

RelayClient::RelayClient(Loop& loop, HostPort relay, ResolveHost resolve, std::function<Result<TlsContext>()> context,
                         std::string instance, Callbacks callbacks)
    : state_(new State{loop, std::move(relay), std::move(resolve), std::move(callbacks)}) {
  State* s = state_.get();
  s->ping = Timer(loop, [s] {
    s->stream->send({{"type", "ping"}});
    s->ping.after(kPingEvery);
    s->silence.after(kPingPatience);
  });
  s->silence = Timer(loop, [s] {
    s->set_down({Errc::timed_out, "it is silent"});
    s->stream->retry_now();
  });
  // From the handshake on there is always a timer: a relay says welcome at once, and later answers every ping.
  s->stream = std::make_unique<ControlStream>(
      loop, s->relay, s->resolve, std::move(context), std::move(instance), "relay", ControlStream::Watchful::yes,
      ControlStream::Callbacks{[s] { s->silence.after(kWelcomePatience); }, [s](const Json& m) { s->on_message(m); },
                               [s](const Error& e) { s->set_down(e); }});
}
RelayClient::~RelayClient() = default;

const HostPort& RelayClient::relay() const noexcept { return state_->relay; }
bool RelayClient::up() const noexcept { return state_->welcome; }
void RelayClient::check_now() {
  if (!state_->stream->up()) return state_->stream->retry_now();
  state_->stream->send({{"type", "ping"}});
  state_->silence.after(kCheckPatience);
}
void RelayClient::close() { state_->stream->close(); }

}  // namespace tg::net
