// Any values as a message: the input chooses names, types and rdata; what is encoded parses to the same message, and
// any text that is a name reads back as the same name.
#include <algorithm>
#include <cstdint>

#include "core/result.h"
#include "dns/message.h"
#include "dns/rdata.h"

namespace {

using namespace tg;
using namespace tg::dns;

// Choices turns the input into values; at its end everything is zero.
struct Choices {
  Reader in;

  Name name() {
    std::string text;
    for (int labels = in.u8() % 5; labels > 0; --labels) {
      const std::uint8_t choice = in.u8();
      std::string label;
      if (choice < 0x80) label.assign(1, static_cast<char>('a' + choice % 4));   // suffixes that repeat
      else for (const std::uint8_t c : in.bytes(std::min<std::size_t>(choice % 63 + 1u, in.left())))
        label += escaped(c);
      if (!label.empty()) text += label + ".";
    }
    const auto n = Name::parse(text.empty() ? "." : text);
    return n ? *n : Name{};
  }
  static std::string escaped(std::uint8_t c) {
    const char text[] = {'\\', static_cast<char>('0' + c / 100), static_cast<char>('0' + c / 10 % 10),
        static_cast<char>('0' + c % 10)};
    return std::string(text, sizeof text);
  }
  Buffer some(std::size_t max) {
    const Bytes b = in.bytes(std::min(in.left(), in.u8() % (max + 1)));
    return Buffer(b.begin(), b.end());
  }
  Record record() {
    Record r;
    r.name = name();
    r.type = in.u8() % 70;
    if (r.type == kTypeOpt) r.type = kTypeTxt;
    r.ttl = in.u32() & 0x7FFFFFFF;
    const RdataShape shape = rdata_shape(r.type, r.klass);
    Writer w(r.rdata);
    for (int i = 0; i < shape.fixed; ++i) w.u8(in.u8());
    for (int i = 0; i < shape.strings; ++i) {
      const Buffer text = some(20);
      w.u8(static_cast<std::uint8_t>(text.size()));
      w.bytes(text);
    }
    for (int i = 0; i < shape.names; ++i) w.bytes(name().wire());
    if (shape.tail == RdataShape::kAnyTail) w.bytes(some(64));
    for (int i = 0; i < shape.tail; ++i) w.u8(in.u8());
    return r;
  }
  std::vector<Record> section(int max) {
    std::vector<Record> out(in.u8() % static_cast<unsigned>(max));
    for (Record& r : out) r = record();
    return out;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Choices c{Reader(Bytes(data, size))};
  Message m;
  m.header.id = c.in.u16();
  m.header.set_flags(c.in.u16() & 0xFFBF);
  m.questions.push_back({c.name(), c.in.u16(), c.in.u16()});
  m.answers = c.section(20);
  m.authorities = c.section(5);
  m.additionals = c.section(5);
  if (c.in.u8() % 2 == 1) {
    m.edns = Edns{c.in.u16(), c.in.u8(), c.in.u8() % 2 == 1, c.some(20)};
    m.header.rcode = static_cast<std::uint16_t>(m.header.rcode | c.in.u8() << 4);
  }
  const auto again = Message::parse(m.encode());
  TG_CHECK(again.has_value());
  TG_CHECK(*again == m);
  TG_CHECK(again->questions[0].name.same_bytes(m.questions[0].name));
  const std::size_t max = 512 + c.in.u16() % 1024;
  TG_CHECK(m.encode(max).size() <= max);
  TG_CHECK(Message::parse(m.encode(max)).has_value());
  const Records records{m.answers, m.authorities};
  TG_CHECK(*parse_records(encode_records(records)) == records);

  const auto name = Name::parse(as_text(Bytes(data, size)));
  if (name) TG_CHECK(*Name::parse(name->to_string()) == *name);
  return 0;
}
