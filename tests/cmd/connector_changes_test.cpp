// What becomes of grants, flows and questions when the connector is told something new.
#include "connector_harness.h"

namespace tg::connector::connector_changes_test {

class ConnectorChanges : public ConnectorTest {
 protected:
  static constexpr ResourceId kAlias = 10;

  ConnectorChanges() {
    address_is("a.home.int");
    zone_.answers["a.home.int"] = zone_.answers["b.home.int"] = {{"127.0.0.1"}};   // which kBox names
  }
  void address_is(const std::string& address) {
    auto all = resources();
    all.push_back({kAlias, "nas", "home", must(Address::parse(address)), "nas.tg", {}});
    rules_.policy = std::make_shared<const Policy>(std::move(all));
  }
  std::string with_alias() const {
    Grant g = grant(laptop_);
    g.resources = {kBox, kNames, kAlias};
    return g.sign(seed_);
  }
  Code end_of(const Line& line, StreamId id) {
    EXPECT_TRUE(turner_.until([&] { return line->ended.contains(id); }, seconds(5)));
    return line->ended[id];
  }

  Zone zone_{loop_, dns_.get()};
};

TEST_F(ConnectorChanges, a_grant_that_overtakes_the_rules_holds_as_soon_as_they_are_there) {
  rules_.self.network = "house";
  const Line line = connect(laptop_, good(laptop_));   // for "home", as the network is called now
  EXPECT_EQ(outcome(line, tcp()), Code::denied);
  rules_.self.network = "home";
  line.session->rules_changed();
  EXPECT_EQ(outcome(line, tcp()), Code::none);
}

TEST_F(ConnectorChanges, a_grant_that_does_not_hold_takes_nothing_from_the_one_before) {
  const Line line = connect(laptop_, good(laptop_));
  const Flow f = flow(line);
  Grant next = grant(laptop_);
  next.network = "house";
  next.resources = {kNames};
  for (const std::string& shown : {std::string("garbage"), next.sign(Buffer(32, 8)), good(other_), next.sign(seed_)}) {
    line->show(shown);
    EXPECT_EQ(outcome(line, udp()), Code::none) << shown;
    EXPECT_FALSE(line->ended.contains(f.id)) << shown;
    line->link.tunnel().reset(*line->opened.rbegin(), Code::none);   // the quota is small
  }
  rules_.self.network = "house";   // as the one shown last has it, which does not cover the flow
  line.session->rules_changed();
  EXPECT_EQ(end_of(line, f.id), Code::revoked);
}

TEST_F(ConnectorChanges, only_the_grant_that_was_shown_last_is_looked_at_again) {
  rules_.self.network = "house";
  const Line line = connect(laptop_, good(laptop_));
  line->show("garbage");
  EXPECT_EQ(outcome(line, tcp()), Code::denied);
  rules_.self.network = "home";
  line.session->rules_changed();
  EXPECT_EQ(outcome(line, tcp()), Code::denied);
}

TEST_F(ConnectorChanges, a_grant_from_the_future_holds_when_its_time_has_come) {
  Grant early = grant(laptop_);
  early.issued = net::Loop::wall() + seconds(62);   // leeway: a minute
  const Line line = connect(laptop_, early.sign(seed_));
  EXPECT_EQ(outcome(line, tcp()), Code::grant_expired);
  const Instant patience = net::Loop::now() + seconds(10);
  while (outcome(line, tcp()) != Code::none) ASSERT_LT(net::Loop::now(), patience);
}

TEST_F(ConnectorChanges, a_revoked_grant_stays_so_whatever_is_shown_behind_it) {
  rules_.revoked[laptop_.identity.id] = 1;
  const Line line = connect(laptop_, good(laptop_));
  line->show("garbage");
  EXPECT_EQ(outcome(line, tcp()), Code::revoked);
  line->show(good(laptop_));
  EXPECT_EQ(outcome(line, tcp()), Code::revoked);
}

TEST_F(ConnectorChanges, what_is_asked_for_while_a_better_grant_is_on_its_way_waits_for_it) {
  zone_.answers["nas.home.int"] = {{"127.0.0.1"}};
  const Line line = connect(laptop_, good(laptop_));
  ASSERT_EQ(outcome(line, tcp()), Code::none);
  const std::size_t before = line.session->flows();
  rules_.revoked[laptop_.identity.id] = 1;
  line.session->rules_changed();
  const StreamId covered = line->begin(udp()), lost = line->begin(tcp(kLoops, "127.1.2.3")), given_up = line->begin(tcp());
  const StreamId question = line->ask({kNames, "nas.home.int", dns::kTypeA});
  line->link.tunnel().reset(given_up, Code::none);
  heard(line);
  EXPECT_FALSE(line->settled(covered) || line->settled(lost) || line->answers.contains(question));
  EXPECT_EQ(line.session->flows(), before);
  EXPECT_TRUE(zone_.asked.empty());
  Grant next = grant(laptop_);
  next.generation = 1;
  next.resources = {kBox, kNames};
  line->show(next.sign(seed_));
  EXPECT_TRUE(turner_.until([&] { return line->settled(covered) && line->settled(lost) && line->answers.contains(question); }));
  EXPECT_TRUE(line->opened.contains(covered));
  EXPECT_EQ(line->ended[lost], Code::denied);
  EXPECT_EQ(line->answers[question], dns::kRcodeNoError);
  EXPECT_FALSE(line->opened.contains(given_up));
}

TEST_F(ConnectorChanges, what_is_looked_up_when_the_grant_is_revoked_is_not_dialled_before_there_is_another) {
  const Line line = connect(laptop_, with_alias());
  ASSERT_EQ(outcome(line, tcp()), Code::none);
  EXPECT_TRUE(turner_.until([&] { return static_cast<bool>(net::accept_from(tcp_.get())); }));
  const auto answer = zone_.answers.extract("a.home.int");
  const StreamId id = line->begin(tcp(kAlias, "nas.tg"));
  ASSERT_TRUE(turner_.until([&] { return !zone_.asked.empty(); }));
  rules_.revoked[laptop_.identity.id] = 1;
  line.session->rules_changed();
  zone_.answers["a.home.int"] = answer.mapped();   // the resolver asks again within half a second
  const std::size_t asked = zone_.asked.size();
  ASSERT_TRUE(turner_.until([&] { return zone_.asked.size() > asked; }));
  heard(line);
  EXPECT_FALSE(line->settled(id));
  EXPECT_FALSE(net::accept_from(tcp_.get()));
  Grant next = grant(laptop_);
  next.generation = 1;
  next.resources = {kBox, kAlias};
  line->show(next.sign(seed_));
  EXPECT_TRUE(turner_.until([&] { return line->opened.contains(id); }));
}

TEST_F(ConnectorChanges, not_more_waits_for_a_better_grant_than_has_room) {
  const Line line = connect(laptop_, good(laptop_));
  ASSERT_EQ(outcome(line, tcp()), Code::none);
  rules_.revoked[laptop_.identity.id] = 1;
  line.session->rules_changed();
  std::vector<StreamId> asked;
  for (int i = 0; i < 300; ++i) asked.push_back(line->ask({kNames, "nas.home.int", dns::kTypeA}));
  heard(line);
  EXPECT_EQ(std::count_if(asked.begin(), asked.end(), [&](StreamId id) { return line->answers.contains(id); }), 300 - 256);
}

TEST_F(ConnectorChanges, ends_a_flow_by_its_alias_when_the_resource_has_another_address) {
  const Line line = connect(laptop_, with_alias());
  const Flow f = flow(line, tcp(kAlias, "nas.tg"));
  const Flow beside = flow(line);
  address_is("b.home.int");
  line.session->rules_changed();
  EXPECT_EQ(end_of(line, f.id), Code::revoked);
  EXPECT_LT(ends(f), seconds(1));
  EXPECT_FALSE(line->ended.contains(beside.id));
  zone_.asked.clear();
  EXPECT_EQ(outcome(line, tcp(kAlias, "nas.tg")), Code::none);
  EXPECT_EQ(zone_.asked, std::vector<std::string>{"b.home.int."});
}

TEST_F(ConnectorChanges, keeps_a_flow_whose_resource_changed_in_nothing_that_concerns_it) {
  const Line line = connect(laptop_, with_alias());
  const Flow f = flow(line, tcp(kAlias, "nas.tg"));
  auto all = resources();
  const Protocols less{only(tcp_port_), {}, false};
  all.push_back({kAlias, "its name", "home", must(Address::parse("a.home.int")), "nas.tg", less});
  rules_.policy = std::make_shared<const Policy>(std::move(all));
  line.session->rules_changed();
  heard(line);
  EXPECT_FALSE(line->ended.contains(f.id));
}

TEST_F(ConnectorChanges, does_not_dial_an_address_that_the_resource_no_longer_has) {
  const auto answer = zone_.answers.extract("a.home.int");
  const Line line = connect(laptop_, with_alias());
  const StreamId id = line->begin(tcp(kAlias, "nas.tg"));
  ASSERT_TRUE(turner_.until([&] { return !zone_.asked.empty(); }));
  address_is("b.home.int");
  line.session->rules_changed();
  EXPECT_EQ(end_of(line, id), Code::revoked);
  zone_.answers["a.home.int"] = answer.mapped();   // the resolver asks again within half a second, if it still does
  const std::size_t asked = zone_.asked.size();
  EXPECT_FALSE(turner_.until([&] { return zone_.asked.size() > asked; }, seconds(1)));
  EXPECT_FALSE(net::accept_from(tcp_.get()));
}

TEST_F(ConnectorChanges, ends_a_flow_to_a_forbidden_address_with_the_resource_that_excused_it) {
  const Line line = connect(laptop_, with_alias());
  const Flow by_tcp = flow(line, tcp(kAlias, "nas.tg"));
  const StreamId by_udp = line->begin(udp(kAlias, "nas.tg"));
  ASSERT_TRUE(turner_.until([&] { return line->opened.contains(by_udp); }));
  auto all = resources();
  all[0] = {kAlias, "nas", "home", must(Address::parse("a.home.int")), "nas.tg", {}};   // instead of kBox
  rules_.policy = std::make_shared<const Policy>(std::move(all));
  line.session->rules_changed();
  EXPECT_EQ(end_of(line, by_tcp.id), Code::address_forbidden);
  EXPECT_EQ(end_of(line, by_udp), Code::address_forbidden);
  EXPECT_LT(ends(by_tcp), seconds(1));
}

TEST_F(ConnectorChanges, answers_no_question_about_a_name_that_is_no_longer_granted) {
  const Line line = connect(laptop_, good(laptop_));
  const StreamId about = line->ask({kNames, "slow.home.int", dns::kTypeTxt});
  ASSERT_TRUE(turner_.until([&] { return !zone_.asked.empty(); }));
  rules_.policy = std::make_shared<const Policy>();
  line.session->rules_changed();
  EXPECT_TRUE(turner_.until([&] { return line->answers.contains(about); }, seconds(1)));
  EXPECT_EQ(line->answers[about], dns::kRcodeRefused);
}

}  // namespace tg::connector::connector_changes_test
