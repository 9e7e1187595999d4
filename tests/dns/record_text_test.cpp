#include "dns/record_text.h"

#include <gtest/gtest.h>

namespace tg::dns::record_text_test {

Name name(std::string_view text) { return *Name::parse(text); }
Buffer bytes(std::string_view s) { return {s.begin(), s.end()}; }
Record record(std::uint16_t type, Buffer rdata) { return {name("a.example"), type, kClassIn, 60, std::move(rdata)}; }
Buffer before_name(std::initializer_list<std::uint16_t> numbers, std::string_view target) {
  Buffer out;
  Writer w(out);
  for (const std::uint16_t n : numbers) w.u16(n);
  w.bytes(name(target).wire());
  return out;
}

TEST(RecordText, writes_a_whole_line) {
  EXPECT_EQ(record_text(make_a(name("NAS.home.int"), Ipv4{0x646DFA47}, 15)), "nas.home.int. 15 IN A 100.109.250.71");
  EXPECT_EQ(record_text({Name(), kTypeTxt, kClassChaos, 0, {}}), ". 0 CLASS3 TXT \\# 0");
}

TEST(RecordText, knows_the_forms_of_common_types) {
  EXPECT_EQ(rdata_text(record(kTypeAaaa, {0xFD, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50})), "fd00:1::50");
  EXPECT_EQ(rdata_text(record(kTypeMx, before_name({10}, "mail.home.int"))), "10 mail.home.int.");
  EXPECT_EQ(rdata_text(record(kTypeSrv, before_name({1, 2, 8443}, "nas.home.int"))), "1 2 8443 nas.home.int.");
  EXPECT_EQ(rdata_text(make_name_record(name("a"), kTypeCname, Name(), 1)), ".");
  EXPECT_EQ(rdata_text(record(kTypeTxt, bytes("\3a\"b\2\n\\"))), "\"a\\\"b\" \"\\010\\\\\"");
  Buffer soa;
  Writer w(soa);
  w.bytes(name("ns.home.int").wire());
  w.bytes(name("root.home.int").wire());
  for (const std::uint32_t n : {7u, 1u, 2u, 3u, 4u}) w.u32(n);
  EXPECT_EQ(rdata_text(record(kTypeSoa, soa)), "ns.home.int. root.home.int. 7 1 2 3 4");
}

TEST(RecordText, writes_what_it_does_not_know_in_hexadecimal) {
  EXPECT_EQ(rdata_text(record(731, {0xC0, 0xA8})), "\\# 2 c0a8");
  EXPECT_EQ(rdata_text(record(kTypeMx, {0})), "\\# 1 00");                   // cut short
  EXPECT_EQ(rdata_text(record(kTypeTxt, bytes("\7cut"))), "\\# 4 07637574");   // a length that lies
}

TEST(TypeNumber, reads_back_what_type_text_writes) {
  for (std::uint16_t type = 0; type < 1000; ++type) EXPECT_EQ(type_number(type_text(type)), type);
  EXPECT_EQ(type_number("aaaa"), kTypeAaaa);
  EXPECT_EQ(type_number("65"), kTypeHttps);
  EXPECT_EQ(type_number("type65535"), 65535);
  for (const char* no : {"", "TYPE", "TYPE65536", "AAAAA", "1x", "-1"}) EXPECT_FALSE(type_number(no)) << no;
}

}  // namespace tg::dns::record_text_test
