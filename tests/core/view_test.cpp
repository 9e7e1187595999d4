#include "core/json.h"
#include "core/view.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/encoding.h"
#include "core/ticket.h"

namespace tg::view_test {

View some_view() {
  View out;
  for (int n = *rc::gen::inRange(0, 8); n > 0; --n)
    out["resource/" + std::to_string(*rc::gen::inRange(0, 10))] = *rc::gen::inRange(0, 3);
  return out;
}

RC_GTEST_PROP(View, becomes_the_other_by_their_difference, ()) {
  const View from = some_view(), to = some_view();
  const Delta d = difference(from, to);
  View view = from;
  apply(view, d);
  RC_ASSERT(view == to);
  RC_ASSERT(d.empty() == (from == to));
  for (const auto& [key, value] : d.set)
    RC_ASSERT((!from.contains(key) || from.at(key) != value));   // nothing that is known already
  for (const auto& key : d.remove) RC_ASSERT(from.contains(key) && !to.contains(key));
}

Resource nas() {
  Resource r;
  r.id = 7;
  r.name = "NAS";
  r.network = "home";
  r.address = Address::parse("nas.home.int").value();
  r.alias = "nas.tg";
  r.protocols = {Ports({{22, 22}, {8000, 8100}}), Ports::none(), true};
  return r;
}

TEST(View, writes_a_resource_as_documented) {
  EXPECT_EQ(to_json(nas()),
            Json::parse(R"({"id":7,"name":"NAS","network":"home","address":"nas.home.int","alias":"nas.tg",
                                            "protocols":{"tcp":["22","8000-8100"],"udp":[],"icmp":true}})"));
  EXPECT_EQ(to_json(Protocols{}), Json::parse(R"({"tcp":"all","udp":"all","icmp":true})"));
}

TEST(View, reads_back_what_it_wrote) {
  Resource r = nas();
  EXPECT_EQ(resource_from_json(to_json(r)).value(), r);
  for (const char* address : {"*.corp.internal", "10.0.0.1", "10.0.0.0/8", "2001:db8::/32"}) {
    r.address = Address::parse(address).value();
    r.alias = "";
    EXPECT_EQ(resource_from_json(to_json(r)).value(), r) << address;
  }
  const Ticket t{1, UnixTime(std::chrono::seconds(1)), 2};
  const ConnectorInfo c{"00000000000000ff", "home-1", "home", true, {"192.0.2.1:8443", "[2001:db8::1]:1"},
                        {{"controller", "relay.example.com:443", t.label(Buffer(32))},
                         {"00000000000000e1", "[2001:db8::2]:1", t.label(Buffer(32, 1))}}};
  EXPECT_EQ(connector_from_json(to_json(c)).value(), c);
  const auto d = device_self_from_json(to_json(DeviceSelf{"a@b", "d1", "laptop"})).value();
  EXPECT_EQ(d.user + d.device + d.name, "a@bd1laptop");
  const DeviceSelf out{"a@b", "d1", "laptop", true, "company", UnixTime(std::chrono::seconds(1'800'000'000))};
  const auto again = device_self_from_json(to_json(out)).value();
  EXPECT_TRUE(again.sign_in && !d.sign_in);
  EXPECT_EQ(again.provider, "company");
  EXPECT_EQ(again.until, out.until);
  DeviceSelf machine{"ci", "d2", "runner"};
  machine.key = "1f0c77ab";
  machine.until = out.until;
  const auto known = device_self_from_json(to_json(machine)).value();
  EXPECT_EQ(known.key, machine.key);
  EXPECT_EQ(known.until, machine.until);
  EXPECT_TRUE(known.provider.empty() && again.key.empty());
  const ConnectorSelf s{"00000000000000ff",   "home-1", "home", "c0ffee", Buffer(32, 9), {"r.example.com:443"},
                        kGenerationMax, std::chrono::hours(3)};
  const auto back = connector_self_from_json(to_json(s)).value();
  EXPECT_EQ(to_json(back), to_json(s));
  EXPECT_EQ(back.grant_key, s.grant_key);
  EXPECT_EQ(back.grant_floor, s.grant_floor);
  EXPECT_EQ(back.grace, s.grace);
  EXPECT_TRUE(back.events);
  Json older = to_json(s);
  older.erase("events");
  EXPECT_FALSE(connector_self_from_json(older).value().events);
  const RelaySelf relay{"00000000000000ff", "relay-1", "c0ffee", "relay.example.com:443", Buffer(32, 9)};
  EXPECT_EQ(to_json(relay_self_from_json(to_json(relay)).value()), to_json(relay));
  EXPECT_EQ(relay_self_from_json(to_json(relay)).value().ticket_key, relay.ticket_key);
}

// Each field in turn is taken away, and replaced by what is of another type or nonsense.
template <class Read>
void refuses_bad_fields(const Json& good, Read read, const std::vector<std::string>& optional = {}) {
  ASSERT_TRUE(read(good));
  EXPECT_FALSE(read(Json::array()));
  EXPECT_FALSE(read(Json()));
  for (const auto& [key, value] : good.items()) {
    Json j = good;
    j.erase(key);
    const bool may_miss = std::find(optional.begin(), optional.end(), key) != optional.end();
    EXPECT_EQ(read(j).has_value(), may_miss) << key;
    for (const Json& bad :
         {Json(), Json(-1), Json(1.5), Json("a\x1b[0m"), Json(std::string(300, ' ')), Json::array({1}),
          Json::array({"\n"}), Json::array({"no port"}), Json::object({{"tcp", 1}})}) {
      j[key] = bad;
      const auto r = read(j);
      ASSERT_FALSE(r) << key << " " << bad;
      EXPECT_EQ(r.error().code, Errc::malformed);
      EXPECT_EQ(r.error().text.find('\x1b'), std::string::npos);
    }
  }
  Json newer = good;
  newer["a field of the future"] = 1;
  EXPECT_TRUE(read(newer));
}

TEST(View, refuses_items_with_missing_or_wrong_fields) {
  refuses_bad_fields(to_json(nas()), resource_from_json, {"alias"});
  refuses_bad_fields(to_json(Protocols{}), protocols_from_json);
  const ConnectorInfo c{"00000000000000ff", "home-1", "home", true, {"192.0.2.1:8443"},
                        {{"00000000000000e1", "relay.example.com:443", "aaaa"}}};
  refuses_bad_fields(to_json(c), connector_from_json);
  const RelaySelf r{"00000000000000ff", "relay-1", "c0ffee", "relay.example.com:443", Buffer(32, 9)};
  refuses_bad_fields(to_json(r), relay_self_from_json);
  refuses_bad_fields(to_json(DeviceSelf{"a@b", "d1", "laptop"}), device_self_from_json);
  const ConnectorSelf s{"00000000000000ff",   "home-1", "home", "c0ffee", Buffer(32, 9), {"r.example.com:443"},
                        kGenerationMax, std::chrono::hours(3)};
  refuses_bad_fields(to_json(s), connector_self_from_json, {"events"});
}

std::shared_ptr<const std::string> item(int x) { return std::make_shared<const std::string>(json_text({{"x", x}})); }
std::shared_ptr<const Items> items(Items i) { return std::make_shared<const Items>(std::move(i)); }

TEST(ATeller, says_only_what_differs) {
  const auto a = item(1), b = item(2);
  const ToldView from = {items({{"r/a", a}, {"r/b", b}, {"r/c", a}}), {{"self", a}, {"grant/\"", a}}};
  const ToldView to = {items({{"r/a", a}, {"r/b", item(2)}, {"r/c", b}, {"r/d", b}}), {{"self", b}, {"grant/\"", item(1)}}};
  Teller teller;
  EXPECT_EQ(parse_json(teller.delta(from, to, 7)),
            (Json{{"type", "delta"}, {"revision", 7}, {"remove", Json::array()},
                  {"set", {{"r/c", {{"x", 2}}}, {"r/d", {{"x", 2}}}, {"self", {{"x", 2}}}}}}))
      << "another item that says the same is no news";
  EXPECT_EQ(parse_json(teller.delta(to, {from.common, {}}, 8)),
            (Json{{"type", "delta"}, {"revision", 8}, {"remove", {"r/d", "grant/\"", "self"}}, {"set", {{"r/c", {{"x", 1}}}}}}));
  EXPECT_EQ(teller.delta(to, to, 9), "");
  EXPECT_EQ(teller.delta({items({{"r/a", a}}), {}}, {items({{"r/a", item(1)}}), {}}, 9), "");
}

TEST(ATeller, tells_a_whole_view) {
  Teller teller;
  const ToldView view = {items({{"r/a", item(1)}}), {{"self", item(3)}}};
  const Json whole = {{"type", "snapshot"}, {"revision", 7}, {"time", 1'800'000'000}, {"items", {{"r/a", {{"x", 1}}}, {"self", {{"x", 3}}}}}};
  EXPECT_EQ(parse_json(teller.snapshot(view, 7, UnixTime(std::chrono::seconds(1'800'000'000)))), whole);
  EXPECT_EQ(parse_json(teller.snapshot({}, 7, UnixTime()))->at("items"), Json::object());
}

TEST(ATeller, takes_what_it_remembers_for_no_other) {
  Teller teller;
  const auto before = items({{"r/a", item(1)}});
  for (int x = 2; x < 100; ++x) {
    // What is common may be gone when the next is made, and that be where it was.
    const auto text = teller.delta({before, {}}, {items({{"r/a", item(x)}}), {}}, 1);
    EXPECT_EQ(parse_json(text)->at("set"), (Json{{"r/a", {{"x", x}}}}));
    EXPECT_EQ(teller.delta({before, {{"self", item(1)}}}, {before, {{"self", item(1)}}}, 1), "");
  }
  teller.forget();
  EXPECT_EQ(parse_json(teller.delta({before, {}}, {}, 1))->at("remove"), Json::array({"r/a"}));
}

TEST(ATeller, does_not_remember_more_than_it_may) {
  Teller teller;
  const auto large = std::make_shared<const std::string>(json_text(Json(std::string(Teller::kRemembered / 2, 'x'))));
  std::vector<std::weak_ptr<const Items>> told;
  for (int i = 0; i < 5; ++i) {
    const auto common = items({{"r/" + std::to_string(i), large}});
    told.push_back(common);
    EXPECT_GT(teller.snapshot({common, {}}, 1, UnixTime()).size(), large->size());
  }
  EXPECT_TRUE(told[0].expired());
  EXPECT_FALSE(told[4].expired());
}

TEST(View, a_device_is_reminded_before_what_lets_it_in_ends) {
  const UnixTime end(std::chrono::seconds(1'800'000'000));
  const DeviceSelf person{"a@b", "d1", "laptop", false, "company", end};
  DeviceSelf machine{"ci", "d2", "runner", false, "", end};
  machine.key = "1f0c77ab";
  const auto before = [&](const DeviceSelf& s, std::chrono::seconds left) { return reminder(s, end - left); };
  EXPECT_EQ(before(person, kRemindSession + std::chrono::seconds(1)), "");
  EXPECT_EQ(before(person, kRemindSession),
            "the session ends at 2027-01-15 08:00 UTC, and all flows with it; 'sudo tg client login' begins another now");
  EXPECT_EQ(before(person, std::chrono::seconds(1)), before(person, kRemindSession)) << "one line in the log";
  EXPECT_EQ(before(person, std::chrono::seconds(0)), "") << "then it is over, which is said elsewhere";
  EXPECT_EQ(before(machine, kRemindKey + std::chrono::seconds(1)), "");
  EXPECT_EQ(before(machine, kRemindKey),
            "the key 1f0c77ab ends at 2027-01-15 08:00 UTC, and all flows with it; an administrator makes another: tg controller key create ci");
  EXPECT_EQ(before(machine, std::chrono::seconds(-1)), "");
  EXPECT_EQ(reminder(DeviceSelf{"a@b", "d1", "laptop"}, end), "") << "a device by token has no end";
}

TEST(View, a_relay_is_the_same_way_only_with_the_same_id_and_address) {
  const ConnectorInfo c{"00000000000000ff", "home-1", "home", true, {"192.0.2.1:8443"}, {{"e1", "r.example.com:443", "aaaa"}}};
  ConnectorInfo renewed = c, replaced = c, moved = c, gone = c;
  renewed.relays[0].ticket = "bbbb";
  replaced.relays[0].relay = "e2";
  moved.relays[0].address = "s.example.com:443";
  gone.relays.clear();
  EXPECT_TRUE(same_ways(c, renewed));
  EXPECT_TRUE(names_way(renewed, "e1", "r.example.com:443"));
  for (const ConnectorInfo& other : {replaced, moved, gone}) {
    EXPECT_FALSE(same_ways(c, other));
    EXPECT_FALSE(names_way(other, "e1", "r.example.com:443"));
  }
}

TEST(View, a_direct_way_is_gone_when_a_connector_that_is_there_names_others) {
  ConnectorInfo c{"00000000000000ff", "home-1", "home", true, {"192.0.2.1:8443", "192.0.2.2:8443"}, {}};
  EXPECT_TRUE(names_way(c, "", "192.0.2.2:8443"));
  EXPECT_FALSE(names_way(c, "", "192.0.2.3:8443"));
  c.online = false;
  EXPECT_TRUE(names_way(c, "", "192.0.2.3:8443"));
  c.online = true;
  c.direct.clear();
  EXPECT_TRUE(names_way(c, "", "192.0.2.3:8443"));
}

TEST(View, refuses_values_that_make_no_sense) {
  const auto bad = [](const Json& good, auto read, const char* key, const Json& value) {
    Json j = good;
    j[key] = value;
    EXPECT_FALSE(read(j)) << key << " " << value;
  };
  const Json r = to_json(nas());
  for (const char* address : {"http://nas", "10.0.0.1/8", "*", "a b"}) bad(r, resource_from_json, "address", address);
  for (const char* alias : {"nodot", "NAS.tg", "nas.tg.", "*.tg", "a..b"}) bad(r, resource_from_json, "alias", alias);
  for (const char* tcp : {R"("some")", "[22]", R"(["22-"])", R"(["9-8"])", "22", "{}"}) {
    bad(r, resource_from_json, "protocols", {{"tcp", Json::parse(tcp)}, {"udp", "all"}, {"icmp", true}});
  }
  bad(r, resource_from_json, "protocols",
      {{"tcp", Json(std::vector<std::string>(5000, "1"))}, {"udp", "all"}, {"icmp", true}});
  const Json c = to_json(ConnectorInfo{"00000000000000ff", "n", "home", true, {}, {}});
  for (const char* id : {"ff", "00000000000000FF", "00000000000000fg", "00000000000000ff0"})
    bad(c, connector_from_json, "id", id);
  bad(c, connector_from_json, "direct", {"192.0.2.1:0"});
  bad(c, connector_from_json, "direct", {"host:1"});
  const auto bad_way = [&](const Json& address, const Json& ticket) {
    bad(c, connector_from_json, "relays", Json::array({{{"relay", "e1"}, {"address", address}, {"ticket", ticket}}}));
  };
  bad_way("a:1", "not!base32");
  bad_way("a:1", std::string(64, 'a'));
  bad_way("a", "aaaa");
  bad_way("a:1", 7);
  bad(c, connector_from_json, "relays",
      Json(std::vector<Json>(300, Json{{"relay", "e1"}, {"address", "a:1"}, {"ticket", "aaaa"}})));
  bad(c, connector_from_json, "relays", Json::array({{{"address", "a:1"}, {"ticket", "aaaa"}}}));
  const Json s = to_json(ConnectorSelf{"00000000000000ff", "n", "home", "i", Buffer(32), {}, 0, std::chrono::seconds(0)});
  bad(s, connector_self_from_json, "grant_key", base64url(Buffer(31)));
  bad(s, connector_self_from_json, "grace", 18446744073709551615ull);
}

RC_GTEST_PROP(ControlReader, cuts_messages_out_of_any_pieces, ()) {
  std::vector<Json> sent;
  Buffer stream;
  for (int n = *rc::gen::inRange(0, 12); n > 0; --n) {
    sent.push_back(
        {{"type", "t" + std::to_string(n)}, {"text", std::string(*rc::gen::inRange<std::size_t>(0, 200), 'x')}});
    const Buffer frame = control_frame(sent.back());
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  ControlReader reader;
  std::vector<Json> got;
  for (std::size_t at = 0; at < stream.size();) {
    const auto n = std::min(*rc::gen::inRange<std::size_t>(1, 100), stream.size() - at);
    const Buffer piece(stream.begin() + static_cast<std::ptrdiff_t>(at),
                       stream.begin() + static_cast<std::ptrdiff_t>(at + n));
    reader.feed(piece);
    at += n;
    for (;;) {
      auto message = reader.next();
      RC_ASSERT(message.has_value());
      if (!message->has_value()) break;
      got.push_back(**message);
    }
  }
  RC_ASSERT(got == sent);
}

TEST(ControlReader, ends_with_the_first_wrong_message) {
  const auto error = [](const std::string& text, std::size_t max = kControlFrameMax) {
    Buffer b;
    Writer w(b);
    w.u32(static_cast<std::uint32_t>(text.size()));
    w.text(text);
    ControlReader reader(max);
    reader.feed(b);
    const auto first = reader.next();
    EXPECT_FALSE(first) << text;
    reader.feed(control_frame({{"type", "x"}}));
    EXPECT_EQ(reader.next().error().code, Errc::protocol);   // and stays ended
    return first ? std::string() : first.error().text;
  };
  EXPECT_EQ(error(""), "a control message is not JSON");
  EXPECT_EQ(error("{"), "a control message is not JSON");
  EXPECT_EQ(error("{}{}"), "a control message is not JSON");
  EXPECT_EQ(error("\"\xff\""), "a control message is not JSON");
  EXPECT_EQ(error(std::string(100, '[') + std::string(100, ']')), "a control message is not JSON");   // too deep
  EXPECT_EQ(error("[]"), "a control message has no type");
  EXPECT_EQ(error("{}"), "a control message has no type");
  EXPECT_EQ(error(R"({"type":1})"), "a control message has no type");
  EXPECT_EQ(error(R"({"type":"x"})", 11), "a control message of 12 bytes is too large");
}

TEST(ControlReader, judges_the_length_before_the_message_comes) {
  ControlReader reader(kControlBeforeIdentity);
  reader.feed(Buffer{0xff, 0xff, 0xff});
  EXPECT_TRUE(reader.next());
  reader.feed(Buffer{0xff});
  EXPECT_EQ(reader.next().error().code, Errc::protocol);
  ControlReader raised(1);
  raised.set_max(100);
  raised.feed(control_frame({{"type", "hello"}}));
  EXPECT_TRUE(raised.next()->has_value());
}

TEST(ControlReader, takes_ten_megabytes_byte_by_byte) {
  const Buffer frame = control_frame({{"type", "big"}, {"text", std::string(10u << 20, 'x')}});
  ControlReader reader;
  for (const std::uint8_t& b : frame) reader.feed({&b, 1});
  EXPECT_TRUE(reader.next()->has_value());
  reader.feed(control_frame({{"type", "small"}}));
  EXPECT_TRUE(reader.next()->has_value());
}

TEST(ControlFrame, has_brackets_in_strings_and_bytes_that_are_not_utf_8) {
  ControlReader reader;
  reader.feed(control_frame({{"type", "x"}, {"a", std::string(100, '[') + "\\\"{"}, {"b", "\xff"}}));
  const Json message = reader.next()->value();
  EXPECT_EQ(message["a"], std::string(100, '[') + "\\\"{");
  EXPECT_EQ(message["b"], "\xef\xbf\xbd");
}

}  // namespace tg::view_test
