#include "dns/rdata.h"

#include "dns/types.h"

namespace tg::dns {

RdataShape rdata_shape(std::uint16_t type, std::uint16_t klass) noexcept {
  constexpr int kAny = RdataShape::kAnyTail;
  switch (type) {
    case kTypeNs:
    case kTypeMd:
    case kTypeMf:
    case kTypeCname:
    case kTypeMb:
    case kTypeMg:
    case kTypeMr:
    case kTypePtr: return {0, 0, 1, 0, true};
    case kTypeSoa: return {0, 0, 2, 20, true};
    case kTypeMinfo: return {0, 0, 2, 0, true};
    case kTypeMx: return {2, 0, 1, 0, true};
    case kTypeRp: return {0, 0, 2, 0, false};
    case kTypeAfsdb:
    case kTypeRt:
    case kTypeKx: return {2, 0, 1, 0, false};
    case kTypePx: return {2, 0, 2, 0, false};
    case kTypeSrv: return {6, 0, 1, 0, false};
    case kTypeNaptr: return {4, 3, 1, 0, false};
    case kTypeDname: return {0, 0, 1, 0, false};
    case kTypeSig: return {18, 0, 1, kAny, false};
    case kTypeNxt: return {0, 0, 1, kAny, false};
    case kTypeA: return klass == kClassIn ? RdataShape{4, 0, 0, 0, false} : RdataShape{};
    case kTypeAaaa: return klass == kClassIn ? RdataShape{16, 0, 0, 0, false} : RdataShape{};
    default: return {};
  }
}

Result<Buffer> read_rdata(Reader& in, std::uint16_t type, std::uint16_t klass, std::size_t size,
                          Name::Pointers pointers) {
  if (size > in.left()) return fail(Errc::malformed, "the message ends inside rdata");
  Reader r(in.all().first(in.offset() + size));   // nothing of the record is read from behind its end
  r.skip(in.offset());
  in.skip(size);
  const RdataShape shape = rdata_shape(type, klass);
  Buffer out;
  out.reserve(size);
  Writer w(out);
  w.bytes(r.bytes(static_cast<std::size_t>(shape.fixed)));
  for (int i = 0; i < shape.strings; ++i) {
    const std::uint8_t length = r.u8();
    w.u8(length);
    w.bytes(r.bytes(length));
  }
  if (!r.ok()) return fail(Errc::malformed, "rdata too short for its type");
  for (int i = 0; i < shape.names; ++i) {
    const auto name = Name::read(r, pointers);
    if (!name) return fail(Errc::malformed, "rdata: " + name.error().text);
    w.bytes(name->wire());
  }
  if (shape.tail != RdataShape::kAnyTail && r.left() != static_cast<std::size_t>(shape.tail))
    return fail(Errc::malformed, "rdata of a wrong length for its type");
  w.bytes(r.rest());
  if (out.size() > 0xFFFF) return fail(Errc::malformed, "rdata above 65535 bytes");
  return out;
}

void write_rdata(Buffer& out, NameWriter& names, std::uint16_t type, std::uint16_t klass, Bytes rdata) {
  const RdataShape shape = rdata_shape(type, klass);
  Writer w(out);
  Reader r(rdata);
  if (shape.compress) {
    w.bytes(r.bytes(static_cast<std::size_t>(shape.fixed)));
    for (int i = 0; i < shape.names; ++i) {
      const auto name = Name::read(r, Name::Pointers::refused);
      if (!name) break;   // rdata that somebody made by hand, and wrongly: as it is
      names.write(*name, true);
    }
  }
  w.bytes(r.rest());
}

}  // namespace tg::dns
