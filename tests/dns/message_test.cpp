#include "dns/message.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/support/dns_wire.h"

namespace tg::dns::message_test {

using test::be16;
using test::be32;
using test::dotted;
using test::ExactBytes;
using test::rr;
using test::see;

const std::string kToQuestion = "\xC0\x0C";

Name name(std::string_view text) { return *Name::parse(text); }

// reply builds a message with the question nas.home.int A, by the second encoder.
std::string reply(const std::vector<std::string>& answers, const std::vector<std::string>& authorities = {},
                  const std::vector<std::string>& additionals = {}, unsigned flags = 0x8180) {
  const auto count = [](const auto& v) { return be16(static_cast<unsigned>(v.size())); };
  std::string out = be16(0x1234) + be16(flags) + be16(1) + count(answers) + count(authorities) + count(additionals);
  out += dotted("nas.home.int") + be16(1) + be16(1);
  for (const auto* section : {&answers, &authorities, &additionals})
    for (const std::string& r : *section) out += r;
  return out;
}
Result<Message> parse(const std::string& bytes) { return Message::parse(ExactBytes(as_bytes(bytes))); }

TEST(Message, header_is_read_bit_by_bit) {   // the figure of RFC 1035 section 4.1.1
  const struct { std::uint16_t bits; bool Header::*field; } kBits[] = {
      {0x8000, &Header::qr}, {0x0400, &Header::aa}, {0x0200, &Header::tc}, {0x0100, &Header::rd},
      {0x0080, &Header::ra}, {0x0020, &Header::ad}, {0x0010, &Header::cd}};
  for (const auto& b : kBits) {
    Header h;
    h.set_flags(b.bits);
    EXPECT_TRUE(h.*b.field);
    EXPECT_EQ(h.flags(), b.bits);
  }
  Header h;
  h.set_flags(0x7800 | 5);
  EXPECT_EQ(h.opcode, 15);
  EXPECT_EQ(h.rcode, kRcodeRefused);
  h.set_flags(0xFFFF);
  EXPECT_EQ(h.flags(), 0xFFBF) << "bit 9 is reserved and sent as zero";
}

TEST(Message, a_reply_is_read_section_by_section) {
  const auto m = parse(reply({rr(kToQuestion, 1, 1, 300, "\xC0\xA8\x01\x32")},
      {rr(dotted("home.int"), 2, 1, 60, "\x02ns\xC0\x10")},
                             {rr(dotted("ns.home.int"), 28, 1, 7, std::string(15, '\0') + "\1")}));
  ASSERT_TRUE(m.has_value()) << m.error().text;
  EXPECT_EQ(m->header.id, 0x1234);
  EXPECT_EQ(m->questions, (std::vector<Question>{{name("nas.home.int"), kTypeA, kClassIn}}));
  ASSERT_EQ(m->answers.size(), 1u);
  EXPECT_EQ(m->answers[0].name, name("nas.home.int"));
  EXPECT_EQ(m->answers[0].ttl, 300u);
  EXPECT_EQ(address_of(m->answers[0])->to_string(), "192.168.1.50");
  ASSERT_EQ(m->authorities.size(), 1u);
  EXPECT_EQ(target_of(m->authorities[0]), name("ns.home.int"));
  ASSERT_EQ(m->additionals.size(), 1u);
  EXPECT_EQ(address_of(m->additionals[0])->to_string(), "::1");
  EXPECT_FALSE(m->edns.has_value());
}

TEST(Message, every_shorter_piece_of_a_message_is_malformed) {
  const std::string whole = reply({rr(kToQuestion, 15, 1, 300, be16(10) + "\4mail\xC0\x10")},
                                  {rr(dotted("home.int"), 6, 1, 60, dotted("ns") + "\xC0\x0C" + std::string(20, '\1'))},
                                  {rr(std::string(1, '\0'), 41, 1232, 0, "")});
  ASSERT_TRUE(parse(whole).has_value());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto m = parse(whole.substr(0, size));
    ASSERT_FALSE(m.has_value()) << size;
    ASSERT_EQ(m.error().code, Errc::malformed) << size;
  }
}

TEST(Message, counts_that_promise_too_much_are_malformed) {   // RFC 9267 section 6
  for (std::size_t at = 4; at < 12; at += 2) {
    for (const unsigned lie : {1u, 255u, 65535u}) {
      std::string bytes = reply({rr(kToQuestion, 1, 1, 1, "abcd")});
      bytes.replace(at, 2, be16(std::min(65535u, static_cast<unsigned char>(bytes[at + 1]) + lie)));
      EXPECT_FALSE(parse(bytes).has_value()) << at << " " << lie;
    }
  }
}

TEST(Message, counts_that_promise_too_little_leave_bytes_that_are_ignored) {
  std::string bytes = reply({rr(kToQuestion, 1, 1, 1, "abcd")});
  bytes.replace(6, 2, be16(0));
  ASSERT_TRUE(parse(bytes).has_value());
  EXPECT_TRUE(parse(bytes)->answers.empty());
}

TEST(Message, rdlength_that_lies_is_malformed) {   // RFC 9267 section 5
  const std::string mx = rr(kToQuestion, 15, 1, 300, be16(10) + "\4mail\xC0\x10");
  for (const int lie : {-9, -7, -3, -2, -1, 1, 2, 255, 65526}) {
    std::string bytes = reply({mx});
    const std::size_t at = bytes.size() - 9 - 2;
    bytes.replace(at, 2, be16(static_cast<unsigned>(9 + lie)));
    EXPECT_FALSE(parse(bytes).has_value()) << lie;
    EXPECT_FALSE(parse(bytes + std::string(300, '\0')).has_value() && lie > 0 && lie < 255) << lie;
  }
}

TEST(Message, a_name_in_rdata_may_not_run_over_the_end_of_the_rdata) {
  EXPECT_FALSE(parse(reply({rr(kToQuestion, 5, 1, 300, "\3"),
      rr("abc" + std::string(1, '\0'), 1, 1, 0, "abcd")})).has_value());
  EXPECT_FALSE(parse(reply({rr(kToQuestion, 5, 1, 300, "\xC0") + "\x0C"})).has_value());
}

TEST(Message, a_pointer_in_rdata_must_lead_backwards) {
  for (const char* pointer : {"\xC0\x2A", "\xC0\x2B", "\xC0\x40", "\xFF\xFF"})
    EXPECT_FALSE(parse(reply({rr(kToQuestion, 5, 1, 300, pointer)})).has_value());
  EXPECT_TRUE(parse(reply({rr(kToQuestion, 5, 1, 300, "\xC0\x10")})).has_value());
}

TEST(Message, addresses_of_a_wrong_size_are_malformed) {
  for (const std::size_t size : {0u, 3u, 5u, 16u})
    EXPECT_FALSE(parse(reply({rr(kToQuestion, 1, 1, 1, std::string(size, 'a'))})).has_value());
  for (const std::size_t size : {0u, 4u, 15u, 17u})
    EXPECT_FALSE(parse(reply({rr(kToQuestion, 28, 1, 1, std::string(size, 'a'))})).has_value());
  EXPECT_TRUE(parse(reply({rr(kToQuestion, 1, kClassChaos, 1, "abcdef")})).has_value())
      << "another class has other addresses";
}

TEST(Message, a_ttl_above_31_bits_counts_as_zero) {   // RFC 2181 section 8
  EXPECT_EQ(parse(reply({rr(kToQuestion, 1, 1, 0x7FFFFFFF, "abcd")}))->answers[0].ttl, 0x7FFFFFFFu);
  EXPECT_EQ(parse(reply({rr(kToQuestion, 1, 1, 0x80000000, "abcd")}))->answers[0].ttl, 0u);
}

TEST(Message, opt_becomes_edns_and_the_upper_bits_of_the_rcode) {   // RFC 6891 section 6.1.3
  const auto m = parse(reply({}, {},
      {rr(dotted("x"), 16, 1, 0, "\1x"), rr(std::string(1, '\0'), 41, 4096, 0x01028000, be16(10) + be16(2) + "ab")}));
  ASSERT_TRUE(m.has_value());
  ASSERT_TRUE(m->edns.has_value());
  EXPECT_EQ(m->edns->udp_size, 4096);
  EXPECT_EQ(m->edns->version, 2);
  EXPECT_TRUE(m->edns->dnssec_ok);
  EXPECT_EQ(as_text(m->edns->options), be16(10) + be16(2) + "ab");
  EXPECT_EQ(m->header.rcode, kRcodeBadVers);
  EXPECT_EQ(m->additionals.size(), 1u);
}

TEST(Message, two_opt_or_an_opt_with_a_name_are_malformed) {   // RFC 6891 section 6.1.1
  const std::string opt = rr(std::string(1, '\0'), 41, 512, 0, "");
  EXPECT_FALSE(parse(reply({}, {}, {opt, opt})).has_value());
  EXPECT_FALSE(parse(reply({}, {}, {rr(kToQuestion, 41, 512, 0, "")})).has_value());
}

TEST(Message, encodes_what_the_second_decoder_reads) {
  Message m = make_query(7, {name("nas.home.int"), kTypeMx, kClassIn}, Edns{1232, 0, true, {}});
  m.header.qr = true;
  m.header.ad = true;
  m.answers.push_back({name("nas.home.int"), kTypeMx, kClassIn, 99,
      Buffer{0, 10, 4, 'm', 'a', 'i', 'l', 4, 'h', 'o', 'm', 'e', 3, 'i', 'n', 't', 0}});
  m.authorities.push_back(make_name_record(name("home.int"), kTypeNs, name("ns.home.int"), 60));
  m.additionals.push_back(make_a(name("ns.home.int"), Ipv4{0xC0A80101}, 5));
  const auto seen = see(m.encode());
  ASSERT_TRUE(seen.ok);
  EXPECT_EQ(seen.id, 7u);
  EXPECT_EQ(seen.dig_flags(), "qr rd ad");
  EXPECT_EQ(seen.qname, "nas.home.int.");
  ASSERT_EQ(seen.answers.size(), 1u);
  EXPECT_EQ(seen.answers[0].name, "nas.home.int.");
  EXPECT_EQ(seen.answers[0].ttl, 99u);
  EXPECT_EQ(seen.name_at(seen.answers[0].rdata_at + 2), "mail.home.int.");
  EXPECT_EQ(seen.answers[0].rdata.size(), 9u) << "the exchange is compressed";
  ASSERT_EQ(seen.authorities.size(), 1u);
  EXPECT_EQ(seen.name_at(seen.authorities[0].rdata_at), "ns.home.int.");
  ASSERT_EQ(seen.additionals.size(), 2u);
  EXPECT_EQ(seen.additionals[0].name, "ns.home.int.");
  EXPECT_TRUE(seen.has_opt);
  EXPECT_TRUE(seen.opt_do);
  EXPECT_EQ(seen.opt_size, 1232u);
}

TEST(Message, a_query_is_these_bytes) {
  EXPECT_EQ(make_query(0xABCD, {name("nas.home.int"), kTypeA, kClassIn}).encode(),
            test::wire("ABCD 0100 0001 0000 0000 0001 | 03 'nas' 04 'home' 03 'int' 00 0001 0001"
                       "| 00 0029 04D0 00000000 0000"));
  EXPECT_EQ(make_query(1, {Name{}, kTypeNs, kClassIn}, std::nullopt).encode(),
      test::wire("0001 0100 0001 0000 0000 0000 | 00 0002 0001"));
}

Message many_answers(int count) {
  Message m = make_query(1, {name("nas.home.int"), kTypeA, kClassIn}, std::nullopt);
  for (int i = 0; i < count; ++i)
    m.answers.push_back(make_a(name("nas.home.int"), Ipv4{static_cast<std::uint32_t>(i)}, 15));
  return m;
}

TEST(Message, answers_that_do_not_fit_are_left_out_and_tc_says_so) {
  Message m = many_answers(100);   // 30 bytes and 16 each
  const auto cut = see(m.encode(512));
  ASSERT_TRUE(cut.ok);
  EXPECT_EQ(cut.dig_flags(), "tc rd");
  EXPECT_EQ(cut.answers.size(), 30u);
  EXPECT_LE(cut.bytes.size(), 512u);
  const auto exact = see(m.encode(30 + 100 * 16));
  EXPECT_EQ(exact.answers.size(), 100u);
  EXPECT_EQ(exact.dig_flags(), "rd");
  EXPECT_EQ(see(m.encode(30 + 100 * 16 - 1)).answers.size(), 99u);
}

TEST(Message, the_opt_survives_truncation) {
  Message m = many_answers(100);
  m.edns = Edns{};
  const auto cut = see(m.encode(512));
  ASSERT_TRUE(cut.ok);
  EXPECT_TRUE(cut.has_opt);
  EXPECT_LE(cut.bytes.size(), 512u);
}

TEST(Message, additional_records_are_left_out_without_tc) {   // RFC 2181 section 9
  Message m = many_answers(1);
  m.additionals = many_answers(100).answers;
  const auto cut = see(m.encode(512));
  ASSERT_TRUE(cut.ok);
  EXPECT_EQ(cut.dig_flags(), "rd");
  EXPECT_EQ(cut.answers.size(), 1u);
  EXPECT_LT(cut.additionals.size(), 100u);
}

TEST(Message, is_never_above_64_kib_and_never_points_behind_16_kib) {
  Message m = many_answers(0);
  for (int i = 0; i < 3000; ++i)
    m.answers.push_back(make_a(name("host" + std::to_string(i) + ".home.int"), Ipv4{1}, 15));
  const auto seen = see(m.encode());
  ASSERT_TRUE(seen.ok);
  EXPECT_LE(seen.bytes.size(), 65535u);
  EXPECT_EQ(seen.answers.back().name, "host" + std::to_string(seen.answers.size() - 1) + ".home.int.");
}

TEST(Message, an_rcode_that_needs_edns_is_servfail_without_it) {
  Message m = many_answers(0);
  m.header.rcode = kRcodeBadVers;
  EXPECT_EQ(see(m.encode()).rcode, kRcodeServFail);
  m.edns = Edns{};
  EXPECT_EQ(see(m.encode()).rcode, kRcodeBadVers);
}

TEST(Records, travel_without_pointers_in_two_sections) {
  const Records records{{make_name_record(name("nas.home.int"), kTypeCname, name("srv.home.int"), 15)},
                        {make_name_record(name("home.int"), kTypeNs, name("ns.home.int"), 60)}};
  const Buffer bytes = encode_records(records);
  EXPECT_EQ(bytes, test::wire("0001 0001 | 03 'nas' 04 'home' 03 'int' 00 0005 0001 0000000F 000E"
                              "03 'srv' 04 'home' 03 'int' 00"
                              "| 04 'home' 03 'int' 00 0002 0001 0000003C 000D 02 'ns' 04 'home' 03 'int' 00"));
  EXPECT_EQ(*parse_records(ExactBytes(bytes)), records);
}

TEST(Records, nothing_is_no_records) { EXPECT_EQ(*parse_records({}), Records{}); }

TEST(Records, every_shorter_or_longer_piece_is_malformed) {
  const Buffer bytes = encode_records({{make_a(name("a.int"), Ipv4{1}, 2)},
      {make_name_record(name("int"), kTypeNs, name("n"), 60)}});
  for (std::size_t size = 1; size < bytes.size(); ++size)
    EXPECT_FALSE(parse_records(ExactBytes(Bytes(bytes).first(size))).has_value()) << size;
  Buffer longer = bytes;
  longer.push_back(0);
  EXPECT_FALSE(parse_records(ExactBytes(longer)).has_value());
}

TEST(Records, pointers_are_refused) {
  EXPECT_FALSE(parse_records(ExactBytes("0002 0000 | 00 0010 0001 00000000 000A 09 'aaaaaaaaa'"
                                        "| C0 0F 0010 0001 00000000 0001 00")).has_value());
  EXPECT_FALSE(parse_records(ExactBytes("0001 0000 | 0B 'aaaaaaaaaaa' 00 0005 0001 00000000 0002 C0 0C")).has_value());
}

TEST(Records, strip_takes_every_type_that_tells_an_address_out_of_both_sections) {
  Records records;
  for (unsigned type = 0; type < 70; ++type) {
    const Record r{name("a.int"), static_cast<std::uint16_t>(type), kClassIn, 1, {}};
    records.answers.push_back(r);
    records.authorities.push_back(r);
  }
  strip(records);
  for (const auto* section : {&records.answers, &records.authorities}) {
    EXPECT_EQ(section->size(), 70u - 9);
    for (const Record& r : *section)
      for (const int type : {1, 11, 28, 38, 41, 24, 46, 64, 65}) EXPECT_NE(r.type, type);
  }
}

TEST(Rdata, names_in_rdata_are_written_out_so_that_records_can_move) {
  // The prefix bytes, and how many names follow, for every type of RFC 3597 section 4 and its like.
  const struct { unsigned type; std::string before; int names; std::string after; } kShapes[] = {
      {2, "", 1, ""}, {3, "", 1, ""}, {4, "", 1, ""}, {5, "", 1, ""}, {6, "", 2, std::string(20, 'z')}, {7, "", 1, ""},
      {8, "", 1, ""},
      {9, "", 1, ""}, {12, "", 1, ""}, {14, "", 2, ""}, {15, "pp", 1, ""}, {17, "", 2, ""}, {18, "pp", 1, ""},
      {21, "pp", 1, ""},
      {24, std::string(18, 's'), 1, "signature"}, {26, "pp", 2, ""}, {30, "", 1, "bits"}, {33, "ppwwtt", 1, ""},
      {35, "oopp\1s\0\3abc", 1, ""}, {36, "pp", 1, ""}, {39, "", 1, ""}};
  for (const auto& s : kShapes) {
    std::string before = s.before;
    if (s.type == 35) before = std::string("oopp\1s\0\3abc", 11);
    std::string packed = before, whole = before;
    for (int i = 0; i < s.names; ++i) packed += "\xC0\x10", whole += dotted("home.int");
    const auto m = parse(reply({rr(kToQuestion, s.type, 1, 5, packed + s.after)}));
    ASSERT_TRUE(m.has_value()) << s.type << m.error().text;
    EXPECT_EQ(as_text(m->answers[0].rdata), whole + s.after) << s.type;
    // Written again, it is compressed for RFC 1035's own types and for no others.
    const bool compressed = s.type <= 15;
    const auto seen = see(m->encode());
    ASSERT_TRUE(seen.ok);
    EXPECT_EQ(seen.answers[0].rdata, compressed ? packed + s.after : whole + s.after) << s.type;
  }
}

TEST(Rdata, of_types_that_nobody_knows_is_left_alone) {   // RFC 3597 section 3
  for (const unsigned type : {16u, 46u, 47u, 64u, 65u, 731u, 65280u}) {
    const auto m = parse(reply({rr(kToQuestion, type, 1, 5, "\xC0\x10 anything")}));
    ASSERT_TRUE(m.has_value());
    EXPECT_EQ(as_text(m->answers[0].rdata), "\xC0\x10 anything");
    EXPECT_EQ(see(m->encode()).answers[0].rdata, "\xC0\x10 anything");
  }
}

TEST(Rdata, soa_of_a_wrong_length_is_malformed) {
  for (const std::size_t size : {0u, 19u, 21u})
    EXPECT_FALSE(parse(reply({rr(kToQuestion, 6, 1, 5, "\xC0\x10\xC0\x10" + std::string(size, 'z'))})).has_value());
}

TEST(Rdata, naptr_strings_must_lie_inside) {
  EXPECT_FALSE(parse(reply({rr(kToQuestion, 35, 1, 5, "oopp\1s\1")})).has_value());
  EXPECT_FALSE(parse(reply({rr(kToQuestion, 35, 1, 5, std::string("oopp\0\0\0", 7))})).has_value());
}

TEST(Rdata, the_target_of_a_record_is_read_by_its_type) {
  EXPECT_EQ(target_of(make_name_record(name("a"), kTypePtr, name("b.c"), 1)), name("b.c"));
  EXPECT_EQ(target_of({name("a"), kTypeMx, kClassIn, 1, test::wire("000A 01 'b' 00")}), name("b"));
  EXPECT_EQ(target_of({name("a"), kTypeSrv, kClassIn, 1, test::wire("0001 0002 0003 01 'b' 00")}), name("b"));
  EXPECT_FALSE(target_of({name("a"), kTypeTxt, kClassIn, 1, test::wire("01 'b' 00")}).has_value());
  EXPECT_FALSE(target_of({name("a"), kTypeMx, kClassChaos, 1, test::wire("000A 01 'b' 00")}).has_value());
  EXPECT_FALSE(target_of({name("a"), kTypeMx, kClassIn, 1, test::wire("00")}).has_value());
  EXPECT_FALSE(target_of({name("a"), kTypeNs, kClassIn, 1, test::wire("01 'b' 00 00")}).has_value());
}

TEST(Rdata, addresses_are_only_those_of_class_in) {
  EXPECT_EQ(address_of(make_a(name("a"), Ipv4{0x01020304}, 1))->to_string(), "1.2.3.4");
  EXPECT_FALSE(address_of({name("a"), kTypeA, kClassChaos, 1, Buffer(4)}).has_value());
  EXPECT_FALSE(address_of({name("a"), kTypeA, kClassIn, 1, Buffer(5)}).has_value());
  EXPECT_FALSE(address_of({name("a"), kTypeTxt, kClassIn, 1, Buffer(4)}).has_value());
}

TEST(Rdata, absence_is_cached_for_the_smaller_of_ttl_and_minimum) {   // RFC 2308 section 5
  const std::string soa = dotted("ns.int") + dotted("root.int") + be32(1) + be32(2) + be32(3) + be32(4) + be32(300);
  const auto ttl = [&](unsigned long own) {
    const auto m = parse(reply({}, {rr(dotted("int"), 2, 1, 9, dotted("n")), rr(dotted("int"), 6, 1, own, soa)}));
    return negative_ttl(m->authorities);
  };
  EXPECT_EQ(ttl(60), 60u);
  EXPECT_EQ(ttl(900), 300u);
  EXPECT_FALSE(negative_ttl({}).has_value());
  const auto parsed = soa_of(parse(reply({}, {rr(dotted("int"), 6, 1, 1, soa)}))->authorities[0]);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->mname, name("ns.int"));
  EXPECT_EQ(parsed->rname, name("root.int"));
  EXPECT_EQ(parsed->expire, 4u);
  EXPECT_FALSE(soa_of({name("a"), kTypeSoa, kClassIn, 1, Buffer(22)})->minimum != 0);
  EXPECT_FALSE(soa_of({name("a"), kTypeSoa, kClassIn, 1, Buffer(21)}).has_value());
  EXPECT_FALSE(soa_of({name("a"), kTypeSoa, kClassIn, 1, Buffer{1}}).has_value());
}

TEST(Types, are_called_by_their_names) {
  EXPECT_EQ(type_text(kTypeA), "A");
  EXPECT_EQ(type_text(kTypeHttps), "HTTPS");
  EXPECT_EQ(type_text(731), "TYPE731");
  EXPECT_EQ(rcode_text(kRcodeNxDomain), "NXDOMAIN");
  EXPECT_EQ(rcode_text(12), "RCODE12");
  for (const std::uint16_t r : {0, 1, 2, 4, 5, 16}) EXPECT_NE(rcode_text(r).substr(0, 5), "RCODE");
}

}  // namespace tg::dns::message_test
