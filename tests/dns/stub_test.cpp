// Every row of the table in dns/DNS.md that needs no connector.
#include <algorithm>

#include "tests/dns/stub_home.h"

namespace tg::dns::stub_test {

class StubTest : public Home {};

TEST_F(StubTest, a_resource_has_one_address_with_ttl_15_and_the_flags_of_the_journey) {
  const Seen s = ask("nas.home.int", kTypeA);
  expect_address(s, "nas.home.int.");
  EXPECT_EQ(s.dig_flags(), "qr aa rd ra ad");
  EXPECT_EQ(s.id, 0x1234u);
  EXPECT_EQ(s.qname, "nas.home.int.");
  EXPECT_TRUE(pool.range().contains(IpAddress(address(s))));
  EXPECT_EQ(address(s), pool.find("nas.home.int"));
}

TEST_F(StubTest, the_answer_is_these_bytes) {
  ask("nas.home.int", kTypeA);
  Buffer expected = test::wire("1234 85A0 0001 0001 0000 0000 | 03 'nas' 04 'home' 03 'int' 00 0001 0001"
                               "| C00C 0001 0001 0000000F 0004");
  Writer(expected).u32(pool.find("nas.home.int")->value);
  EXPECT_EQ(answer, expected);
}

TEST_F(StubTest, the_same_name_has_the_same_address_whatever_its_case) {
  const Ipv4 first = address(ask("nas.home.int", kTypeA));
  now += std::chrono::hours(5);
  EXPECT_EQ(address(ask("NAS.Home.INT", kTypeA)), first);
}

TEST_F(StubTest, the_question_comes_back_with_its_own_letters) {   // draft-vixie-dnsext-dns0x20
  const Seen s = ask("nAs.HomE.iNT", kTypeA);
  EXPECT_EQ(s.qname, "nAs.HomE.iNT.");
  EXPECT_EQ(s.answers.at(0).name, "nAs.HomE.iNT.");
}

TEST_F(StubTest, rd_and_cd_are_copied) {
  EXPECT_EQ(ask(QueryBytes{.flags = 0}).dig_flags(), "qr aa ra ad");
  EXPECT_EQ(ask(QueryBytes{.flags = 0x0110}).dig_flags(), "qr aa rd ra ad cd");
}

TEST_F(StubTest, an_alias_has_an_address_of_its_own) {
  const Ipv4 alias = address(ask("nas.tg", kTypeA));
  EXPECT_NE(alias, address(ask("nas.home.int", kTypeA)));
  EXPECT_EQ(alias, pool.find("nas.tg"));
}

TEST_F(StubTest, the_alias_of_an_address_has_an_address_and_nothing_else) {
  expect_address(ask("box.tg", kTypeA), "box.tg.");
  for (const unsigned type : {kTypeAaaa, kTypeMx, kTypeTxt, kTypeCname})
    expect_absent(ask("box.tg", type), kRcodeNoError, "tg.");
}

TEST_F(StubTest, aaaa_https_and_svcb_are_nodata) {
  for (const unsigned type : {kTypeAaaa, kTypeHttps, kTypeSvcb}) {
    const Seen s = ask("nas.home.int", type);
    expect_absent(s, kRcodeNoError, "home.int.");
    EXPECT_EQ(s.dig_flags(), "qr aa rd ra ad");
  }
  EXPECT_EQ(pool.size(), 0u) << "only A lends an address";
}

TEST_F(StubTest, other_types_that_tell_an_address_are_nodata_too) {
  for (const unsigned type : {kTypeWks, kTypeA6, kTypeL32, kTypeL64, kTypeRrsig, kTypeSig})
    expect_absent(ask("nas.home.int", type), kRcodeNoError, "home.int.");
}

TEST_F(StubTest, any_gets_one_hinfo) {   // RFC 8482 section 4.2
  const Seen s = ask("nas.home.int", kTypeAny);
  ASSERT_EQ(s.answers.size(), 1u);
  EXPECT_EQ(s.answers[0].type, kTypeHinfo);
  EXPECT_EQ(s.answers[0].rdata, std::string("\x07RFC8482\0", 9));
  EXPECT_EQ(s.answers[0].ttl, 15u);
}

TEST_F(StubTest, class_any_is_answered_as_in) { expect_address(ask(QueryBytes{.klass = kClassAny}), "nas.home.int."); }

TEST_F(StubTest, another_class_of_a_resource_is_refused) {
  const Seen s = ask(QueryBytes{.klass = kClassChaos});
  EXPECT_EQ(s.rcode, kRcodeRefused);
  EXPECT_EQ(s.dig_flags(), "qr rd ra");
  EXPECT_TRUE(s.answers.empty());
}

TEST_F(StubTest, zone_transfers_and_the_like_are_refused) {
  for (unsigned type = kTypeTkey; type <= kTypeMaila; ++type)
    EXPECT_EQ(ask("nas.home.int", type).rcode, kRcodeRefused) << type;
}

TEST_F(StubTest, type_0_and_opt_are_no_questions) {
  EXPECT_EQ(ask("nas.home.int", 0).rcode, kRcodeFormErr);
  EXPECT_EQ(ask("nas.home.int", kTypeOpt).rcode, kRcodeFormErr);
}

TEST_F(StubTest, names_that_are_no_resources_are_forwarded) {
  for (const char* name : {"example.com", "home.int", "x.nas.home.int", "nas.home.in", "corp.internal", "int", ""})
    for (const unsigned type : {kTypeA, kTypeAaaa, kTypePtr, kTypeAny})
      EXPECT_TRUE(forwards(QueryBytes{.name = name, .type = type})) << name;
  EXPECT_TRUE(forwards(QueryBytes{.name = "version.bind", .type = kTypeTxt, .klass = kClassChaos}));
  EXPECT_EQ(pool.size(), 0u);
}

TEST_F(StubTest, resources_that_are_addresses_do_not_concern_dns) {
  EXPECT_TRUE(forwards(QueryBytes{.name = "10.0.1.25"}));
  EXPECT_TRUE(forwards(QueryBytes{.name = "10.128.0.7"}));
  EXPECT_TRUE(forwards(QueryBytes{.name = "25.1.0.10.in-addr.arpa", .type = kTypePtr}));
}

TEST_F(StubTest, a_dot_inside_a_label_never_makes_a_resource) {
  auto bytes = QueryBytes{.name = "nasxhome.int"}.bytes();
  ASSERT_EQ(bytes[12 + 4], 'x');
  bytes[12 + 4] = '.';   // one label "nas.home" and then "int": prints like the Resource, is another name
  EXPECT_TRUE(std::holds_alternative<Forward>(decide(bytes)));
  auto wild = QueryBytes{.name = "axcorp.internal"}.bytes();
  wild[12 + 2] = '.';
  EXPECT_TRUE(std::holds_alternative<Forward>(decide(wild)));
}

TEST_F(StubTest, odd_bytes_never_match_a_wildcard) {
  for (const char odd : {'.', '*', '?', ' ', '\\', '\0', '\n', '\xE9', '@', '/'}) {
    auto bytes = QueryBytes{.name = "axb.corp.internal"}.bytes();
    bytes[12 + 2] = static_cast<std::uint8_t>(odd);
    EXPECT_TRUE(std::holds_alternative<Forward>(decide(bytes))) << static_cast<int>(odd);
  }
}

TEST_F(StubTest, the_browsers_doh_canary_does_not_exist) {
  for (const unsigned type : {kTypeA, kTypeAaaa})
    expect_absent(ask("use-application-dns.net", type), kRcodeNxDomain, "net.");
  expect_absent(ask("Use-Application-DNS.net", kTypeA), kRcodeNxDomain, "net.");
}

std::string reverse(Ipv4 a) { return to_reverse(a).to_string(); }

TEST_F(StubTest, ptr_of_a_lent_address_is_its_name) {
  const Ipv4 a = address(ask("NAS.home.int", kTypeA));
  const Seen s = ask(reverse(a), kTypePtr);
  EXPECT_EQ(s.dig_flags(), "qr aa rd ra ad");
  ASSERT_EQ(s.answers.size(), 1u);
  EXPECT_EQ(s.answers[0].type, kTypePtr);
  EXPECT_EQ(s.answers[0].ttl, 15u);
  EXPECT_EQ(s.name_at(s.answers[0].rdata_at), "nas.home.int.");
}

TEST_F(StubTest, ptr_of_an_alias_address_is_the_alias) {
  const Seen s = ask(reverse(address(ask("nas.tg", kTypeA))), kTypePtr);
  ASSERT_EQ(s.answers.size(), 1u);
  EXPECT_EQ(s.name_at(s.answers[0].rdata_at), "nas.tg.");
}

TEST_F(StubTest, other_types_of_a_lent_address_are_nodata) {
  const std::string name = reverse(address(ask("nas.home.int", kTypeA)));
  const std::string zone = name.substr(name.find('.') + 1) + ".";
  expect_absent(ask(name, kTypeA), kRcodeNoError, zone);
  EXPECT_EQ(ask(name, kTypeAny).answers.at(0).type, kTypeHinfo);
  EXPECT_EQ(ask(QueryBytes{.name = name, .type = kTypePtr, .klass = kClassChaos}).rcode, kRcodeRefused);
}

TEST_F(StubTest, ptr_in_the_pool_that_nobody_has_does_not_exist_and_is_never_forwarded) {
  expect_absent(ask("7.3.100.100.in-addr.arpa", kTypePtr), kRcodeNxDomain, "3.100.100.in-addr.arpa.");
  ask("0.0.96.100.in-addr.arpa", kTypePtr);
  EXPECT_EQ(seen().rcode, kRcodeNxDomain);
  ask("255.255.111.100.in-addr.arpa", kTypePtr);
  EXPECT_EQ(seen().rcode, kRcodeNxDomain);
  ask("x.7.3.100.100.in-addr.arpa", kTypePtr);
  EXPECT_EQ(seen().rcode, kRcodeNxDomain);
  ask("lb._dns-sd._udp.3.100.100.in-addr.arpa", kTypePtr);
  EXPECT_EQ(seen().rcode, kRcodeNxDomain);
  ask("b._dns-sd._udp." + reverse(address(ask("nas.home.int", kTypeA))), kTypePtr);
  EXPECT_EQ(seen().rcode, kRcodeNxDomain) << "below a lent address is nothing";
}

TEST_F(StubTest, the_parents_of_the_pools_reverse_names_exist) {   // RFC 8020: NXDOMAIN there would hide what is below
  expect_absent(ask("96.100.in-addr.arpa", kTypeNs), kRcodeNoError, "100.in-addr.arpa.");
  expect_absent(ask("1.96.100.in-addr.arpa", kTypePtr), kRcodeNoError, "96.100.in-addr.arpa.");
}

TEST_F(StubTest, ptr_outside_the_pool_is_forwarded) {
  for (const char* name : {"1.0.95.100.in-addr.arpa", "1.0.112.100.in-addr.arpa", "100.in-addr.arpa",
                           "50.1.168.192.in-addr.arpa",
                           "in-addr.arpa", "251.0.95.100.in-addr.arpa"})
    EXPECT_TRUE(forwards(QueryBytes{.name = name, .type = kTypePtr})) << name;
}

TEST_F(StubTest, the_reverse_of_a_network_larger_than_the_pool_is_forwarded) {
  AddressPool other{*Cidr::parse("10.0.0.0/12")};
  Stub s{resources(), other};
  const QueryBytes larger{.name = "10.in-addr.arpa", .type = kTypeNs};
  const QueryBytes inside{.name = "0.10.in-addr.arpa", .type = kTypeNs};
  EXPECT_TRUE(std::holds_alternative<Forward>(s.decide(ExactBytes(larger.bytes()), now, answer)));
  EXPECT_TRUE(std::holds_alternative<Answered>(s.decide(ExactBytes(inside.bytes()), now, answer)));
}

TEST_F(StubTest, a_pool_that_is_used_up_is_servfail) {
  AddressPool tiny{*Cidr::parse("100.96.0.0/30")};
  Stub small{resources({resource(7, "b.home.int"), resource(8, "c.home.int")}), tiny};
  const auto rcode = [&](const char* name) {
    const QueryBytes q{.name = name};
    EXPECT_TRUE(std::holds_alternative<Answered>(small.decide(ExactBytes(q.bytes()), now, answer)));
    return seen().rcode;
  };
  EXPECT_EQ(rcode("nas.home.int"), kRcodeNoError);
  EXPECT_EQ(rcode("b.home.int"), kRcodeNoError);
  EXPECT_EQ(rcode("c.home.int"), kRcodeServFail);
  EXPECT_EQ(rcode("b.home.int"), kRcodeNoError);
}

TEST_F(StubTest, new_resources_take_effect_with_the_next_query) {
  EXPECT_TRUE(forwards(QueryBytes{.name = "new.home.int"}));
  stub.set_matcher(resources({resource(9, "new.home.int")}));
  expect_address(ask("new.home.int", kTypeA), "new.home.int.");
  stub.set_matcher(resources());
  EXPECT_TRUE(forwards(QueryBytes{.name = "new.home.int"}));
}

TEST_F(StubTest, a_resource_of_one_label_has_the_root_as_its_zone) {
  stub.set_matcher(resources({resource(9, "nas")}));
  expect_address(ask("nas", kTypeA), "nas.");
  expect_absent(ask("nas", kTypeAaaa), kRcodeNoError, ".");
}

TEST_F(StubTest, the_longest_name_there_is_gets_an_answer_below_512_bytes) {
  const std::string l63(63, 'a');
  const std::string longest = l63 + "." + l63 + "." + l63 + "." + std::string(61, 'b');
  stub.set_matcher(resources({resource(9, longest)}));
  expect_address(ask(QueryBytes{.name = longest, .edns = true}), longest + ".");
  EXPECT_LE(answer.size(), 512u);
  expect_absent(ask(QueryBytes{.name = longest, .type = kTypeAaaa, .edns = true}), kRcodeNoError,
      longest.substr(64) + ".");
  EXPECT_LE(answer.size(), 512u);
  const Seen s = ask(reverse(*pool.find(longest)), kTypePtr);
  EXPECT_EQ(s.name_at(s.answers.at(0).rdata_at), longest + ".");
  EXPECT_LE(answer.size(), 512u);
}

TEST_F(StubTest, an_opt_comes_back_exactly_when_one_was_sent) {
  EXPECT_FALSE(ask("nas.home.int", kTypeA).has_opt);
  for (const bool dnssec_ok : {false, true}) {
    const Seen s = ask(QueryBytes{.edns = true, .udp_size = 4096, .dnssec_ok = dnssec_ok,
        .options = test::be16(10) + test::be16(2) + "ab"});
    expect_address(s, "nas.home.int.");
    EXPECT_TRUE(s.has_opt);
    EXPECT_EQ(s.opt_size, 1232u);
    EXPECT_EQ(s.opt_do, dnssec_ok) << "RFC 3225 section 3";
    EXPECT_TRUE(s.additionals.at(0).rdata.empty());
  }
  EXPECT_TRUE(ask(QueryBytes{.type = kTypeAaaa, .edns = true}).has_opt);
  EXPECT_TRUE(ask(QueryBytes{.klass = kClassChaos, .edns = true}).has_opt);
}

}  // namespace tg::dns::stub_test
