#include "core/connection_event.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/json.h"
#include "core/text.h"

namespace tg::connection_event_test {

using Kind = ConnectionEvent::Kind;

ConnectionEvent closed() {
  ConnectionEvent e;
  e.kind = Kind::closed;
  e.time = Milliseconds(1'800'000'000'123);
  e.flow = 0xabc;
  e.user = "alice@example.com";
  e.device = "0123456789abcdef";
  e.resource = 7;
  e.resource_name = "NAS";
  e.host = "nas.home.int";
  e.port = 22;
  e.address = "192.168.1.50:22";
  e.up = 1234;
  e.down = 5'000'000;
  e.duration = Milliseconds(72'500);
  e.path = "direct";
  return e;
}
RecordedEvent recorded(ConnectionEvent e) {
  return {42, std::move(e), "fedcba9876543210", "home-1", "home", "laptop", {"family"}};
}

TEST(ConnectionEvent, is_one_line_of_json_without_what_says_nothing) {
  EXPECT_EQ(event_line(closed()),
            R"({"address":"192.168.1.50:22","device":"0123456789abcdef","down":5000000,"duration_ms":72500,)"
            R"("flow":"0000000000000abc","host":"nas.home.int","kind":"closed","path":"direct","port":22,"protocol":"tcp",)"
            R"("resource":"NAS","resource_id":7,"time_ms":1800000000123,"up":1234,"user":"alice@example.com"})");
}

TEST(ConnectionEvent, is_one_line_for_a_person) {
  EXPECT_EQ(text_of(recorded(closed())),
            "42  2027-01-15 08:00:00 UTC  closed       tcp nas.home.int:22 at 192.168.1.50:22  1.2 KiB up, 4.8 MiB down, 1m12s  "
            "alice@example.com on laptop  NAS (by family)  home-1, direct");
  ConnectionEvent denied = closed();
  denied.kind = Kind::denied;
  denied.protocol = Protocol::udp;
  denied.host = "fd00::1";
  denied.port = 53;
  denied.address = denied.user = denied.resource_name = "";
  denied.reason = "denied";
  denied.path = "relay.example.com:8444";
  denied.more = 12;
  EXPECT_EQ(text_of({43, denied, "", "home-1", "home", "", {}}),
            "43  2027-01-15 08:00:00 UTC  denied       udp [fd00::1]:53  denied  nobody on 0123456789abcdef  no Resource  "
            "home-1, relay.example.com:8444  and 12 more like it");
  ConnectionEvent lost;
  lost.kind = Kind::lost;
  lost.lost = 3000;
  EXPECT_EQ(text_of(recorded(lost)),
            "42  1970-01-01 00:00:00 UTC  lost         3000 events did not reach the controller  home-1");
}

// refusal says why a change of a good event makes it none.
std::string refusal(const std::function<void(Json&)>& change) {
  Json j = to_json(closed());
  change(j);
  const auto e = connection_event_from_json(j);
  return e ? "" : e.error().text;
}

TEST(ConnectionEvent, of_a_connector_that_lies_is_none) {
  EXPECT_EQ(refusal([](Json&) {}), "");
  const auto with = [](const char* key, const Json& value) { return refusal([&](Json& j) { j[key] = value; }); };
  EXPECT_NE(with("kind", "opened"), "");
  EXPECT_NE(with("kind", nullptr), "");
  EXPECT_NE(with("user", "alice\x1b[2J"), "");
  EXPECT_NE(with("resource", "NAS\n43  2027-01-15"), "");
  EXPECT_NE(with("host", std::string(254, 'a')), "");
  EXPECT_NE(with("host", ""), "");
  EXPECT_NE(with("user", std::string(257, 'a')), "");
  EXPECT_NE(with("reason", std::string(33, 'a')), "");
  EXPECT_NE(with("path", std::string(262, 'a')), "");
  EXPECT_NE(with("protocol", "sctp"), "");
  EXPECT_NE(with("port", 65536), "");
  EXPECT_NE(with("port", -1), "");
  EXPECT_NE(with("up", 1.5), "");
  EXPECT_NE(with("up", 1ull << 63), "");
  EXPECT_NE(with("time_ms", 253'402'300'800'000), "");
  EXPECT_NE(with("flow", "abc"), "");
  EXPECT_NE(with("flow", "000000000000000g"), "");
  EXPECT_NE(with("flow", "0000000000000000"), "");
  EXPECT_NE(with("flow", 7), "");
  EXPECT_NE(with("address", Json::array()), "");
  EXPECT_FALSE(connection_event_from_json(Json::array()));
  EXPECT_EQ(with("of_a_newer_connector", Json::object()), "");
}

rc::Gen<std::string> some_text(std::size_t most) {
  return rc::gen::map(rc::gen::container<std::string>(rc::gen::weightedOneOf<char>(
                          {{20, rc::gen::inRange<char>(' ', 127)}, {1, rc::gen::element('"', '\\')}})),
                      [most](std::string s) { return s.substr(0, most); });
}

RC_GTEST_PROP(ConnectionEvent, is_the_same_after_a_trip_and_its_line_is_its_json, ()) {
  ConnectionEvent e;
  e.kind = static_cast<Kind>(*rc::gen::inRange(0, 5));
  e.time = Milliseconds(*rc::gen::inRange<std::int64_t>(0, 253'402'300'799'999));
  e.flow = *rc::gen::arbitrary<std::uint64_t>();
  e.user = *some_text(256);
  e.device = *some_text(64);
  e.resource = *rc::gen::inRange<std::uint64_t>(0, 1u << 31);
  e.resource_name = *rc::gen::element(std::string("NAS"), std::string("Bücher"), std::string(), std::string("a\"b\\c"));
  if (e.kind != Kind::lost) e.protocol = *rc::gen::element(Protocol::tcp, Protocol::udp, Protocol::icmp);
  e.host = "h" + *some_text(252);
  e.port = *rc::gen::arbitrary<std::uint16_t>();
  e.address = *some_text(64);
  e.reason = *some_text(32);
  e.up = *rc::gen::arbitrary<std::uint64_t>() >> 1;
  e.down = *rc::gen::arbitrary<std::uint32_t>();
  e.duration = Milliseconds(*rc::gen::inRange(0, 1 << 30));
  e.path = *some_text(261);
  e.more = *rc::gen::arbitrary<std::uint32_t>();
  e.lost = *rc::gen::arbitrary<std::uint32_t>();
  RC_ASSERT(event_line(e) == json_text(to_json(e)));
  const auto again = connection_event_from_json(parse_json(event_line(e)).value());
  RC_ASSERT(again.has_value());
  RC_ASSERT(*again == e);
  const RecordedEvent r{*rc::gen::inRange<std::uint64_t>(1, 1ull << 62), e, "c", "home-1", "home", *some_text(64), {"a", "b"}};
  const auto kept = recorded_event_from_json(to_json(r));
  RC_ASSERT(kept.has_value());
  RC_ASSERT(*kept == r);
  const std::string text = text_of(r);
  RC_ASSERT(printable(text, text.size()) == text);
}

}  // namespace tg::connection_event_test
