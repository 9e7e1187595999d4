// Where the names are inside rdata: without that, records cannot be moved from one message to another.
#pragma once

#include <cstdint>

#include "core/bytes.h"
#include "core/result.h"
#include "dns/name.h"
#include "dns/name_writer.h"

namespace tg::dns {

// RdataShape is `fixed` bytes, then `strings` character-strings, then `names` names, then `tail` bytes (kAnyTail: as
// many as there are). Every type that we don't know is one tail.
struct RdataShape {
  static constexpr int kAnyTail = -1;
  int fixed = 0;
  int strings = 0;
  int names = 0;
  int tail = kAnyTail;
  bool compress = false;   // a writer may compress the names: RFC 1035's own types only (RFC 3597 section 4)
};
RdataShape rdata_shape(std::uint16_t type, std::uint16_t klass) noexcept;

// read_rdata takes `size` bytes of rdata off `in` (which spans the message from its header on) and returns them with
// their names written out. Errors: Errc::malformed; also when the shape does not fill `size` exactly.
Result<Buffer> read_rdata(Reader& in, std::uint16_t type, std::uint16_t klass, std::size_t size,
                          Name::Pointers pointers);

// write_rdata appends rdata that read_rdata returned, compressing where that is allowed.
void write_rdata(Buffer& out, NameWriter& names, std::uint16_t type, std::uint16_t klass, Bytes rdata);

}  // namespace tg::dns
