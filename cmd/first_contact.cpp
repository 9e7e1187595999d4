#include "cmd/first_contact.h"

#include <fmt/format.h>

#include "cmd/clock.h"
#include "core/text.h"
#include "core/view.h"

namespace tg::cmd {
namespace {

// Conversation is one connection, one question, and what follows.
class Conversation {
 public:
  Conversation(const Asked& asked, const Meanwhile& meanwhile)
      : asked_(asked), meanwhile_(meanwhile), deadline_(loop_, [this] { finish(too_late()); }) {}

  Result<Reply> run(const MakeResolver& dns, std::chrono::seconds timeout) {
    deadline_.after(timeout);
    const net::ResolveHost resolve = dns(loop_);   // owns the resolver
    net::Dial dial(loop_, asked_.controller, resolve, timeout, [&](Result<net::Fd> fd) {
      if (!fd) return finish(unreachable(fd.error()));
      tls_ = std::make_unique<net::Tls>(loop_, std::move(*fd), asked_.context,
                                        net::Tls::Callbacks{[this] { ask(); }, [this](Bytes b) { said(b); }, {},
                                                            [this](const Error& e) { ended(e); }});
    });
    loop_.run();
    tls_.reset();
    return std::move(result_);
  }

 private:
  std::string where() const { return asked_.controller.to_string(); }

  tl::unexpected<Error> too_late() const {
    if (!waiting_) return unreachable({Errc::timed_out, "it does not answer"});
    return fail(Errc::timed_out, "nothing more was heard in time");
  }

  tl::unexpected<Error> unreachable(const Error& why) const {
    const std::string what_to_do =
        why.code == Errc::not_found
            ? fmt::format("see that 'tg controller serve --public' names it rightly, and make a new {}", asked_.known_by)
            : fmt::format("see that it runs there, and that nothing on the way blocks TCP port {}", asked_.controller.port);
    return fail(Errc::unreachable, fmt::format("the controller at {} cannot be reached: {}; {}", where(), why.text, what_to_do));
  }

  // The chain to the pinned root is not enough: every agent has one. Only the controller is told what is asked.
  void ask() {
    const auto& who = tls_->identity();
    if (!who || who->role != "controller") return finish(fail(Errc::denied, fmt::format("{} is not a controller", where())));
    tls_->write(control_frame(asked_.question));
  }

  void said(Bytes bytes) {
    reader_.feed(bytes);
    while (!done_) {
      auto next = reader_.next();
      if (!next) return finish(pass_on(next));
      if (!*next) return;
      hear(**next);
    }
  }

  void hear(const Json& m) {
    const std::string type = m["type"].get<std::string>();
    if (type == "error") {
      const Errc code = errc_named(text_or(m, "code", "")).value_or(Errc::denied);
      return finish(fail(code, printable(text_or(m, "text", "the controller refuses"), 2000)));
    }
    if (auto turn = meanwhile_ ? meanwhile_(m) : std::nullopt) {
      if (!*turn) return finish(pass_on(*turn));
      waiting_ = true;
      if (!(**turn).say.is_null()) tls_->write(control_frame((**turn).say));
      return deadline_.after((**turn).wait);
    }
    const UnixTime now = net::Loop::wall();
    const auto& controller = *tls_->identity();
    const bool valid = now + kClockTolerance >= controller.not_before && now - kClockTolerance <= controller.not_after;
    finish(Reply{m, tls_->root_pem(), valid ? "" : clock_problem(now, told_time(m).value_or(now))});
  }

  void ended(const Error& e) {
    if (e.code == Errc::denied && asked_.known_by != "identity") {
      return finish(fail(Errc::denied, fmt::format("{} is not the controller that the {} is for: {}", where(), asked_.known_by,
                                                   e.text)));
    }
    if (waiting_) return finish(fail(Errc::unreachable, fmt::format("the controller at {} has gone: {}; try again", where(), e.text)));
    finish(unreachable(e));
  }

  void finish(Result<Reply> r) {
    if (std::exchange(done_, true)) return;
    result_ = std::move(r);
    loop_.stop();
  }

  net::Loop loop_;
  const Asked& asked_;
  const Meanwhile& meanwhile_;
  net::Timer deadline_;
  std::unique_ptr<net::Tls> tls_;
  ControlReader reader_;
  Result<Reply> result_ = fail(Errc::unreachable, "");
  bool waiting_ = false;
  bool done_ = false;
};

}  // namespace

Result<Reply> ask_first(const Asked& asked, const MakeResolver& dns, std::chrono::seconds timeout, const Meanwhile& meanwhile) {
  return Conversation(asked, meanwhile).run(dns, timeout);
}

}  // namespace tg::cmd
