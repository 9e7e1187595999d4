#include "net/dial.h"

#include <fmt/format.h>

namespace tg::net {
namespace {
constexpr Duration kNextAddress = std::chrono::milliseconds(250);
}

struct Dial::State : std::enable_shared_from_this<Dial::State> {
  struct Attempt {
    Fd fd;
    Watch watch;   // destroyed before fd
  };

  State(Loop& l, HostPort t, std::function<void(Result<Fd>)> d) : loop(l), to(std::move(t)), done(std::move(d)) {}

  Loop& loop;
  HostPort to;
  std::function<void(Result<Fd>)> done;
  Addresses addresses;
  std::size_t next = 0;
  std::vector<std::unique_ptr<Attempt>> attempts;
  std::size_t failed = 0;
  Error last{Errc::not_found, ""};
  Timer timeout, stagger;

  void resolved(Result<Addresses> found) {
    if (!done) return;
    if (!found) return finish(pass_on(found));
    if (found->empty()) return finish(fail(Errc::not_found, fmt::format("{} has no address", to.host)));
    addresses = std::move(*found);
    start_next();
  }

  void start_next() {
    while (done && next < addresses.size()) {
      auto fd = tcp_connect({addresses[next++], to.port});
      if (!fd) {
        last = fd.error();
        ++failed;
        continue;
      }
      attempts.push_back(std::make_unique<Attempt>());
      Attempt* attempt = attempts.back().get();
      attempt->fd = std::move(*fd);
      attempt->watch = Watch(loop, attempt->fd.get(), {}, [self = weak_from_this(), attempt] {
        if (auto s = self.lock()) s->settled(*attempt);
      });
      attempt->watch.want_write(true);
      stagger.after(kNextAddress);
      return;
    }
    if (done && failed == addresses.size()) finish(tl::unexpected(last));
  }

  void settled(Attempt& attempt) {
    if (!done) return;
    const int err = connect_error(attempt.fd.get());
    attempt.watch = {};
    if (err == 0) return finish(std::move(attempt.fd));
    last = os_error(err, fmt::format("connect to {}", to.to_string()));
    attempt.fd.reset();
    ++failed;
    start_next();
  }

  void finish(Result<Fd> result) {
    const auto call = std::move(done);
    done = nullptr;
    timeout = {};
    stagger = {};
    attempts.clear();
    call(std::move(result));
  }
};

Dial::Dial(Loop& loop, HostPort to, ResolveHost resolve, Duration timeout, std::function<void(Result<Fd>)> done)
    : state_(std::make_shared<State>(loop, std::move(to), std::move(done))) {
  const std::weak_ptr<State> weak = state_;
  state_->timeout = Timer(loop, [weak] {
    if (auto s = weak.lock(); s && s->done) {
      s->finish(fail(Errc::timed_out, fmt::format("{} does not answer", s->to.to_string())));
    }
  });
  state_->timeout.after(timeout);
  state_->stagger = Timer(loop, [weak] {
    if (auto s = weak.lock()) s->start_next();
  });
  if (auto literal = IpAddress::parse(state_->to.host)) {
    loop.post([weak, address = *literal] {
      if (auto s = weak.lock()) s->resolved(Addresses{address});
    });
  } else {
    resolve(state_->to.host, [weak](Result<Addresses> found) {
      if (auto s = weak.lock()) s->resolved(std::move(found));
    });
  }
}

Dial::~Dial() {
  state_->done = nullptr;
  state_->timeout = {};
  state_->stagger = {};
  state_->attempts.clear();
}

}  // namespace tg::net
