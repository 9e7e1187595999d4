// Packets and exact-size buffers for tests.
#pragma once

#include <algorithm>
#include <memory>

#include "core/checksum.h"
#include "core/packet.h"

namespace tg::test {

// Exact is a heap copy without a spare byte, so that a sanitizer sees an overread.
struct Exact {
  explicit Exact(Bytes b) : data(new std::uint8_t[b.size()]), size(b.size()) {
    std::copy(b.begin(), b.end(), data.get());
  }
  operator MutBytes() { return {data.get(), size}; }
  std::unique_ptr<std::uint8_t[]> data;
  std::size_t size;
};

// tcp_packet builds a whole TCP packet; `options`: a multiple of four bytes.
inline Buffer tcp_packet(Ipv4Port src, Ipv4Port dst, std::uint32_t seq, std::uint32_t ack, unsigned flags,
                         Bytes payload = {}, Bytes options = {}) {
  Buffer out;
  Writer w(out);
  const std::size_t header = 20 + options.size();
  w.u32(0x45000000 | static_cast<std::uint32_t>(20 + header + payload.size()));
  w.u32(0x12344000);
  w.u32(0x40060000);
  w.u32(src.address.value);
  w.u32(dst.address.value);
  w.u16(src.port);
  w.u16(dst.port);
  w.u32(seq);
  w.u32(ack);
  w.u16(static_cast<std::uint16_t>(header / 4 << 12 | flags));
  w.u16(64000);
  w.u32(0);
  w.bytes(options);
  w.bytes(payload);
  w.put_u16(10, checksum(Bytes(out).first(20)));
  w.put_u16(36, checksum(Bytes(out).subspan(20), pseudo_sum(src.address, dst.address, 6, header + payload.size())));
  return out;
}

// make_partial turns its checksum into what a kernel with checksum offload leaves, and returns the header that says so.
inline VnetHeader make_partial(Buffer& packet) {
  const auto ip = parse_ipv4(packet);
  Writer(packet).put_u16(36, pseudo_sum(ip->src, ip->dst, 6, ip->payload().size()));
  VnetHeader h;
  h.flags = VnetHeader::kNeedsCsum;
  h.csum_start = 20;
  h.csum_offset = 16;
  return h;
}

}  // namespace tg::test
