// The Resources of one home, and a stub over them: what the stub's tests share.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "dns/stub.h"
#include "tests/support/dns_wire.h"

namespace tg::dns {

using test::ExactBytes;
using test::QueryBytes;
using test::Seen;

inline Resource resource(ResourceId id, std::string_view address, std::string alias = "") {
  Resource r;
  r.id = id;
  r.name = "r" + std::to_string(id);
  r.network = "home";
  r.address = *Address::parse(address);
  r.alias = std::move(alias);
  return r;
}

class Home : public ::testing::Test {
 protected:
  static std::shared_ptr<const Matcher> resources(std::vector<Resource> more = {}) {
    more.push_back(resource(1, "nas.home.int", "nas.tg"));
    more.push_back(resource(2, "*.corp.internal"));
    more.push_back(resource(3, "10.0.1.25", "box.tg"));
    more.push_back(resource(4, "10.128.0.0/16"));
    return std::make_shared<const Matcher>(std::move(more));
  }

  Verdict decide(const std::vector<std::uint8_t>& query) { return stub.decide(ExactBytes(query), now, answer); }
  // ask decides, and expects an answer at once.
  Seen ask(const QueryBytes& q) {
    const Verdict v = decide(q.bytes());
    EXPECT_TRUE(std::holds_alternative<Answered>(v)) << "verdict " << v.index();
    return seen();
  }
  Seen ask(const std::string& name, unsigned type) { return ask(QueryBytes{.name = name, .type = type}); }
  Seen seen() {
    Seen s = test::see(ExactBytes(answer));
    EXPECT_TRUE(s.ok);
    return s;
  }
  bool forwards(const QueryBytes& q) { return std::holds_alternative<Forward>(decide(q.bytes())); }
  // asks returns what a connector is asked.
  std::optional<tg::Query> asks(const QueryBytes& q) {
    const Verdict v = decide(q.bytes());
    const Ask* a = std::get_if<Ask>(&v);
    return a == nullptr ? std::nullopt : std::optional(a->query);
  }
  // answered decides, expects Ask, and completes with what a connector said.
  Seen answered(const QueryBytes& q, std::uint8_t rcode, const Records& records = {},
      Transport transport = Transport::udp) {
    const auto query = asks(q);
    EXPECT_TRUE(query.has_value());
    if (!query) return {};
    const ExactBytes wire(encode_records(records));
    const PrivateAnswer said{rcode, wire.span()};
    stub.complete(ExactBytes(q.bytes()), transport, *query, &said, now, answer);
    return seen();
  }
  Seen unanswered(const QueryBytes& q) {
    const auto query = asks(q);
    EXPECT_TRUE(query.has_value());
    if (!query) return {};
    stub.complete(ExactBytes(q.bytes()), Transport::udp, *query, nullptr, now, answer);
    return seen();
  }

  static void expect_address(const Seen& s, const std::string& owner) {
    EXPECT_EQ(s.rcode, kRcodeNoError);
    ASSERT_EQ(s.answers.size(), 1u);
    EXPECT_EQ(s.answers[0].name, owner);
    EXPECT_EQ(s.answers[0].type, kTypeA);
    EXPECT_EQ(s.answers[0].klass, kClassIn);
    EXPECT_EQ(s.answers[0].ttl, 15u);
    EXPECT_EQ(s.answers[0].rdata.size(), 4u);
    EXPECT_TRUE(s.authorities.empty());
  }
  static Ipv4 address(const Seen& s) {
    if (s.answers.empty() || s.answers[0].rdata.size() != 4) return {};
    return Ipv4{Reader(as_bytes(s.answers[0].rdata)).u32()};
  }
  // expect_absent: NODATA (NOERROR) or NXDOMAIN, with an SOA of 15 seconds at `zone`.
  static void expect_absent(const Seen& s, unsigned rcode, const std::string& zone) {
    EXPECT_EQ(s.rcode, rcode);
    EXPECT_TRUE(s.answers.empty());
    ASSERT_EQ(s.authorities.size(), 1u);
    const auto& soa = s.authorities[0];
    EXPECT_EQ(soa.type, kTypeSoa);
    EXPECT_EQ(soa.name, zone);
    EXPECT_EQ(soa.ttl, 15u);
    EXPECT_EQ(s.name_at(soa.rdata_at), zone);
    ASSERT_GE(soa.rdata.size(), 20u);
    EXPECT_EQ(soa.rdata.substr(soa.rdata.size() - 4), test::be32(15)) << "the minimum is the negative TTL (RFC 2308)";
  }

  AddressPool pool{*Cidr::parse("100.96.0.0/12")};
  Stub stub{resources(), pool};
  Instant now{std::chrono::hours(1)};
  Buffer answer;
};

}  // namespace tg::dns
