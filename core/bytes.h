// One advancing reader and one appending writer for every wire format of the project. Network byte order outside, host
// order inside.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tg {

using Bytes = std::span<const std::uint8_t>;
using MutBytes = std::span<std::uint8_t>;
using Buffer = std::vector<std::uint8_t>;

inline Bytes as_bytes(std::string_view s) noexcept { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }
inline std::string_view as_text(Bytes b) noexcept { return {reinterpret_cast<const char*>(b.data()), b.size()}; }

// Reader advances over bytes that it does not own. A read past the end returns zeros and makes ok() false for good, so
// that a parser may read a whole header and ask once.
class Reader {
 public:
  explicit Reader(Bytes bytes) noexcept : all_(bytes) {}

  bool ok() const noexcept { return ok_; }
  std::size_t offset() const noexcept { return at_; }
  std::size_t left() const noexcept { return all_.size() - at_; }
  Bytes all() const noexcept { return all_; }

  std::uint8_t u8() noexcept { return static_cast<std::uint8_t>(number(1)); }
  std::uint16_t u16() noexcept { return static_cast<std::uint16_t>(number(2)); }
  std::uint32_t u24() noexcept { return static_cast<std::uint32_t>(number(3)); }
  std::uint32_t u32() noexcept { return static_cast<std::uint32_t>(number(4)); }
  std::uint64_t u64() noexcept { return number(8); }

  // bytes returns the next `n` bytes, or none and makes ok() false.
  Bytes bytes(std::size_t n) noexcept {
    if (n > left()) { ok_ = false; at_ = all_.size(); return {}; }
    const Bytes out = all_.subspan(at_, n);
    at_ += n;
    return out;
  }
  Bytes rest() noexcept { return bytes(left()); }
  void skip(std::size_t n) noexcept { bytes(n); }

 private:
  std::uint64_t number(std::size_t n) noexcept {
    std::uint64_t value = 0;
    for (const std::uint8_t b : bytes(n)) value = value << 8 | b;
    return value;
  }

  Bytes all_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

// Writer appends to a buffer that the caller owns and that must outlive it.
class Writer {
 public:
  explicit Writer(Buffer& out) noexcept : out_(out) {}

  std::size_t size() const noexcept { return out_.size(); }
  void u8(std::uint8_t v) { out_.push_back(v); }
  void u16(std::uint16_t v) { number(v, 2); }
  void u24(std::uint32_t v) { number(v, 3); }
  void u32(std::uint32_t v) { number(v, 4); }
  void u64(std::uint64_t v) { number(v, 8); }
  void bytes(Bytes b) { out_.insert(out_.end(), b.begin(), b.end()); }
  void text(std::string_view s) { bytes(as_bytes(s)); }

  // put_u16 overwrites two bytes already written at `offset`: for lengths known only afterwards.
  void put_u16(std::size_t offset, std::uint16_t v) noexcept {
    out_[offset] = static_cast<std::uint8_t>(v >> 8);
    out_[offset + 1] = static_cast<std::uint8_t>(v);
  }

 private:
  void number(std::uint64_t v, int n) {
    for (int i = n - 1; i >= 0; --i) out_.push_back(static_cast<std::uint8_t>(v >> (8 * i)));
  }

  Buffer& out_;
};

}  // namespace tg
