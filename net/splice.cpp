#include "net/splice.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

namespace tg::net {
namespace {

constexpr std::size_t kPipe = 256 * 1024;
constexpr Duration kLinger = std::chrono::seconds(10);
constexpr std::size_t kSpareMost = 64;

}  // namespace

Result<PipePool::Pipe> PipePool::take() {
  if (!spare_.empty()) {
    Pipe pipe = std::move(spare_.back());
    spare_.pop_back();
    return pipe;
  }
  int ends[2];
  if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return tl::unexpected(os_error(errno, "make a pipe"));
  Pipe pipe{Fd(ends[0]), Fd(ends[1])};
  ::fcntl(pipe.in.get(), F_SETPIPE_SZ, kPipe);   // best effort: a smaller one works too
  return pipe;
}

void PipePool::give(Pipe empty) {
  if (spare_.size() < kSpareMost) spare_.push_back(std::move(empty));
}

struct Splice::State : std::enable_shared_from_this<Splice::State> {
  struct Side {
    Fd fd;
    Watch watch;
  };
  struct Direction {
    Side& from;
    Side& to;
    std::optional<PipePool::Pipe> pipe{};   // while there are bytes in it
    std::size_t held = 0;                   // how many
    bool ended = false;       // the sender has said FIN
    bool finished = false;    // and the receiver was told
  };

  State(PipePool& p, Fd fa, Fd fb, std::function<void()> d)
      : pipes(p), a{std::move(fa), {}}, b{std::move(fb), {}}, forth{a, b}, back{b, a}, done(std::move(d)) {}

  PipePool& pipes;
  Side a, b;
  Direction forth, back;
  std::function<void()> done;
  bool lingering = false;
  Timer linger;             // once one side has ended: TLS has no use for a half-open connection

  bool has_pipe(Direction& d) {
    if (d.pipe) return true;
    auto pipe = pipes.take();
    if (!pipe) return false;
    d.pipe = std::move(*pipe);
    return true;
  }

  // move returns false when the connection has failed.
  bool move(Direction& d) {
    if (!has_pipe(d)) return false;
    for (int turn = 0; turn < 8; ++turn) {
      bool progress = false;
      if (!d.ended && d.held < kPipe) {
        const ssize_t n = ::splice(d.from.fd.get(), nullptr, d.pipe->in.get(), nullptr, kPipe, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (n == 0) d.ended = true;
        if (n > 0) d.held += static_cast<std::size_t>(n);
        if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
        progress = n > 0;
      }
      if (d.held > 0) {
        const ssize_t n =
            ::splice(d.pipe->out.get(), nullptr, d.to.fd.get(), nullptr, d.held, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (n > 0) {
          d.held -= static_cast<std::size_t>(n);
          pipes.count(static_cast<std::size_t>(n));
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
        if (n <= 0) break;
        progress = true;
      }
      if (!progress) break;
    }
    if (d.held == 0) {
      pipes.give(std::move(*d.pipe));
      d.pipe.reset();
    }
    if (d.ended && d.held == 0 && !d.finished) {
      d.finished = true;
      ::shutdown(d.to.fd.get(), SHUT_WR);
    }
    d.from.watch.want_read(!d.ended && d.held == 0);
    d.to.watch.want_write(d.held > 0);
    return true;
  }

  void pump(Direction& d) {
    const auto self = shared_from_this();
    if (!done) return;
    if (move(d) && !(forth.finished && back.finished)) {
      if ((forth.finished || back.finished) && !lingering) {
        lingering = true;
        linger.after(kLinger);
      }
      return;
    }
    end();
  }

  void end() {
    const auto call = std::move(done);
    done = nullptr;
    linger = {};
    a.watch = {};
    b.watch = {};
    a.fd.reset();
    b.fd.reset();
    if (call) call();
  }
};

Result<std::unique_ptr<Splice>> Splice::start(Loop& loop, PipePool& pipes, Fd a, Fd b, Buffer first,
                                              std::function<void()> done) {
  auto state = std::make_shared<State>(pipes, std::move(a), std::move(b), std::move(done));
  // The first bytes (at most a ClientHello) fit an empty pipe.
  if (!first.empty()) {
    if (!state->has_pipe(state->forth)) return fail(Errc::exhausted, "there is no pipe left");
    const ssize_t n = ::write(state->forth.pipe->in.get(), first.data(), first.size());
    if (n != static_cast<ssize_t>(first.size())) return fail(Errc::exhausted, "could not start to pass on a connection");
    state->forth.held = first.size();
  }
  State* s = state.get();
  s->a.watch = Watch(loop, s->a.fd.get(), [s] { s->pump(s->forth); }, [s] { s->pump(s->back); });
  s->b.watch = Watch(loop, s->b.fd.get(), [s] { s->pump(s->back); }, [s] { s->pump(s->forth); });
  s->linger = Timer(loop, [s] {
    const auto self = s->shared_from_this();
    if (s->done) s->end();
  });
  s->a.watch.want_read(true);
  s->b.watch.want_read(true);
  s->b.watch.want_write(s->forth.held > 0);
  return std::unique_ptr<Splice>(new Splice(std::move(state)));
}

Splice::~Splice() {
  state_->done = nullptr;
  state_->linger = {};
  state_->a.watch = {};
  state_->b.watch = {};
}

}  // namespace tg::net
