#include "dns/name_writer.h"

#include <cstring>

namespace tg::dns {

void NameWriter::write(const Name& name, bool compress) {
  const Bytes wire = name.wire();
  for (std::size_t at = 0; wire[at] != 0; at += wire[at] + 1u) {
    const Bytes suffix = wire.subspan(at);
    if (compress) {
      for (std::size_t i = 0; i < count_; ++i) {
        if (!stands_at(seen_[i], suffix)) continue;
        out_.push_back(static_cast<std::uint8_t>(0xC0 | seen_[i] >> 8));
        out_.push_back(static_cast<std::uint8_t>(seen_[i]));
        return;
      }
    }
    if (count_ < kSlots && out_.size() < 0x4000) seen_[count_++] = static_cast<std::uint16_t>(out_.size());
    out_.insert(out_.end(), suffix.begin(), suffix.begin() + suffix[0] + 1);
  }
  out_.push_back(0);
}

// What stands at `at` was written by write: it ends, and its pointers lead backwards.
bool NameWriter::stands_at(std::size_t at, Bytes suffix) const noexcept {
  std::size_t i = 0;
  for (;;) {
    while (at + 1 < out_.size() && (out_[at] & 0xC0) == 0xC0) at = (out_[at] & 0x3Fu) << 8 | out_[at + 1];
    if (at >= out_.size() || out_[at] != suffix[i]) return false;   // beyond the end: the name being written itself
    const std::size_t length = suffix[i] + 1u;
    if (length == 1) return true;
    if (at + length > out_.size() || std::memcmp(&out_[at], &suffix[i], length) != 0) return false;
    at += length;
    i += length;
  }
}

}  // namespace tg::dns
