// A second, independent encoder and decoder of DNS messages, for tests only: it shares no code with dns/, so that one
// bug cannot hide in both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tg::test {

// HexBytes("12 34 | 'abc'"): hex digits; quoted text; white space and '|' ignored.
std::vector<std::uint8_t> wire(std::string_view picture);

// ExactBytes is a copy on the heap of exactly the size of the bytes: a sanitizer sees every overread.
class ExactBytes {
 public:
  explicit ExactBytes(std::span<const std::uint8_t> bytes);
  explicit ExactBytes(std::string_view picture) : ExactBytes(std::span<const std::uint8_t>(wire(picture))) {}
  std::span<const std::uint8_t> span() const { return {bytes_.get(), size_}; }
  operator std::span<const std::uint8_t>() const { return span(); }   // NOLINT: it is one

 private:
  std::size_t size_;
  std::unique_ptr<std::uint8_t[]> bytes_;
};

// dotted returns the wire form of "a.b.c"; no escapes, and no check of any limit: bad names can be made with it.
std::string dotted(std::string_view name);
std::string be16(unsigned v);
std::string be32(unsigned long v);

// QueryBytes builds a query a field at a time.
struct QueryBytes {
  unsigned id = 0x1234;
  unsigned flags = 0x0120;           // rd, ad: what dig sends
  std::string name = "nas.home.int";
  unsigned type = 1;
  unsigned klass = 1;
  bool edns = false;
  unsigned udp_size = 1232;
  unsigned version = 0;
  bool dnssec_ok = false;
  std::string options = {};          // raw
  std::vector<std::uint8_t> bytes() const;
};

// rr returns one record in wire form; `owner` is wire bytes (dotted(), or "\xC0\x0C").
std::string rr(const std::string& owner, unsigned type, unsigned klass, unsigned long ttl, const std::string& rdata);

// Seen is a message as an independent, slow reader sees it. Names in text with their letters' case, final dot included.
struct SeenRecord {
  std::string name;
  unsigned type = 0;
  unsigned klass = 0;
  unsigned long ttl = 0;
  std::string rdata;                 // raw, pointers and all
  std::size_t rdata_at = 0;          // where it is in the message: for name_at
};
struct Seen {
  bool ok = false;                   // everything below could be read, and nothing is left over
  unsigned id = 0;
  unsigned flags = 0;
  unsigned rcode = 0;                // with EDNS's upper bits
  std::string qname;
  unsigned qtype = 0;
  unsigned qclass = 0;
  std::size_t questions = 0;
  std::vector<SeenRecord> answers, authorities, additionals;
  bool has_opt = false;
  unsigned opt_size = 0;
  bool opt_do = false;
  std::vector<std::uint8_t> bytes;

  // dig_flags writes the flags as dig does: "qr aa rd ra ad".
  std::string dig_flags() const;
  // name_at decodes the name at an offset of the message.
  std::string name_at(std::size_t at) const;
};
Seen see(std::span<const std::uint8_t> message);

}  // namespace tg::test
