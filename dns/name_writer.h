// Name compression on the writing side (RFC 1035 section 4.1.4).
#pragma once

#include <array>
#include <cstdint>

#include "core/bytes.h"
#include "dns/name.h"

namespace tg::dns {

// NameWriter appends names to `out`, whose first byte is the first of the message's header, and points back to earlier
// names where it can. It compares with case, so that the letters of every name survive. It remembers the first kSlots
// labels only: a message of any size is written in linear time. Bytes may be cut off `out` again only when no name
// follows.
class NameWriter {
 public:
  static constexpr std::size_t kSlots = 64;

  explicit NameWriter(Buffer& out) noexcept : out_(out) {}
  void write(const Name& name, bool compress);

 private:
  bool stands_at(std::size_t at, Bytes suffix) const noexcept;

  Buffer& out_;
  std::array<std::uint16_t, kSlots> seen_{};   // offsets, ascending
  std::size_t count_ = 0;
};

}  // namespace tg::dns
