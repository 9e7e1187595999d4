// Any bytes as a message, as a query to the stub, and as a connector's records: nothing crashes, what parses is written
// and read again to the same, and every answer of the stub is itself a message with the query's id.
#include <cstdint>
#include <memory>

#include "core/result.h"
#include "dns/message.h"
#include "dns/stub.h"
#include "tests/fuzz/seeds.h"

namespace {

using namespace tg;
using namespace tg::dns;

Resource resource(ResourceId id, const char* address, const char* alias) {
  Resource r;
  r.id = id;
  r.network = "home";
  r.address = *Address::parse(address);
  r.alias = alias;
  return r;
}

// whole: encode leaves records out above 64 KiB, and what is unpacked can be larger than what was packed.
bool whole(const Message& m, const Message& again) {
  return again.answers.size() == m.answers.size() && again.authorities.size() == m.authorities.size() &&
         again.additionals.size() == m.additionals.size();
}

void message(Bytes bytes) {
  const auto m = Message::parse(bytes);
  if (!m) return;
  const Buffer once = m->encode();
  const auto again = Message::parse(once);
  TG_CHECK(again.has_value());
  if (!whole(*m, *again)) return;
  TG_CHECK(*again == *m);
  TG_CHECK(again->encode() == once);
  TG_CHECK(Message::parse(m->encode(512)).has_value());
}

void records(Bytes bytes) {
  auto r = parse_records(bytes);
  if (!r) return;
  TG_CHECK(*parse_records(encode_records(*r)) == *r);
  strip(*r);
  for (const Record& one : r->answers) TG_CHECK(!withheld(one.type));
}

void check_answer(Bytes query, const Buffer& answer) {
  const auto m = Message::parse(answer);
  TG_CHECK(m.has_value());
  TG_CHECK(m->header.qr);
  TG_CHECK(answer[0] == query[0] && answer[1] == query[1]);
}

void stub(Bytes bytes) {
  AddressPool pool(*Cidr::parse("100.96.0.0/24"));
  Stub s(std::make_shared<const Matcher>(std::vector{resource(1, "nas.home.int", "nas.tg"),
      resource(2, "*.corp.internal", "")}), pool);
  Buffer answer;
  const Instant now{};
  const Verdict v = s.decide(bytes, now, answer);
  if (std::holds_alternative<dns::Answered>(v)) check_answer(bytes, answer);
  const dns::Ask* ask = std::get_if<dns::Ask>(&v);
  if (ask == nullptr) return;
  s.complete(bytes, Transport::udp, ask->query, nullptr, now, answer);
  check_answer(bytes, answer);
  const PrivateAnswer said{0, bytes.subspan(kHeaderSize)};   // a connector may send anything at all
  s.complete(bytes, Transport::udp, ask->query, &said, now, answer);
  check_answer(bytes, answer);
}

bool is_message(std::string_view bytes) { return Message::parse(as_bytes(bytes)).has_value(); }
bool is_records(std::string_view bytes) { return parse_records(as_bytes(bytes)).has_value(); }
constexpr Seed kSeeds[] = {{"query_a", is_message},        {"query_mixed_case_edns", is_message},
                           {"reply_mx", is_message},       {"reply_soa", is_message},
                           {"reply_srv_naptr", is_message}, {"reply_cname_chain", is_message},
                           {"records", is_records}};

}  // namespace

std::span<const Seed> seeds() { return kSeeds; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes(data, size);
  message(bytes);
  records(bytes);
  stub(bytes);
  return 0;
}
