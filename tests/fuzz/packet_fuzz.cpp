// Packets from the TUN: the parsers, and both captures with an owner that decides by the input's bytes.
// Input: repeated u8 what, u16 length, that many bytes of VnetHeader and packet.
#include <vector>

#include "core/offload.h"
#include "core/rewrite.h"
#include "core/split.h"

using namespace tg;

namespace {

void parse_all(Bytes b) {
  const auto ip = parse_ipv4(b);
  if (!ip) return;
  TG_CHECK(ip->bytes.size() <= b.size() && ip->payload().size() <= ip->bytes.size());
  if (const auto t = parse_tcp(*ip)) TG_CHECK(t->payload.size() <= b.size());
  if (const auto u = parse_udp(*ip)) TG_CHECK(u->payload.size() <= b.size());
  parse_icmp(*ip);
  checksum_ok(*ip);
  Buffer out;
  const auto check_built = [&](bool built) {
    const auto again = parse_ipv4(out);
    TG_CHECK(built == again.has_value());
    TG_CHECK(!built || (checksum_ok(*again) && out.size() <= kIcmpErrorMax));
  };
  check_built(build_tcp_reset(out, *ip));
  check_built(build_unreachable(out, *ip, Unreachable::host, ip->dst));
}

constexpr std::size_t kMaxFlows = 16, kMaxHeld = 8;

// drive has a capture live through what the input says: decisions of its owner, time that passes, and packets.
void drive(FlowCapture& capture, Bytes input) {
  std::vector<FlowId> flows;
  Instant now{};
  Reader r(input);
  while (r.left() >= 3) {
    const std::uint8_t what = r.u8();
    const Bytes b = r.bytes(std::min<std::size_t>(r.u16(), r.left()));
    const FlowId flow = flows.empty() ? FlowId::none : flows[(what >> 4) % flows.size()];
    switch (what & 7) {
      case 0: capture.admit(flow, now); break;
      case 1: capture.refuse_reset(flow); break;
      case 2: capture.refuse_unreachable(flow, Unreachable::prohibited); break;
      case 3: capture.drop(flow, now); break;
      case 4: capture.closed(flow, what & 8 ? FlowCapture::End::reset : FlowCapture::End::finished, now); break;
      case 5:
        now += std::chrono::seconds(what);
        while (capture.on_timeout(now)) {}
        break;
      case 6:
        if (const auto key = capture.key_of(flow)) capture.accepted(key->src, key->dst);
        break;
      default: break;
    }
    auto header = VnetHeader::decode(b);
    if (!header) continue;
    Buffer packet(b.begin() + VnetHeader::kSize, b.end());
    packet.shrink_to_fit();
    parse_all(packet);
    const auto out = capture.process(packet, *header, now);
    if (out.event == FlowCapture::Event::opened) flows.push_back(out.flow);
    if (out.action == FlowCapture::Action::reply) TG_CHECK(parse_ipv4(out.reply).has_value());
    if (out.action == FlowCapture::Action::write) {
      if (header->needs_csum()) TG_CHECK(complete_checksum(packet, *header));
      if (header->gso_size >= 64) {
        TcpSegments segments(packet, header->gso_size);
        Buffer segment;
        while (segments.next(segment)) TG_CHECK(segment.size() <= packet.size());
      }
    }
    const auto n = capture.counts();
    TG_CHECK(n.held + n.open + n.silent + n.lingering <= kMaxFlows && n.held <= kMaxHeld);
  }
  while (!capture.cut_lingering().empty()) {}
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Rewriter::Config bent;
  bent.listen_port = 7000;
  bent.max_flows = kMaxFlows;
  bent.max_held = kMaxHeld;
  Rewriter rewriter(bent);
  drive(rewriter, {data, size});
  Splitter::Config config;
  config.max_flows = kMaxFlows;
  config.max_held = kMaxHeld;
  Splitter splitter(config);
  drive(splitter, {data, size});
  return 0;
}
