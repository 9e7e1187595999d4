#include "core/offload.h"

#include <algorithm>

#include "core/checksum.h"

namespace tg {

bool complete_checksum(MutBytes packet, const VnetHeader& h) noexcept {
  const std::size_t field = std::size_t{h.csum_start} + h.csum_offset;
  if (field + 2 > packet.size()) return false;
  const std::uint16_t sum = checksum(packet.subspan(h.csum_start));
  packet[field] = static_cast<std::uint8_t>(sum >> 8);
  packet[field + 1] = static_cast<std::uint8_t>(sum);
  return true;
}

TcpSegments::TcpSegments(Bytes packet, std::uint16_t gso_size) noexcept : ip_(parse_ipv4(packet)), size_(gso_size) {
  if (ip_ && !ip_->fragment && ip_->protocol == 6) tcp_ = parse_tcp(*ip_);
  done_ = !tcp_ || size_ == 0;
}

bool TcpSegments::next(Buffer& out) {
  if (done_) return false;
  constexpr std::uint8_t kCwr = 0x80;
  const std::size_t headers = ip_->header + tcp_->header;
  const std::size_t length = std::min(size_, tcp_->payload.size() - at_);
  const bool first = at_ == 0;
  const bool last = at_ + length == tcp_->payload.size();

  const Bytes head = ip_->bytes.first(headers);
  const Bytes body = tcp_->payload.subspan(at_, length);
  out.assign(head.begin(), head.end());
  out.insert(out.end(), body.begin(), body.end());
  Reader id(head);
  id.skip(4);
  const auto total = static_cast<std::uint16_t>(headers + length);
  const std::uint32_t seq = tcp_->seq + static_cast<std::uint32_t>(at_);
  std::uint8_t flags = tcp_->flags;
  if (!last) flags &= static_cast<std::uint8_t>(~(tcp_flag::fin | tcp_flag::psh));
  if (!first) flags &= static_cast<std::uint8_t>(~kCwr);

  Writer w(out);
  const std::size_t tcp = ip_->header;
  w.put_u16(2, total);
  w.put_u16(4, static_cast<std::uint16_t>(id.u16() + count_));
  w.put_u16(10, 0);
  w.put_u16(10, checksum(Bytes(out).first(ip_->header)));
  w.put_u16(tcp + 4, static_cast<std::uint16_t>(seq >> 16));
  w.put_u16(tcp + 6, static_cast<std::uint16_t>(seq));
  out[tcp + 13] = flags;
  w.put_u16(tcp + 16, 0);
  w.put_u16(tcp + 16, checksum(Bytes(out).subspan(tcp), pseudo_sum(ip_->src, ip_->dst, ip_->protocol, total - tcp)));

  at_ += length;
  ++count_;
  done_ = last;
  return true;
}

}  // namespace tg
