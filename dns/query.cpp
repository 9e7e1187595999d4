#include "dns/query.h"

#include <algorithm>

namespace tg::dns {
namespace {

// RFC 6891 section 6.1.2: options are code, length, data, and fill the rdata exactly.
bool options_fit(Bytes options) noexcept {
  Reader r(options);
  while (r.ok() && r.left() > 0) {
    r.skip(2);
    r.skip(r.u16());
  }
  return r.ok();
}

// skip_record steps over one record; an OPT in the additional section is taken.
bool skip_record(Reader& in, bool additional, ClientQuery& out) noexcept {
  const auto name = Name::read(in);
  if (!name) return false;
  const std::uint16_t type = in.u16();
  const std::uint16_t klass = in.u16();
  const std::uint32_t ttl = in.u32();
  const Bytes rdata = in.bytes(in.u16());
  if (!in.ok()) return false;
  if (type != kTypeOpt) return true;
  if (!additional || out.has_edns || !name->is_root() || !options_fit(rdata)) return false;
  out.has_edns = true;
  out.edns.udp_size = klass;
  out.edns.version = static_cast<std::uint8_t>(ttl >> 16);
  out.edns.dnssec_ok = (ttl & 0x8000) != 0;
  return true;
}

}  // namespace

QueryFault read_query(Bytes message, ClientQuery& out) noexcept {
  out = ClientQuery{};
  Reader in(message);
  out.header.id = in.u16();
  out.header.set_flags(in.u16());
  const std::size_t questions = in.u16();
  const std::size_t before_additional = std::size_t{in.u16()} + in.u16();
  const std::size_t records = before_additional + in.u16();
  if (!in.ok() || out.header.qr) return QueryFault::drop;
  if (out.header.opcode != kOpcodeQuery) return QueryFault::not_imp;
  if (questions != 1) return QueryFault::form_err;
  const auto name = Name::read(in);
  if (!name) return QueryFault::form_err;
  out.question = {*name, in.u16(), in.u16()};
  if (!in.ok()) return QueryFault::form_err;
  out.raw_question = message.subspan(kHeaderSize, in.offset() - kHeaderSize);
  for (std::size_t i = 0; i < records; ++i)
    if (!skip_record(in, i >= before_additional, out)) return QueryFault::form_err;
  return out.edns.version > 0 ? QueryFault::bad_vers : QueryFault::none;
}

std::size_t answer_limit(const ClientQuery& q, Transport transport) noexcept {
  if (transport == Transport::tcp) return kMaxMessage;
  if (!q.has_edns) return kPlainUdpMax;
  return std::clamp<std::size_t>(q.edns.udp_size, kPlainUdpMax, kEdnsUdpSize);
}

}  // namespace tg::dns
