#include "cmd/client/path_check.h"

#include <fmt/format.h>

namespace tg::client {

struct PathCheck::State {
  net::Loop& loop;
  Config config;
  std::function<void(PathResult)> done;
  PathResult result{};
  Instant began = net::Loop::now();
  net::Timer deadline{};
  std::unique_ptr<net::Dial> dial{};
  std::unique_ptr<net::Tls> tls{};

  Duration since() {
    const Instant now = net::Loop::now();
    return now - std::exchange(began, now);
  }

  void connected(Result<net::Fd> fd) {
    if (!fd) return finish(fd.error());
    result.connect = since();
    result.stage = PathResult::Stage::tls;
    tls = std::make_unique<net::Tls>(loop, std::move(*fd), *config.context,
                                     net::Tls::Callbacks{[this] { opened(); }, [this](Bytes b) { heard(b); }, {},
                                                         [this](const Error& e) { finish(e); }},
                                     config.server_name, config.expect_uri);
    result.peer = tls->peer();
  }

  void opened() {
    result.handshake = since();
    const auto& who = tls->identity();
    if (!config.expect_role.empty() && (!who || who->role != config.expect_role)) {
      return finish(Error{Errc::denied, fmt::format("a {} answers there, not a {}", who ? who->role : "stranger",
                                                    config.expect_role)});
    }
    if (config.ask.empty()) return finish(std::nullopt);
    result.stage = PathResult::Stage::answer;
    tls->write(config.ask);
  }

  void heard(Bytes b) {
    result.heard.insert(result.heard.end(), b.begin(), b.end());
    if (result.stage != PathResult::Stage::answer || !config.whole(result.heard)) return;
    result.answer = since();
    finish(std::nullopt);
  }

  void finish(std::optional<Error> problem) {
    if (!done) return;
    result.problem = std::move(problem);
    if (!result.problem) result.stage = PathResult::Stage::done;
    const auto call = std::move(done);
    done = nullptr;
    deadline = {};
    loop.post([call, r = std::move(result)] { call(r); });   // nothing of the connection is on the stack then
  }
};

PathCheck::PathCheck(net::Loop& loop, Config config, std::function<void(PathResult)> done)
    : state_(new State{loop, std::move(config), std::move(done)}) {
  State* s = state_.get();
  s->deadline = net::Timer(loop, [s] {
    s->finish(Error{Errc::timed_out, s->config.to.to_string() + " does not answer"});
  });
  s->deadline.after(s->config.patience);
  s->dial = std::make_unique<net::Dial>(loop, s->config.to, s->config.resolve, s->config.patience,
                                        [s](Result<net::Fd> fd) { s->connected(std::move(fd)); });
}

PathCheck::~PathCheck() { state_->done = nullptr; }

}  // namespace tg::client
