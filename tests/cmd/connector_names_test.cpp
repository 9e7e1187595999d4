// Names that lead somewhere else each time: what is dialled is what was checked.
#include "connector_harness.h"

namespace tg::connector::connector_names_test {

// A zone of somebody else's below *.home.int. kBox names 127.0.0.1; every other loopback address is forbidden, though
// whatever it dials here would be answered.
class ConnectorNames : public ConnectorTest {
 protected:
  // where opens a flow to `name` and returns the address that was dialled, or "" when none was.
  std::string where(const Line& line, const std::string& name) {
    const StreamId id = line->begin(tcp(kNames, name));
    EXPECT_TRUE(turner_.until([&] { return line->settled(id); }));
    const bool opened = line->opened.contains(id);
    EXPECT_EQ(opened ? Code::none : line->ended[id], opened ? Code::none : Code::address_forbidden);
    net::Fd far;
    EXPECT_TRUE(!opened || turner_.until([&] { return bool(far = net::accept_from(tcp_.get())); }));
    EXPECT_FALSE(net::accept_from(tcp_.get())) << "one flow, one dial";
    line->link.tunnel().reset(id, Code::none);   // the quota is small
    line->link.kick();
    return far ? net::local_endpoint(far.get()).address.to_string() : "";
  }

  // forget: even an answer with TTL 0 is kept for a moment.
  void forget() {
    resolver_.set_servers({});
    resolver_.set_servers({net::local_endpoint(dns_.get())});
  }

  Zone zone_{loop_, dns_.get()};
  const Line line_ = connect(laptop_, good(laptop_));
};

TEST_F(ConnectorNames, of_a_mixed_answer_only_the_allowed_address_is_dialled) {
  zone_.answers["first.home.int"] = {{"127.0.0.1", "127.0.0.3"}};
  zone_.answers["last.home.int"] = {{"127.0.0.3", "169.254.169.254", "10.9.0.1", "0.0.0.0", "127.0.0.1"}};
  zone_.answers["none.home.int"] = {{"127.0.0.3", "127.0.0.4"}};
  EXPECT_EQ(where(line_, "first.home.int"), "127.0.0.1");
  EXPECT_EQ(where(line_, "last.home.int"), "127.0.0.1");
  EXPECT_EQ(where(line_, "none.home.int"), "");
}

TEST_F(ConnectorNames, no_second_answer_is_dialled_that_was_not_checked) {
  constexpr int kFlows = 20;
  for (int i = 0; i < kFlows; ++i) {
    zone_.answers["rebind.home.int"].push_back({i % 2 == 0 ? "127.0.0.1" : "127.0.0.3"});
  }
  for (int i = 0; i < kFlows; ++i) {
    forget();
    EXPECT_EQ(where(line_, "rebind.home.int"), i % 2 == 0 ? "127.0.0.1" : "") << i;
    EXPECT_EQ(zone_.asked.size(), static_cast<std::size_t>(i + 1)) << "one flow, one question";
  }
}

TEST_F(ConnectorNames, an_answer_that_changes_while_the_first_address_is_tried_leads_nowhere_else) {
  // 127.0.0.9 is excused by a Resource of its own and refuses; the zone says something else to whoever asks again.
  auto all = resources();
  all.push_back({kNotGranted + 100, "dead", "home", must(Address::parse("127.0.0.9")), "", {}});
  rules_.policy = std::make_shared<const Policy>(std::move(all));
  Grant g = grant(laptop_);
  g.resources.push_back(kNotGranted + 100);
  line_->show(g.sign(seed_));
  zone_.answers["rebind.home.int"] = {{"127.0.0.9"}, {"127.0.0.3"}};
  const net::Fd elsewhere = must(net::tcp_listen(must(Endpoint::parse("127.0.0.1:0"))));   // 127.0.0.9 refuses it
  const std::uint16_t port = net::local_endpoint(elsewhere.get()).port;
  EXPECT_EQ(outcome(line_, {kNames, Protocol::tcp, port, "rebind.home.int"}), Code::refused);
  EXPECT_EQ(zone_.asked.size(), 1u);
}

}  // namespace tg::connector::connector_names_test
