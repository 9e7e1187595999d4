#include "core/tunnel.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/tunnel_state.h"

namespace tg {
namespace {

// kGrowth: with 2 round trips a second flow was measured to stay at half the first one's share, with 3 they come out even.
constexpr int kGrowth = 3;
// Credit comes back in eighths, so that a sender needs a window of little more than the bandwidth-delay product to go on
// without a stop, and does not send half of it at once into a queue that holds less; in halves where these are not worth a
// frame.
constexpr std::uint32_t kShares = 8;
constexpr std::uint32_t kWorthAFrame = 16 * 1024;
// kLargeWindow: from here on windows grow only while a quarter of the sum stays free.
constexpr std::uint32_t kLargeWindow = 1024 * 1024;
// kLeastFor: how long a round trip counts as what the way takes at least. Ways change, and queues do not stand for so long.
constexpr Duration kLeastFor = std::chrono::minutes(5);
// kLeastLoop is the least that growth takes a round trip for: event loops work in batches, however short the wire.
constexpr Duration kLeastLoop = std::chrono::milliseconds(1);
// kLate: a timer that is later than this tells of a process that was stopped, and not of a peer that was silent. What
// waits in its sockets is read first.
constexpr Duration kLate = std::chrono::seconds(1);
constexpr int kMostProgress = 4;   // times silent_after

bool fits(std::string_view host) noexcept {
  return !host.empty() && host.size() <= kHostMax &&
         std::all_of(host.begin(), host.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

Stream::Kind kind_of(Protocol p) noexcept {
  return p == Protocol::tcp ? Stream::Kind::tcp : p == Protocol::udp ? Stream::Kind::udp : Stream::Kind::icmp;
}

}  // namespace

Tunnel::Tunnel(Side side, TunnelHandler& handler, Instant now, TunnelLimits limits)
    : state_(std::make_unique<State>(side, handler, now, limits)) {}
Tunnel::~Tunnel() = default;

bool Tunnel::send_grant(std::string_view jws) {
  State& t = *state_;
  TG_CHECK(t.side == Side::client);
  if (jws.size() > kGrantMax) return false;
  if (t.over) return true;
  encode_grant(t.control.back(), jws);
  t.control_added();
  return true;
}

Result<StreamId> Tunnel::open(const OpenRequest& request) {
  State& t = *state_;
  TG_CHECK(t.side == Side::client);
  if (auto may = t.may_open(request.host); !may) return pass_on(may);
  Stream& s = t.streams.add(t.streams.last() + 1, kind_of(request.protocol), t.now);
  if (s.kind == Stream::Kind::tcp) t.set_window(s, t.first_credit());
  OpenRequest out = request;
  if (s.kind == Stream::Kind::icmp) out.port = 0;
  encode_open(t.control.back(), s.id, out, s.window);
  return s.id;
}

Result<StreamId> Tunnel::query(const Query& query) {
  State& t = *state_;
  TG_CHECK(t.side == Side::client);
  if (auto may = t.may_open(query.name); !may) return pass_on(may);
  const Stream& s = t.streams.add(t.streams.last() + 1, Stream::Kind::query, t.now);
  encode_query(t.control.back(), s.id, query);
  return s.id;
}

void Tunnel::opened(StreamId id) {
  State& t = *state_;
  TG_CHECK(t.side == Side::connector);
  Stream* s = t.streams.find(id);
  if (s == nullptr || s->opened || s->kind == Stream::Kind::query || t.over) return;
  s->opened = true;
  if (s->kind == Stream::Kind::tcp) t.set_window(*s, t.first_credit());
  s->epoch = t.now;
  encode_opened(t.control.back(), id, s->window);
  t.update_ready(*s);
  t.control_added();
}

void Tunnel::answer(StreamId id, std::uint8_t rcode, Bytes records) {
  State& t = *state_;
  TG_CHECK(t.side == Side::connector);
  Stream* s = t.streams.find(id);
  if (s == nullptr || s->kind != Stream::Kind::query) return;
  t.end(*s);
  if (t.over) return;
  constexpr std::uint8_t kServfail = 2;
  const bool too_long = records.size() + 1 > kAnswerMax;
  encode_answer(t.control.back(), id, too_long ? kServfail : rcode, too_long ? Bytes{} : records);
  t.control_added();
}

void Tunnel::readable(StreamId id) {
  Stream* s = state_->streams.find(id);
  if (s == nullptr) return;
  s->readable = true;
  state_->update_ready(*s);
}

void Tunnel::consumed(StreamId id, std::size_t bytes) {
  State& t = *state_;
  Stream* s = t.streams.find(id);
  if (s == nullptr || s->kind != Stream::Kind::tcp) return;
  TG_CHECK(bytes <= s->held);
  s->held -= static_cast<std::uint32_t>(bytes);
  if (s->fin_received || t.over) return;
  t.grow(*s, static_cast<std::uint32_t>(bytes));
  const std::uint32_t worth = std::min(s->window / 2, std::max(s->window / kShares, kWorthAFrame));
  if (s->owed() > 0 && s->owed() >= worth) t.giving.push(*s);
}

bool Tunnel::datagram(StreamId id, Bytes payload) {
  State& t = *state_;
  const Stream* s = t.streams.find(id);
  if (s == nullptr || s->kind != Stream::Kind::udp || t.over) return false;
  if (t.side == Side::connector && !s->opened) return false;
  if (payload.size() > kDatagramMax) return false;
  if (t.datagrams.size() + encoded_size(payload.size()) > t.limits.max_queued_datagrams) return false;
  encode_datagram(t.datagrams.back(), id, payload);
  return true;
}

bool Tunnel::echo(StreamId id, const Echo& echo) {
  State& t = *state_;
  const Stream* s = t.streams.find(id);
  if (s == nullptr || s->kind != Stream::Kind::icmp || t.over) return false;
  if (t.side == Side::connector && !s->opened) return false;
  if (echo.payload.size() > kEchoMax) return false;
  if (t.datagrams.size() + encoded_size(2 + echo.payload.size()) > t.limits.max_queued_datagrams) return false;
  encode_echo(t.datagrams.back(), id, echo);
  return true;
}

void Tunnel::reset(StreamId id, Code code) {
  State& t = *state_;
  Stream* s = t.streams.find(id);
  if (s == nullptr) return;
  if (t.side == Side::client && t.now - s->born < kRapid) t.own_resets.take(t.now);
  if (!s->fin_received) t.late_since += s->receive_credit;
  t.end(*s);
  if (t.over) return;
  encode_reset(t.control.back(), id, code);
  t.control_added();
}

void Tunnel::goaway(Code code) {
  State& t = *state_;
  if (t.goaway_sent || t.over) return;
  t.goaway_sent = true;
  encode_goaway(t.control.back(), code, t.side == Side::connector ? t.streams.last() : 0);
}

Result<> Tunnel::feed(Bytes bytes, Instant now) {
  State& t = *state_;
  TG_CHECK(!t.busy);
  t.now = std::max(t.now, now);
  if (!t.over && !bytes.empty()) {
    t.busy = true;
    t.feed(bytes);
    t.busy = false;
  }
  return t.result();
}

std::size_t Tunnel::produce(MutBytes out, Instant now) {
  State& t = *state_;
  TG_CHECK(!t.busy);
  t.now = std::max(t.now, now);
  t.busy = true;
  const std::size_t n = t.produce(out);
  t.busy = false;
  return n;
}

bool Tunnel::wants_output() const noexcept { return state_->wants_output(); }
std::size_t Tunnel::credit(StreamId id) const noexcept {
  const Stream* s = state_->streams.find(id);
  return s != nullptr && s->opened ? s->send_credit : 0;
}
bool Tunnel::alive(StreamId id) const noexcept { return state_->streams.contains(id); }
std::size_t Tunnel::streams() const noexcept { return state_->streams.size(); }
bool Tunnel::going_away() const noexcept { return state_->goaway_sent || state_->goaway_received; }
std::optional<Duration> Tunnel::round_trip() const noexcept { return state_->round_trip; }

Tunnel::Pings Tunnel::pings() const noexcept { return state_->pings; }

void Tunnel::ping(Instant now) {
  State& t = *state_;
  t.now = now;
  if (!t.ping_out) t.send_ping();
}

Result<> Tunnel::on_timeout(Instant now) {
  State& t = *state_;
  t.now = std::max(t.now, now);
  if (t.over) return t.result();
  if (t.now - kLate > t.due()) t.grace_until = t.now + kLate;
  if (t.now < t.grace_until) return {};
  if (t.ping_out && t.now >= std::max(t.ping_at, t.last_heard) + t.limits.dead_after) {
    t.fail(Code::none, Errc::timed_out, "the peer does not answer");
    return t.result();
  }
  const bool ask = t.now >= t.last_heard + t.limits.ping_after || t.now >= t.ask_from();
  if (t.now >= t.tell_from()) t.asked = true;
  if (ask && !t.ping_out) t.send_ping();
  if (t.now >= t.silent_from()) t.silent = true;
  return {};
}

Instant Tunnel::next_deadline() const noexcept {
  const State& t = *state_;
  if (t.over) return t.over_told ? kNever : t.now;
  return t.due();
}

void Tunnel::doubt(Instant since, Instant now) {
  State& t = *state_;
  ping(now);
  const Duration patience =
      std::min(t.limits.silent_after, std::max(t.limits.ask_after, 2 * t.round_trip.value_or(Duration::zero())));
  const Instant asked_at = t.ping_sent ? t.ping_at : now;
  t.said = std::min(t.said, std::max(since, asked_at + patience - t.limits.silent_after));
}

bool Tunnel::silent() const noexcept { return state_->silent; }
bool Tunnel::asked() const noexcept { return state_->asked; }
Instant Tunnel::owed() const noexcept { return state_->owed(); }
void Tunnel::progress(Instant when) noexcept { state_->progress_at = std::max(state_->progress_at, when); }

Instant Tunnel::State::due() const noexcept {
  Instant next = ping_out ? std::max(ping_at, last_heard) + limits.dead_after : last_heard + limits.ping_after;
  next = std::min({next, ask_from(), tell_from()});
  if (!silent) next = std::min(next, silent_from());
  return std::max(next, grace_until);
}

Instant Tunnel::State::ask_from() const noexcept { return said == kNever || ping_out ? kNever : owed() + limits.ask_after; }

Instant Tunnel::State::tell_from() const noexcept {
  const Instant words = std::min(said_words, said_since_ping);
  return words == kNever || asked ? kNever : std::max({words, last_heard, progress_at}) + limits.ask_after;
}

Instant Tunnel::State::silent_from() const noexcept {
  if (said == kNever) return kNever;
  return std::min(std::max(owed(), progress_at) + limits.silent_after, owed() + kMostProgress * limits.silent_after);
}

void Tunnel::State::note_said(bool ping) noexcept {
  if (side != Side::client) return;
  if (ping_sent) said_since_ping = std::min(said_since_ping, now);   // words: there is one PING at a time
  else said = std::min(said, now);
  if (!ping_sent && !ping) said_words = std::min(said_words, now);
}

Result<> Tunnel::State::may_open(std::string_view host) const {
  if (over || goaway_sent || goaway_received) return tg::fail(Errc::closed, "the tunnel takes no new streams");
  if (!fits(host)) return tg::fail(Errc::invalid_argument, "this name does not fit a frame");
  if (streams.size() >= limits.max_streams || streams.last() == UINT32_MAX) {
    return tg::fail(Errc::exhausted, "the tunnel has no stream left");
  }
  if (control.size() > limits.max_queued_control / 4) {
    return tg::fail(Errc::exhausted, "the peer does not read");   // the rest is for frames that cannot be refused
  }
  if (!own_resets.left(now)) return tg::fail(Errc::exhausted, "too many streams reset right after they were opened");
  return {};
}

void Tunnel::State::update_ready(Stream& s) noexcept {
  if (!s.can_send()) return ready.remove(s);
  if (s.ready.in) return;
  s.turn_left = kPayloadMax;
  ready.push(s);
}

void Tunnel::State::end(Stream& s) {
  ready.remove(s);
  giving.remove(s);
  windows -= s.window;
  streams.remove(s);
}

void Tunnel::State::end_if_done(Stream& s) {
  if (s.fin_sent && s.fin_received) end(s);
}

std::uint32_t Tunnel::State::first_credit() const noexcept {
  const std::uint32_t most = std::clamp(limits.first_credit, 1u, kCreditMax);
  return windows + most <= limits.total_credit ? most : std::min(most, std::max(limits.least_credit, 1u));
}

void Tunnel::State::set_window(Stream& s, std::uint32_t window) noexcept {
  s.window = s.receive_credit = window;
  windows += window;
}

// grow doubles a window that was used up within kGrowth round trips: then it, and not the sender, sets the pace. Round trips
// are those without a queue: the larger the windows, the longer the queues before a narrow line, at a relay too, and
// windows measured by these would grow without need.
void Tunnel::State::grow(Stream& s, std::uint32_t consumed) noexcept {
  s.epoch_bytes += consumed;
  if (s.epoch_bytes < s.window) return;
  const bool fast = round_trip && now - s.epoch < kGrowth * std::max(std::min(least, least_before), kLeastLoop);
  const std::uint32_t most = std::min(limits.max_credit, kCreditMax);
  if (fast && s.window < most) {
    const std::uint32_t more = std::min(s.window, most - s.window);
    // No window shrinks again: the large ones leave a part to the streams that come.
    const std::uint64_t total = s.window < kLargeWindow ? limits.total_credit : limits.total_credit / 4 * 3;
    if (windows + more <= total) {
      s.window += more;
      windows += more;
    }
  }
  s.epoch = now;
  s.epoch_bytes = 0;
}

void Tunnel::State::control_added() {
  if (control.size() > limits.max_queued_control) flooded("it does not read what it is sent");
}

void Tunnel::State::send_ping() {
  ping_out = true;
  ping_sent = false;
  ping_at = now;
  ++ping_number;
  late_before += late_since;
  late_since = 0;
  encode_ping(control.back(), false, ping_number);
}

// sample_round_trip is RFC 6298 section 2's smoothing with a gain of 1/4: samples are few.
void Tunnel::State::sample_round_trip() noexcept {
  const Duration sample = now - ping_at;
  round_trip = round_trip ? (*round_trip * 3 + sample) / 4 : sample;
  if (now - least_since > kLeastFor) {
    least_before = least;
    least = sample;
    least_since = now;
  }
  least = std::min(least, sample);
  pings = {pings.answered + 1, sample};
  ping_out = ping_sent = false;
  said = said_words = std::exchange(said_since_ping, kNever);
  late_before = 0;
}

void Tunnel::State::fail(Code code, Errc errc, std::string text) {
  if (over) return;
  if (code != Code::none) encode_goaway(control.back(), code, side == Side::connector ? streams.last() : 0);
  over = Error{errc, std::move(text)};
}

void Tunnel::State::broken(std::string_view what, FrameType type, StreamId id) {
  fail(Code::protocol_error, Errc::protocol,
       std::string(what) + ": " + std::string(to_string(type)) + " on stream " + std::to_string(id));
}

void Tunnel::State::flooded(std::string_view what) {
  fail(Code::flood, Errc::protocol, "the peer floods this tunnel: " + std::string(what));
}

Result<> Tunnel::State::result() {
  if (!over) return {};
  over_told = true;
  return tl::unexpected<Error>(*over);
}

}  // namespace tg
