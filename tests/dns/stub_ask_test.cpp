// What the stub asks of connectors, and what it makes of their answers.
#include "tests/dns/stub_home.h"

namespace tg::dns::stub_ask_test {

class StubAsk : public Home {
 protected:
  static Name name(std::string_view text) { return *Name::parse(text); }
  static Record mx(std::string_view owner, std::string_view exchange, std::uint32_t ttl = 300) {
    Record r{name(owner), kTypeMx, kClassIn, ttl, {0, 10}};
    Writer(r.rdata).bytes(name(exchange).wire());
    return r;
  }
  static Record txt(std::string_view owner, const std::string& text) {
    Record r{name(owner), kTypeTxt, kClassIn, 60, {}};
    Writer w(r.rdata);
    w.u8(static_cast<std::uint8_t>(text.size()));
    w.text(text);
    return r;
  }
  static Record cname(std::string_view owner, std::string_view target) {
    return make_name_record(name(owner), kTypeCname, name(target), 60);
  }
  static Record leak(std::string_view owner, std::uint16_t type) {
    return {name(owner), type, kClassIn, 60, Buffer(type == kTypeAaaa ? 16 : 4, 0xC0)};
  }

  const QueryBytes kMx{.type = kTypeMx};
  const QueryBytes kWild{.name = "git.corp.internal"};
};

// --- other types of exact names

TEST_F(StubAsk, mx_srv_txt_and_cname_of_an_exact_name_are_asked_of_the_private_dns) {
  for (const std::uint16_t type : {kTypeMx, kTypeSrv, kTypeTxt, kTypeCname, kTypeNs, kTypeSoa, std::uint16_t{731}})
    EXPECT_EQ(asks(QueryBytes{.name = "NAS.home.int", .type = type}), (tg::Query{1, "nas.home.int", type}));
}

TEST_F(StubAsk, what_the_private_dns_says_is_answered) {
  const Seen s = answered(kMx, kRcodeNoError,
      {{mx("nas.home.int", "mail.home.int"), mx("nas.home.int", "mail2.home.int")}, {}});
  EXPECT_EQ(s.rcode, kRcodeNoError);
  EXPECT_EQ(s.dig_flags(), "qr aa rd ra") << "no ad: nobody validated this";
  ASSERT_EQ(s.answers.size(), 2u);
  EXPECT_EQ(s.answers[0].name, "nas.home.int.");
  EXPECT_EQ(s.answers[0].ttl, 300u);
  EXPECT_EQ(s.name_at(s.answers[0].rdata_at + 2), "mail.home.int.");
}

TEST_F(StubAsk, an_alias_is_asked_about_by_the_resources_own_name_and_answered_by_the_alias) {
  const QueryBytes q{.name = "NAS.tg", .type = kTypeMx};
  EXPECT_EQ(asks(q), (tg::Query{1, "nas.home.int", kTypeMx}));
  const Seen s = answered(q, kRcodeNoError, {{mx("nas.home.int", "mail.home.int")}, {}});
  ASSERT_EQ(s.answers.size(), 1u);
  EXPECT_EQ(s.answers[0].name, "NAS.tg.");
  EXPECT_EQ(s.qname, "NAS.tg.");
}

TEST_F(StubAsk, records_that_tell_an_address_are_stripped_from_every_section) {
  Records records{{mx("nas.home.int", "mail.home.int")}, {}};
  for (const std::uint16_t type : {kTypeA, kTypeAaaa, kTypeHttps, kTypeSvcb, kTypeRrsig, kTypeA6, kTypeWks}) {
    records.answers.insert(records.answers.begin(), leak("nas.home.int", type));
    records.authorities.push_back(leak("nas.home.int", type));
  }
  const Seen s = answered(kMx, kRcodeNoError, records);
  ASSERT_EQ(s.answers.size(), 1u);
  EXPECT_EQ(s.answers[0].type, kTypeMx);
  EXPECT_TRUE(s.authorities.empty());
  EXPECT_EQ(std::string(as_text(answer)).find("\xC0\xC0\xC0"), std::string::npos);
}

TEST_F(StubAsk, nothing_left_after_stripping_is_nodata) {
  expect_absent(answered(kMx, kRcodeNoError, {{leak("nas.home.int", kTypeA)}, {}}), kRcodeNoError, "home.int.");
  expect_absent(answered(kMx, kRcodeNoError), kRcodeNoError, "home.int.");
}

TEST_F(StubAsk, a_cname_is_answered_and_never_leads_to_an_address) {
  const Seen s = answered(QueryBytes{.type = kTypeCname}, kRcodeNoError,
      {{cname("nas.home.int", "srv.home.int"), leak("srv.home.int", kTypeA)}, {}});
  ASSERT_EQ(s.answers.size(), 1u);
  EXPECT_EQ(s.answers[0].type, kTypeCname);
  EXPECT_EQ(s.name_at(s.answers[0].rdata_at), "srv.home.int.");
  expect_address(ask("nas.home.int", kTypeA), "nas.home.int.");
}

TEST_F(StubAsk, a_chain_of_cnames_to_the_type_asked_for_is_kept_in_order) {
  const Seen s = answered(kMx, kRcodeNoError,
      {{mx("c.home.int", "m.home.int"), cname("b.home.int", "c.home.int"), cname("nas.home.int", "B.home.int")}, {}});
  ASSERT_EQ(s.answers.size(), 3u);
  EXPECT_EQ(s.answers[0].name, "nas.home.int.");
  EXPECT_EQ(s.answers[2].type, kTypeMx);
}

TEST_F(StubAsk, a_chain_that_ends_nowhere_or_turns_in_circles_is_nodata) {
  expect_absent(answered(kMx, kRcodeNoError, {{cname("nas.home.int", "b.home.int")}, {}}), kRcodeNoError, "home.int.");
  expect_absent(answered(kMx, kRcodeNoError, {{cname("nas.home.int", "b.int"), cname("b.int", "nas.home.int")}, {}}),
      kRcodeNoError, "home.int.");
  expect_absent(answered(kMx, kRcodeNoError, {{cname("nas.home.int", "nas.home.int")}, {}}), kRcodeNoError,
      "home.int.");
}

TEST_F(StubAsk, records_of_other_names_that_a_connector_sends_along_are_not_believed) {
  const Seen s = answered(kMx, kRcodeNoError,
      {{mx("bank.example", "evil.example"), mx("nas.home.int", "mail.home.int"), txt("nas.home.int", "x")},
                                               {make_name_record(name("example"), kTypeNs, name("evil.example"), 9)}});
  ASSERT_EQ(s.answers.size(), 1u);
  EXPECT_EQ(s.answers[0].name, "nas.home.int.");
  EXPECT_TRUE(s.authorities.empty());
  Record chaos = txt("nas.home.int", "x");
  chaos.klass = kClassChaos;
  expect_absent(answered(QueryBytes{.type = kTypeTxt}, kRcodeNoError, {{chaos}, {}}), kRcodeNoError, "home.int.");
}

TEST_F(StubAsk, an_exact_name_that_the_private_dns_does_not_know_is_nodata_since_it_has_an_address) {
  expect_absent(answered(kMx, kRcodeNxDomain), kRcodeNoError, "home.int.");
}

TEST_F(StubAsk, another_type_that_nobody_can_tell_is_servfail) {
  EXPECT_EQ(unanswered(kMx).rcode, kRcodeServFail);
  EXPECT_EQ(answered(kMx, kRcodeServFail).rcode, kRcodeServFail);
  EXPECT_EQ(answered(kMx, kRcodeRefused).rcode, kRcodeServFail);
}

TEST_F(StubAsk, bytes_that_are_no_records_are_servfail) {
  const auto query = asks(kMx);
  const ExactBytes junk("0001 0000 03 'nas'");
  const PrivateAnswer said{0, junk.span()};
  stub.complete(ExactBytes(kMx.bytes()), Transport::udp, *query, &said, now, answer);
  EXPECT_EQ(seen().rcode, kRcodeServFail);
}

TEST_F(StubAsk, an_answer_above_the_clients_size_is_cut_with_tc_over_udp_and_whole_over_tcp) {
  Records many;
  for (int i = 0; i < 60; ++i)
    many.answers.push_back(txt("nas.home.int", std::string(40, static_cast<char>('a' + i % 26))));
  const auto size_of = [&](QueryBytes q, Transport transport) {
    q.type = kTypeTxt;
    const Seen s = answered(q, kRcodeNoError, many, transport);
    EXPECT_EQ((s.flags & 0x0200) != 0, s.answers.size() < 60);
    EXPECT_EQ(s.has_opt, q.edns);
    return answer.size();
  };
  EXPECT_LE(size_of({}, Transport::udp), 512u);
  EXPECT_GT(size_of({}, Transport::udp), 400u);
  EXPECT_LE(size_of({.edns = true, .udp_size = 100}, Transport::udp), 512u) << "less than 512 counts as 512";
  EXPECT_GT(size_of({.edns = true, .udp_size = 100}, Transport::udp), 400u);
  EXPECT_LE(size_of({.edns = true, .udp_size = 900}, Transport::udp), 900u);
  EXPECT_GT(size_of({.edns = true, .udp_size = 900}, Transport::udp), 800u);
  EXPECT_LE(size_of({.edns = true, .udp_size = 4096}, Transport::udp), 1232u) << "never more than 1232";
  EXPECT_GT(size_of({.edns = true, .udp_size = 4096}, Transport::udp), 1100u);
  EXPECT_GT(size_of({}, Transport::tcp), 3000u);
  EXPECT_EQ(seen().answers.size(), 60u);
}

// --- wildcards

TEST_F(StubAsk, a_wildcard_name_is_first_asked_about_whatever_type_of_ours_is_wanted) {
  for (const std::uint16_t type : {kTypeA, kTypeAaaa, kTypeHttps, kTypeSvcb, kTypeAny})
    EXPECT_EQ(asks(QueryBytes{.name = "Git.corp.internal", .type = type}), (tg::Query{2, "git.corp.internal", kTypeA}));
  EXPECT_EQ(pool.size(), 0u);
}

TEST_F(StubAsk, a_wildcard_name_that_exists_gets_its_address) {
  expect_address(answered(kWild, kRcodeNoError), "git.corp.internal.");
  EXPECT_EQ(seen().dig_flags(), "qr aa rd ra ad");
  EXPECT_EQ(address(seen()), pool.find("git.corp.internal"));
}

TEST_F(StubAsk, a_wildcard_name_that_does_not_exist_is_nxdomain_with_an_soa) {
  expect_absent(answered(kWild, kRcodeNxDomain), kRcodeNxDomain, "corp.internal.");
  EXPECT_EQ(pool.size(), 0u) << "names that do not exist take no address";
}

TEST_F(StubAsk, if_nobody_can_say_a_wildcard_name_is_answered) {
  expect_address(unanswered(kWild), "git.corp.internal.");
  expect_address(answered(QueryBytes{.name = "a.corp.internal"}, kRcodeServFail), "a.corp.internal.");
  expect_address(answered(QueryBytes{.name = "b.corp.internal"}, kRcodeRefused), "b.corp.internal.");
}

TEST_F(StubAsk, even_an_answer_full_of_addresses_only_says_that_the_name_exists) {
  expect_address(answered(kWild, kRcodeNoError, {{leak("git.corp.internal", kTypeA)}, {}}), "git.corp.internal.");
  EXPECT_NE(seen().answers.at(0).rdata, "\xC0\xC0\xC0\xC0");
}

TEST_F(StubAsk, that_a_name_exists_is_remembered_for_a_minute_and_for_every_type) {
  answered(kWild, kRcodeNoError);
  now += std::chrono::seconds(59);
  expect_address(ask("git.corp.internal", kTypeA), "git.corp.internal.");
  expect_absent(ask("git.corp.internal", kTypeAaaa), kRcodeNoError, "corp.internal.");
  now += std::chrono::seconds(1);
  EXPECT_TRUE(asks(kWild).has_value());
}

TEST_F(StubAsk, that_a_name_does_not_exist_is_remembered_for_15_seconds) {
  answered(QueryBytes{.name = "git.corp.internal", .type = kTypeAaaa}, kRcodeNxDomain);
  now += std::chrono::seconds(14);
  for (const unsigned type : {kTypeA, kTypeAaaa, kTypeMx})
    expect_absent(ask("GIT.corp.internal", type), kRcodeNxDomain, "corp.internal.");
  now += std::chrono::seconds(1);
  EXPECT_TRUE(asks(kWild).has_value());
}

TEST_F(StubAsk, a_connector_that_says_nothing_is_waited_for_once_in_5_seconds) {
  unanswered(kWild);
  now += std::chrono::seconds(4);
  expect_address(ask("git.corp.internal", kTypeA), "git.corp.internal.");
  now += std::chrono::seconds(1);
  EXPECT_TRUE(asks(kWild).has_value());
}

TEST_F(StubAsk, another_type_of_a_wildcard_name_is_asked_directly_and_tells_as_well_whether_it_exists) {
  const QueryBytes q{.name = "git.corp.internal", .type = kTypeTxt};
  EXPECT_EQ(asks(q), (tg::Query{2, "git.corp.internal", kTypeTxt}));
  const Seen s = answered(q, kRcodeNoError, {{txt("git.corp.internal", "hello")}, {}});
  ASSERT_EQ(s.answers.size(), 1u);
  expect_address(ask("git.corp.internal", kTypeA), "git.corp.internal.");
  expect_absent(answered(QueryBytes{.name = "no.corp.internal", .type = kTypeTxt}, kRcodeNxDomain), kRcodeNxDomain,
      "corp.internal.");
}

TEST_F(StubAsk, new_resources_forget_which_names_exist) {
  answered(kWild, kRcodeNxDomain);
  stub.set_matcher(resources());
  EXPECT_TRUE(asks(kWild).has_value());
}

TEST_F(StubAsk, an_exact_name_wins_over_a_wildcard_and_needs_no_check) {
  stub.set_matcher(resources({resource(9, "git.corp.internal")}));
  expect_address(ask("git.corp.internal", kTypeA), "git.corp.internal.");
}

// --- what may have changed between question and answer

TEST_F(StubAsk, an_answer_about_a_resource_that_is_gone_is_servfail) {
  const auto query = asks(kWild);
  stub.set_matcher(std::make_shared<const Matcher>());
  const PrivateAnswer said{0, {}};
  stub.complete(ExactBytes(kWild.bytes()), Transport::udp, *query, &said, now, answer);
  EXPECT_EQ(seen().rcode, kRcodeServFail);
}

TEST_F(StubAsk, an_answer_to_another_question_is_servfail) {
  const PrivateAnswer said{0, {}};
  for (const tg::Query& other : {tg::Query{1, "git.corp.internal", kTypeA}, tg::Query{2, "x.corp.internal", kTypeA},
      tg::Query{2, "git.corp.internal", kTypeMx}}) {
    stub.complete(ExactBytes(kWild.bytes()), Transport::udp, other, &said, now, answer);
    EXPECT_EQ(seen().rcode, kRcodeServFail);
  }
}

TEST_F(StubAsk, a_completed_answer_has_the_clients_letters_id_and_opt) {
  const Seen s = answered(QueryBytes{.id = 7, .name = "GiT.corp.internal", .edns = true}, kRcodeNoError);
  expect_address(s, "GiT.corp.internal.");
  EXPECT_EQ(s.id, 7u);
  EXPECT_TRUE(s.has_opt);
}

TEST(ExistenceCache, holds_no_more_names_than_its_capacity) {
  ExistenceCache cache(100);
  const Instant now{};
  for (int i = 0; i < 10000; ++i) {
    cache.put("n" + std::to_string(i), Existence::exists, now);
    ASSERT_LE(cache.size(), 100u);
  }
  EXPECT_EQ(cache.find("n9999", now), Existence::exists);
  EXPECT_FALSE(cache.find("n1", now).has_value());
}

TEST(ExistenceCache, the_newest_word_counts) {
  ExistenceCache cache(4);
  const Instant now{};
  cache.put("a", Existence::absent, now);
  cache.put("b", Existence::exists, now);
  cache.put("c", Existence::exists, now);   // a and b are now the older half
  cache.put("a", Existence::exists, now);
  EXPECT_EQ(cache.find("a", now), Existence::exists);
  cache.put("a", Existence::unknown, now);
  EXPECT_EQ(cache.find("a", now), Existence::unknown);
  cache.clear();
  EXPECT_FALSE(cache.find("a", now).has_value());
}

}  // namespace tg::dns::stub_ask_test
