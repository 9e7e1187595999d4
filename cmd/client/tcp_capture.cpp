#include "cmd/client/tcp_capture.h"

#include "cmd/client/refusal.h"
#include "core/rewrite.h"
#include "core/split.h"
#include "net/control_stream.h"
#include "net/log.h"
#include "net/tcp_flow.h"

namespace tg::client {

//   held ──connector has connected──▶ admitted ──the kernel has accepted──▶ joined
class TcpCapture::Flow final : public Stream {
 public:
  Flow(TcpCapture& owner, FlowId flow, const FlowKey& key) : owner_(owner), flow_(flow), key_(key) {
    pooled_ = owner_.targets_.pool().range().contains(key.dst.address);
    if (pooled_) owner_.targets_.pool().pin(key.dst.address);
  }
  ~Flow() override {
    if (pooled_) owner_.targets_.pool().unpin(key_.dst.address);
  }

  const FlowKey& key() const { return key_; }
  bool held() const { return state_ == State::held; }

  void on_opened() override {
    const auto syn = owner_.capture_->admit(flow_, net::Loop::now());
    if (!syn) return end(Code::exhausted);
    state_ = State::admitted;
    owner_.write(*syn);
    owner_.timer_.at(owner_.capture_->next_deadline());   // for who does not take it
  }

  void on_data(Bytes b) override {
    if (joined_) return joined_->data(b);
    early_.insert(early_.end(), b.begin(), b.end());   // within the stream's first credit: a server that speaks first
  }
  void on_fin() override {
    if (joined_) return joined_->fin();
    early_fin_ = true;
  }
  Pull pull(MutBytes out) override { return joined_ ? joined_->pull(out) : Pull{}; }
  void on_end(Code code) override { end(code); }

  // accepted joins the application's connection to the stream.
  void accepted(net::Fd fd) {
    if (state_ != State::admitted || !begun()) {   // the far side has reset in between
      net::set_reset_on_close(fd.get());
      return finish(FlowCapture::End::reset);
    }
    state_ = State::joined;
    joined_ = std::make_unique<net::TcpFlow>(owner_.loop_, std::move(fd), link(), id(), [this] { finish(FlowCapture::End::finished); });
    const Buffer early = std::move(early_);
    early_ = {};
    const auto owner = &owner_;   // what follows may end the flow
    const FlowId flow = flow_;
    const bool early_fin = early_fin_;
    if (!early.empty()) joined_->data(early);
    if (early_fin && owner->flows_.contains(flow)) joined_->fin();
  }

  // cut ends the flow from this side, as the connector's RESET would.
  void cut(Code code) { end(code); }

 private:
  enum class State { held, admitted, joined, over };

  void end(Code code) {
    switch (state_) {
      case State::held:
        owner_.refuse(flow_, code);
        return owner_.remove(flow_);   // destroys this
      case State::admitted:
        state_ = State::over;          // RST when the kernel hands it over
        return;
      case State::joined:
        joined_->reset();
        return finish(FlowCapture::End::reset);
      case State::over: return;
    }
  }

  void finish(FlowCapture::End how) {
    if (how == FlowCapture::End::finished) owner_.finished(joined_->release());
    owner_.capture_->closed(flow_, how, net::Loop::now());
    owner_.remove(flow_);   // destroys this
  }

  TcpCapture& owner_;
  FlowId flow_;
  FlowKey key_;
  State state_ = State::held;
  bool pooled_ = false;
  bool early_fin_ = false;
  Buffer early_;
  std::unique_ptr<net::TcpFlow> joined_;
};

namespace {

constexpr std::size_t kCutAtOnce = 64;   // a TUN's queue holds 500 packets

std::unique_ptr<FlowCapture> machine(const System::Listener& listener) {
  if (listener.split) {
    Splitter::Config config;
    config.hash_seed = net::random_seed();
    return std::make_unique<Splitter>(config);
  }
  const Endpoint at = net::local_endpoint(listener.fd.get());
  Rewriter::Config config;
  config.local = at.address.v4();
  config.listen_port = at.port;
  config.hash_seed = net::random_seed();
  return std::make_unique<Rewriter>(config);
}

std::optional<Ipv4Port> v4(const Endpoint& e) {
  if (!e.address.is_v4()) return std::nullopt;
  return Ipv4Port{e.address.v4(), e.port};
}

}  // namespace

TcpCapture::TcpCapture(net::Loop& loop, net::Tun& tun, Tunnels& tunnels, Targets& targets, System::Listener listener)
    : loop_(loop), tun_(tun), tunnels_(tunnels), targets_(targets), split_(listener.split), capture_(machine(listener)), lingering_(loop) {
  accepting_ = net::Acceptor(loop_, std::move(listener.fd), [this](net::Fd fd, const Endpoint& peer) { accepted(std::move(fd), peer); });
  timer_ = net::Timer(loop_, [this] { expire(); });
}

TcpCapture::~TcpCapture() {
  while (!flows_.empty()) {
    const auto gone = std::move(flows_.extract(flows_.begin()).mapped());   // its destructor may look into flows_
  }
}

void TcpCapture::write(Bytes packet) {
  if (packet.empty()) return;
  if (const auto written = tun_.write({}, packet); !written) net::log(net::Level::error, "{}", written.error().text);
}

bool TcpCapture::packet(MutBytes packet, VnetHeader& header, Instant now) {
  const FlowCapture::Outcome outcome = capture_->process(packet, header, now);
  switch (outcome.action) {
    case FlowCapture::Action::pass: return false;
    case FlowCapture::Action::drop: break;
    case FlowCapture::Action::write:
      if (const auto written = tun_.write(header, packet); !written) net::log(net::Level::error, "{}", written.error().text);
      break;
    case FlowCapture::Action::reply: write(outcome.reply); break;
  }
  if (outcome.event == FlowCapture::Event::opened) begin(outcome.flow);
  if (outcome.event == FlowCapture::Event::cancelled) {
    const auto it = flows_.find(outcome.flow);
    if (it != flows_.end()) {
      if (!it->second->held()) capture_->closed(outcome.flow, FlowCapture::End::reset, now);
      remove(outcome.flow);
    }
  }
  return true;
}

void TcpCapture::begin(FlowId flow) {
  if (closed_) return;   // it stays held; the SYN comes again, when we are gone
  ++counts_.begun;
  const auto key = capture_->key_of(flow);
  TG_CHECK(key.has_value());
  const auto target = targets_.find(key->dst.address);
  if (!target) return refuse(flow, Code::host_unreachable);
  if (!target->resource->protocols.allow(Protocol::tcp, key->dst.port)) return refuse(flow, Code::port_not_allowed);
  if (!targets_.use(*target->resource, net::Loop::now())) return refuse(flow, Code::denied);
  auto made = std::make_unique<Flow>(*this, flow, *key);
  Flow& f = *made;
  flows_[flow] = std::move(made);
  tunnels_.open({target->resource->id, Protocol::tcp, key->dst.port, target->host}, f);
}

void TcpCapture::refuse(FlowId flow, Code code) {
  ++counts_.refused[code];
  if (code == Code::timed_out) return capture_->drop(flow, net::Loop::now());
  const auto icmp = unreachable_for(code);
  write(icmp ? capture_->refuse_unreachable(flow, *icmp) : capture_->refuse_reset(flow));
}

void TcpCapture::accepted(net::Fd fd, const Endpoint& peer) {
  const auto from = v4(peer), to = v4(net::local_endpoint(fd.get()));
  const auto flow = from && to ? capture_->accepted(*from, *to) : std::nullopt;
  const auto it = flow ? flows_.find(*flow) : flows_.end();
  if (it == flows_.end()) return net::set_reset_on_close(fd.get());
  it->second->accepted(std::move(fd));
}

void TcpCapture::batch_done(Instant) { timer_.at(capture_->next_deadline()); }

void TcpCapture::expire() {
  const Instant now = net::Loop::now();
  while (const auto flow = capture_->on_timeout(now)) {
    capture_->closed(*flow, FlowCapture::End::reset, now);
    remove(*flow);
  }
  timer_.at(capture_->next_deadline());
}

// By rewrite the capture itself knows what is still on its way.
void TcpCapture::finished(net::Fd fd) {
  if (split_) lingering_.keep(std::move(fd));
}

void TcpCapture::remove(FlowId flow) { const auto gone = flows_.extract(flow); }

void TcpCapture::resources_changed() {
  std::vector<Flow*> over;
  for (const auto& [id, flow] : flows_) {
    const auto target = targets_.find(flow->key().dst.address);
    const bool goes_on = target && target->resource->protocols.allow(Protocol::tcp, flow->key().dst.port) &&
                         targets_.ready(target->resource->id);
    if (!goes_on) over.push_back(flow.get());
  }
  for (Flow* f : over) f->cut(Code::denied);
}

void TcpCapture::close(const std::function<void()>& pass) {
  closed_ = true;
  std::vector<FlowId> all;
  for (const auto& [id, flow] : flows_) all.push_back(id);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto it = flows_.find(all[i]);   // pass() may have ended it
    if (it != flows_.end()) it->second->cut(Code::host_unreachable);
    if ((i + 1) % kCutAtOnce == 0) pass();
  }
  pass();
  lingering_.reset();
  for (Bytes rst = capture_->cut_lingering(); !rst.empty(); rst = capture_->cut_lingering()) write(rst);
}

}  // namespace tg::client
