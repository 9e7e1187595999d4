#include "net/tls.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>

#include <cerrno>

#include <fmt/format.h>

#include "net/tls_context.h"

namespace tg::net {
namespace {

constexpr std::size_t kReadBatch = 256 * 1024;
constexpr std::size_t kRecordMax = Tls::kRecord + 256 + 5;   // RFC 8446 section 5.2
constexpr int kNotSentLowWater = 16 * 1024;                  // the kernel's own queue of unsent bytes

// The bytes of one recv() for whichever connection is being read, and what is in their records: connections keep nothing while
// they are idle.
Buffer& scratch() {
  thread_local Buffer bytes(kReadBatch + kRecordMax);
  return bytes;
}
Buffer& opened() {
  thread_local Buffer bytes(kReadBatch + kRecordMax);
  return bytes;
}

}  // namespace

struct Tls::State : std::enable_shared_from_this<Tls::State> {
  State(Loop& l, Fd f, TlsContext c, Callbacks calls) : loop(l), fd(std::move(f)), context(std::move(c)), callbacks(std::move(calls)) {}

  Loop& loop;
  Fd fd;
  TlsContext context;        // keeps the SSL_CTX alive
  Callbacks callbacks;
  std::string expect_uri;
  bssl::UniquePtr<SSL> ssl;
  std::optional<Error> refused;   // why there is no handshake
  Watch watch;
  Timer deadline;
  std::optional<Result<Identity>> shown;   // whom the client's leaf names, before its handshake is done
  std::optional<Identity> identity;
  std::string root_pem;
  Endpoint peer;

  Bytes in;                  // what BIO_read takes from: a part of scratch(), or of `held`
  Buffer held;               // sealed bytes kept between two reads: less than a record, or more while paused
  Buffer out;                // sealed bytes on their way to the kernel, from `out_at`
  std::size_t out_at = 0;
  std::uint64_t taken = 0;   // by the kernel
  bool connecting = false;
  bool open = false;
  bool paused = false;
  bool closing = false;
  bool finished = false;     // on_close was called, or the owner is gone
  bool flush_posted = false;
  bool in_room = false;

  std::size_t queued() const { return out.size() - out_at; }

  void start(const std::string& server_name);
  void on_writable();
  void on_readable();
  void receive(Bytes first);
  void process();
  void handshake();
  void read_records();
  void send_out();
  void post_flush();
  void end(Error e);
  Error ssl_error(int code, const char* doing);
};

namespace {

int bio_read(BIO* bio, char* to, int size) {
  auto* state = static_cast<Tls::State*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (state->in.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const std::size_t n = std::min(state->in.size(), static_cast<std::size_t>(size));
  std::memcpy(to, state->in.data(), n);
  state->in = state->in.subspan(n);
  return static_cast<int>(n);
}

int bio_write(BIO* bio, const char* from, int size) {
  auto* state = static_cast<Tls::State*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(from);
  state->out.insert(state->out.end(), bytes, bytes + size);
  return size;
}

long bio_ctrl(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO* new_bio(Tls::State* state) {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tg");
    BIO_meth_set_read(m, bio_read);
    BIO_meth_set_write(m, bio_write);
    BIO_meth_set_ctrl(m, bio_ctrl);
    return m;
  }();
  BIO* bio = BIO_new(method);
  BIO_set_data(bio, state);
  BIO_set_init(bio, 1);
  return bio;
}

}  // namespace

void client_leaf(SSL* ssl, X509* leaf) {
  auto* state = static_cast<Tls::State*>(SSL_get_app_data(ssl));
  if (leaf != nullptr) state->shown = read_identity(leaf);
}

void Tls::State::start(const std::string& server_name) {
  ssl.reset(SSL_new(context.state()->context.get()));
  SSL_set_app_data(ssl.get(), this);
  SSL_set_shed_handshake_config(ssl.get(), 1);
  BIO* bio = new_bio(this);
  SSL_set_bio(ssl.get(), bio, bio);
  set_nodelay(fd.get());
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kNotSentLowWater, sizeof kNotSentLowWater);
  SockAddr address;
  if (::getpeername(fd.get(), address.raw(), &address.size) == 0) peer = address.endpoint();
  if (context.state()->server) {
    SSL_set_accept_state(ssl.get());
  } else {
    SSL_set_connect_state(ssl.get());
    if (context.state()->web) {
      if (auto named = expect_name(ssl.get(), server_name); !named) refused = std::move(named.error());
    } else if (!server_name.empty()) {
      SSL_set_tlsext_host_name(ssl.get(), server_name.c_str());
    }
  }
  connecting = !context.state()->server;
  const std::weak_ptr<State> weak = weak_from_this();
  deadline = Timer(loop, [weak] {
    if (auto self = weak.lock()) self->end({Errc::timed_out, "no answer within the time for a TLS handshake"});
  });
  deadline.after(kHandshakeTimeout);
  watch = Watch(
      loop, fd.get(), [weak] { if (auto self = weak.lock()) self->on_readable(); },
      [weak] { if (auto self = weak.lock()) self->on_writable(); });
  watch.want_read(!connecting);
  watch.want_write(connecting);
}

void Tls::State::on_writable() {
  const auto self = shared_from_this();
  if (connecting) {
    if (const int err = connect_error(fd.get()); err != 0) return end(os_error(err, "connect"));
    connecting = false;
    SockAddr address;
    if (::getpeername(fd.get(), address.raw(), &address.size) == 0) peer = address.endpoint();
    watch.want_write(false);
    watch.want_read(true);
    return handshake();
  }
  send_out();
}

void Tls::State::on_readable() {
  const auto self = shared_from_this();
  receive({});
}

// Puts what was held in front of what the socket has, and works on it until it is used up or reading is paused.
void Tls::State::receive(Bytes first) {
  Buffer& buffer = scratch();
  // Bounded turns, so that one busy connection does not keep the Loop from the others.
  for (int turn = 0; turn < 4 && !finished && !paused; ++turn) {
    std::size_t size = std::min(held.size(), buffer.size());
    if (size > 0) std::memcpy(buffer.data(), held.data(), size);
    if (!first.empty()) {
      TG_CHECK(first.size() <= buffer.size() - size);
      std::memcpy(buffer.data() + size, first.data(), first.size());
      size += first.size();
      first = {};
    }
    const std::size_t room = buffer.size() - size;
    const ssize_t got = room > 0 ? ::recv(fd.get(), buffer.data() + size, room, 0) : -1;
    const int err = room > 0 ? errno : EAGAIN;
    if (got > 0) size += static_cast<std::size_t>(got);
    in = {buffer.data(), size};
    process();
    if (finished) return;
    held.assign(in.begin(), in.end());
    if (held.empty() && (held.capacity() > 4096 || !context.state()->bulk)) Buffer().swap(held);
    in = {};
    if (got == 0) {
      // What a close_notify did not end may have been cut short by anybody on the way (RFC 9112 section 9.8).
      if (open && context.state()->web) return end({Errc::protocol, "the connection was cut off (no close_notify)"});
      return end({Errc::closed, "the peer closed the connection"});
    }
    if (got < 0) {
      if (err == EAGAIN || err == EINTR) return;
      return end(os_error(err, "read"));
    }
    if (static_cast<std::size_t>(got) < kReadBatch / 4) return;   // the socket is most likely empty
  }
}

void Tls::State::process() {
  if (!open) handshake();
  if (open && !finished) read_records();
}

void Tls::State::handshake() {
  if (refused) return end(*refused);
  const int result = SSL_do_handshake(ssl.get());
  send_out();
  if (finished) return;
  if (result == 1) {
    deadline.cancel();
    const bssl::UniquePtr<X509> leaf(SSL_get_peer_certificate(ssl.get()));   // a server's
    if (leaf && !context.state()->web) shown = read_identity(leaf.get());
    if (shown) {
      if (!*shown) return end(std::move(shown->error()));
      if (!expect_uri.empty() && to_uri(**shown) != expect_uri) {
        return end({Errc::denied, fmt::format("the peer is {}, not {}", to_uri(**shown), expect_uri)});
      }
      identity = std::move(**shown);
      shown.reset();
    }
    if (!context.state()->pin.empty()) root_pem = pinned_root_pem(ssl.get(), context.state()->pin);
    open = true;
    callbacks.on_open();
    return;
  }
  const int code = SSL_get_error(ssl.get(), result);
  if (code != SSL_ERROR_WANT_READ && code != SSL_ERROR_WANT_WRITE) end(ssl_error(code, "TLS handshake"));
}

void Tls::State::read_records() {
  Buffer& plain = opened();
  const std::size_t most = context.state()->bulk ? plain.size() : kRecord;   // handed over at once
  while (!finished && !paused) {
    std::size_t size = 0;
    int n = 1;
    while (n > 0 && size + kRecord <= most) {
      n = SSL_read(ssl.get(), plain.data() + size, static_cast<int>(kRecord));
      if (n > 0) size += static_cast<std::size_t>(n);
    }
    const int code = n > 0 ? SSL_ERROR_NONE : SSL_get_error(ssl.get(), n);
    std::optional<Error> over;                  // asked for before somebody else uses the library
    if (code == SSL_ERROR_ZERO_RETURN) over = Error{Errc::closed, "the peer closed the connection"};
    else if (code != SSL_ERROR_NONE && code != SSL_ERROR_WANT_READ) over = ssl_error(code, "TLS");
    if (size > 0) callbacks.on_data({plain.data(), size});
    if (over && !finished) return end(std::move(*over));
    if (code != SSL_ERROR_NONE) break;
  }
}

Error Tls::State::ssl_error(int code, const char* doing) {
  // A chain with a bad signature leaves why, and then that it was refused.
  const std::uint32_t reason = context.state()->web ? ERR_peek_last_error() : ERR_peek_error();
  if (code == SSL_ERROR_SSL && ERR_GET_REASON(reason) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    ERR_clear_error();
    return verify_error(ssl.get(), context.state()->web);
  }
  const char* text = ERR_reason_error_string(reason);
  const bool alert = ERR_GET_REASON(reason) >= SSL_AD_REASON_OFFSET;
  ERR_clear_error();
  if (text == nullptr) return {Errc::closed, fmt::format("{}: the connection ended", doing)};
  return {alert ? Errc::denied : Errc::protocol, fmt::format("{}: {}{}", doing, alert ? "the peer refused: " : "", text)};
}

void Tls::State::send_out() {
  while (queued() > 0) {
    const ssize_t n = ::send(fd.get(), out.data() + out_at, queued(), MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) break;
      return end(os_error(errno, "write"));
    }
    out_at += static_cast<std::size_t>(n);
    taken += static_cast<std::uint64_t>(n);
  }
  if (queued() == 0) {
    out_at = 0;
    out.clear();
    if (!open || !context.state()->bulk) Buffer().swap(out);
  } else if (out_at > kHighWater) {
    out.erase(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(out_at));
    out_at = 0;
  }
  if (watch) watch.want_write(queued() > 0 || connecting);
  if (closing && queued() == 0) {
    ::shutdown(fd.get(), SHUT_WR);
    return end({Errc::closed, "closed"});
  }
  if (open && !closing && !in_room && queued() < kLowWater && callbacks.on_room) {
    in_room = true;
    callbacks.on_room();
    in_room = false;
  }
}

void Tls::State::post_flush() {
  if (flush_posted) return;
  flush_posted = true;
  loop.post([weak = weak_from_this()] {
    if (auto self = weak.lock()) {
      self->flush_posted = false;
      if (!self->finished && !self->connecting) self->send_out();
    }
  });
}

void Tls::State::end(Error e) {
  if (finished) return;
  finished = true;
  watch = {};
  deadline = {};
  fd.reset();
  const auto self = shared_from_this();
  if (callbacks.on_close) callbacks.on_close(e);
}

Tls::Tls(Loop& loop, Fd fd, const TlsContext& context, Callbacks callbacks, std::string server_name, std::string expect_uri)
    : state_(std::make_shared<State>(loop, std::move(fd), context, std::move(callbacks))) {
  state_->expect_uri = std::move(expect_uri);
  state_->start(server_name);
}

Tls::~Tls() {
  state_->finished = true;
  state_->watch = {};
  state_->deadline = {};
  state_->fd.reset();
}

void Tls::feed_first(Bytes bytes) {
  const auto state = state_;
  state->receive(bytes);
}

void Tls::write(Bytes plain) {
  State& s = *state_;
  if (s.finished || s.closing || !s.open) return;
  while (!plain.empty()) {
    const Bytes record = plain.first(std::min(plain.size(), kRecord));
    if (SSL_write(s.ssl.get(), record.data(), static_cast<int>(record.size())) <= 0) {
      s.loop.post([weak = s.weak_from_this()] {
        if (auto self = weak.lock()) self->end({Errc::protocol, "TLS: the connection ended"});
      });
      return;
    }
    plain = plain.subspan(record.size());
  }
  s.post_flush();
}

void Tls::flush() {
  const auto state = state_;
  if (!state->finished && !state->connecting) state->send_out();
}

std::size_t Tls::queued() const noexcept { return state_->queued(); }
std::uint64_t Tls::taken() const noexcept { return state_->taken; }

std::optional<Instant> Tls::acknowledged() const noexcept {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (!state_->fd || ::getsockopt(state_->fd.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  if (info.tcpi_unacked == 0) return std::nullopt;
  return Loop::now() - std::chrono::milliseconds(info.tcpi_last_ack_recv);
}

void Tls::pause_reading(bool paused) {
  State& s = *state_;
  if (s.finished || s.paused == paused) return;
  s.paused = paused;
  if (s.watch && !s.connecting) s.watch.want_read(!paused);
  if (paused) return;
  // Records that were already read wait in `held` and in the SSL object: the socket will not speak of them again.
  s.loop.post([weak = s.weak_from_this()] {
    if (auto self = weak.lock(); self && !self->finished && !self->paused) self->receive({});
  });
}

void Tls::close() {
  const auto state = state_;
  if (state->finished || state->closing) return;
  if (!state->open) return state->end({Errc::closed, "closed"});
  SSL_shutdown(state->ssl.get());
  state->closing = true;
  state->send_out();
}

const std::optional<Identity>& Tls::identity() const noexcept { return state_->identity; }
const std::string& Tls::root_pem() const noexcept { return state_->root_pem; }
Endpoint Tls::peer() const noexcept { return state_->peer; }

}  // namespace tg::net
