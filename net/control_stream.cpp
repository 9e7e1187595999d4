#include "net/control_stream.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/rand.h>
#include <sys/socket.h>

#include "core/json.h"
#include "net/log.h"

namespace tg::net {
namespace {

// watch_closely has the kernel find out within kForgottenAfter that nobody answers any more. TCP_USER_TIMEOUT bounds
// both: how long probes may go unanswered, and what was sent unacknowledged, while there are no probes (tcp(7)). Of
// probes it is looked at with each one, and must be over by the third.
void watch_closely(int fd) {
  const int on = 1;
  const int second = 1;
  const auto patience = static_cast<unsigned>(
      std::chrono::duration_cast<std::chrono::milliseconds>(kForgottenAfter).count() - 500);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &second, sizeof second);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &second, sizeof second);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof patience);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

}  // namespace

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  RAND_bytes(reinterpret_cast<std::uint8_t*>(&seed), sizeof seed);
  return seed;
}

struct ControlStream::State {
  Loop& loop;
  HostPort peer;
  ResolveHost resolve;
  std::function<Result<TlsContext>()> context;
  std::string instance;
  std::string expect_role;
  Watchful watchful;
  Callbacks callbacks;

  Backoff backoff{kFirstRetry, kLongestRetry, random_seed()};
  Backoff after_goodbye{kGoodbyeRetry, kGoodbyeRetry, random_seed()};
  Backoff after_refusal{kLongestRetry, kLongestRetry, random_seed()};
  Timer retry{};
  Timer attempt{};
  std::unique_ptr<Dial> dial{};
  std::unique_ptr<Tls> tls{};
  ControlReader reader{};
  Instant heard{};
  bool up = false;
  bool closed = false;

  void start() {
    if (closed) return;
    retry.cancel();
    drop();
    dial = std::make_unique<Dial>(loop, peer, resolve, kAttempt, [this](Result<Fd> fd) {
      if (!fd) return lost(fd.error());
      connected(std::move(*fd));
    });
  }

  void connected(Fd fd) {
    auto tls_context = context();
    if (!tls_context) return lost(tls_context.error());
    if (watchful == Watchful::yes) watch_closely(fd.get());
    reader = ControlReader(expect_role == "controller" ? kControlFrameMax : kControlBeforeIdentity);
    tls = std::make_unique<Tls>(loop, std::move(fd), *tls_context,
                                Tls::Callbacks{[this] { opened(); }, [this](Bytes b) { received(b); }, {},
                                               [this](const Error& e) { lost(e); }});
    attempt.after(kAttempt);
  }

  void opened() {
    const auto& who = tls->identity();
    if (!who || who->role != expect_role || who->network != instance) {
      return lost({Errc::denied, fmt::format("{} is not the {} of {}", peer.to_string(), expect_role, instance)});
    }
    attempt.cancel();
    up = true;
    callbacks.on_up();
  }

  void received(Bytes bytes) {
    heard = Loop::now();
    reader.feed(bytes);
    while (tls) {
      auto message = reader.next();
      if (!message) return lost(message.error());
      if (!*message) return;
      backoff.reset();
      callbacks.on_message(**message);
    }
  }

  void drop() {
    up = false;
    attempt.cancel();
    tls.reset();
    dial.reset();
  }

  void lost(const Error& error) { lost(error, backoff.next()); }
  void lost(const Error& error, Duration pause) {
    drop();
    if (closed) return;
    retry.after(pause);
    callbacks.on_down(error);
  }
};

ControlStream::ControlStream(Loop& loop, HostPort peer, ResolveHost resolve,
                             std::function<Result<TlsContext>()> context, std::string instance,
                             std::string expect_role, Watchful watchful, Callbacks callbacks)
    : state_(std::make_shared<State>(State{loop, std::move(peer), std::move(resolve), std::move(context),
                                           std::move(instance), std::move(expect_role), watchful,
                                           std::move(callbacks)})) {
  State* s = state_.get();
  s->retry = Timer(loop, [s] { s->start(); });
  s->attempt = Timer(loop, [s] {
    s->lost({Errc::timed_out, fmt::format("{} does not answer", s->peer.to_string())});
  });
  s->start();
}

ControlStream::~ControlStream() = default;

bool ControlStream::up() const noexcept { return state_->up; }
Instant ControlStream::heard() const noexcept { return state_->heard; }

void ControlStream::send(const Json& message) {
  if (!state_->up || !state_->tls) return;
  const auto frame = try_control_frame(message);
  if (!frame) return log(Level::error, "{}: {}", state_->peer.to_string(), frame.error().text);
  state_->tls->write(*frame);
}

void ControlStream::refuse(const std::string& type) {
  const std::string text = unknown_message(type);
  send({{"type", "error"}, {"code", to_string(Errc::protocol)}, {"text", text}});
  if (state_->tls) state_->tls->flush();
  state_->lost({Errc::protocol, "it sent an " + text}, state_->after_refusal.next());
}

void ControlStream::retry_now() {
  state_->backoff.reset();
  state_->start();
}

void ControlStream::retry_soon() { retry_after(state_->after_goodbye.next()); }
void ControlStream::retry_late() { retry_after(state_->after_refusal.next()); }

void ControlStream::retry_after(Duration delay) {
  state_->drop();
  state_->retry.after(delay);
}

void ControlStream::close() {
  if (state_->closed) return;
  send({{"type", "goodbye"}});
  if (!state_->up) state_->drop();   // an attempt
  state_->closed = true;
  state_->retry.cancel();
  state_->up = false;
  if (state_->tls) state_->tls->flush();
}

}  // namespace tg::net
