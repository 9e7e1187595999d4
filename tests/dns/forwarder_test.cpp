#include "dns/forwarder.h"

#include <gtest/gtest.h>

#include "tests/dns/asker_harness.h"

namespace tg::dns::forwarder_test {

struct Forwarding {
  explicit Forwarding(int n = 1, std::size_t max_in_flight = 512)
      : forwarder({servers(n), 1s, 4500ms, max_in_flight, seeded()}), wires(forwarder) {}

  Forwarder::RequestId forward(const Buffer& query, bool tcp = false) { return forwarder.forward(query, tcp, wires.now); }
  Forwarder::Outcome outcome() {
    auto o = forwarder.next_outcome();
    EXPECT_TRUE(o);
    return o ? *o : Forwarder::Outcome{};
  }
  void set_servers(std::vector<Endpoint> to) {
    forwarder.set_servers(std::move(to));
    if (forwarder.next_deadline() <= wires.now) forwarder.on_timeout(wires.now);
    wires.pump();
  }
  bool waiting() { return !forwarder.next_outcome(); }
  void expect_nothing_left() {
    EXPECT_TRUE(wires.quiet());
    EXPECT_EQ(forwarder.in_flight(), 0u);
    EXPECT_TRUE(wires.open.empty());
    EXPECT_EQ(forwarder.next_deadline(), kNever);
  }

  Forwarder forwarder;
  Wires wires;
};

// A query as odd as a client may make it: mixed case, an unknown option, the ad bit.
Buffer query(std::uint16_t id = 0x1234, std::string_view text = "ExAmple.com", std::uint16_t type = kTypeA) {
  Message m = make_query(id, {name(text), type}, Edns{4096, 0, true, {0, 10, 0, 2, 7, 7}});
  m.header.ad = true;
  return m.encode();
}
Buffer with_id(Buffer bytes, std::uint16_t id) {
  Writer(bytes).put_u16(0, id);
  return bytes;
}
std::uint16_t id_of(const Buffer& bytes) { return static_cast<std::uint16_t>(bytes.at(0) << 8 | bytes.at(1)); }
// An upstream's reply, with bytes behind the end that no parser would keep.
Buffer upstream_reply(const Action& sent, std::uint16_t rcode = kRcodeNoError) {
  Buffer bytes = reply_to(sent, {a("example.com", "93.184.216.34")}, {}, rcode).encode();
  bytes.push_back(0xEE);
  return bytes;
}

TEST(Forwarder, changes_nothing_but_the_id_in_either_direction) {
  Forwarding f;
  const auto id = f.forward(query());
  const Action sent = f.wires.next();
  EXPECT_EQ(sent.server, server(1));
  EXPECT_EQ(sent.kind, Action::Kind::udp);
  EXPECT_EQ(with_id(sent.bytes, 0x1234), query());
  const Buffer reply = upstream_reply(sent);
  f.wires.deliver(sent, reply);
  const auto o = f.outcome();
  EXPECT_EQ(o.id, id);
  EXPECT_EQ(o.reply, with_id(reply, 0x1234));
  f.expect_nothing_left();
}

TEST(Forwarder, sends_every_query_with_a_fresh_id) {
  Forwarding f;
  std::set<std::uint16_t> ids;
  for (int i = 0; i < 100; ++i) {
    f.forward(query());
    ids.insert(id_of(f.wires.next().bytes));
  }
  EXPECT_GT(ids.size(), 97u);
}

TEST(Forwarder, keeps_two_clients_with_the_same_id_and_question_apart) {
  Forwarding f;
  const auto first = f.forward(query(7));
  const auto second = f.forward(query(7));
  const Action a1 = f.wires.next(), a2 = f.wires.next();
  EXPECT_NE(a1.transaction, a2.transaction);
  f.wires.deliver(a2, upstream_reply(a2));
  EXPECT_EQ(f.outcome().id, second);
  EXPECT_TRUE(f.waiting());
  f.wires.deliver(a1, upstream_reply(a1));
  EXPECT_EQ(f.outcome().id, first);
}

TEST(Forwarder, passes_on_a_cut_reply_as_it_is) {
  Forwarding f;
  f.forward(query());
  const Action sent = f.wires.next();
  Message m = reply_to(sent);
  m.header.tc = true;
  f.wires.deliver(sent, m);
  EXPECT_TRUE(Message::parse(f.outcome().reply)->header.tc);
  f.expect_nothing_left();
}

TEST(Forwarder, passes_on_nxdomain_and_formerr_as_they_are) {
  for (const std::uint16_t rcode : {kRcodeNxDomain, kRcodeFormErr}) {
    Forwarding f(2);
    f.forward(query());
    const Action sent = f.wires.next();
    f.wires.deliver(sent, upstream_reply(sent, rcode));
    EXPECT_EQ(Message::parse(f.outcome().reply)->header.rcode, rcode);
    f.expect_nothing_left();
  }
}

TEST(Forwarder, tells_whose_reply_it_is) {
  Forwarding f(2);
  f.forward(query());
  const Action first = f.wires.next();
  f.wires.deliver(first, upstream_reply(first, kRcodeServFail));
  const Action second = f.wires.next();
  f.wires.deliver(second, upstream_reply(second));
  EXPECT_EQ(f.outcome().server, server(2));

  f.forward(query());   // both say that they cannot: the first one's words are passed on
  for (int i = 0; i < 2; ++i) {
    const Action sent = f.wires.next();
    f.wires.deliver(sent, upstream_reply(sent, kRcodeServFail));
  }
  EXPECT_EQ(f.outcome().server, server(1));

  Forwarding nobody(0);
  nobody.forward(query());
  EXPECT_EQ(nobody.outcome().server, std::nullopt);
}

TEST(Forwarder, takes_tcp_queries_over_tcp) {
  Forwarding f(2);
  f.forward(query(), true);
  const Action sent = f.wires.next();
  EXPECT_EQ(sent.kind, Action::Kind::tcp);
  EXPECT_EQ(with_id(message_of(sent), 0x1234), query());
  f.wires.fail(sent);
  const Action second = f.wires.next();
  EXPECT_EQ(second.server, server(2));
  EXPECT_EQ(second.kind, Action::Kind::tcp);
  const Buffer reply = upstream_reply(second);
  f.wires.deliver(second, reply);
  EXPECT_EQ(f.outcome().reply, with_id(reply, 0x1234));
  f.expect_nothing_left();
}

TEST(Forwarder, asks_the_next_server_after_a_second) {
  Forwarding f(2);
  f.forward(query());
  const Action first = f.wires.next();
  f.wires.pass(999ms);
  EXPECT_TRUE(f.wires.quiet());
  f.wires.pass(1ms);
  const Action second = f.wires.next();
  EXPECT_EQ(second.server, server(2));
  EXPECT_NE(id_of(second.bytes), id_of(first.bytes));
  f.wires.deliver(second, upstream_reply(second));
  EXPECT_EQ(id_of(f.outcome().reply), 0x1234);
  f.expect_nothing_left();
}

TEST(Forwarder, asks_the_next_server_when_one_cannot_and_passes_the_first_refusal_on_when_none_can) {
  Forwarding f(2);
  f.forward(query());
  const Action first = f.wires.next();
  f.wires.deliver(first, upstream_reply(first, kRcodeRefused));
  const Action second = f.wires.next();
  f.wires.deliver(second, upstream_reply(second, kRcodeServFail));
  const auto reply = f.outcome().reply;
  EXPECT_EQ(reply, with_id(upstream_reply(first, kRcodeRefused), 0x1234));
  f.expect_nothing_left();
}

void expect_servfail(const Buffer& reply, const Buffer& query_bytes) {
  const Message q = Message::parse(query_bytes).value();
  const Message r = Message::parse(reply).value();
  EXPECT_EQ(r.header.rcode, kRcodeServFail);
  EXPECT_TRUE(r.header.qr);
  EXPECT_TRUE(r.header.ra);
  EXPECT_EQ(r.header.rd, q.header.rd);
  EXPECT_EQ(r.header.id, q.header.id);
  ASSERT_EQ(r.questions.size(), 1u);
  EXPECT_TRUE(r.questions[0].name.same_bytes(q.questions[0].name));
  EXPECT_TRUE(r.answers.empty());
}

TEST(Forwarder, answers_servfail_after_4500_ms_of_silence) {
  Forwarding f(2);
  f.forward(query());
  f.wires.pass(4499ms);
  EXPECT_TRUE(f.waiting());
  f.wires.pass(1ms);
  expect_servfail(f.outcome().reply, query());
  f.wires.sent.clear();
  f.expect_nothing_left();
}

TEST(Forwarder, answers_servfail_without_servers) {
  Forwarding f(0);
  f.forward(query());
  expect_servfail(f.outcome().reply, query());
  f.expect_nothing_left();
}

TEST(Forwarder, answers_servfail_above_its_limit) {
  Forwarding f(1, 2);
  f.forward(query(1));
  f.forward(query(2));
  EXPECT_TRUE(f.waiting());
  const auto third = f.forward(query(3));
  const auto o = f.outcome();
  EXPECT_EQ(o.id, third);
  expect_servfail(o.reply, query(3));
  const Action sent = f.wires.next();
  f.wires.deliver(sent, upstream_reply(sent));
  f.outcome();
  f.forward(query(4));
  EXPECT_TRUE(f.waiting());
}

TEST(Forwarder, asks_the_new_servers_at_once_also_what_the_old_ones_have_not_answered) {
  for (const bool tcp : {false, true}) {
    Forwarding f(2);
    const auto id = f.forward(query(), tcp);
    const Action old = f.wires.next();
    f.wires.deliver(old, error_to(old, kRcodeRefused));
    f.wires.next();
    f.set_servers({server(9)});
    const Action sent = f.wires.next();
    EXPECT_EQ(sent.server, server(9));
    EXPECT_EQ(sent.kind, tcp ? Action::Kind::tcp : Action::Kind::udp);
    EXPECT_EQ(f.wires.open.size(), 1u) << "nobody listens to the old ones";
    f.wires.deliver(old, upstream_reply(old));
    EXPECT_TRUE(f.waiting());
    f.wires.deliver(sent, upstream_reply(sent));
    const auto o = f.outcome();
    EXPECT_EQ(o.id, id);
    EXPECT_EQ(o.server, server(9));
    f.expect_nothing_left();
  }
}

TEST(Forwarder, answers_within_its_4500_ms_though_the_servers_change) {
  Forwarding f(1);
  f.forward(query());
  f.wires.pass(3s);
  f.wires.sent.clear();
  f.set_servers({server(9)});
  EXPECT_EQ(f.wires.next().server, server(9));
  f.wires.pass(1499ms);
  EXPECT_TRUE(f.waiting());
  f.wires.sent.clear();
  f.wires.now += 1ms;
  f.set_servers({server(8)});
  EXPECT_TRUE(f.wires.quiet()) << "too late to ask anybody";
  expect_servfail(f.outcome().reply, query());
  f.wires.sent.clear();
  f.expect_nothing_left();
}

TEST(Forwarder, answers_servfail_when_there_are_no_servers_any_more) {
  Forwarding f(1);
  f.forward(query());
  f.wires.next();
  f.set_servers({});
  expect_servfail(f.outcome().reply, query());
  f.expect_nothing_left();
}

TEST(Forwarder, goes_on_in_peace_when_the_servers_stay_the_same) {
  Forwarding f(1);
  f.forward(query());
  const Action sent = f.wires.next();
  f.set_servers(servers(1));
  EXPECT_TRUE(f.wires.quiet());
  f.wires.deliver(sent, upstream_reply(sent));
  EXPECT_EQ(f.outcome().server, server(1));
}

TEST(Forwarder, drops_what_is_no_query) {
  Forwarding f;
  Buffer response = query();
  response[2] |= 0x80;
  for (const Buffer& bytes : {Buffer{}, Buffer(11, 0), response, Buffer(65536, 0)}) {
    f.forward(bytes);
    EXPECT_TRUE(f.outcome().reply.empty());
  }
  f.expect_nothing_left();
}

TEST(Forwarder, answers_formerr_to_malformed_questions) {
  Forwarding f;
  Buffer cut = query();
  cut.resize(15);
  Buffer two = query();
  two[5] = 2;
  for (const Buffer& bytes : {cut, two}) {
    f.forward(bytes);
    const auto r = Message::parse(f.outcome().reply);
    ASSERT_TRUE(r);
    EXPECT_EQ(r->header.rcode, kRcodeFormErr);
    EXPECT_EQ(r->header.id, 0x1234);
    EXPECT_TRUE(r->questions.empty());
  }
  f.expect_nothing_left();
}

TEST(Forwarder, forwards_a_query_without_a_question) {
  Forwarding f;
  Buffer empty(kHeaderSize, 0);
  empty[1] = 5;
  f.forward(empty);
  const Action sent = f.wires.next();
  Buffer reply = sent.bytes;
  reply[2] |= 0x80;
  f.wires.deliver(sent, reply);
  EXPECT_EQ(f.outcome().reply, with_id(reply, 5));
}

TEST(Forwarder, believes_only_id_question_address_and_transaction_together) {
  Forwarding f;
  f.forward(query());
  const Action sent = f.wires.next();
  const Buffer truth = upstream_reply(sent);
  f.wires.deliver(sent, with_id(truth, static_cast<std::uint16_t>(id_of(truth) + 1)));
  for (std::size_t i = kHeaderSize; i < kHeaderSize + name("example.com").size() + 4; ++i) {
    Buffer other = truth;
    other[i] ^= 1;
    f.wires.deliver(sent, other);
  }
  Buffer not_a_reply = truth;
  not_a_reply[2] &= 0x7F;
  f.wires.deliver(sent, not_a_reply);
  f.wires.asker.on_datagram(sent.transaction, server(2), truth, f.wires.now);
  f.wires.asker.on_datagram(sent.transaction + 1, server(1), truth, f.wires.now);
  EXPECT_TRUE(f.waiting());
  f.wires.deliver(sent, truth);
  EXPECT_EQ(f.outcome().reply, with_id(truth, 0x1234));
}

TEST(Forwarder, accepts_the_question_in_other_letters) {
  Forwarding f;
  f.forward(query());
  const Action sent = f.wires.next();
  Message m = reply_to(sent);
  m.questions[0].name = m.questions[0].name.lower();
  f.wires.deliver(sent, m);
  EXPECT_FALSE(f.waiting());
}

TEST(Forwarder, sends_its_client_to_tcp_when_somebody_guesses_ids) {
  Forwarding f;
  f.forward(query());
  const Action sent = f.wires.next();
  Buffer guess = upstream_reply(sent);
  for (int i = 1; i <= Exchanges::kForged; ++i) {
    EXPECT_TRUE(f.waiting());
    f.wires.deliver(sent, with_id(guess, static_cast<std::uint16_t>(id_of(guess) + i)));
  }
  const auto reply = Message::parse(f.outcome().reply);
  ASSERT_TRUE(reply);
  EXPECT_TRUE(reply->header.tc);
  EXPECT_TRUE(reply->answers.empty());
  EXPECT_EQ(reply->header.id, 0x1234);
  f.expect_nothing_left();
}

// With the right id every other time: then the question, the address or the port is wrong.
TEST(Forwarder, believes_none_of_100000_forgeries) {
  Forwarding f(2);
  std::mt19937 forger(5);
  const std::vector<Endpoint> elsewhere{server(2), server(77), {server(1).address, 54}};
  int right_id = 0;
  for (int forged = 0; forged < 100'000;) {
    f.forward(query());
    const Action sent = f.wires.next();
    const Buffer truth = upstream_reply(sent);
    Buffer evil = reply_to(sent, {a("example.com", "6.6.6.6")}).encode();
    for (int i = 0; i < Exchanges::kForged - 1; ++i, ++forged) {
      if (i % 2 == 0) {
        Buffer other = evil;
        other[kHeaderSize + 1 + forger() % 7] ^= 1;   // a letter of "example"
        f.wires.deliver(sent, other);
        f.wires.asker.on_datagram(sent.transaction, elsewhere[forger() % 3], evil, f.wires.now);
        f.wires.asker.on_datagram(sent.transaction + 1, sent.server, evil, f.wires.now);
        right_id += 3;
        forged += 2;
      } else {
        const auto guess = static_cast<std::uint16_t>(forger());
        f.wires.deliver(sent, with_id(evil, guess == id_of(sent.bytes) ? guess ^ 1 : guess));
      }
    }
    ASSERT_TRUE(f.waiting());
    f.wires.deliver(sent, truth);
    ASSERT_EQ(f.outcome().reply, with_id(truth, 0x1234));
  }
  EXPECT_GT(right_id, 50'000);
  f.expect_nothing_left();
}

TEST(Forwarder, cancel_forgets_a_query) {
  Forwarding f;
  const auto id = f.forward(query());
  f.wires.next();
  f.forwarder.cancel(id);
  f.forwarder.cancel(id);
  EXPECT_TRUE(f.waiting());
  f.expect_nothing_left();
}

}  // namespace tg::dns::forwarder_test
