// What a connector records of its flows.
#include "connector_harness.h"

namespace tg::connector::connector_events_test {

using Kind = ConnectionEvent::Kind;

class ConnectorEvents : public ConnectorTest {
 protected:
  // event waits for the next one.
  ConnectionEvent event() {
    EXPECT_TRUE(turner_.until([&] { return events_.size() > seen_; }));
    return events_.size() > seen_ ? events_[seen_++] : ConnectionEvent{};
  }
  ConnectionEvent event(Kind kind) {
    ConnectionEvent e = event();
    EXPECT_EQ(e.kind, kind) << to_string(e.kind) << " " << e.reason;
    return e;
  }
  std::size_t seen_ = 0;
};

TEST_F(ConnectorEvents, has_a_flow_that_stands_with_who_what_and_where_and_its_end_with_bytes_and_duration) {
  const Line line = connect(laptop_, good(laptop_));
  const auto start = std::chrono::system_clock::now().time_since_epoch();
  const Flow f = flow(line);
  const ConnectionEvent opened = event(Kind::established);
  EXPECT_EQ(opened.user, "alice@example.com");
  EXPECT_EQ(opened.device, "d1");
  EXPECT_EQ(opened.resource, kBox);
  EXPECT_EQ(opened.resource_name, "127.0.0.1");
  EXPECT_EQ(opened.protocol, Protocol::tcp);
  EXPECT_EQ(opened.host, "127.0.0.1");
  EXPECT_EQ(opened.port, tcp_port_);
  EXPECT_EQ(opened.address, "127.0.0.1:" + std::to_string(tcp_port_));
  EXPECT_EQ(opened.path, "relay.example.com:8444");
  EXPECT_EQ(opened.reason, "");
  EXPECT_NE(opened.flow, 0u);
  EXPECT_LT(std::chrono::abs(opened.time - start), seconds(5));

  line->say(f.id, "five!");
  char words[16];
  ASSERT_TRUE(turner_.until([&] { return ::recv(f.far.get(), words, sizeof words, 0) == 5; }));
  ASSERT_EQ(::send(f.far.get(), "two words", 9, 0), 9);
  ASSERT_TRUE(turner_.until([&] { return line->text == "two words"; }));
  line->link.tunnel().reset(f.id, Code::reset);
  line->link.kick();
  ConnectionEvent closed = event(Kind::closed);
  EXPECT_EQ(closed.up, 5u);
  EXPECT_EQ(closed.down, 9u);
  EXPECT_EQ(closed.reason, kReasonDevice);
  EXPECT_EQ(closed.flow, opened.flow);
  EXPECT_LT(closed.duration, seconds(20));
  closed.kind = opened.kind;
  closed.time = opened.time;
  closed.up = closed.down = 0;
  closed.duration = {};
  closed.reason = "";
  EXPECT_EQ(closed, opened) << "it says all that the other one did";
}

TEST_F(ConnectorEvents, says_how_a_flow_ended) {
  const Line line = connect(laptop_, good(laptop_));
  Flow f = flow(line);
  event(Kind::established);
  const linger now{1, 0};
  ::setsockopt(f.far.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  f.far.reset();
  EXPECT_EQ(event(Kind::closed).reason, "reset") << "by the server";

  f = flow(line);
  event(Kind::established);
  rules_.revoked["d1"] = 1;
  line.session->rules_changed();
  ASSERT_TRUE(turner_.until([&] { line.session->rules_changed(); return line->ended.contains(f.id); }));
  EXPECT_EQ(event(Kind::closed).reason, "revoked");
}

TEST_F(ConnectorEvents, ends_the_flows_of_a_tunnel_that_ends) {
  Line line = connect(laptop_, good(laptop_));
  const Flow f = flow(line);
  event(Kind::established);
  line.session.reset();
  const ConnectionEvent closed = event(Kind::closed);
  EXPECT_EQ(closed.reason, kReasonTunnel);
  EXPECT_EQ(closed.device, "d1");
  EXPECT_EQ(closed.user, "alice@example.com");
  Line second = connect(laptop_, good(laptop_));
  const Flow g = flow(second);
  event(Kind::established);
  second.session->close(Code::shutting_down);
  second.session.reset();
  EXPECT_EQ(event(Kind::closed).reason, "shutting_down");
}

TEST_F(ConnectorEvents, counts_what_datagrams_carry) {
  const Line line = connect(laptop_, good(laptop_));
  const StreamId id = line->begin(udp());
  ASSERT_TRUE(line->link.tunnel().datagram(id, as_bytes("at once")));
  line->link.kick();
  EXPECT_EQ(event(Kind::established).protocol, Protocol::udp);
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  char words[64];
  ASSERT_TRUE(turner_.until([&] {
    size = sizeof from;
    return ::recvfrom(udp_.get(), words, sizeof words, 0, reinterpret_cast<sockaddr*>(&from), &size) == 7;
  }));
  ASSERT_EQ(::sendto(udp_.get(), "an answer", 9, 0, reinterpret_cast<sockaddr*>(&from), size), 9);
  ASSERT_TRUE(turner_.until([&] { return line->text == "an answer"; }));
  line->link.tunnel().reset(id, Code::none);
  line->link.kick();
  const ConnectionEvent closed = event(Kind::closed);
  EXPECT_EQ(closed.up, 7u);
  EXPECT_EQ(closed.down, 9u);
}

TEST_F(ConnectorEvents, has_what_was_denied_with_the_reason_and_a_resource_that_exists) {
  const Line line = connect(laptop_, good(laptop_));
  EXPECT_EQ(outcome(line, tcp(kNotGranted, "127.0.0.2")), Code::denied);
  ConnectionEvent e = event(Kind::denied);
  EXPECT_EQ(e.reason, "denied");
  EXPECT_EQ(e.resource, kNotGranted);
  EXPECT_EQ(e.resource_name, "127.0.0.2");
  EXPECT_EQ(e.host, "127.0.0.2");
  EXPECT_EQ(e.address, "");
  EXPECT_EQ(e.flow, 0u);
  OpenRequest wrong_port = tcp();
  wrong_port.port = 1;
  outcome(line, wrong_port);
  EXPECT_EQ(event(Kind::denied).reason, "port_not_allowed");
  outcome(line, tcp(4711, "127.0.0.1"));
  e = event(Kind::denied);
  EXPECT_EQ(e.resource, 0u);
  EXPECT_EQ(e.resource_name, "");
  outcome(line, tcp(kLoops, "127.1.2.3"));
  e = event(Kind::denied);
  EXPECT_EQ(e.reason, "address_forbidden");
  EXPECT_EQ(e.resource_name, "127.1.0.0/16");
  const Line stranger = connect(other_);
  outcome(stranger, tcp());
  e = event(Kind::denied);
  EXPECT_EQ(e.user, "");
  EXPECT_EQ(e.device, "d2");
  EXPECT_EQ(events_.size(), seen_) << "each is one event";
}

TEST_F(ConnectorEvents, has_what_failed_with_the_error) {
  Zone zone(loop_, dns_.get());
  zone.answers["gone.home.int"] = {{}};
  zone.answers["nas.home.int"] = {{"127.0.0.1"}};
  auto all = resources();
  all[kNames - 1].protocols = {};
  rules_.policy = std::make_shared<const Policy>(std::move(all));
  const Line line = connect(laptop_, good(laptop_));
  EXPECT_EQ(outcome(line, tcp(kNames, "gone.home.int")), Code::name_not_found);
  ConnectionEvent e = event(Kind::failed);
  EXPECT_EQ(e.reason, "name_not_found");
  EXPECT_EQ(e.host, "gone.home.int");
  EXPECT_EQ(e.resource_name, "*.home.int");
  // In the network that kBox is, a port that nobody listens on.
  const net::Fd nobody = must(net::tcp_listen(must(Endpoint::parse("127.0.0.1:0"))));
  const std::uint16_t port = net::local_endpoint(nobody.get()).port;
  rules_.policy = std::make_shared<const Policy>(
      std::vector{Resource{kBox, "box", "home", must(Address::parse("127.0.0.1")), "", {}}});
  line.session->rules_changed();
  const_cast<net::Fd&>(nobody).reset();
  EXPECT_EQ(outcome(line, {kBox, Protocol::tcp, port, "127.0.0.1"}), Code::refused);
  e = event(Kind::failed);
  EXPECT_EQ(e.reason, "refused");
  EXPECT_EQ(e.port, port);
  EXPECT_EQ(events_.size(), seen_);
}

TEST_F(ConnectorEvents, says_that_a_device_gave_up_before_there_was_an_answer) {
  const Line line = connect(laptop_, good(laptop_));
  const StreamId id = line->begin(tcp(kNames, "silent.home.int"));   // the DNS says nothing
  heard(line);
  line->link.tunnel().reset(id, Code::none);
  line->link.kick();
  EXPECT_EQ(event(Kind::failed).reason, kReasonCancelled);
}

TEST_F(ConnectorEvents, has_none_of_questions_of_dns) {
  const Line line = connect(laptop_, good(laptop_));
  EXPECT_EQ(rcode(line, kSecrets, "a.secret.int"), dns::kRcodeRefused);
  EXPECT_TRUE(events_.empty());
}

TEST_F(ConnectorEvents, has_few_of_a_device_that_is_refused_by_the_hundred_and_says_how_many_more) {
  const Line line = connect(laptop_, good(laptop_)), second = connect(other_, good(other_));
  const Instant start = net::Loop::now();
  for (int i = 0; i < 300; ++i) line->begin(tcp(kNotGranted, "127.0.0.2"));
  ASSERT_TRUE(turner_.until([&] { return line->ended.size() == 300; }));
  outcome(second, tcp(kNotGranted, "127.0.0.3"));
  EXPECT_EQ(events_.back().device, "d2") << "another device's is there";
  const auto passed = std::chrono::ceil<seconds>(net::Loop::now() - start).count();
  EXPECT_GE(events_.size(), 21u);
  EXPECT_LE(events_.size(), 21u + static_cast<std::size_t>(passed));
  ASSERT_TRUE(turner_.until([&] { return net::Loop::now() - start > seconds(2); }));
  outcome(line, tcp(kNotGranted, "127.0.0.2"));
  std::uint64_t all = 0;
  for (const ConnectionEvent& e : events_) all += 1 + e.more;
  EXPECT_EQ(all, 302u);
  const Flow f = flow(line);
  EXPECT_EQ(events_.back().kind, Kind::established) << "what is let through is always there";
}

}  // namespace tg::connector::connector_events_test
