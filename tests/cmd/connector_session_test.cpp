// The connector's own checks of every flow, against clients that check nothing themselves.
#include "connector_harness.h"

namespace tg::connector::connector_session_test {

using ConnectorSession = ConnectorTest;

TEST_F(ConnectorSession, dials_what_grant_and_rules_allow) {
  const Line line = connect(laptop_, good(laptop_));
  const Flow f = flow(line);
  line->say(f.id, "question");
  char got[16];
  ssize_t n = 0;
  ASSERT_TRUE(turner_.until([&] { return (n = ::recv(f.far.get(), got, sizeof got, 0)) > 0; }));
  EXPECT_EQ(std::string(got, static_cast<std::size_t>(n)), "question");
  ASSERT_EQ(::send(f.far.get(), "answer", 6, 0), 6);
  EXPECT_TRUE(turner_.until([&] { return line->text == "answer"; }));
  EXPECT_EQ(line.session->user(), "alice@example.com");
}

TEST_F(ConnectorSession, passes_datagrams_that_grant_and_rules_allow) {
  const Line line = connect(laptop_, good(laptop_));
  const StreamId id = line->begin(udp());
  line->link.tunnel().datagram(id, as_bytes("hello"));
  char got[16];
  ssize_t n = 0;
  ASSERT_TRUE(turner_.until([&] { return (n = ::recv(udp_.get(), got, sizeof got, 0)) > 0; }));
  EXPECT_EQ(std::string(got, static_cast<std::size_t>(n)), "hello");
}

TEST_F(ConnectorSession, asks_the_private_dns_about_names_that_grant_and_rules_allow) {
  const Line line = connect(laptop_, good(laptop_));
  line->ask({kNames, "nas.home.int", dns::kTypeA});
  char question[512];
  EXPECT_TRUE(turner_.until([&] { return ::recv(dns_.get(), question, sizeof question, 0) > 0; }));
}

TEST_F(ConnectorSession, refuses_everything_without_a_grant) { refused(connect(laptop_), Code::denied); }

// Row 3 of the threats.
TEST_F(ConnectorSession, refuses_the_grant_of_another_device) {
  refused(connect(laptop_, good(other_)), Code::denied);
  Grant renamed = grant(other_);
  renamed.device = laptop_.identity.id;
  refused(connect(laptop_, renamed.sign(seed_)), Code::denied);
  Grant rebound = grant(other_);
  rebound.key_thumbprint = laptop_.identity.key_thumbprint;
  refused(connect(laptop_, rebound.sign(seed_)), Code::denied);
}

TEST_F(ConnectorSession, refuses_a_grant_that_has_expired) {
  Grant old = grant(laptop_);
  old.issued = now_ - hours(2);
  old.expires = now_ - seconds(62);   // leeway: a minute
  const Line line = connect(laptop_, old.sign(seed_));
  refused(line, Code::grant_expired);
  line->show(good(laptop_));
  EXPECT_EQ(outcome(line, tcp()), Code::none) << "a new one is as good as ever";
}

TEST_F(ConnectorSession, refuses_a_grant_that_the_controller_did_not_sign) {
  refused(connect(laptop_, grant(laptop_).sign(Buffer(32, 8))), Code::denied);
  std::string cut = good(laptop_);
  cut.resize(cut.rfind('.') + 1);
  refused(connect(laptop_, cut), Code::denied);
}

TEST_F(ConnectorSession, refuses_a_grant_for_another_network_or_of_another_controller) {
  Grant elsewhere = grant(laptop_);
  elsewhere.network = "office";
  refused(connect(laptop_, elsewhere.sign(seed_)), Code::denied);
  Grant foreign = grant(laptop_);
  foreign.issuer = "tg-00000000";
  refused(connect(laptop_, foreign.sign(seed_)), Code::denied);
}

TEST_F(ConnectorSession, refuses_a_grant_from_before_a_revocation_and_takes_one_from_after_it) {
  rules_.revoked[laptop_.identity.id] = 3;
  Grant shown = grant(laptop_);
  shown.generation = 2;
  shown.issued = now_ + seconds(50);   // a clock that is ahead does not help it
  const Line line = connect(laptop_, shown.sign(seed_));
  refused(line, Code::revoked);
  shown.generation = 3;
  shown.issued = now_ - seconds(50);
  line->show(shown.sign(seed_));
  EXPECT_EQ(outcome(line, tcp()), Code::none);
}

TEST_F(ConnectorSession, refuses_every_grant_from_before_a_backup_was_restored) {
  rules_.self.grant_floor = 3;
  Grant shown = grant(laptop_);
  shown.generation = 2;
  const Line line = connect(laptop_, shown.sign(seed_));
  refused(line, Code::revoked);
  shown.generation = 3;
  line->show(shown.sign(seed_));
  EXPECT_EQ(outcome(line, tcp()), Code::none);
}

TEST_F(ConnectorSession, refuses_what_is_no_device_whatever_it_shows) {
  const Device relay = device("d1", "relay");
  const Line line = dial(relay);   // what is said now arrives with the end of the handshake
  line->show(good(relay));
  line->begin(tcp());
  EXPECT_TRUE(turner_.until([&] { return line->closed; }));
  EXPECT_EQ(line->goodbye, Code::denied);
  EXPECT_TRUE(line->opened.empty());
  EXPECT_FALSE(net::accept_from(tcp_.get()));
}

TEST_F(ConnectorSession, refuses_resources_that_are_not_granted_not_known_or_not_the_winner) {
  const Line line = connect(laptop_, good(laptop_));
  EXPECT_EQ(outcome(line, tcp(kNotGranted, "127.0.0.2")), Code::denied) << "not in the grant";
  EXPECT_EQ(outcome(line, tcp(kBox, "127.0.0.2")), Code::denied) << "another Resource's host";
  EXPECT_EQ(outcome(line, tcp(99, "127.0.0.1")), Code::denied) << "no such Resource";
  EXPECT_EQ(outcome(line, tcp(kLoops, "127.0.0.1")), Code::denied) << "not in that network";
  EXPECT_EQ(outcome(line, udp(kNotGranted, "127.0.0.2")), Code::denied);
  EXPECT_EQ(outcome(line, {kNotGranted, Protocol::icmp, 0, "127.0.0.2"}), Code::denied);
  EXPECT_EQ(rcode(line, kSecrets, "a.secret.int"), dns::kRcodeRefused);
  EXPECT_EQ(rcode(line, kNames, "a.secret.int", dns::kTypeTxt), dns::kRcodeRefused);
  EXPECT_TRUE(untouched(line));
}

TEST_F(ConnectorSession, refuses_names_that_match_no_resource) {
  const Line line = connect(laptop_, good(laptop_));
  for (const char* name : {"home.int", "nas.home.int.evil.org", "xhome.int", "localhost", "127.0.0.1.", "a..home.int", "::1"}) {
    EXPECT_EQ(outcome(line, tcp(kNames, name)), Code::denied) << name;
    EXPECT_EQ(rcode(line, kNames, name), dns::kRcodeRefused) << name;
  }
  EXPECT_TRUE(untouched(line));
}

TEST_F(ConnectorSession, refuses_protocols_and_ports_that_the_rules_do_not_allow) {
  const Line line = connect(laptop_, good(laptop_));
  EXPECT_EQ(outcome(line, {kBox, Protocol::tcp, udp_port_, "127.0.0.1"}), Code::port_not_allowed);
  EXPECT_EQ(outcome(line, {kBox, Protocol::udp, tcp_port_, "127.0.0.1"}), Code::port_not_allowed);
  const StreamId ping = line->begin({kBox, Protocol::icmp, 0, "127.0.0.1"});
  EXPECT_TRUE(line->link.tunnel().echo(ping, {1, as_bytes("hello")}));
  EXPECT_TRUE(turner_.until([&] { return line->settled(ping); }));
  EXPECT_EQ(line->ended[ping], Code::port_not_allowed);
  EXPECT_TRUE(untouched(line));
}

TEST_F(ConnectorSession, dials_no_loopback_and_not_itself_for_a_network_around_them) {
  const Line line = connect(laptop_, good(laptop_));
  EXPECT_EQ(outcome(line, tcp(kLoops, "127.1.2.3")), Code::address_forbidden);
  EXPECT_EQ(outcome(line, udp(kLoops, "127.1.2.3")), Code::address_forbidden);
  EXPECT_EQ(outcome(line, tcp(kOwn, "10.9.0.1")), Code::address_forbidden);
  EXPECT_TRUE(untouched(line));
}

TEST_F(ConnectorSession, ends_a_live_flow_at_once_when_its_resource_is_removed) {
  const Line line = connect(laptop_, good(laptop_));
  const Flow f = flow(line);
  rules_.policy = std::make_shared<const Policy>();
  line.session->rules_changed();
  EXPECT_LT(ends(f), seconds(1));
  EXPECT_TRUE(turner_.until([&] { return line->ended.contains(f.id); }));
  EXPECT_EQ(line->ended[f.id], Code::revoked);
  EXPECT_EQ(outcome(line, tcp()), Code::denied);
}

TEST_F(ConnectorSession, ends_a_live_flow_at_once_when_its_port_is_taken_away) {
  const Line line = connect(laptop_, good(laptop_));
  const Flow f = flow(line);
  auto narrower = resources();
  narrower[0].protocols.tcp = Ports::none();
  rules_.policy = std::make_shared<const Policy>(std::move(narrower));
  line.session->rules_changed();
  EXPECT_LT(ends(f), seconds(1));
}

TEST_F(ConnectorSession, ends_a_live_flow_at_once_when_a_new_grant_no_longer_covers_it) {
  const Line line = connect(laptop_, good(laptop_));
  const Flow f = flow(line);
  Grant less = grant(laptop_);
  less.resources = {kNames};
  line->show(less.sign(seed_));
  EXPECT_LT(ends(f), seconds(1));
}

TEST_F(ConnectorSession, ends_the_live_flows_of_a_revoked_device_within_five_seconds) {
  const Line line = connect(laptop_, good(laptop_));
  const Line bystander = connect(other_, good(other_));
  const Flow f = flow(line);
  const Flow beside = flow(bystander);
  rules_.revoked[laptop_.identity.id] = 1;
  line.session->rules_changed();
  bystander.session->rules_changed();
  const Instant since = net::Loop::now();
  EXPECT_EQ(outcome(line, tcp()), Code::revoked) << "once no other grant has come";
  EXPECT_EQ(outcome(line, tcp()), Code::revoked);
  EXPECT_LT(ends(f), seconds(1));
  EXPECT_LT(net::Loop::now() - since, seconds(5));
  char byte;
  EXPECT_TRUE(::recv(beside.far.get(), &byte, 1, 0) < 0 && errno == EAGAIN) << "another device's flow goes on";
}

TEST_F(ConnectorSession, ends_live_flows_when_the_grant_runs_out) {
  Grant brief = grant(laptop_);
  brief.expires = net::Loop::wall() - seconds(58);   // two seconds of the leeway are left
  const Line line = connect(laptop_, brief.sign(seed_));
  const Flow f = flow(line);
  EXPECT_LT(ends(f), seconds(5));
  EXPECT_TRUE(turner_.until([&] { return line->ended.contains(f.id); }));
  EXPECT_EQ(line->ended[f.id], Code::grant_expired);
}

TEST_F(ConnectorSession, refuses_a_device_that_has_its_fill_of_flows_over_all_its_tunnels) {
  const Line one = connect(laptop_, good(laptop_));
  const Line two = connect(laptop_, good(laptop_));
  const Line neighbour = connect(other_, good(other_));
  const Flow first = flow(one);
  const Flow second = flow(two);
  EXPECT_EQ(outcome(one, udp()), Code::none);
  EXPECT_EQ(outcome(two, tcp()), Code::exhausted);
  EXPECT_EQ(outcome(two, udp()), Code::exhausted);
  EXPECT_TRUE(untouched(two));
  EXPECT_EQ(outcome(neighbour, tcp()), Code::none) << "there is room for others";
  one->link.tunnel().reset(first.id, Code::none);
  one->link.kick();
  ends(first);
  EXPECT_EQ(outcome(two, tcp()), Code::none) << "a flow that ended makes room";
}

TEST_F(ConnectorSession, refuses_a_device_that_has_its_fill_of_tunnels) {
  const Line one = connect(laptop_, good(laptop_));
  Line two = connect(laptop_);
  const Line three = connect(laptop_);
  const Line four = connect(laptop_);
  EXPECT_TRUE(turner_.until([&] { return four->closed; }));
  EXPECT_EQ(four->goodbye, Code::exhausted);
  EXPECT_EQ(outcome(one, tcp()), Code::none) << "those that stand go on";
  EXPECT_EQ(outcome(connect(other_, good(other_)), tcp()), Code::none) << "there is room for others";
  two.session.reset();
  EXPECT_EQ(outcome(connect(laptop_, good(laptop_)), tcp()), Code::none);
}

TEST_F(ConnectorSession, counts_no_flow_of_a_tunnel_that_is_gone) {
  {
    const Line line = connect(laptop_, good(laptop_));
    flow(line);
    flow(line);
    EXPECT_EQ(flows_.open(), 2u);
  }
  EXPECT_EQ(flows_.open(), 0u);
}

}  // namespace tg::connector::connector_session_test
