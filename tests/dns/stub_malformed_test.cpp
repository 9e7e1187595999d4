// What the stub says to bytes that are no query.
#include "tests/dns/stub_home.h"

namespace tg::dns::stub_malformed_test {

class StubMalformed : public Home {
 protected:
  static std::vector<std::uint8_t> bytes(const QueryBytes& q = {}) { return q.bytes(); }
  bool drops(const std::vector<std::uint8_t>& b) { return std::holds_alternative<Drop>(decide(b)); }
  Seen says(const std::vector<std::uint8_t>& b) {
    EXPECT_TRUE(std::holds_alternative<Answered>(decide(b)));
    return seen();
  }
};

TEST_F(StubMalformed, less_than_a_header_is_dropped) {
  const auto whole = bytes();
  for (std::size_t size = 0; size < 12; ++size)
    EXPECT_TRUE(drops(std::vector<std::uint8_t>(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))))
        << size;
}

TEST_F(StubMalformed, a_reply_is_dropped_so_that_no_two_servers_talk_for_ever) {
  EXPECT_TRUE(drops(bytes({.flags = 0x8180})));
}

TEST_F(StubMalformed, every_query_cut_short_behind_its_header_is_formerr) {
  const auto whole = bytes({.edns = true, .options = test::be16(10) + test::be16(1) + "a"});
  for (std::size_t size = 12; size < whole.size(); ++size) {
    const Seen s = says(std::vector<std::uint8_t>(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
    ASSERT_EQ(s.rcode, kRcodeFormErr) << size;
    ASSERT_EQ(s.id, 0x1234u);
    ASSERT_EQ(s.dig_flags(), "qr rd ra");
    ASSERT_TRUE(s.answers.empty());
  }
}

TEST_F(StubMalformed, another_opcode_is_not_implemented) {
  for (unsigned opcode = 1; opcode < 16; ++opcode) {
    const Seen s = says(bytes({.flags = opcode << 11}));
    EXPECT_EQ(s.rcode, kRcodeNotImp);
    EXPECT_EQ(s.flags >> 11 & 15, opcode);
  }
}

TEST_F(StubMalformed, anything_but_one_question_is_formerr) {   // RFC 9619
  for (const std::uint8_t count : {0, 2, 255}) {
    auto b = bytes();
    b[5] = count;
    EXPECT_EQ(says(b).rcode, kRcodeFormErr) << int{count};
  }
  auto b = bytes();
  b[4] = 1;   // 257
  EXPECT_EQ(says(b).rcode, kRcodeFormErr);
}

TEST_F(StubMalformed, a_pointer_in_the_question_is_formerr) {
  EXPECT_EQ(says(test::wire("1234 0100 0001 0000 0000 0000 | C0 0C 0001 0001")).rcode, kRcodeFormErr);
  EXPECT_EQ(says(test::wire("1234 0100 0001 0000 0000 0000 | 03 'nas' C0 00 0001 0001")).rcode, kRcodeFormErr);
}

TEST_F(StubMalformed, records_that_are_promised_and_missing_are_formerr) {
  for (const std::size_t at : {6u, 8u, 10u}) {
    auto b = bytes();
    b[at + 1] = 1;
    EXPECT_EQ(says(b).rcode, kRcodeFormErr) << at;
    b[at] = 0xFF;
    EXPECT_EQ(says(b).rcode, kRcodeFormErr) << at;
  }
}

TEST_F(StubMalformed, an_opt_that_is_wrong_is_formerr) {
  const auto with = [](std::initializer_list<std::string> records, std::size_t count_at) {
    auto b = QueryBytes{}.bytes();
    for (const std::string& r : records) b.insert(b.end(), r.begin(), r.end());
    b[count_at + 1] = static_cast<std::uint8_t>(records.size());
    return b;
  };
  const std::string root(1, '\0');
  const std::string opt = test::rr(root, 41, 1232, 0, "");
  EXPECT_EQ(says(with({opt}, 10)).rcode, kRcodeNoError);
  EXPECT_EQ(says(with({opt, opt}, 10)).rcode, kRcodeFormErr) << "two";
  EXPECT_EQ(says(with({test::rr("\xC0\x0C", 41, 1232, 0, "")}, 10)).rcode, kRcodeFormErr) << "not at the root";
  EXPECT_EQ(says(with({opt}, 6)).rcode, kRcodeFormErr) << "in the answer section";
  EXPECT_EQ(says(with({test::rr(root, 41, 1232, 0, test::be16(10) + test::be16(3) + "ab")}, 10)).rcode, kRcodeFormErr)
      << "an option that lies";
  EXPECT_EQ(says(with({test::rr(root, 41, 1232, 0, "abc")}, 10)).rcode, kRcodeFormErr) << "half an option";
  EXPECT_EQ(says(with({test::rr("\xC0\x0C", 16, 1, 0, "\1x"), opt}, 10)).rcode, kRcodeNoError)
      << "other records do no harm";
}

TEST_F(StubMalformed, edns_of_a_later_version_is_badvers) {   // RFC 6891 section 6.1.3
  const Seen s = says(bytes({.edns = true, .version = 1}));
  EXPECT_EQ(s.rcode, kRcodeBadVers);
  EXPECT_TRUE(s.has_opt);
  EXPECT_EQ(s.additionals.at(0).ttl >> 16 & 255, 0u) << "our version";
  EXPECT_EQ(s.qname, "nas.home.int.");
}

TEST_F(StubMalformed, bytes_behind_the_last_record_are_ignored) {
  auto b = bytes();
  b.insert(b.end(), 100, 0xFF);
  expect_address(says(b), "nas.home.int.");
}

TEST_F(StubMalformed, any_bytes_get_an_answer_to_their_own_id_or_none) {
  std::uint64_t x = 88172645463325252ull;   // xorshift, so that every run is the same
  const auto next = [&x] {
    x ^= x << 13;
    x ^= x >> 7;
    return x ^= x << 17;
  };
  for (int i = 0; i < 20000; ++i) {
    auto b = bytes({.name = i % 2 == 0 ? "nas.home.int" : "7.3.100.100.in-addr.arpa", .edns = true});
    for (std::uint64_t flips = next() % 4; flips > 0; --flips) b[next() % b.size()] = static_cast<std::uint8_t>(next());
    for (std::uint64_t cut = next() % 3; cut > 0; --cut) b.pop_back();
    answer.clear();
    if (!std::holds_alternative<Answered>(decide(b))) continue;
    const Seen s = seen();
    ASSERT_EQ(s.id, b[0] * 256u + b[1]);
    ASSERT_TRUE((s.flags & 0x8000) != 0);
    ASSERT_LE(answer.size(), 512u);
  }
}

TEST_F(StubMalformed, a_forwarder_without_an_answer_can_say_servfail_to_any_query) {
  EXPECT_TRUE(reply_to_bytes(answer, ExactBytes(bytes({.name = "example.com", .edns = true})), kRcodeServFail));
  EXPECT_EQ(seen().rcode, kRcodeServFail);
  EXPECT_EQ(seen().qname, "example.com.");
  EXPECT_TRUE(seen().has_opt);
  EXPECT_FALSE(reply_to_bytes(answer, ExactBytes(bytes({.flags = 0x8000})), kRcodeServFail));
}

}  // namespace tg::dns::stub_malformed_test
