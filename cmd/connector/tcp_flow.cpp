#include <sys/socket.h>

#include "cmd/connector/flow.h"
#include "net/far_error.h"
#include "net/tcp_flow.h"

namespace tg::connector {
namespace {

// While more addresses are left, one gets this long; the last one as long as the kernel tries (tcp_syn_retries).
constexpr Duration kNextAddress = std::chrono::seconds(5);

class TcpFlow final : public Flow {
 public:
  explicit TcpFlow(FlowContext c) : c_(std::move(c)) {}

  void connect(std::vector<Endpoint> targets) override {
    targets_ = std::move(targets);
    next_target(Code::name_not_found);
  }
  std::span<const Endpoint> targets() const override {
    const auto left = std::span(targets_).subspan(next_ > 0 ? next_ - 1 : 0);
    return joined_ ? left.first(1) : left;
  }
  Carried carried() const override {
    return joined_ ? Carried{joined_->to_socket(), joined_->from_socket(), joined_->failure()} : Carried{.code = failure_};
  }
  Pull pull(MutBytes out) override { return joined_ ? joined_->pull(out) : Pull{}; }
  void data(Bytes b) override {
    if (joined_) joined_->data(b);
  }
  void fin() override {
    if (joined_) joined_->fin();
  }
  void reset_by_client() override {
    if (joined_) joined_->reset();
  }

 private:
  void next_target(Code why) {
    watch_ = {};
    fd_.reset();
    while (next_ < targets_.size()) {
      const Endpoint& to = targets_[next_++];
      auto fd = net::start_connect(to, SOCK_STREAM);
      if (!fd) {
        why = net::code_of_errno(fd.error());
        continue;
      }
      fd_ = std::move(*fd);
      watch_ = net::Watch(c_.loop, fd_.get(), {}, [this] { settled(); });
      watch_.want_write(true);
      if (next_ < targets_.size()) {
        patience_ = net::Timer(c_.loop, [this] { next_target(Code::timed_out); });
        patience_.after(kNextAddress);
      } else {
        patience_ = {};
      }
      return;
    }
    failure_ = why;
    c_.link.tunnel().reset(c_.id, why);
    c_.link.kick();
    const auto ended = c_.ended;
    ended();   // destroys this
  }

  void settled() {
    if (const int err = net::connect_error(fd_.get()); err != 0) return next_target(net::code_of_errno(err));
    patience_ = {};
    watch_ = {};
    c_.link.tunnel().opened(c_.id);
    c_.link.kick();
    joined_ = std::make_unique<net::TcpFlow>(c_.loop, std::move(fd_), c_.link, c_.id, c_.ended, std::move(c_.kept));
    c_.opened();
  }

  FlowContext c_;
  std::vector<Endpoint> targets_;
  std::size_t next_ = 0;
  Code failure_ = Code::none;
  net::Fd fd_;
  net::Watch watch_;
  net::Timer patience_;
  std::unique_ptr<net::TcpFlow> joined_;
};

}  // namespace

std::unique_ptr<Flow> make_tcp_flow(FlowContext context) { return std::make_unique<TcpFlow>(std::move(context)); }

}  // namespace tg::connector
