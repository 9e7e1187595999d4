#include "cmd/controller/views.h"

#include "controller_support.h"
#include "core/json.h"

namespace tg::controller::controller_views_test {

constexpr std::chrono::seconds kMinute{60};
constexpr std::chrono::seconds kHour{3600};

Model company() {
  Model m;
  m.revision = 7;
  m.networks = {"home", "office"};
  m.connectors = {{"00000000000000c1", "home-1", "home", "key-c1", kNow, {}}, {"00000000000000c2", "home-2", "home", "",
      kNow, {}},
                  {"00000000000000c3", "office-1", "office", "", kNow, {}}};
  m.users = {{"alice@example.com"}, {"bob@example.com"}};
  m.groups = {{"family", {"alice@example.com"}}, {"staff", {"alice@example.com", "bob@example.com"}}};
  const auto add = [&](ResourceId id, const char* name, const char* network, const char* address,
                       std::vector<std::string> groups) {
    m.resources.push_back({{id, name, network, must(Address::parse(address)), "", {}}, std::move(groups)});
  };
  add(1, "NAS", "home", "nas.home.int", {"family", "staff"});
  add(2, "Printer", "home", "10.0.0.9", {"family"});
  add(3, "Wiki", "office", "*.corp.internal", {"staff"});
  add(4, "Safe", "office", "10.9.0.0/16", {});
  m.devices = {{"00000000000000d1", "alice@example.com", "laptop", "key-d1", false, kNow, {}},
               {"00000000000000d2", "bob@example.com", "phone", "key-d2", false, kNow, {}},
               {"00000000000000d3", "bob@example.com", "old phone", "key-d3", true, kNow, {}}};
  return m;
}

std::vector<std::string> keys(const View& v) {
  std::vector<std::string> out;
  for (const auto& [key, value] : v) out.push_back(key);
  return out;
}

struct ViewTest : testing::Test {
  LeaseKeys keys_of_controller{"tg-12345678", Ed25519Key(Buffer(32, 7)), Buffer(32, 9)};
  Buffer public_key = ed25519_public_key(Buffer(32, 7));
  Presence presence;
  std::vector<RelayPlace> relays{{kEmbeddedRelay, "tg.example.com:8444"}, {"00000000000000e1", "relay.example.com:8444"}};
  Leases alice{"alice@example.com", "00000000000000d1", "thumb-d1", 100};
  Leases bob{"bob@example.com", "00000000000000d2", "thumb-d2", 200};

  View view(const Model& m, Leases& leases, UnixTime now = kNow, const char* device = "00000000000000d1") {
    return told_to(device, Directory(m), presence, relays, keys_of_controller, leases, now);
  }
  Grant grant(const View& v, const std::string& network, UnixTime now = kNow, const char* thumbprint = "thumb-d1") {
    return must(Grant::verify(v.at("grant/" + network).get<std::string>(), public_key, "tg-12345678", network,
                              thumbprint, now));
  }
};
using AView = ViewTest;

TEST_F(AView, of_a_device_holds_what_its_users_groups_reach_and_the_way_there) {
  EXPECT_EQ(keys(view(company(), alice)),
            (std::vector<std::string>{"connector/00000000000000c1", "connector/00000000000000c2",
                                      "connector/00000000000000c3",
                                      "grant/home", "grant/office", "resource/1", "resource/2", "resource/3", "self"}));
  EXPECT_EQ(keys(view(company(), bob, kNow, "00000000000000d2")),
            (std::vector<std::string>{"connector/00000000000000c1", "connector/00000000000000c2",
                                      "connector/00000000000000c3",
                                      "grant/home", "grant/office", "resource/1", "resource/3", "self"}));
  const View v = view(company(), alice);
  EXPECT_EQ(must(device_self_from_json(v.at("self"))).user, "alice@example.com");
  EXPECT_EQ(must(resource_from_json(v.at("resource/3"))), company().resources[2].resource);
}

TEST_F(AView, of_a_device_has_no_connector_of_a_network_in_which_it_reaches_nothing) {
  Model m = company();
  m.resources.erase(m.resources.begin() + 2);
  EXPECT_EQ(keys(view(m, bob, kNow, "00000000000000d2")),
            (std::vector<std::string>{"connector/00000000000000c1", "connector/00000000000000c2", "grant/home",
                                      "resource/1", "self"}));
}

TEST_F(AView, of_a_blocked_or_unknown_device_is_empty) {
  Leases leases{"bob@example.com", "00000000000000d3", "thumb", 1};
  EXPECT_TRUE(view(company(), leases, kNow, "00000000000000d3").empty());
  EXPECT_TRUE(view(company(), leases, kNow, "00000000000000d9").empty());
}

TEST_F(AView, says_which_connectors_are_here_and_where) {
  presence["00000000000000c1"] = {"192.168.1.88:7000", "203.0.113.4:7000"};
  const View v = view(company(), alice);
  const ConnectorInfo here = must(connector_from_json(v.at("connector/00000000000000c1")));
  EXPECT_TRUE(here.online);
  EXPECT_EQ(here.direct, (std::vector<std::string>{"192.168.1.88:7000", "203.0.113.4:7000"}));
  ASSERT_EQ(here.relays.size(), 2u);
  EXPECT_EQ(here.relays[0].address, "tg.example.com:8444");
  EXPECT_EQ(here.relays[1].address, "relay.example.com:8444");
  const ConnectorInfo away = must(connector_from_json(v.at("connector/00000000000000c2")));
  EXPECT_FALSE(away.online);
  EXPECT_TRUE(away.direct.empty());
}

TEST_F(AView, has_grants_bound_to_the_devices_key_for_one_network_each) {
  const View v = view(company(), alice);
  const Grant home = grant(v, "home");
  EXPECT_EQ(home.user, "alice@example.com");
  EXPECT_EQ(home.device, "00000000000000d1");
  EXPECT_EQ(home.resources, (std::vector<ResourceId>{1, 2}));
  EXPECT_EQ(home.issued, kNow);
  EXPECT_EQ(home.expires, kNow + kHour);
  EXPECT_EQ(grant(v, "office").resources, std::vector<ResourceId>{3});
  EXPECT_FALSE(Grant::verify(v.at("grant/home").get<std::string>(), public_key, "tg-12345678", "home", "thumb-d2",
                             kNow));
}

TEST_F(AView, has_a_ticket_for_each_way_that_opens_with_that_relays_key_and_never_repeats_a_nonce) {
  const View v = view(company(), alice);
  std::set<std::uint64_t> nonces;
  for (const char* id : {"00000000000000c1", "00000000000000c2", "00000000000000c3"}) {
    const ConnectorInfo info = must(connector_from_json(v.at(std::string("connector/") + id)));
    for (std::size_t i = 0; i < relays.size(); ++i) {
      const Buffer key = relay_ticket_key(Buffer(32, 9), relays[i].id);
      EXPECT_EQ(info.relays[i].relay, relays[i].id);
      const Ticket t = must(Ticket::open(info.relays[i].ticket, key, kNow));
      EXPECT_EQ(t.connector, std::stoull(id, nullptr, 16));
      EXPECT_EQ(t.expires, kNow + 24 * kHour);
      nonces.insert(t.nonce);
      EXPECT_FALSE(Ticket::open(info.relays[1 - i].ticket, key, kNow)) << "of the other relay";
    }
  }
  EXPECT_EQ(nonces.size(), 6u);
}

TEST_F(AView, stays_the_same_until_half_of_a_grants_life) {
  const View first = view(company(), alice);
  EXPECT_EQ(alice.next_renewal(), kNow + 30 * kMinute);
  EXPECT_EQ(view(company(), alice, kNow + 30 * kMinute - std::chrono::seconds(1)), first);
  const View second = view(company(), alice, kNow + 30 * kMinute);
  const Delta d = difference(first, second);
  EXPECT_EQ(keys(d.set), (std::vector<std::string>{"grant/home", "grant/office"}));
  EXPECT_EQ(grant(second, "home", kNow + 30 * kMinute).expires, kNow + 90 * kMinute);
}

TEST_F(AView, renews_tickets_at_half_of_their_life) {
  const View first = view(company(), alice);
  EXPECT_EQ(view(company(), alice, kNow + 12 * kHour - kMinute).at("connector/00000000000000c1"),
            first.at("connector/00000000000000c1"));
  EXPECT_NE(view(company(), alice, kNow + 12 * kHour).at("connector/00000000000000c1"),
            first.at("connector/00000000000000c1"));
}

TEST_F(AView, gets_a_new_grant_when_a_resource_comes_or_goes) {
  const View first = view(company(), alice);
  Model m = company();
  m.resources[1].groups.clear();
  const View second = view(m, alice, kNow + kMinute);
  const Delta d = difference(first, second);
  EXPECT_EQ(keys(d.set), std::vector<std::string>{"grant/home"});
  EXPECT_EQ(d.remove, std::vector<std::string>{"resource/2"});
  EXPECT_EQ(grant(second, "home", kNow + kMinute).resources, std::vector<ResourceId>{1});
  EXPECT_EQ(keys(difference(second, view(company(), alice, kNow + kMinute)).set),
            (std::vector<std::string>{"grant/home", "resource/2"}));
}

TEST_F(AView, gets_a_grant_that_is_not_void_right_after_a_revocation) {
  EXPECT_EQ(grant(view(company(), alice), "home", kNow).generation, 0u);
  Model m = company();
  m.revocations = {{"00000000000000d1", 5}, {"00000000000000d2", 9}};
  EXPECT_TRUE(alice.voided(5)) << "and the device is told before others";
  const View v = view(m, alice, kNow);
  EXPECT_FALSE(alice.voided(5));
  EXPECT_EQ(grant(v, "home", kNow).generation, 5u);
  EXPECT_EQ(view(m, alice, kNow), v) << "and only one";
  m.grant_floor = 7;
  EXPECT_EQ(grant(view(m, alice, kNow), "home", kNow).generation, 7u);
}

// Row 20 of the threats; of certificates: ALeaf, AControlServer and APki, of who is told of it: tests/e2e/test_clock.py.
TEST_F(AView, gets_another_grant_when_the_clock_was_set_back) {
  view(company(), alice);
  const UnixTime before = kNow - 24 * kHour;
  EXPECT_EQ(grant(view(company(), alice, before), "home", before).issued, before);
}

TEST_F(AView, forgets_leases_that_are_not_needed_so_that_they_do_not_fall_due) {
  view(company(), alice);
  Model m = company();
  m.resources.clear();
  EXPECT_EQ(keys(view(m, alice)), std::vector<std::string>{"self"});
  EXPECT_EQ(alice.next_renewal(), UnixTime::max());
}

TEST_F(AView, of_a_relay_holds_its_own_ticket_key_and_nothing_about_anybody) {
  Model m = company();
  m.relays = {{"00000000000000e1", "relay-1", "relay.example.com:8444", "key", kNow, {}}};
  const View v = view_of(relay_items(Directory(m), keys_of_controller, "00000000000000e1"));
  EXPECT_EQ(keys(v), std::vector<std::string>{"self"});
  const RelaySelf self = must(relay_self_from_json(v.at("self")));
  EXPECT_EQ(self.ticket_key, relay_ticket_key(Buffer(32, 9), "00000000000000e1"));
  EXPECT_EQ(self.issuer, "tg-12345678");
  EXPECT_EQ(self.address, "relay.example.com:8444");
  EXPECT_TRUE(view_of(relay_items(Directory(m), keys_of_controller, "00000000000000e2")).empty());
}

TEST_F(AView, names_the_relays_that_were_let_in_and_the_embedded_one) {
  Model m;
  m.relays = {{"00000000000000e1", "relay-1", "a.example.com:8444", "key", kNow, {}},
              {"00000000000000e2", "relay-2", "b.example.com:8444", "", kNow, {}}};
  const auto addresses = [&](const std::string& embedded) {
    std::vector<std::string> out;
    for (const RelayPlace& r : relays_in_use(m, embedded)) out.push_back(r.address);
    return out;
  };
  EXPECT_EQ(addresses("c.example.com:8444"), (std::vector<std::string>{"c.example.com:8444", "a.example.com:8444"}));
  EXPECT_EQ(addresses(""), std::vector<std::string>{"a.example.com:8444"});
  EXPECT_EQ(addresses("a.example.com:8444"), std::vector<std::string>{"a.example.com:8444"}) << "once";
}

TEST_F(AView, of_a_connector_holds_its_networks_resources_and_every_revocation) {
  Model m = company();
  m.revocations = {{"00000000000000d1", 5}};
  m.grant_floor = 7;
  const View v = view_of(connector_items(Directory(m), relays, keys_of_controller, "00000000000000c3", kHour));
  EXPECT_EQ(keys(v), (std::vector<std::string>{"resource/3", "resource/4", "revoked/00000000000000d1", "self"}));
  EXPECT_EQ(v.at("revoked/00000000000000d1"), 5);
  const ConnectorSelf self = must(connector_self_from_json(v.at("self")));
  EXPECT_EQ(self.name, "office-1");
  EXPECT_EQ(self.network, "office");
  EXPECT_EQ(self.issuer, "tg-12345678");
  EXPECT_EQ(self.grant_key, public_key);
  EXPECT_EQ(self.relays, (std::vector<std::string>{"tg.example.com:8444", "relay.example.com:8444"}));
  EXPECT_EQ(self.grant_floor, 7u);
  EXPECT_EQ(self.grace, kHour);
  EXPECT_TRUE(view_of(connector_items(Directory(m), relays, keys_of_controller, "00000000000000c9", kHour)).empty());
}

TEST(Directories, share_the_items_of_what_has_not_changed) {
  Model m;
  for (ResourceId id : {1, 2, 4}) {
    m.resources.push_back({{id, "r" + std::to_string(id), "home", must(Address::parse("r.home.int")), "", {}}, {"family"}});
  }
  const Directory first(m);
  m.resources[1].resource.name = "another";
  m.resources[0].groups = {"guests"};   // which agents are not told
  m.resources.insert(m.resources.begin() + 2, ResourceRecord{{3, "r3", "home", must(Address::parse("r.home.int")), "", {}}, {}});
  const Directory second(m, &first);
  const auto before = [&](std::size_t i) { return first.item(first.model().resources[i]); };
  const auto now = [&](std::size_t i) { return second.item(second.model().resources[i]); };
  EXPECT_EQ(now(0), before(0));
  EXPECT_NE(now(1), before(1));
  EXPECT_EQ(parse_json(*now(1))->at("name"), "another");
  EXPECT_EQ(parse_json(*now(2))->at("name"), "r3");
  EXPECT_EQ(now(3), before(2));
}

}  // namespace tg::controller::controller_views_test
