#include "net/tunnel_link.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>
#include <vector>

#include "core/device_quota.h"
#include "core/send_ahead.h"
#include "net/files.h"

namespace tg::net {
namespace {
constexpr Duration kFarewell = std::chrono::seconds(5);   // for last words to leave; a peer may not read them

constexpr std::size_t kPumpTurn = 256 * 1024;
constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

// limit_in returns the number that a file holds; "max" is none, as is no file.
std::uint64_t limit_in(const std::string& path) {
  const auto text = read_file(path);
  std::uint64_t bytes = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), bytes).ec != std::errc()) return kNoLimit;
  return bytes;
}
}  // namespace

std::uint64_t group_memory(std::string_view groups, const std::string& root) {
  std::uint64_t least = kNoLimit;
  while (!groups.empty()) {   // "0::/PATH" is version 2, "9:cpu,memory:/PATH" version 1
    const std::string_view line = groups.substr(0, groups.find('\n'));
    groups.remove_prefix(std::min(line.size() + 1, groups.size()));
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string controllers = "," + std::string(line.substr(first + 1, second - first - 1)) + ",";
    const bool two = controllers == ",,";
    if (!two && controllers.find(",memory,") == std::string::npos) continue;
    // A container may see its own group as the root and yet read its path on the host: then only the root is there.
    for (std::string path(line.substr(second + 1));; path.erase(path.rfind('/'))) {
      if (path == "/") path.clear();
      least = std::min(least, limit_in(root + (two ? path + "/memory.max" : "/memory" + path + "/memory.limit_in_bytes")));
      if (path.find('/') == std::string::npos) break;
    }
  }
  return least;
}

std::uint64_t memory() {
  static const std::uint64_t bytes = [] {
    const long pages = ::sysconf(_SC_PHYS_PAGES), size = ::sysconf(_SC_PAGESIZE);
    const bool known = pages > 0 && size > 0;
    const std::uint64_t all = known ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(size) : 1u << 30;
    const auto groups = read_file("/proc/self/cgroup");
    return groups ? std::min(all, group_memory(*groups)) : all;
  }();
  return bytes;
}

TunnelLimits limits_of(Tunnel::Side side, std::uint64_t memory) {
  TunnelLimits limits;
  if (side == Tunnel::Side::connector) {
    limits.total_credit = std::min<std::uint64_t>(limits.total_credit, DeviceQuota::window_limit(memory));
  }
  return limits;
}

struct TunnelLink::State : std::enable_shared_from_this<TunnelLink::State> {
  State(Loop& l, Tunnel::Side side, TunnelHandler& handler, Callbacks c, const TunnelLimits& limits)
      : loop(l), callbacks(std::move(c)), tunnel(side, handler, Loop::now(), limits) {}

  Loop& loop;
  Callbacks callbacks;
  Tunnel tunnel;
  std::unique_ptr<Tls> tls;
  SendAhead ahead;
  Timer timer, attempt;
  std::uint64_t in = 0, out = 0;
  std::vector<Batch*> batches;      // that wait; nullptr where one was forgotten
  bool receiving = false;
  bool silent = false;      // and on_silence was told so
  bool asked = false;       // and on_asked was
  bool open = false;
  bool ended = false;
  bool kicked = false;
  bool pumping = false;
  bool closing = false;

  // pump gives the socket what there is until it takes no more: then on_room calls again. After kPumpTurn it is somebody else's turn.
  void pump() {
    if (!open || ended || std::exchange(pumping, true)) return;
    std::size_t all = 0;
    bool again = false;
    do {
      const std::uint64_t taken = tls->taken();
      const std::size_t made = produce();
      if (ended) return;
      all += made;
      again = tls->queued() == 0 && (made > 0 || tls->taken() != taken);   // a queue that was full before, too
    } while (again && all < kPumpTurn);
    pumping = false;
    if (again) kick();
    timer.at(tunnel.next_deadline());
    if (closing && !tunnel.wants_output()) tls->close();
  }

  // produce fills what may wait for the socket, and offers it. Returns how much was new.
  std::size_t produce() {
    alignas(64) std::uint8_t record[Tls::kRecord];
    const std::uint64_t before = out;
    ahead.taken(tls->taken(), Loop::now());
    while (tls->queued() < ahead.limit()) {
      const std::size_t n = tunnel.produce(record, Loop::now());
      if (n == 0) break;
      out += n;
      tls->write({record, n});
    }
    tls->flush();   // may end this
    return static_cast<std::size_t>(out - before);
  }

  void received(Bytes bytes) {
    in += bytes.size();
    receiving = true;
    auto fed = tunnel.feed(bytes, Loop::now());
    receiving = false;
    for (std::size_t i = 0; i < batches.size(); ++i) {
      if (Batch* b = batches[i]) b->batch_over();
    }
    batches.clear();
    if (ended) return;
    if (!fed) {
      pump();   // the GOAWAY that says why
      return end(fed.error());
    }
    kick();
    tell_silence();
  }

  void tell_silence() {
    if (!ended && asked != tunnel.asked()) {
      asked = tunnel.asked();
      if (asked && callbacks.on_asked) callbacks.on_asked();
    }
    if (ended || silent == tunnel.silent()) return;
    silent = !silent;
    if (callbacks.on_silence) callbacks.on_silence(silent);
  }

  void kick() {
    if (kicked || ended || !open) return;
    kicked = true;
    loop.post([weak = weak_from_this()] {
      if (auto s = weak.lock()) {
        s->kicked = false;
        s->pump();
      }
    });
  }

  void on_timer() {
    if (const auto at = tls->acknowledged()) tunnel.progress(*at);
    if (auto alive = tunnel.on_timeout(Loop::now()); !alive) return end(alive.error());
    pump();
    tell_silence();
  }

  void end(const Error& e) {
    if (ended) return;
    const auto self = shared_from_this();
    ended = true;
    open = false;
    timer = {};
    attempt = {};
    tls.reset();
    if (callbacks.on_close) callbacks.on_close(e);
  }
};

TunnelLink::TunnelLink(Loop& loop, Fd fd, const TlsContext& context, Tunnel::Side side, TunnelHandler& handler,
                       Callbacks callbacks, std::string server_name, std::string expect_uri, Duration attempt,
                       std::optional<TunnelLimits> limits)
    : state_(std::make_shared<State>(loop, side, handler, std::move(callbacks),
                                     limits ? *limits : limits_of(side, memory()))) {
  const std::weak_ptr<State> weak = state_;
  const auto later = [weak](void (State::*what)()) {
    return [weak, what] {
      if (auto s = weak.lock(); s && !s->ended) (s.get()->*what)();
    };
  };
  state_->timer = Timer(loop, later(&State::on_timer));
  state_->attempt = Timer(loop, [weak] {
    if (auto s = weak.lock()) s->end({Errc::timed_out, "no answer"});
  });
  state_->attempt.after(attempt);
  state_->tls = std::make_unique<Tls>(
      loop, std::move(fd), context,
      Tls::Callbacks{[s = state_.get()] {
                       if (!s->closing) s->attempt.cancel();
                       s->open = true;
                       s->timer.at(s->tunnel.next_deadline());
                       if (s->callbacks.on_open) s->callbacks.on_open();
                       s->kick();
                     },
                     [s = state_.get()](Bytes b) {
                       const auto self = s->shared_from_this();
                       s->received(b);
                     },
                     [s = state_.get()] {
                       const auto self = s->shared_from_this();
                       s->pump();
                     },
                     [s = state_.get()](const Error& e) { s->end(e); }},
      std::move(server_name), std::move(expect_uri));
}

TunnelLink::~TunnelLink() {
  state_->ended = true;
  state_->timer = {};
  state_->attempt = {};
  state_->tls.reset();
}

bool TunnelLink::wait_for_batch(Batch& batch) {
  if (state_->receiving) state_->batches.push_back(&batch);
  return state_->receiving;
}
void TunnelLink::forget_batch(Batch& batch) noexcept {
  std::replace(state_->batches.begin(), state_->batches.end(), &batch, static_cast<Batch*>(nullptr));
}

Tunnel& TunnelLink::tunnel() noexcept { return state_->tunnel; }
void TunnelLink::kick() { state_->kick(); }

void TunnelLink::probe() {
  if (!state_->open) return;
  state_->tunnel.ping(Loop::now());
  state_->kick();
}

void TunnelLink::close(Code code) {
  state_->tunnel.goaway(code);
  const bool again = std::exchange(state_->closing, true);
  if (!again && !state_->ended) state_->attempt.after(kFarewell);
  state_->kick();
}

void TunnelLink::doubt(Instant since) {
  if (!state_->open) return;
  state_->tunnel.doubt(since, Loop::now());
  state_->kick();
}

bool TunnelLink::open() const noexcept { return state_->open; }
const std::optional<Identity>& TunnelLink::identity() const noexcept {
  static const std::optional<Identity> none;
  return state_->tls ? state_->tls->identity() : none;
}
Endpoint TunnelLink::peer() const noexcept { return state_->tls ? state_->tls->peer() : Endpoint{}; }
std::uint64_t TunnelLink::bytes_in() const noexcept { return state_->in; }
std::uint64_t TunnelLink::bytes_out() const noexcept { return state_->out; }

}  // namespace tg::net
