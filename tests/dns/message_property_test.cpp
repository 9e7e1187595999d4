// Any message, and any bytes: what goes in comes out, and nothing that comes in breaks anything.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>

#include "dns/message.h"
#include "dns/query.h"
#include "dns/rdata.h"
#include "tests/support/dns_wire.h"

namespace tg::dns::message_property_test {

Name any_name() {
  // Few and short labels, so that suffixes repeat and compression has something to do.
  const auto labels = *rc::gen::resize(6, rc::gen::container<std::vector<std::string>>(
      rc::gen::element<std::string>("a", "b", "home", "int", "HOME", "x\\.y", std::string(63, 'l'))));
  std::string text;
  for (const auto& label : labels) {
    if (text.size() + label.size() < 240) text += label + ".";
  }
  return text.empty() ? Name{} : *Name::parse(text);
}

Buffer any_bytes(int max) {
  return *rc::gen::resize(max, rc::gen::container<Buffer>(rc::gen::arbitrary<std::uint8_t>()));
}

Record any_record() {
  Record r;
  r.name = any_name();
  r.type = *rc::gen::elementOf(std::vector<std::uint16_t>{kTypeA, kTypeNs, kTypeCname, kTypeSoa, kTypePtr, kTypeMx,
      kTypeTxt, kTypeAaaa, kTypeSrv, kTypeNaptr, 731});
  r.ttl = *rc::gen::inRange<std::uint32_t>(0, 0x7FFFFFFF);
  const RdataShape shape = rdata_shape(r.type, r.klass);
  Writer w(r.rdata);
  for (int i = 0; i < shape.fixed; ++i) w.u8(*rc::gen::arbitrary<std::uint8_t>());
  for (int i = 0; i < shape.strings; ++i) {
    const Buffer text = any_bytes(20);
    w.u8(static_cast<std::uint8_t>(text.size()));
    w.bytes(text);
  }
  for (int i = 0; i < shape.names; ++i) w.bytes(any_name().wire());
  if (shape.tail == RdataShape::kAnyTail) w.bytes(any_bytes(40));
  for (int i = 0; i < shape.tail; ++i) w.u8(*rc::gen::arbitrary<std::uint8_t>());
  return r;
}

std::vector<Record> any_records(int max) {
  std::vector<Record> out(static_cast<std::size_t>(*rc::gen::inRange(0, max)));
  for (Record& r : out) r = any_record();
  return out;
}

Message any_message() {
  Message m;
  m.header.id = *rc::gen::arbitrary<std::uint16_t>();
  m.header.set_flags(static_cast<std::uint16_t>(*rc::gen::arbitrary<std::uint16_t>() & 0xFFBF));
  m.questions.push_back({any_name(), *rc::gen::arbitrary<std::uint16_t>(), *rc::gen::arbitrary<std::uint16_t>()});
  m.answers = any_records(12);
  m.authorities = any_records(4);
  m.additionals = any_records(4);
  if (*rc::gen::arbitrary<bool>()) {
    m.edns = Edns{*rc::gen::arbitrary<std::uint16_t>(), *rc::gen::arbitrary<std::uint8_t>(),
        *rc::gen::arbitrary<bool>(), any_bytes(20)};
    m.header.rcode = static_cast<std::uint16_t>(m.header.rcode | *rc::gen::inRange<unsigned>(0, 256) << 4);
  }
  return m;
}

// same_letters: operator== compares names without case; the letters have to survive as well.
bool same_letters(const std::vector<Record>& a, const std::vector<Record>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
      [](const Record& x, const Record& y) { return x.name.same_bytes(y.name); });
}

RC_GTEST_PROP(MessageProperty, what_is_encoded_parses_to_the_same_message, ()) {
  const Message m = any_message();
  const auto again = Message::parse(test::ExactBytes(m.encode()));
  RC_ASSERT(again.has_value());
  RC_ASSERT(*again == m);
  RC_ASSERT(again->questions[0].name.same_bytes(m.questions[0].name));
  RC_ASSERT(same_letters(again->answers, m.answers));
  RC_ASSERT(same_letters(again->additionals, m.additionals));
}

RC_GTEST_PROP(MessageProperty, the_second_decoder_reads_the_same_names_and_counts, ()) {
  const Message m = any_message();
  const auto seen = test::see(m.encode());
  RC_ASSERT(seen.ok);
  RC_ASSERT(seen.answers.size() == m.answers.size());
  RC_ASSERT(seen.additionals.size() == m.additionals.size() + (m.edns ? 1 : 0));
  for (std::size_t i = 0; i < m.answers.size(); ++i) {
    RC_ASSERT(seen.answers[i].type == m.answers[i].type);
    RC_ASSERT(seen.answers[i].ttl == m.answers[i].ttl);
    if (m.answers[i].type == kTypeCname) {
      const auto target = Name::parse(seen.name_at(seen.answers[i].rdata_at));
      if (target_of(m.answers[i])->to_string().find('\\') == std::string::npos)
        RC_ASSERT(*target == *target_of(m.answers[i]));
    }
  }
}

RC_GTEST_PROP(MessageProperty, truncation_keeps_the_limit_and_a_prefix_of_the_answers, ()) {
  const Message m = any_message();
  const std::size_t max = *rc::gen::inRange<std::size_t>(400, 1500);
  const auto cut = Message::parse(test::ExactBytes(m.encode(max)));
  RC_ASSERT(cut.has_value());
  RC_ASSERT(m.encode(max).size() <= max);
  RC_ASSERT(cut->answers.size() <= m.answers.size());
  for (std::size_t i = 0; i < cut->answers.size(); ++i) RC_ASSERT(cut->answers[i] == m.answers[i]);
  if (cut->answers.size() < m.answers.size() || cut->authorities.size() < m.authorities.size())
    RC_ASSERT(cut->header.tc);
  RC_ASSERT(cut->edns == m.edns);
}

RC_GTEST_PROP(MessageProperty, records_read_back_as_they_were, ()) {
  const Records records{any_records(8), any_records(3)};
  const auto again = parse_records(test::ExactBytes(encode_records(records)));
  RC_ASSERT(again.has_value());
  RC_ASSERT(*again == records);
}

RC_GTEST_PROP(MessageProperty, damaged_bytes_are_refused_or_read_stably, ()) {
  Buffer bytes = any_message().encode();
  const int flips = *rc::gen::inRange(1, 6);
  for (int i = 0; i < flips; ++i)
    bytes[*rc::gen::inRange<std::size_t>(0, bytes.size())] = *rc::gen::arbitrary<std::uint8_t>();
  if (*rc::gen::arbitrary<bool>()) bytes.resize(*rc::gen::inRange<std::size_t>(0, bytes.size()));
  const test::ExactBytes exact(bytes);
  ClientQuery q;
  read_query(exact, q);
  const auto m = Message::parse(exact);
  if (!m) return;
  const Buffer once = m->encode();
  const auto again = Message::parse(test::ExactBytes(once));
  RC_ASSERT(again.has_value());
  RC_ASSERT(*again == *m);
  RC_ASSERT(again->encode() == once);
}

}  // namespace tg::dns::message_property_test
