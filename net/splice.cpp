#include "net/splice.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace tg::net {
namespace {

constexpr std::size_t kPipe = 256 * 1024;
constexpr Duration kLinger = std::chrono::seconds(10);

struct Pipe {
  Fd out, in;
  std::size_t held = 0;   // bytes in the pipe
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return tl::unexpected(os_error(errno, "make a pipe"));
  Pipe pipe{Fd(ends[0]), Fd(ends[1])};
  ::fcntl(pipe.in.get(), F_SETPIPE_SZ, kPipe);   // best effort: the default of 64 KiB works too
  return pipe;
}

}  // namespace

struct Splice::State : std::enable_shared_from_this<Splice::State> {
  struct Side {
    Fd fd;
    Watch watch;
  };
  struct Direction {
    Side& from;
    Side& to;
    Pipe pipe;
    bool ended = false;       // the sender has said FIN
    bool finished = false;    // and the receiver was told
  };

  State(Fd fa, Fd fb, Pipe p, Pipe q, std::function<void()> d)
      : a{std::move(fa), {}}, b{std::move(fb), {}}, forth{a, b, std::move(p)}, back{b, a, std::move(q)}, done(std::move(d)) {}

  Side a, b;
  Direction forth, back;
  std::function<void()> done;
  bool lingering = false;
  Timer linger;             // once one side has ended: TLS has no use for a half-open connection

  // move returns false when the connection has failed.
  static bool move(Direction& d) {
    for (int turn = 0; turn < 8; ++turn) {
      bool progress = false;
      if (!d.ended && d.pipe.held < kPipe) {
        const ssize_t n = ::splice(d.from.fd.get(), nullptr, d.pipe.in.get(), nullptr, kPipe, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (n == 0) d.ended = true;
        if (n > 0) d.pipe.held += static_cast<std::size_t>(n);
        if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
        progress = n > 0;
      }
      if (d.pipe.held > 0) {
        const ssize_t n =
            ::splice(d.pipe.out.get(), nullptr, d.to.fd.get(), nullptr, d.pipe.held, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (n > 0) d.pipe.held -= static_cast<std::size_t>(n);
        if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
        if (n <= 0) break;
        progress = true;
      }
      if (!progress) break;
    }
    if (d.ended && d.pipe.held == 0 && !d.finished) {
      d.finished = true;
      ::shutdown(d.to.fd.get(), SHUT_WR);
    }
    d.from.watch.want_read(!d.ended && d.pipe.held == 0);
    d.to.watch.want_write(d.pipe.held > 0);
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

Result<std::unique_ptr<Splice>> Splice::start(Loop& loop, Fd a, Fd b, Buffer first, std::function<void()> done) {
  auto forth = make_pipe();
  if (!forth) return pass_on(forth);
  auto back = make_pipe();
  if (!back) return pass_on(back);
  // The first bytes (at most a ClientHello) fit an empty pipe.
  if (!first.empty()) {
    const ssize_t n = ::write(forth->in.get(), first.data(), first.size());
    if (n != static_cast<ssize_t>(first.size())) return fail(Errc::exhausted, "could not start to pass on a connection");
    forth->held = first.size();
  }
  auto state = std::make_shared<State>(std::move(a), std::move(b), std::move(*forth), std::move(*back), std::move(done));
  State* s = state.get();
  s->a.watch = Watch(loop, s->a.fd.get(), [s] { s->pump(s->forth); }, [s] { s->pump(s->back); });
  s->b.watch = Watch(loop, s->b.fd.get(), [s] { s->pump(s->back); }, [s] { s->pump(s->forth); });
  s->linger = Timer(loop, [s] {
    const auto self = s->shared_from_this();
    if (s->done) s->end();
  });
  s->a.watch.want_read(true);
  s->b.watch.want_read(true);
  s->b.watch.want_write(s->forth.pipe.held > 0);
  return std::unique_ptr<Splice>(new Splice(std::move(state)));
}

Splice::~Splice() {
  state_->done = nullptr;
  state_->linger = {};
  state_->a.watch = {};
  state_->b.watch = {};
}

}  // namespace tg::net
