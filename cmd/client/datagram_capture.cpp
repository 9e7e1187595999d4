#include "cmd/client/datagram_capture.h"

#include "cmd/client/refusal.h"
#include "core/idle.h"
#include "net/log.h"

namespace tg::client {
namespace {

constexpr Duration kSweep = std::chrono::seconds(1);
constexpr std::size_t kWaitingMax = 256 * 1024;   // bytes kept until there is a tunnel

}  // namespace

class DatagramCapture::Flow final : public Stream {
 public:
  Flow(DatagramCapture& owner, const Key& key) : owner_(owner), key_(key) {
    pooled_ = owner_.targets_.pool().range().contains(key.dst.address);
    if (pooled_) owner_.targets_.pool().pin(key.dst.address);
  }
  ~Flow() override {
    if (pooled_) owner_.targets_.pool().unpin(key_.dst.address);
  }

  // send takes a datagram, or the payload of an echo request, and the packet that it came in.
  void send(Bytes payload, std::uint16_t sequence, const Ipv4Packet& ip, Instant now) {
    moved_ = now;
    const Bytes quote = ip.bytes.first(std::min(ip.bytes.size(), kIcmpErrorMax));
    quote_.assign(quote.begin(), quote.end());
    if (key_.protocol == Protocol::icmp) awaited_.sent(sequence);
    if (begun()) return transmit(payload, sequence);
    if (waiting_size_ + payload.size() > kWaitingMax) return;
    waiting_size_ += payload.size() + 64;
    waiting_.emplace_back(Buffer(payload.begin(), payload.end()), sequence);
  }

  void on_begun() override {
    for (const auto& [payload, sequence] : waiting_) transmit(payload, sequence);
    waiting_.clear();
    waiting_size_ = 0;
  }

  void on_datagram(Bytes b) override {
    moved_ = net::Loop::now();
    if (build_udp(owner_.out_, key_.dst, key_.src, b, owner_.next_ip_id_++)) owner_.write(owner_.out_);
  }

  void on_echo(const Echo& e) override {
    if (!awaited_.take(e.sequence)) return;   // a connector that answers what nobody asked does not keep the flow alive
    moved_ = net::Loop::now();
    if (build_echo_reply(owner_.out_, key_.dst.address, key_.src.address, key_.src.port, e.sequence, e.payload)) {
      owner_.write(owner_.out_);
    }
  }

  void on_end(Code code) override {
    auto icmp = unreachable_for(code);
    if (code == Code::refused) icmp = Unreachable::port;
    if (icmp) owner_.unreachable(quote_, *icmp);
    owner_.remove(key_);   // destroys this
  }

  const Key& key() const { return key_; }
  bool idle(Instant now) const { return tg::idle(moved_, now, idle_limit(key_.protocol, key_.dst.port)); }

 private:
  void transmit(Bytes payload, std::uint16_t sequence) {
    if (key_.protocol == Protocol::udp) link().tunnel().datagram(id(), payload);
    else link().tunnel().echo(id(), {sequence, payload});
    link().kick();
  }

  DatagramCapture& owner_;
  Key key_;
  bool pooled_ = false;
  Instant moved_{};
  Buffer quote_;
  AwaitedEchoes awaited_;
  std::vector<std::pair<Buffer, std::uint16_t>> waiting_;
  std::size_t waiting_size_ = 0;
};

DatagramCapture::DatagramCapture(net::Loop& loop, net::Tun& tun, Tunnels& tunnels, Targets& targets)
    : loop_(loop), tun_(tun), tunnels_(tunnels), targets_(targets), sweep_(loop, [this] { sweep(); }) {}

DatagramCapture::~DatagramCapture() {
  while (!flows_.empty()) {
    const auto gone = flows_.extract(flows_.begin());
  }
}

void DatagramCapture::write(Bytes packet) {
  if (const auto written = tun_.write({}, packet); !written) net::log(net::Level::error, "{}", written.error().text);
}

void DatagramCapture::unreachable(Bytes about, Unreachable code) {
  // What was kept of a long packet is made to say its own length, since only whole packets are parsed.
  Buffer whole(about.begin(), about.end());
  if (whole.size() >= 4) Writer(whole).put_u16(2, static_cast<std::uint16_t>(whole.size()));
  const auto ip = parse_ipv4(whole);
  Buffer packet;
  if (ip && build_unreachable(packet, *ip, code, ip->dst)) write(packet);
}

DatagramCapture::Flow* DatagramCapture::find_or_begin(const Key& key, const Ipv4Packet& ip) {
  const auto known = flows_.find(key);
  if (known != flows_.end()) return known->second.get();
  const auto target = targets_.find(key.dst.address);
  if (!target) {
    unreachable(ip.bytes, Unreachable::host);
    return nullptr;
  }
  if (!target->resource->protocols.allow(key.protocol, key.dst.port)) {
    unreachable(ip.bytes, Unreachable::prohibited);
    return nullptr;
  }
  if (!targets_.use(*target->resource, net::Loop::now())) {
    unreachable(ip.bytes, Unreachable::prohibited);
    return nullptr;
  }
  if (flows_.size() >= kFlowsMax) return nullptr;
  if (flows_.empty()) sweep_.after(kSweep);
  ++begun_;
  Flow& made = *(flows_[key] = std::make_unique<Flow>(*this, key));
  tunnels_.open({target->resource->id, key.protocol, key.dst.port, target->host}, made);
  return &made;
}

void DatagramCapture::packet(Bytes packet, Instant now) {
  const auto ip = parse_ipv4(packet);
  if (!ip || ip->fragment) return;
  if (ip->protocol == static_cast<std::uint8_t>(Protocol::udp)) {
    const auto udp = parse_udp(*ip);
    if (!udp) return;
    Flow* f = find_or_begin({Protocol::udp, {ip->src, udp->src_port}, {ip->dst, udp->dst_port}}, *ip);
    if (f != nullptr) f->send(udp->payload, 0, *ip, now);
  } else if (ip->protocol == static_cast<std::uint8_t>(Protocol::icmp)) {
    const auto icmp = parse_icmp(*ip);
    if (!icmp || icmp->type != IcmpMessage::kEcho || icmp->code != 0) return;
    Flow* f = find_or_begin({Protocol::icmp, {ip->src, icmp->id}, {ip->dst, 0}}, *ip);
    if (f != nullptr) f->send(icmp->payload, icmp->sequence, *ip, now);
  }
}

void DatagramCapture::remove(const Key& key) { const auto gone = flows_.extract(key); }

void DatagramCapture::sweep() {
  const Instant now = net::Loop::now();
  std::vector<Key> idle;
  for (const auto& [key, flow] : flows_) {
    if (flow->idle(now)) idle.push_back(key);
  }
  for (const Key& key : idle) remove(key);
  if (!flows_.empty()) sweep_.after(kSweep);
}

void DatagramCapture::resources_changed() {
  std::vector<Key> over;
  for (const auto& [key, flow] : flows_) {
    const auto target = targets_.find(key.dst.address);
    const bool goes_on = target && target->resource->protocols.allow(key.protocol, key.dst.port) && targets_.ready(target->resource->id);
    if (!goes_on) over.push_back(key);
  }
  for (const Key& key : over) remove(key);
}

}  // namespace tg::client
