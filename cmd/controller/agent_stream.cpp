#include "cmd/controller/agent_stream.h"

#include <algorithm>

#include "core/json.h"
#include "net/log.h"

namespace tg::controller {

AgentStream::AgentStream(net::Loop& loop, net::Fd fd, const net::TlsContext& context, const StreamLimits& limits,
                 Callbacks callbacks)
    : loop_(loop), limits_(limits), callbacks_(std::move(callbacks)), reader_(kControlBeforeIdentity),
      self_(std::make_shared<AgentStream*>(this)), deadline_(loop, [this] { on_close({Errc::timed_out, "too slow"}); }),
      tls_(loop, std::move(fd), context,
           {[this] { on_open(); }, [this](Bytes b) { on_data(b); },
            [this] { if (state_ == State::ready) callbacks_.room(*this); },
            [this](const Error& e) { on_close(e); }}) {
  source_ = tls_.peer().address;
}

void AgentStream::on_open() {
  state_ = tls_.identity() ? State::identified : State::stranger;
  if (state_ == State::identified) reader_.set_max(limits_.frame);
  deadline_.after(limits_.patience);
  callbacks_.opened(*this);
}

void AgentStream::on_data(Bytes bytes) {
  if (state_ == State::closing) return;
  heard_ = net::Loop::now();
  // A stranger's one message is at most kControlBeforeIdentity long, and ends the reading.
  reader_.feed(bytes);
  while (state_ != State::closing) {
    auto message = reader_.next();
    if (!message) return refuse(Errc::protocol, message.error().text, net::Loop::wall());
    if (!*message) return;
    if (too_fast()) return refuse(Errc::exhausted, "too many messages", net::Loop::wall());
    callbacks_.said(*this, **message);
  }
}

bool AgentStream::too_fast() {
  const Instant now = net::Loop::now();
  spent_until_ = std::max(spent_until_, now) + limits_.message_every;
  return spent_until_ > now + limits_.message_every * static_cast<int>(limits_.message_burst);
}

void AgentStream::ready() {
  state_ = State::ready;
  deadline_.cancel();
}

void AgentStream::send(const Json& message) { send_frame(try_control_frame(message), message["type"] == "error"); }
void AgentStream::send(std::string_view message) { send_frame(try_control_frame(message), false); }

void AgentStream::send_frame(const Result<Buffer>& frame, bool is_error) {
  if (state_ == State::closing) return;
  if (frame && frame->size() <= limits_.told) return tls_.write(*frame);
  const std::string why = "what this agent is to be told is too long for one message; an administrator should give it "
                          "fewer Resources";
  net::log(net::Level::error, "{}: {}", identified() ? net::to_uri(who()) : source_.to_string(), why);
  if (is_error) return close();
  refuse(Errc::exhausted, why, net::Loop::wall());
}

void AgentStream::refuse(Errc code, const std::string& text, UnixTime now) {
  send({{"type", "error"}, {"code", to_string(code)}, {"text", text}, {"time", now.time_since_epoch().count()}});
  close();
}

void AgentStream::close() {
  if (state_ == State::closing) return;
  state_ = State::closing;
  deadline_.after(limits_.linger);
  tls_.close();
}

// The owner destroys this in `ended`, so that is called when nothing of it is on the stack any more.
void AgentStream::on_close(const Error& error) {
  if (over_) return;
  over_ = true;
  state_ = State::closing;
  deadline_.cancel();
  loop_.post([self = self_, error] {
    if (AgentStream* stream = *self) stream->callbacks_.ended(*stream, error);
  });
}

}  // namespace tg::controller
