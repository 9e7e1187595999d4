#include "core/flow_capture.h"

#include "core/packet_fields.h"
#include "core/resource.h"

namespace tg {

FlowCapture::Outcome FlowCapture::process(MutBytes packet, VnetHeader& header, Instant now) {
  const auto ip = parse_ipv4(packet);
  if (!ip) return {};
  if (ip->protocol != static_cast<std::uint8_t>(Protocol::tcp)) return {Action::pass, Event::none, FlowId::none, {}};
  const auto tcp = ip->fragment ? std::nullopt : parse_tcp(*ip);
  if (!tcp) return {};
  header.flags &= VnetHeader::kNeedsCsum;
  if (header.needs_csum() && (header.csum_start != ip->header || header.csum_offset != kTcpChecksumAt)) return {};
  return take(packet, {*ip, *tcp, header.needs_csum()}, now);
}

}  // namespace tg
