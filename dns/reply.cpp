#include "dns/reply.h"

namespace tg::dns {
namespace {

constexpr std::uint16_t kQuestionName = 0xC000 | kHeaderSize;   // a pointer to the question's name

// Sketch says how many records a reply will have.
struct Sketch {
  std::uint16_t rcode = kRcodeNoError;
  bool own = true;   // aa and ad
  std::uint16_t answers = 0;
  std::uint16_t authorities = 0;
};

Header reply_header(const ClientQuery& q, std::uint16_t rcode) noexcept {
  Header h;
  h.id = q.header.id;
  h.qr = true;
  h.opcode = q.header.opcode;
  h.rd = q.header.rd;
  h.ra = true;
  h.cd = q.header.cd;   // RFC 4035 section 3.2.2
  h.rcode = rcode;
  return h;
}

Writer start(Buffer& out, const ClientQuery& q, const Sketch& s) {
  out.clear();
  out.reserve(kPlainUdpMax);
  Writer w(out);
  Header h = reply_header(q, s.rcode);
  h.aa = h.ad = s.own;
  w.u16(h.id);
  w.u16(h.flags());
  w.u16(q.raw_question.empty() ? 0 : 1);
  w.u16(s.answers);
  w.u16(s.authorities);
  w.u16(q.has_edns ? 1 : 0);
  w.bytes(q.raw_question);
  return w;
}

// RFC 6891 section 6.1.1, and RFC 3225 section 3 for DO.
void finish(Writer& w, const ClientQuery& q, std::uint16_t rcode) {
  if (!q.has_edns) return;
  w.u8(0);
  w.u16(kTypeOpt);
  w.u16(kEdnsUdpSize);
  w.u32(static_cast<std::uint32_t>(rcode >> 4) << 24 | (q.edns.dnssec_ok ? 0x8000u : 0u));
  w.u16(0);
}

void record_head(Writer& w, std::uint16_t type) {
  w.u16(kQuestionName);
  w.u16(type);
  w.u16(kClassIn);
  w.u32(kOwnTtl);
}

// parent writes the question's name without its first label.
void parent(Writer& w, const ClientQuery& q) {
  const std::size_t first = q.raw_question[0] + 1u;
  if (q.question.name.label_count() < 2) w.u8(0);
  else w.u16(static_cast<std::uint16_t>(kQuestionName + first));
}

}  // namespace

void reply_error(Buffer& out, const ClientQuery& q, std::uint16_t rcode) {
  Writer w = start(out, q, {rcode, false, 0, 0});
  finish(w, q, rcode);
}

void reply_address(Buffer& out, const ClientQuery& q, Ipv4 address) {
  Writer w = start(out, q, {kRcodeNoError, true, 1, 0});
  record_head(w, kTypeA);
  w.u16(4);
  w.u32(address.value);
  finish(w, q, kRcodeNoError);
}

void reply_pointer(Buffer& out, const ClientQuery& q, const Name& target) {
  Writer w = start(out, q, {kRcodeNoError, true, 1, 0});
  record_head(w, kTypePtr);
  w.u16(static_cast<std::uint16_t>(target.size()));
  w.bytes(target.wire());
  finish(w, q, kRcodeNoError);
}

void reply_any(Buffer& out, const ClientQuery& q) {
  Writer w = start(out, q, {kRcodeNoError, true, 1, 0});
  record_head(w, kTypeHinfo);
  w.u16(9);
  w.text("\x07" "RFC8482");   // CPU; the OS is empty
  w.u8(0);
  finish(w, q, kRcodeNoError);
}

// The SOA's fields are those of RFC 6303 section 3's empty zones, but for the TTLs.
void reply_absent(Buffer& out, const ClientQuery& q, std::uint16_t rcode) {
  Writer w = start(out, q, {rcode, true, 0, 1});
  parent(w, q);
  w.u16(kTypeSoa);
  w.u16(kClassIn);
  w.u32(kOwnTtl);
  const std::size_t length_at = w.size();
  w.u16(0);
  parent(w, q);                                   // MNAME
  w.text("\x06nobody\x07invalid");                // RNAME
  w.u8(0);
  for (const std::uint32_t field : {1u, 3600u, 1200u, 604800u, kOwnTtl}) w.u32(field);
  w.put_u16(length_at, static_cast<std::uint16_t>(w.size() - length_at - 2));
  finish(w, q, rcode);
}

void reply_records(Buffer& out, const ClientQuery& q, std::vector<Record> records, std::size_t max) {
  Message m;
  m.header = reply_header(q, kRcodeNoError);
  m.header.aa = true;
  m.questions.push_back(q.question);
  m.answers = std::move(records);
  if (q.has_edns) m.edns = Edns{kEdnsUdpSize, 0, q.edns.dnssec_ok, {}};
  out = m.encode(max);
}

bool reply_to_bytes(Buffer& out, Bytes query, std::uint16_t rcode) {
  ClientQuery q;
  if (read_query(query, q) == QueryFault::drop) return false;
  reply_error(out, q, rcode);
  return true;
}

}  // namespace tg::dns
