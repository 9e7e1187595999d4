// How servers are asked, and which replies are believed.
#include "dns/exchange.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "dns/resolver.h"
#include "tests/dns/asker_harness.h"

namespace tg::dns::exchange_test {

const Question kNas{Name::parse("nas.home.int").value(), kTypeA};

struct Exchanging {
  explicit Exchanging(int n, bool mix_case = true)
      : exchanges({servers(n), 400ms, mix_case, seeded()}), wires(exchanges) {}

  Exchanges::Id ask() { return exchanges.ask(kNas, wires.now, wires.now + 5s); }
  Exchanges::Reply reply() {
    auto r = exchanges.next_reply();
    EXPECT_TRUE(r);
    return r ? *r : Exchanges::Reply{};
  }
  bool waiting() { return !exchanges.next_reply(); }
  void expect_nothing_left() {
    wires.pump();
    EXPECT_EQ(exchanges.in_flight(), 0u);
    EXPECT_TRUE(wires.open.empty());
    EXPECT_EQ(exchanges.next_deadline(), kNever);
  }

  Exchanges exchanges;
  Wires wires;
};

Message good(const Action& sent) { return reply_to(sent, {a("nas.home.int", "192.168.1.50")}); }

TEST(Exchange, asks_the_first_server_with_edns_and_recursion) {
  Exchanging x(2);
  x.ask();
  const Action sent = x.wires.next();
  EXPECT_EQ(sent.kind, Action::Kind::udp);
  EXPECT_EQ(sent.server, server(1));
  const Message q = query_of(sent);
  EXPECT_TRUE(q.header.rd);
  EXPECT_FALSE(q.header.qr);
  ASSERT_EQ(q.questions.size(), 1u);
  EXPECT_EQ(q.questions[0], kNas);
  ASSERT_TRUE(q.edns);
  EXPECT_EQ(q.edns->udp_size, 1232);
  EXPECT_TRUE(x.wires.quiet());
}

TEST(Exchange, ends_with_the_reply_that_is_believed) {
  Exchanging x(1);
  const auto id = x.ask();
  const Action sent = x.wires.next();
  x.wires.deliver(sent, good(sent));
  const auto r = x.reply();
  EXPECT_EQ(r.id, id);
  EXPECT_EQ(r.end, Exchanges::End::answered);
  EXPECT_EQ(r.message.answers.size(), 1u);
  x.expect_nothing_left();
}

TEST(Exchange, asks_the_next_server_after_400_ms_and_ends_after_5_s) {
  Exchanging x(3);
  x.ask();
  std::vector<std::pair<Duration, Endpoint>> sent;
  const Instant start = x.wires.now;
  while (x.waiting()) {
    while (!x.wires.quiet()) sent.push_back({x.wires.now - start, x.wires.next().server});
    x.wires.pass(x.exchanges.next_deadline() - x.wires.now);
    ASSERT_LE(x.wires.now - start, 5s);
    if (x.exchanges.in_flight() == 0) break;
  }
  EXPECT_EQ(x.wires.now - start, Duration(5s));
  const std::vector<std::pair<Duration, Endpoint>> expected{{0ms, server(1)},    {400ms, server(2)},  {1200ms, server(3)},
                                                            {2200ms, server(1)}, {3200ms, server(2)}, {4200ms, server(3)}};
  EXPECT_EQ(sent, expected);
  x.expect_nothing_left();
}

TEST(Exchange, says_silent_when_nobody_answered) {
  Exchanging x(2);
  x.ask();
  x.wires.pass(5s);
  EXPECT_EQ(x.reply().end, Exchanges::End::silent);
}

TEST(Exchange, takes_a_late_reply_of_the_first_server) {
  Exchanging x(2);
  x.ask();
  const Action first = x.wires.next();
  x.wires.pass(500ms);
  EXPECT_EQ(x.wires.next().server, server(2));
  x.wires.deliver(first, good(first));
  EXPECT_EQ(x.reply().end, Exchanges::End::answered);
  x.expect_nothing_left();
}

TEST(Exchange, never_holds_more_than_three_sockets) {
  Exchanging x(5);
  x.ask();
  x.wires.pass(5s);
  EXPECT_EQ(x.wires.most_open, Exchanges::kMaxOpen);
}

TEST(Exchange, uses_a_fresh_id_and_transaction_for_every_attempt) {
  Exchanging x(2);
  std::set<std::uint16_t> ids;
  for (int i = 0; i < 20; ++i) {
    x.ask();
    x.wires.pass(5s);
    x.reply();
  }
  std::size_t count = 0;
  for (; !x.wires.quiet(); ++count) ids.insert(query_of(x.wires.next()).header.id);
  EXPECT_EQ(count, 120u);
  EXPECT_GT(ids.size(), 115u);   // two may meet by chance
}

class BadRcode : public testing::TestWithParam<std::uint16_t> {};
TEST_P(BadRcode, sends_us_to_the_next_server_at_once) {
  Exchanging x(2);
  x.exchanges.ask(kNas, x.wires.now, x.wires.now + 5s);
  Action first = x.wires.next();
  x.wires.deliver(first, error_to(first, GetParam()));
  Action second = x.wires.next();
  if (second.server == server(1)) {   // FORMERR and NOTIMP: once more without EDNS
    EXPECT_FALSE(query_of(second).edns);
    x.wires.deliver(second, error_to(second, GetParam()));
    second = x.wires.next();
  }
  EXPECT_EQ(second.server, server(2));
  x.wires.deliver(second, good(second));
  EXPECT_EQ(x.reply().end, Exchanges::End::answered);
  x.expect_nothing_left();
}
INSTANTIATE_TEST_SUITE_P(Rcodes, BadRcode, testing::Values(kRcodeFormErr, kRcodeServFail, kRcodeNotImp, kRcodeRefused, 9));

TEST(Exchange, fails_at_once_when_every_server_says_that_it_cannot) {
  Exchanging x(2);
  x.ask();
  for (int i = 0; i < 2; ++i) {
    const Action sent = x.wires.next();
    x.wires.deliver(sent, error_to(sent, kRcodeServFail));
  }
  EXPECT_EQ(x.reply().end, Exchanges::End::failed);
  x.expect_nothing_left();
}

TEST(Exchange, waits_for_the_silent_server_when_the_other_cannot) {
  Exchanging x(2);
  x.ask();
  const Action first = x.wires.next();
  x.wires.pass(400ms);
  const Action second = x.wires.next();
  x.wires.deliver(second, error_to(second, kRcodeRefused));
  EXPECT_TRUE(x.wires.quiet());
  EXPECT_TRUE(x.waiting());
  x.wires.deliver(first, good(first));
  EXPECT_EQ(x.reply().end, Exchanges::End::answered);
}

TEST(Exchange, does_not_take_a_referral_for_an_answer) {
  Exchanging x(2);
  x.ask();
  const Action first = x.wires.next();
  Message referral = reply_to(first, {}, {make_name_record(name("int"), kTypeNs, name("ns.int"), 300)});
  referral.header.ra = false;
  x.wires.deliver(first, referral);
  EXPECT_EQ(x.wires.next().server, server(2));
}

TEST(Exchange, takes_a_reply_that_does_not_parse_for_a_servers_failure) {
  Exchanging x(2);
  x.ask();
  const Action first = x.wires.next();
  Buffer lying = good(first).encode();
  lying[7] = 9;   // nine answers
  x.wires.deliver(first, lying);
  EXPECT_EQ(x.wires.next().server, server(2));
}

// --- sockets that fail

TEST(Exchange, goes_to_the_next_server_at_once_when_nobody_listens) {
  Exchanging x(2);
  x.ask();
  x.wires.fail(x.wires.next());
  const Action second = x.wires.next();
  EXPECT_EQ(second.server, server(2));
  x.wires.deliver(second, good(second));
  EXPECT_EQ(x.reply().end, Exchanges::End::answered);
}

TEST(Exchange, tries_a_refusing_server_twice_and_then_ends) {
  Exchanging x(1);
  x.ask();
  x.wires.fail(x.wires.next());
  EXPECT_TRUE(x.wires.quiet());
  x.wires.pass(400ms);
  x.wires.fail(x.wires.next());
  EXPECT_EQ(x.reply().end, Exchanges::End::unreachable);
  x.expect_nothing_left();
}

TEST(Exchange, knows_after_400_ms_that_several_servers_refuse) {
  Exchanging x(3);
  x.ask();
  for (int round = 0; round < 2; ++round) {
    for (int i = 1; i <= 3; ++i) {
      const Action sent = x.wires.next();
      EXPECT_EQ(sent.server, server(i));
      x.wires.fail(sent);
    }
    if (round == 0) {
      EXPECT_TRUE(x.waiting());
      x.wires.pass(400ms);
    }
  }
  EXPECT_EQ(x.reply().end, Exchanges::End::unreachable);
  x.expect_nothing_left();
}

TEST(Exchange, is_unreachable_without_servers) {
  Exchanging x(0);
  x.ask();
  EXPECT_EQ(x.reply().end, Exchanges::End::unreachable);
  x.expect_nothing_left();
}

// --- silent servers

TEST(Exchange, puts_a_server_behind_the_others_that_was_silent_three_times_for_30_s) {
  Exchanging x(2);
  for (int i = 0; i < Servers::kSilences; ++i) {
    x.ask();
    EXPECT_EQ(x.wires.next().server, server(1));
    x.wires.pass(400ms);
    const Action second = x.wires.next();
    x.wires.deliver(second, good(second));
    x.reply();
  }
  x.ask();
  const Action now_first = x.wires.next();
  EXPECT_EQ(now_first.server, server(2));
  x.wires.deliver(now_first, good(now_first));
  x.wires.pass(30s);
  x.ask();
  EXPECT_EQ(x.wires.next().server, server(1));
}

TEST(Exchange, forgets_silences_when_the_server_answers) {
  Exchanging x(2);
  for (int i = 0; i < 10; ++i) {
    x.ask();
    const Action first = x.wires.next();
    EXPECT_EQ(first.server, server(1));
    x.wires.pass(400ms);
    x.wires.next();
    x.wires.deliver(first, good(first));
    x.reply();
  }
}

TEST(Exchange, counts_only_silences_in_a_row) {
  Exchanging x(2);
  for (const bool late : {false, false, true, false, false}) {
    x.ask();
    const Action first = x.wires.next();
    EXPECT_EQ(first.server, server(1));
    x.wires.pass(400ms);
    const Action second = x.wires.next();
    const Action& quick = late ? first : second;
    x.wires.deliver(quick, good(quick));
    x.reply();
  }
}

// --- truncation

TEST(Exchange, asks_over_tcp_when_the_reply_was_cut) {
  Exchanging x(2);
  x.ask();
  const Action udp = x.wires.next();
  Message cut = good(udp);
  cut.header.tc = true;
  x.wires.deliver(udp, cut);
  const Action tcp = x.wires.next();
  EXPECT_EQ(tcp.kind, Action::Kind::tcp);
  EXPECT_EQ(tcp.server, server(1));
  EXPECT_EQ(tcp.bytes[0] * 256u + tcp.bytes[1], tcp.bytes.size() - 2);
  // The answer comes byte by byte.
  const Buffer stream = with_length(good(tcp).encode());
  for (const std::uint8_t byte : stream) {
    EXPECT_TRUE(x.waiting());
    x.wires.asker.on_stream(tcp.transaction, Bytes(&byte, 1), x.wires.now);
  }
  EXPECT_EQ(x.reply().end, Exchanges::End::answered);
  x.expect_nothing_left();
}

TEST(Exchange, goes_to_the_next_server_when_tcp_fails_after_truncation) {
  Exchanging x(2);
  x.ask();
  const Action udp = x.wires.next();
  Message cut = good(udp);
  cut.header.tc = true;
  x.wires.deliver(udp, cut);
  x.wires.fail(x.wires.next());
  const Action second = x.wires.next();
  EXPECT_EQ(second.server, server(2));
  EXPECT_EQ(second.kind, Action::Kind::udp);
}

TEST(Exchange, ends_at_once_when_the_only_servers_tcp_fails_after_truncation) {
  Exchanging x(1);
  x.ask();
  const Action udp = x.wires.next();
  Message cut = good(udp);
  cut.header.tc = true;
  x.wires.deliver(udp, cut);
  x.wires.fail(x.wires.next());
  EXPECT_EQ(x.reply().end, Exchanges::End::unreachable);
  x.expect_nothing_left();
}

TEST(Exchange, does_not_believe_a_cut_reply_over_tcp) {
  Exchanging x(1);
  x.ask();
  for (int i = 0; i < 2; ++i) {
    const Action sent = x.wires.next();
    Message cut = good(sent);
    cut.header.tc = true;
    x.wires.deliver(sent, cut);
  }
  EXPECT_EQ(x.reply().end, Exchanges::End::failed);
}

TEST(Exchange, gives_up_a_tcp_server_that_talks_of_something_else) {
  Exchanging x(1);
  x.ask();
  const Action udp = x.wires.next();
  Message cut = good(udp);
  cut.header.tc = true;
  x.wires.deliver(udp, cut);
  const Action tcp = x.wires.next();
  Message other = good(tcp);
  other.questions[0].name = name("evil.example");
  x.wires.deliver(tcp, other);
  EXPECT_EQ(x.reply().end, Exchanges::End::failed);
  x.expect_nothing_left();
}

// --- EDNS and letter case

TEST(Exchange, asks_again_without_edns_after_formerr_and_remembers) {
  Exchanging x(1);
  x.ask();
  Action sent = x.wires.next();
  x.wires.deliver(sent, error_to(sent, kRcodeFormErr));
  sent = x.wires.next();
  EXPECT_EQ(sent.server, server(1));
  EXPECT_FALSE(query_of(sent).edns);
  x.wires.deliver(sent, good(sent));
  EXPECT_EQ(x.reply().end, Exchanges::End::answered);
  x.ask();
  EXPECT_FALSE(query_of(x.wires.next()).edns);
}

TEST(Exchange, takes_a_formerr_that_is_only_a_header) {
  Exchanging x(1);
  x.ask();
  const Action sent = x.wires.next();
  Buffer header = error_to(sent, kRcodeFormErr).encode();
  header.resize(kHeaderSize);
  std::fill(header.begin() + 4, header.end(), 0);
  x.wires.deliver(sent, header);
  EXPECT_FALSE(query_of(x.wires.next()).edns);
}

TEST(Exchange, sends_names_in_mixed_case_and_wants_them_back_so) {
  Exchanging x(1);
  x.ask();
  const Action sent = x.wires.next();
  const Message q = query_of(sent);
  EXPECT_FALSE(q.questions[0].name.same_bytes(kNas.name));
  Message lowered = good(sent);
  lowered.questions[0].name = kNas.name;
  x.wires.deliver(sent, lowered);
  EXPECT_TRUE(x.waiting());
  // The server that lowers names is asked without the trick from now on; the first attempt may still be answered.
  const Action plain = x.wires.next();
  EXPECT_TRUE(query_of(plain).questions[0].name.same_bytes(kNas.name));
  EXPECT_NE(query_of(plain).header.id, q.header.id);
  x.wires.deliver(plain, good(plain));
  EXPECT_EQ(x.reply().end, Exchanges::End::answered);
  x.ask();
  EXPECT_TRUE(query_of(x.wires.next()).questions[0].name.same_bytes(kNas.name));
}

TEST(Exchange, can_leave_case_alone) {
  Exchanging x(1, false);
  x.ask();
  EXPECT_TRUE(query_of(x.wires.next()).questions[0].name.same_bytes(kNas.name));
}

// --- forgeries

TEST(Exchange, waits_on_after_forged_replies_and_believes_the_true_one) {
  Exchanging x(1);
  x.ask();
  const Action sent = x.wires.next();
  const Message truth = good(sent);
  std::vector<Message> forged(6, truth);
  forged[0].header.id ^= 1;
  forged[1].questions[0].name = name("nas.home.inu");
  forged[2].questions[0].type = kTypeAaaa;
  forged[3].questions[0].klass = kClassChaos;
  forged[4].header.qr = false;
  forged[5].header.opcode = 5;
  for (const Message& m : forged) x.wires.deliver(sent, m);
  Message none = truth;
  none.questions.clear();
  x.wires.deliver(sent, none);
  Message two = truth;
  two.questions.push_back(two.questions[0]);
  x.wires.deliver(sent, two);
  for (const std::size_t size : {0u, 1u, 11u, 12u, 20u}) {
    Buffer cut = truth.encode();
    cut.resize(size);
    x.wires.deliver(sent, cut);
  }
  for (const Endpoint& elsewhere : {server(2), Endpoint{server(1).address, 54}, Endpoint{ip("::ffff:10.0.0.1"), 53}}) {
    x.wires.asker.on_datagram(sent.transaction, elsewhere, truth.encode(), x.wires.now);
  }
  x.wires.asker.on_datagram(sent.transaction + 1, sent.server, truth.encode(), x.wires.now);
  x.wires.asker.on_stream(sent.transaction, with_length(truth.encode()), x.wires.now);
  EXPECT_TRUE(x.waiting());
  EXPECT_TRUE(x.wires.quiet());
  x.wires.deliver(sent, truth);
  EXPECT_EQ(x.reply().end, Exchanges::End::answered);
  x.expect_nothing_left();
}

// 65 and 97 are 'A' and 'a': letters compare without case, numbers do not.
TEST(Exchange, never_takes_a_type_for_a_letter) {
  Exchanging x(1, false);
  x.exchanges.ask({kNas.name, kTypeHttps}, x.wires.now, x.wires.now + 5s);
  const Action sent = x.wires.next();
  Message other = reply_to(sent);
  other.questions[0].type = kTypeHttps | 0x20;
  x.wires.deliver(sent, other);
  EXPECT_TRUE(x.waiting());
}

TEST(Exchange, does_not_believe_a_reply_twice_or_after_its_end) {
  Exchanging x(1);
  x.ask();
  const Action sent = x.wires.next();
  x.wires.deliver(sent, good(sent));
  x.reply();
  x.wires.deliver(sent, good(sent));
  x.wires.fail(sent);
  EXPECT_TRUE(x.waiting());
  x.expect_nothing_left();
}

// The forger sees everything but the id: it tries one after the other.
TEST(Exchange, turns_to_tcp_when_somebody_guesses_ids) {
  Exchanging x(1);
  x.ask();
  const Action sent = x.wires.next();
  Message guess = good(sent);
  const std::uint16_t right = guess.header.id;
  for (int i = 1; i <= Exchanges::kForged; ++i) {
    EXPECT_TRUE(x.wires.quiet());
    guess.header.id = static_cast<std::uint16_t>(right + i);
    x.wires.deliver(sent, guess);
  }
  const Action tcp = x.wires.next();
  EXPECT_EQ(tcp.kind, Action::Kind::tcp);
  guess.header.id = right;
  x.wires.deliver(sent, guess);   // too late
  EXPECT_TRUE(x.waiting());
  x.wires.deliver(tcp, good(tcp));
  EXPECT_EQ(x.reply().end, Exchanges::End::answered);
}

// A forger that guesses everything, the id too, and is right every so often: the question, the address, the port. Only
// who has all of them right is believed, and that is the server. Of wrong datagrams from the right address a question
// takes kForged - 1 before it goes over TCP; from elsewhere, any number.
TEST(Exchange, believes_none_of_a_million_forgeries) {
  Exchanging x(2);
  std::mt19937 forger(1);
  const std::vector<Endpoint> elsewhere{server(2), server(77), {server(1).address, 54}, {ip("::ffff:10.0.0.1"), 53}};
  std::vector<Question> others(4, kNas);
  others[0].name = name("nas.home.inu");
  others[1].name = name("as.home.int");
  others[2].type = kTypeAaaa;
  others[3].klass = kClassChaos;
  int forged = 0, right_id = 0, answered = 0;
  while (forged < 600'000) {
    x.ask();
    const Action sent = x.wires.next();
    const Message truth = reply_to(sent, {a("nas.home.int", "6.6.6.6")});
    const Buffer right = truth.encode();
    Buffer wrong_id = right;
    std::vector<Buffer> other_question;
    for (const Question& q : others) {
      Message m = truth;
      m.questions[0] = q;
      other_question.push_back(m.encode());
    }
    for (int i = 0; i < Exchanges::kForged - 1; ++i) {
      if (i % 2 == 0) {
        x.wires.deliver(sent, other_question[forger() % other_question.size()]);
        ++right_id;
      } else {
        const auto guess = static_cast<std::uint16_t>(forger());
        Writer(wrong_id).put_u16(0, guess == truth.header.id ? guess ^ 1 : guess);
        x.wires.deliver(sent, wrong_id);
      }
    }
    for (int i = 0; i < 100; ++i) {   // all of it right, but for where it comes from
      x.wires.asker.on_datagram(sent.transaction, elsewhere[forger() % elsewhere.size()], right, x.wires.now);
      ++right_id;
    }
    x.wires.asker.on_datagram(sent.transaction + 1, sent.server, right, x.wires.now);   // at another port of ours
    x.wires.asker.on_datagram(sent.transaction - 1, sent.server, right, x.wires.now);
    forged += Exchanges::kForged - 1 + 102;
    right_id += 2;
    ASSERT_TRUE(x.wires.quiet());
    ASSERT_TRUE(x.waiting());
    x.wires.deliver(sent, good(sent));
    const auto r = x.reply();
    ASSERT_EQ(r.message.answers.at(0), a("nas.home.int", "192.168.1.50"));
    ++answered;
  }
  EXPECT_GT(answered, 4000);
  EXPECT_GT(right_id, 500'000);
  x.expect_nothing_left();
}

// And one that tries every id, again and again, on single questions: the port is closed under it. It does not know the
// letters' case, so that even the right id does not help.
TEST(Exchange, believes_none_of_400000_guesses_at_the_id) {
  for (int question = 0, forged = 0; forged < 400'000; ++question) {
    Exchanging x(1);
    x.ask();
    const Action udp = x.wires.next();
    Message evil = reply_to(udp, {a("nas.home.int", "6.6.6.6")});
    evil.questions[0].name = kNas.name;
    Buffer bytes = evil.encode();
    // The first guess is right in one question of two: the server is then asked without the trick, under another id.
    std::vector<Action> sent{udp};
    std::vector<std::uint16_t> ids{evil.header.id};
    const auto first = static_cast<std::uint16_t>(evil.header.id + question % 2);
    for (int i = 0; i < 65536; ++i, ++forged) {
      while (!x.wires.quiet()) {
        sent.push_back(x.wires.next());
        ids.push_back(query_of(sent.back()).header.id);
      }
      const auto guess = static_cast<std::uint16_t>(first + i);
      for (std::size_t k = 0; k < sent.size(); ++k) {
        const Action& target = sent[k];
        if (target.kind != Action::Kind::udp) continue;
        if (k > 0 && guess == ids[k]) continue;   // everything right: that would be the server
        Writer(bytes).put_u16(0, guess);
        x.wires.deliver(target, bytes);
      }
      ASSERT_TRUE(x.waiting());
    }
    const Action& tcp = sent.back();
    ASSERT_EQ(tcp.kind, Action::Kind::tcp);
    x.wires.deliver(tcp, good(tcp));
    EXPECT_EQ(x.reply().end, Exchanges::End::answered);
  }
}

TEST(Exchange, sends_at_most_16_attempts_whatever_the_servers_say) {
  Exchanging x(12);   // with two attempts each they would get 24
  x.ask();
  int attempts = 0;
  const Instant end = x.wires.now + 5s;
  while (x.exchanges.in_flight() > 0 && x.wires.now <= end) {
    while (!x.wires.quiet()) {
      const Action sent = x.wires.next();
      ++attempts;
      Message m = good(sent);
      m.header.tc = true;
      if (sent.kind == Action::Kind::udp) x.wires.deliver(sent, m);
      else x.wires.fail(sent);
    }
    x.wires.pass(100ms);
  }
  EXPECT_EQ(attempts, Exchanges::kMaxAttempts);
  x.expect_nothing_left();
}

TEST(Exchange, cancel_closes_everything) {
  Exchanging x(2);
  const auto id = x.ask();
  x.wires.pass(1s);
  x.exchanges.cancel(id);
  x.exchanges.cancel(id);
  x.exchanges.cancel(99);
  EXPECT_TRUE(x.waiting());
  x.expect_nothing_left();
}

TEST(QuestionSize, counts_name_type_and_class) {
  const Buffer query = make_query(1, kNas).encode();
  EXPECT_EQ(question_size(query), kNas.name.size() + 4);
  EXPECT_EQ(question_size(Bytes(query).first(kHeaderSize + kNas.name.size() + 3)), std::nullopt);
  EXPECT_EQ(question_size(Bytes(query).first(11)), std::nullopt);
  Buffer none(kHeaderSize, 0);
  EXPECT_EQ(question_size(none), 0u);
  none[5] = 2;
  EXPECT_EQ(question_size(none), std::nullopt);
  Buffer response = query;
  response[2] |= 0x80;
  EXPECT_EQ(question_size(response), std::nullopt);
  Buffer pointer = query;
  pointer[kHeaderSize] = 0xC0;
  EXPECT_EQ(question_size(pointer), std::nullopt);
}

}  // namespace tg::dns::exchange_test
