#include "dns/message.h"

#include <algorithm>
#include <array>

#include "dns/name_writer.h"
#include "dns/rdata.h"

namespace tg::dns {
namespace {

constexpr std::size_t kOptSize = 11;   // an OPT without options

Result<Record> read_record(Reader& in, Name::Pointers pointers) {
  auto name = Name::read(in, pointers);
  if (!name) return pass_on(name);
  Record r;
  r.name = *name;
  r.type = in.u16();
  r.klass = in.u16();
  r.ttl = in.u32();
  const std::size_t size = in.u16();
  if (!in.ok()) return fail(Errc::malformed, "the message ends inside a record");
  if (r.type != kTypeOpt && r.ttl > 0x7FFFFFFF) r.ttl = 0;
  auto rdata = read_rdata(in, r.type, r.klass, size, pointers);
  if (!rdata) return pass_on(rdata);
  r.rdata = std::move(*rdata);
  return r;
}

Result<> read_section(Reader& in, std::size_t count, Name::Pointers pointers, std::vector<Record>& out) {
  for (std::size_t i = 0; i < count; ++i) {
    auto record = read_record(in, pointers);
    if (!record) return pass_on(record);
    out.push_back(std::move(*record));
  }
  return {};
}

void write_record(Buffer& out, NameWriter& names, const Record& r, bool compress) {
  Writer w(out);
  names.write(r.name, compress);
  w.u16(r.type);
  w.u16(r.klass);
  w.u32(r.ttl);
  const std::size_t length_at = w.size();
  w.u16(0);
  if (compress) write_rdata(out, names, r.type, r.klass, r.rdata);
  else w.bytes(r.rdata);
  w.put_u16(length_at, static_cast<std::uint16_t>(w.size() - length_at - 2));
}

// take_opt moves the OPT out of the additional section (RFC 6891 section 6.1).
Result<> take_opt(Message& m) {
  const auto is_opt = [](const Record& r) { return r.type == kTypeOpt; };
  const auto at = std::find_if(m.additionals.begin(), m.additionals.end(), is_opt);
  if (at == m.additionals.end()) return {};
  if (std::find_if(at + 1, m.additionals.end(), is_opt) != m.additionals.end())
    return fail(Errc::malformed, "more than one OPT record");
  if (!at->name.is_root()) return fail(Errc::malformed, "an OPT record whose name is not the root");
  m.edns = Edns{at->klass, static_cast<std::uint8_t>(at->ttl >> 16), (at->ttl & 0x8000) != 0, std::move(at->rdata)};
  m.header.rcode = static_cast<std::uint16_t>(m.header.rcode | (at->ttl >> 24) << 4);
  m.additionals.erase(at);
  return {};
}

bool is_in(const Record& r, std::uint16_t type) noexcept { return r.type == type && r.klass == kClassIn; }

}  // namespace

std::uint16_t Header::flags() const noexcept {
  return static_cast<std::uint16_t>((qr ? 0x8000 : 0) | (opcode & 15) << 11 | (aa ? 0x0400 : 0) | (tc ? 0x0200 : 0) |
                                    (rd ? 0x0100 : 0) | (ra ? 0x0080 : 0) | (ad ? 0x0020 : 0) | (cd ? 0x0010 : 0) |
                                    (rcode & 15));
}

void Header::set_flags(std::uint16_t bits) noexcept {
  qr = (bits & 0x8000) != 0;
  opcode = bits >> 11 & 15;
  aa = (bits & 0x0400) != 0;
  tc = (bits & 0x0200) != 0;
  rd = (bits & 0x0100) != 0;
  ra = (bits & 0x0080) != 0;
  ad = (bits & 0x0020) != 0;
  cd = (bits & 0x0010) != 0;
  rcode = bits & 15;
}

Result<Message> Message::parse(Bytes message) {
  Reader in(message);
  Message m;
  m.header.id = in.u16();
  m.header.set_flags(in.u16());
  std::array<std::size_t, 4> counts{};
  for (std::size_t& count : counts) count = in.u16();
  if (!in.ok()) return fail(Errc::malformed, "the message is shorter than a header");
  for (std::size_t i = 0; i < counts[0]; ++i) {
    auto name = Name::read(in);
    if (!name) return pass_on(name);
    const Question question{*name, in.u16(), in.u16()};
    if (!in.ok()) return fail(Errc::malformed, "the message ends inside a question");
    m.questions.push_back(question);
  }
  std::vector<Record>* const sections[] = {&m.answers, &m.authorities, &m.additionals};
  for (std::size_t i = 0; i < 3; ++i)
    if (auto done = read_section(in, counts[i + 1], Name::Pointers::followed, *sections[i]); !done)
      return pass_on(done);
  if (auto done = take_opt(m); !done) return pass_on(done);
  return m;
}

Buffer Message::encode(std::size_t max) const {
  Buffer out;
  out.reserve(512);
  Writer w(out);
  NameWriter names(out);
  Header h = header;
  if (!edns && h.rcode > 15) h.rcode = kRcodeServFail;
  w.u16(h.id);
  w.u16(0);
  w.u16(static_cast<std::uint16_t>(questions.size()));
  for (int i = 0; i < 3; ++i) w.u16(0);
  for (const Question& q : questions) {
    names.write(q.name, true);
    w.u16(q.type);
    w.u16(q.klass);
  }
  const std::size_t opt_size = edns ? kOptSize + edns->options.size() : 0;
  max = std::min(max, kMaxMessage) - std::min(opt_size, std::min(max, kMaxMessage));
  const std::vector<Record>* const sections[] = {&answers, &authorities, &additionals};
  std::size_t written[] = {0, 0, 0};
  bool full = false;
  for (std::size_t i = 0; i < 3; ++i) {
    for (const Record& r : *sections[i]) {
      if (full) break;
      const std::size_t before = out.size();
      write_record(out, names, r, true);
      if (out.size() > max || written[i] == 0xFFFE) {
        out.resize(before);
        full = true;
        if (i < 2) h.tc = true;
        break;
      }
      ++written[i];
    }
  }
  if (edns) {
    w.u8(0);
    w.u16(kTypeOpt);
    w.u16(edns->udp_size);
    w.u32(static_cast<std::uint32_t>(h.rcode >> 4) << 24 | static_cast<std::uint32_t>(edns->version) << 16 |
          (edns->dnssec_ok ? 0x8000u : 0u));
    w.u16(static_cast<std::uint16_t>(edns->options.size()));
    w.bytes(edns->options);
    ++written[2];
  }
  w.put_u16(2, h.flags());
  for (std::size_t i = 0; i < 3; ++i) w.put_u16(6 + 2 * i, static_cast<std::uint16_t>(written[i]));
  return out;
}

Message make_query(std::uint16_t id, const Question& question, std::optional<Edns> edns) {
  Message m;
  m.header.id = id;
  m.header.rd = true;
  m.questions.push_back(question);
  m.edns = std::move(edns);
  return m;
}

Buffer encode_records(const Records& records) {
  Buffer out;
  Writer w(out);
  NameWriter names(out);
  w.u16(static_cast<std::uint16_t>(records.answers.size()));
  w.u16(static_cast<std::uint16_t>(records.authorities.size()));
  for (const Record& r : records.answers) write_record(out, names, r, false);
  for (const Record& r : records.authorities) write_record(out, names, r, false);
  return out;
}

Result<Records> parse_records(Bytes wire) {
  Records records;
  if (wire.empty()) return records;
  Reader in(wire);
  const std::size_t answers = in.u16();
  const std::size_t authorities = in.u16();
  if (!in.ok()) return fail(Errc::malformed, "records without their counts");
  if (auto done = read_section(in, answers, Name::Pointers::refused, records.answers); !done) return pass_on(done);
  if (auto done = read_section(in, authorities, Name::Pointers::refused, records.authorities); !done)
    return pass_on(done);
  if (in.left() != 0) return fail(Errc::malformed, "bytes behind the last record");
  return records;
}

bool withheld(std::uint16_t type) noexcept {
  switch (type) {
    case kTypeA:
    case kTypeWks:
    case kTypeAaaa:
    case kTypeA6:
    case kTypeL32:
    case kTypeL64:
    case kTypeSvcb:
    case kTypeHttps:
    case kTypeOpt:
    case kTypeSig:
    case kTypeRrsig:
    case kTypeTkey:
    case kTypeTsig: return true;
    default: return false;
  }
}

void strip(Records& records) {
  const auto gone = [](const Record& r) { return withheld(r.type); };
  std::erase_if(records.answers, gone);
  std::erase_if(records.authorities, gone);
}

std::optional<IpAddress> address_of(const Record& r) {
  Reader in(r.rdata);
  if (is_in(r, kTypeA) && r.rdata.size() == 4) return IpAddress(Ipv4{in.u32()});
  if (is_in(r, kTypeAaaa) && r.rdata.size() == 16) {
    std::array<std::uint8_t, 16> bytes{};
    std::copy(r.rdata.begin(), r.rdata.end(), bytes.begin());
    return IpAddress::v6(bytes);
  }
  return std::nullopt;
}

std::optional<Name> target_of(const Record& r) {
  if (r.klass != kClassIn) return std::nullopt;
  Reader in(r.rdata);
  switch (r.type) {
    case kTypeNs:
    case kTypeCname:
    case kTypePtr:
    case kTypeDname: break;
    case kTypeMx: in.skip(2); break;
    case kTypeSrv: in.skip(6); break;
    default: return std::nullopt;
  }
  const auto name = Name::read(in, Name::Pointers::refused);
  if (!name || in.left() != 0) return std::nullopt;
  return *name;
}

std::optional<Soa> soa_of(const Record& r) {
  if (!is_in(r, kTypeSoa)) return std::nullopt;
  Reader in(r.rdata);
  const auto mname = Name::read(in, Name::Pointers::refused);
  if (!mname) return std::nullopt;
  const auto rname = Name::read(in, Name::Pointers::refused);
  if (!rname || in.left() != 20) return std::nullopt;
  return Soa{*mname, *rname, in.u32(), in.u32(), in.u32(), in.u32(), in.u32()};
}

std::optional<std::uint32_t> negative_ttl(std::span<const Record> authorities) {
  for (const Record& r : authorities)
    if (const auto soa = soa_of(r)) return std::min(r.ttl, soa->minimum);
  return std::nullopt;
}

Record make_a(const Name& name, Ipv4 address, std::uint32_t ttl) {
  Record r{name, kTypeA, kClassIn, ttl, {}};
  Writer(r.rdata).u32(address.value);
  return r;
}

Record make_name_record(const Name& name, std::uint16_t type, const Name& target, std::uint32_t ttl) {
  return {name, type, kClassIn, ttl, Buffer(target.wire().begin(), target.wire().end())};
}

}  // namespace tg::dns
