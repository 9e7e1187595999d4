#include "dns/resolver.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/dns/asker_harness.h"

namespace tg::dns::resolver_test {

using End = Resolver::Outcome::End;

struct Resolving {
  explicit Resolving(int n = 1, std::size_t max_lookups = 1024, std::size_t of_one = 256)
      : resolver({{servers(n), 400ms, true, seeded()}, 5s, 100, std::make_shared<DeviceQuota>(DeviceQuota::Limits{max_lookups, of_one})}), wires(resolver) {}

  Resolver::RequestId resolve(std::string_view text, const std::string& asker = {}) {
    return resolver.resolve(name(text), wires.now, asker);
  }
  Resolver::RequestId lookup(std::string_view text, std::uint16_t type) {
    return resolver.lookup(name(text), type, wires.now);
  }
  Resolver::Outcome outcome() {
    auto o = resolver.next_outcome();
    EXPECT_TRUE(o);
    return o ? *o : Resolver::Outcome{};
  }
  bool waiting() { return !resolver.next_outcome(); }
  // answer replies to the next question, which must be this one.
  void answer(std::string_view text, std::uint16_t type, std::vector<Record> answers, std::vector<Record> authorities = {},
              std::uint16_t rcode = kRcodeNoError) {
    const Action sent = wires.next();
    ASSERT_FALSE(sent.bytes.empty());
    EXPECT_EQ(query_of(sent).questions.at(0), (Question{name(text), type}));
    wires.deliver(sent, reply_to(sent, std::move(answers), std::move(authorities), rcode));
  }
  void expect_nothing_left() {
    EXPECT_TRUE(wires.quiet());
    EXPECT_EQ(resolver.in_flight(), 0u);
    EXPECT_TRUE(wires.open.empty());
    EXPECT_EQ(resolver.next_deadline(), kNever);
    EXPECT_FALSE(resolver.next_outcome());
  }

  Resolver resolver;
  Wires wires;
};

TEST(Resolver, gives_the_addresses_in_the_servers_order) {
  Resolving r;
  const auto id = r.resolve("nas.home.int");
  r.answer("nas.home.int", kTypeA, {a("nas.home.int", "192.168.1.51"), a("NAS.home.int", "192.168.1.50")});
  const auto o = r.outcome();
  EXPECT_EQ(o.id, id);
  EXPECT_EQ(o.end, End::answered);
  EXPECT_EQ(o.addresses, (std::vector{ip("192.168.1.51"), ip("192.168.1.50")}));
  r.expect_nothing_left();
}

TEST(Resolver, asks_for_aaaa_when_there_is_no_a) {
  Resolving r;
  r.resolve("six.home.int");
  r.answer("six.home.int", kTypeA, {}, {soa("home.int", 300, 300)});
  r.answer("six.home.int", kTypeAaaa, {aaaa("six.home.int", "fd00::50")});
  EXPECT_EQ(r.outcome().addresses, std::vector{ip("fd00::50")});
  r.expect_nothing_left();
}

TEST(Resolver, does_not_ask_for_aaaa_when_the_name_does_not_exist) {
  Resolving r;
  r.resolve("gone.home.int");
  r.answer("gone.home.int", kTypeA, {}, {}, kRcodeNxDomain);
  const auto o = r.outcome();
  EXPECT_EQ(o.end, End::answered);
  EXPECT_EQ(o.rcode, kRcodeNxDomain);
  r.expect_nothing_left();
}

TEST(Resolver, says_no_address_when_there_is_neither) {
  Resolving r;
  r.resolve("mail.home.int");
  r.answer("mail.home.int", kTypeA, {});
  r.answer("mail.home.int", kTypeAaaa, {});
  const auto o = r.outcome();
  EXPECT_EQ(o.end, End::answered);
  EXPECT_EQ(o.rcode, kRcodeNoError);
  EXPECT_TRUE(o.addresses.empty());
}

TEST(Resolver, takes_no_record_that_was_not_asked_for) {
  Resolving r;
  r.resolve("nas.home.int");
  r.answer("nas.home.int", kTypeA,
           {a("bank.example", "6.6.6.6"), aaaa("nas.home.int", "fd00::6"), a("nas.home.int", "192.168.1.50")});
  EXPECT_EQ(r.outcome().addresses, std::vector{ip("192.168.1.50")});
  r.resolve("bank.example");
  EXPECT_FALSE(r.wires.quiet());   // not from the cache
}

TEST(Resolver, bounds_one_request_to_5_s_with_a_and_aaaa) {
  Resolving r;
  r.resolve("six.home.int");
  const Action sent = r.wires.next();
  r.wires.pass(4s);
  r.wires.deliver(sent, reply_to(sent));   // dropped by now: three younger attempts are open
  EXPECT_TRUE(r.waiting());
  const Action late = r.wires.sent.back();
  r.wires.sent.clear();
  r.wires.deliver(late, reply_to(late));   // NODATA: on to AAAA
  r.wires.pass(999ms);
  EXPECT_TRUE(r.waiting());
  r.wires.pass(1ms);
  EXPECT_EQ(r.outcome().end, End::timed_out);
  r.wires.sent.clear();
  r.expect_nothing_left();
}

TEST(Resolver, maps_what_goes_wrong) {
  Resolving none(0);
  none.resolve("nas.home.int");
  const auto unreachable = none.outcome();
  EXPECT_EQ(unreachable.end, End::unreachable);
  EXPECT_EQ(unreachable.rcode, kRcodeServFail);

  Resolving r;
  r.resolve("nas.home.int");
  r.answer("nas.home.int", kTypeA, {}, {}, kRcodeServFail);
  const auto failed = r.outcome();
  EXPECT_EQ(failed.end, End::failed);
  EXPECT_EQ(failed.rcode, kRcodeServFail);
}

// --- records of other types

TEST(Resolver, looks_up_any_type_with_its_records) {
  Resolving r;
  r.lookup("nas.home.int", kTypeTxt);
  r.answer("nas.home.int", kTypeTxt, {txt("nas.home.int", "hello")});
  const auto o = r.outcome();
  EXPECT_EQ(o.records.answers, std::vector{txt("nas.home.int", "hello")});
  EXPECT_TRUE(o.addresses.empty());
}

TEST(Resolver, returns_owners_in_the_letters_of_the_question) {
  Resolving r;
  r.lookup("nas.home.int", kTypeTxt);
  r.answer("nas.home.int", kTypeTxt, {txt("nAs.HOME.inT", "hello")});
  EXPECT_TRUE(r.outcome().records.answers.at(0).name.same_bytes(name("nas.home.int")));
}

TEST(Resolver, returns_the_soa_of_a_negative_answer_and_no_other_zones) {
  Resolving r;
  r.lookup("x.home.int", kTypeMx);
  r.answer("x.home.int", kTypeMx, {}, {soa("example.com", 10, 10), soa("home.int", 300, 60)}, kRcodeNxDomain);
  const auto o = r.outcome();
  EXPECT_EQ(o.rcode, kRcodeNxDomain);
  EXPECT_EQ(o.records.authorities, std::vector{soa("home.int", 300, 60)});
}

TEST(Resolver, answers_a_question_for_any_with_what_there_is) {
  Resolving r;
  r.lookup("nas.home.int", kTypeAny);
  r.answer("nas.home.int", kTypeAny, {txt("nas.home.int", "x"), a("nas.home.int", "10.0.0.1")});
  EXPECT_EQ(r.outcome().records.answers.size(), 2u);
}

TEST(Resolver, asks_nobody_for_types_that_are_no_questions) {
  Resolving r;
  for (const std::uint16_t type : {std::uint16_t{0}, kTypeOpt, kTypeTkey, kTypeTsig, kTypeIxfr, kTypeAxfr, kTypeMaila}) {
    r.lookup("home.int", type);
    EXPECT_EQ(r.outcome().rcode, kRcodeNotImp) << type;
  }
  r.expect_nothing_left();
}

// --- CNAME

TEST(Resolver, follows_a_chain_inside_a_reply) {
  Resolving r;
  r.resolve("www.home.int");
  r.answer("www.home.int", kTypeA,
           {a("c.home.int", "192.168.1.9"), cname("b.home.int", "c.home.int"), cname("www.home.int", "b.home.int")});
  EXPECT_EQ(r.outcome().addresses, std::vector{ip("192.168.1.9")});
}

TEST(Resolver, asks_again_where_the_chain_leaves_the_reply_and_caches_the_whole) {
  Resolving r;
  r.lookup("www.home.int", kTypeA);
  r.answer("www.home.int", kTypeA, {cname("www.home.int", "nas.corp.internal", 30)});
  r.answer("nas.corp.internal", kTypeA, {a("nas.corp.internal", "10.1.2.3", 300)});
  const std::vector<Record> whole{cname("www.home.int", "nas.corp.internal", 30), a("nas.corp.internal", "10.1.2.3", 300)};
  EXPECT_EQ(r.outcome().records.answers, whole);
  r.lookup("www.home.int", kTypeA);
  EXPECT_EQ(r.outcome().records.answers, whole);
  r.expect_nothing_left();
}

TEST(Resolver, goes_on_from_the_cache_where_the_chain_leaves_the_reply) {
  Resolving r;
  r.resolve("nas.home.int");
  r.answer("nas.home.int", kTypeA, {a("nas.home.int", "192.168.1.50")});
  r.outcome();
  r.resolve("www.home.int");
  r.answer("www.home.int", kTypeA, {cname("www.home.int", "nas.home.int")});
  EXPECT_EQ(r.outcome().addresses, std::vector{ip("192.168.1.50")});
  r.resolve("www.home.int");
  EXPECT_EQ(r.outcome().addresses, std::vector{ip("192.168.1.50")});
  r.expect_nothing_left();
}

TEST(Resolver, takes_nxdomain_for_the_end_of_the_chain) {
  Resolving r;
  r.resolve("www.home.int");
  r.answer("www.home.int", kTypeA, {cname("www.home.int", "gone.home.int")}, {soa("home.int", 60, 60)}, kRcodeNxDomain);
  EXPECT_EQ(r.outcome().rcode, kRcodeNxDomain);
  r.expect_nothing_left();
}

TEST(Resolver, takes_a_cname_as_the_answer_when_it_was_asked_for) {
  Resolving r;
  r.lookup("www.home.int", kTypeCname);
  r.answer("www.home.int", kTypeCname, {cname("www.home.int", "nas.home.int")});
  EXPECT_EQ(r.outcome().records.answers.size(), 1u);
  r.expect_nothing_left();
}

TEST(Resolver, ends_chains_that_go_in_circles) {
  Resolving r;
  r.resolve("a.int");
  r.answer("a.int", kTypeA, {cname("a.int", "b.int"), cname("b.int", "A.int")});
  EXPECT_EQ(r.outcome().end, End::failed);
  r.resolve("self.int");
  r.answer("self.int", kTypeA, {cname("self.int", "self.int")});
  EXPECT_EQ(r.outcome().end, End::failed);
  // and over several replies
  r.resolve("c.int");
  r.answer("c.int", kTypeA, {cname("c.int", "d.int")});
  r.answer("d.int", kTypeA, {cname("d.int", "c.int")});
  EXPECT_EQ(r.outcome().end, End::failed);
  r.expect_nothing_left();
}

std::string link(std::size_t i) { return "n" + std::to_string(i) + ".int"; }

TEST(Resolver, follows_16_cnames_and_no_more) {
  for (const std::size_t length : {kLongestChain, kLongestChain + 1}) {
    for (const bool one_reply : {true, false}) {
      Resolving r;
      r.resolve(link(0));
      std::vector<Record> chain;
      for (std::size_t i = 0; i < length; ++i) chain.push_back(cname(link(i), link(i + 1)));
      chain.push_back(a(link(length), "10.0.0.9"));
      if (one_reply) {
        r.answer(link(0), kTypeA, chain);
      } else {
        for (std::size_t i = 0; i < chain.size() && r.resolver.in_flight() > 0; ++i) r.answer(link(i), kTypeA, {chain[i]});
      }
      EXPECT_EQ(r.outcome().end, length == kLongestChain ? End::answered : End::failed) << length << one_reply;
      r.expect_nothing_left();
    }
  }
}

TEST(Resolver, follows_the_chain_anew_for_aaaa) {
  Resolving r;
  r.resolve("www.home.int");
  r.answer("www.home.int", kTypeA, {cname("www.home.int", "six.home.int")});
  r.answer("six.home.int", kTypeA, {});
  r.answer("www.home.int", kTypeAaaa, {cname("www.home.int", "six.home.int")});
  r.answer("six.home.int", kTypeAaaa, {aaaa("six.home.int", "fd00::1")});
  EXPECT_EQ(r.outcome().addresses, std::vector{ip("fd00::1")});
}

TEST(Resolver, goes_to_the_next_server_when_a_cname_is_cut_short) {
  Resolving r(2);
  r.resolve("www.home.int");
  const Action sent = r.wires.next();
  Buffer bytes = reply_to(sent, {cname("www.home.int", "x.int")}).encode();
  bytes.pop_back();
  r.wires.deliver(sent, bytes);
  EXPECT_EQ(r.wires.next().server, server(2));
}

// --- cache

TEST(Resolver, answers_from_the_cache_until_the_ttl_is_over) {
  Resolving r;
  r.resolve("nas.home.int");
  r.answer("nas.home.int", kTypeA, {a("nas.home.int", "192.168.1.50", 20)});
  r.outcome();
  r.wires.pass(19s);
  r.resolve("NAS.HOME.INT");
  EXPECT_EQ(r.outcome().addresses, std::vector{ip("192.168.1.50")});
  r.wires.pass(1s);
  r.resolve("nas.home.int");
  EXPECT_TRUE(r.waiting());
  r.answer("nas.home.int", kTypeA, {a("nas.home.int", "192.168.1.51", 20)});
  EXPECT_EQ(r.outcome().addresses, std::vector{ip("192.168.1.51")});
}

TEST(Resolver, caches_that_a_name_does_not_exist_for_60_s_at_most) {
  Resolving r;
  r.resolve("gone.home.int");
  r.answer("gone.home.int", kTypeA, {}, {soa("home.int", 3600, 3600)}, kRcodeNxDomain);
  r.outcome();
  r.wires.pass(59s);
  r.resolve("gone.home.int");
  EXPECT_EQ(r.outcome().rcode, kRcodeNxDomain);
  r.wires.pass(1s);
  r.resolve("gone.home.int");
  EXPECT_FALSE(r.wires.quiet());
}

TEST(Resolver, does_not_cache_failures_or_absence_without_an_soa) {
  Resolving r;
  r.resolve("gone.home.int");
  r.answer("gone.home.int", kTypeA, {}, {}, kRcodeNxDomain);
  r.resolve("bad.home.int");
  r.answer("bad.home.int", kTypeA, {}, {}, kRcodeServFail);
  EXPECT_EQ(r.resolver.cached(), 0u);
}

TEST(Resolver, caches_that_there_is_no_a_and_the_aaaa_behind_it) {
  Resolving r;
  r.resolve("six.home.int");
  r.answer("six.home.int", kTypeA, {}, {soa("home.int", 60, 60)});
  r.answer("six.home.int", kTypeAaaa, {aaaa("six.home.int", "fd00::50", 60)});
  r.outcome();
  r.resolve("six.home.int");
  EXPECT_EQ(r.outcome().addresses, std::vector{ip("fd00::50")});
  r.expect_nothing_left();
}

TEST(Resolver, forgets_the_cache_when_the_servers_change) {
  Resolving r;
  r.resolve("nas.home.int");
  r.answer("nas.home.int", kTypeA, {a("nas.home.int", "192.168.1.50")});
  r.resolver.set_servers(servers(1), r.wires.now);
  EXPECT_EQ(r.resolver.cached(), 1u);
  r.resolver.set_servers({server(9)}, r.wires.now);
  EXPECT_EQ(r.resolver.cached(), 0u);
  r.resolve("nas.home.int");
  EXPECT_EQ(r.wires.next().server, server(9));
}

TEST(Resolver, asks_the_new_servers_what_the_old_ones_have_not_answered) {
  Resolving r;
  r.resolve("nas.home.int");
  const Action old = r.wires.next();
  r.wires.pass(4900ms);
  r.wires.sent.clear();
  r.resolver.set_servers({server(9)}, r.wires.now);
  const Action sent = r.wires.next();
  EXPECT_EQ(sent.server, server(9));
  EXPECT_EQ(r.wires.open.size(), 1u) << "nobody listens to the old ones";
  r.wires.deliver(old, reply_to(old, {a("nas.home.int", "6.6.6.6")}));
  r.wires.pass(300ms);
  EXPECT_TRUE(r.waiting()) << "the new ones have their time";
  r.resolve("nas.home.int");                                     // joins
  EXPECT_TRUE(r.wires.quiet());
  r.wires.deliver(sent, reply_to(sent, {a("nas.home.int", "192.168.1.50")}));
  for (int i = 0; i < 2; ++i) EXPECT_EQ(r.outcome().addresses, std::vector{ip("192.168.1.50")});
  r.expect_nothing_left();
}

TEST(Resolver, waits_for_the_new_servers_as_long_as_for_any) {
  Resolving r;
  r.resolve("nas.home.int");
  r.wires.pass(3s);
  r.resolver.set_servers({server(9)}, r.wires.now);
  r.wires.pass(4999ms);
  EXPECT_TRUE(r.waiting());
  r.wires.pass(1ms);
  EXPECT_EQ(r.outcome().end, End::timed_out);
  r.wires.sent.clear();
  r.expect_nothing_left();
}

TEST(Resolver, begins_a_chain_anew_when_the_servers_change) {
  Resolving r;
  r.resolve("www.home.int");
  r.answer("www.home.int", kTypeA, {cname("www.home.int", "nas.home.int")});
  r.wires.next();                                                // the question for nas.home.int
  r.resolver.set_servers({server(9)}, r.wires.now);
  r.answer("www.home.int", kTypeA, {});
  r.wires.next();                                                // AAAA
  r.resolver.set_servers({server(8)}, r.wires.now);
  r.answer("www.home.int", kTypeA, {a("www.home.int", "192.168.1.50")});
  EXPECT_EQ(r.outcome().addresses, std::vector{ip("192.168.1.50")});
  r.expect_nothing_left();
}

TEST(Resolver, goes_on_in_peace_when_the_servers_stay_the_same) {
  Resolving r;
  r.resolve("nas.home.int");
  const Action sent = r.wires.next();
  r.resolver.set_servers(servers(1), r.wires.now);
  EXPECT_TRUE(r.wires.quiet());
  r.wires.deliver(sent, reply_to(sent, {a("nas.home.int", "192.168.1.50")}));
  EXPECT_EQ(r.outcome().addresses, std::vector{ip("192.168.1.50")});
}

TEST(Resolver, ends_all_that_is_in_flight_when_there_are_no_servers_any_more) {
  Resolving r;
  std::set<Resolver::RequestId> ids;
  for (const char* n : {"a.int", "b.int", "c.int", "a.int"}) ids.insert(r.resolve(n));
  r.resolver.set_servers({}, r.wires.now);
  for (int i = 0; i < 4; ++i) {
    const auto o = r.outcome();
    EXPECT_EQ(ids.erase(o.id), 1u);
    EXPECT_EQ(o.end, End::unreachable);
  }
  r.wires.pump();
  r.wires.sent.clear();
  r.expect_nothing_left();
}

// --- many requests

TEST(Resolver, joins_identical_questions_in_flight) {
  Resolving r;
  std::set<Resolver::RequestId> ids;
  for (int i = 0; i < 10; ++i) ids.insert(r.resolve(i % 2 ? "nas.home.int" : "NAS.Home.Int"));
  EXPECT_EQ(ids.size(), 10u);
  r.answer("nas.home.int", kTypeA, {a("nas.home.int", "192.168.1.50")});
  for (int i = 0; i < 10; ++i) {
    const auto o = r.outcome();
    EXPECT_EQ(ids.erase(o.id), 1u);
    EXPECT_EQ(o.addresses, std::vector{ip("192.168.1.50")});
  }
  r.expect_nothing_left();
}

TEST(Resolver, refuses_more_lookups_than_its_limit_at_once) {
  Resolving r(1, 2);
  r.resolve("a.int", "one");
  r.resolve("b.int", "two");
  const auto id = r.resolve("c.int", "three");
  r.resolve("a.int", "three");   // joins
  const auto o = r.outcome();
  EXPECT_EQ(o.id, id);
  EXPECT_EQ(o.end, End::exhausted);
  EXPECT_TRUE(r.waiting());
  r.answer("a.int", kTypeA, {a("a.int", "10.0.0.1")});
  r.resolve("c.int", "three");
  EXPECT_EQ(r.resolver.in_flight(), 2u);
}

TEST(Resolver, refuses_an_asker_that_has_its_share_and_no_other) {
  Resolving r(1, 8, 2);
  r.resolve("a.int", "greedy");
  const auto second = r.resolve("b.int", "greedy");
  const auto third = r.resolve("c.int", "greedy");
  auto o = r.outcome();
  EXPECT_EQ(o.id, third);
  EXPECT_EQ(o.end, End::exhausted);
  r.resolve("c.int", "modest");
  r.resolve("c.int", "greedy");      // joins the other's
  EXPECT_TRUE(r.waiting());
  r.resolver.cancel(second);
  r.resolve("d.int", "greedy");
  EXPECT_TRUE(r.waiting()) << "what was given up makes room";
  EXPECT_EQ(r.resolver.in_flight(), 3u);
}

TEST(Resolver, tells_what_it_knows_to_an_asker_that_has_its_share) {
  Resolving r(1, 8, 1);
  r.resolve("www.int", "greedy");
  r.answer("www.int", kTypeA, {cname("www.int", "nas.int"), a("nas.int", "10.0.0.1")});
  r.outcome();
  r.resolve("slow.int", "greedy");
  for (const char* known : {"www.int", "www.int"}) {
    r.resolve(known, "greedy");
    EXPECT_EQ(r.outcome().addresses, std::vector{ip("10.0.0.1")});
  }
  r.resolve("other.int", "greedy");
  EXPECT_EQ(r.outcome().end, End::exhausted);
}

TEST(Resolver, a_chain_and_a_second_type_take_one_place) {
  Resolving r(1, 8, 1);
  r.resolve("www.int", "device");
  r.answer("www.int", kTypeA, {cname("www.int", "nas.other")});
  r.answer("nas.other", kTypeA, {});
  r.answer("www.int", kTypeAaaa, {aaaa("www.int", "fd00::1")});
  EXPECT_EQ(r.outcome().addresses, std::vector{ip("fd00::1")});
  r.resolve("next.int", "device");
  EXPECT_TRUE(r.waiting());
}

TEST(Resolver, asks_for_nobody_whatever_others_ask) {
  Resolving r(1, 2, 2);
  r.resolve("a.int", "one");
  r.resolve("b.int", "one");
  for (int i = 0; i < 5; ++i) r.resolve("controller" + std::to_string(i) + ".example");
  EXPECT_TRUE(r.waiting());
  EXPECT_EQ(r.resolver.in_flight(), 7u);
}

TEST(Resolver, cancel_ends_a_lookup_only_when_nobody_waits_for_it) {
  Resolving r;
  const auto first = r.resolve("nas.home.int");
  const auto second = r.resolve("nas.home.int");
  r.resolver.cancel(first);
  EXPECT_EQ(r.resolver.in_flight(), 1u);
  r.resolver.cancel(second);
  r.resolver.cancel(second);
  r.wires.next();
  r.expect_nothing_left();
}

TEST(Resolver, cancel_takes_back_an_outcome_that_nobody_has_seen) {
  Resolving r;
  const auto id = r.resolve("nas.home.int");
  r.answer("nas.home.int", kTypeA, {a("nas.home.int", "192.168.1.50")});
  r.resolver.cancel(id);
  r.expect_nothing_left();
}

// Whatever the servers answer, every request ends exactly once, within 5 s of being made or of the last change of the
// servers, and leaves nothing behind.
TEST(Resolver, ends_every_request_once_whatever_the_network_does) {
  std::mt19937 dice(3);
  const auto roll = [&](unsigned n) { return static_cast<unsigned>(dice() % n); };
  for (int round = 0; round < 300; ++round) {
    Resolving r(1 + static_cast<int>(roll(3)), 8);
    std::map<Resolver::RequestId, Instant> open;
    Instant changed{};
    for (int step = 0; step < 60; ++step) {
      if (step < 30) {
        const std::string n = "n" + std::to_string(roll(12)) + ".int";
        open.emplace(roll(2) ? r.resolve(n) : r.lookup(n, roll(2) ? kTypeTxt : kTypeA), r.wires.now);
      }
      if (roll(25) == 0) {
        r.resolver.set_servers(servers(static_cast<int>(roll(4))), r.wires.now);
        changed = r.wires.now;
      }
      r.wires.pump();
      while (!r.wires.sent.empty()) {
        const Action sent = r.wires.next();
        const Name asked = query_of(sent).questions.at(0).name;
        const std::string to = "n" + std::to_string(roll(12)) + ".int";
        Message m = reply_to(sent);
        switch (roll(9)) {
          case 0: continue;   // lost
          case 1: r.wires.fail(sent); continue;
          case 2: m.header.rcode = static_cast<std::uint16_t>(roll(6)); break;
          case 3: m.header.tc = true; break;
          case 4: m.header.id ^= 1; break;
          case 5: m.questions[0].name = m.questions[0].name.lower(); break;
          case 6: m.answers.push_back(make_name_record(asked, kTypeCname, name(to), roll(20))); break;
          case 7: m.authorities.push_back(soa("int", roll(20), 20)); break;
          default: m.answers.push_back(make_a(asked, Ipv4{roll(99)}, roll(20)));
        }
        Buffer bytes = m.encode();
        if (roll(20) == 0) bytes[roll(static_cast<unsigned>(bytes.size()))] ^= static_cast<std::uint8_t>(1u << roll(8));
        r.wires.deliver(sent, bytes);
      }
      r.wires.pass(std::chrono::milliseconds(roll(step < 30 ? 200 : 1000)));
      while (const auto o = r.resolver.next_outcome()) {
        ASSERT_EQ(open.count(o->id), 1u);
        ASSERT_LE(r.wires.now - std::max(open[o->id], changed), Duration(5s + 1s));   // seen when the step ends
        open.erase(o->id);
      }
    }
    ASSERT_TRUE(open.empty());
    r.expect_nothing_left();
  }
}

}  // namespace tg::dns::resolver_test
