// Connection events at the controller: checked, kept once, found again, and gone when their time is over.
#include "cmd/controller/events.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sqlite3.h>

#include <fstream>
#include <set>

#include "controller_agent.h"
#include "core/json.h"

namespace tg::controller::controller_events_test {

using Kind = ConnectionEvent::Kind;
constexpr const char* kSpool = "00000000000000aa";

ConnectionEvent event(int number, Kind kind = Kind::established, UnixTime at = kNow) {
  ConnectionEvent e;
  e.kind = kind;
  e.time = at.time_since_epoch();
  e.user = number % 2 == 0 ? "alice@example.com" : "bob@example.com";
  e.device = number % 2 == 0 ? "00000000000000d0" : "00000000000000d1";
  e.resource = 1;
  e.resource_name = "NAS";
  e.host = "nas.home.int";
  e.port = 22;
  e.up = static_cast<std::uint64_t>(number);
  return e;
}

EventBatch batch(std::uint64_t first, std::vector<ConnectionEvent> events, const std::string& spool = kSpool,
                 const std::string& connector = "c1") {
  EventBatch out{connector, spool, first, {}};
  for (auto& e : events) {
    out.events.push_back(RecordedEvent{.event = std::move(e), .connector = connector, .connector_name = "home-1"});
  }
  return out;
}
std::vector<ConnectionEvent> some(int from, int to, Kind kind = Kind::established, UnixTime at = kNow) {
  std::vector<ConnectionEvent> out;
  for (int i = from; i <= to; ++i) out.push_back(event(i, kind, at));
  return out;
}

struct EventStoreTest : testing::Test {
  Folder folder;
  EventStore store = must(EventStore::open(folder / "events.db"));

  // newest pages back through everything, as the command does.
  std::vector<int> newest(const EventFilter& filter = {}, std::size_t page = 1000) {
    std::vector<int> out;
    std::uint64_t at = store.last() + 1;
    while (true) {
      EventPage p = must(store.before(filter, at, page));
      for (const Json& e : p.events) out.push_back(e["up"]);
      if (p.done) break;
      EXPECT_LT(p.reached, at);
      at = p.reached;
    }
    std::reverse(out.begin(), out.end());
    return out;
  }
  std::vector<int> oldest(const EventFilter& filter = {}, std::size_t page = 1000, std::uint64_t at = 0) {
    std::vector<int> out;
    while (true) {
      EventPage p = must(store.after(filter, at, page));
      for (const Json& e : p.events) out.push_back(e["up"]);
      if (p.done) break;
      EXPECT_GT(p.reached, at);
      at = p.reached;
    }
    return out;
  }
  std::vector<int> all() {
    const std::vector<int> forward = oldest();
    EXPECT_EQ(newest(), forward);
    return forward;
  }
};
using AnEventStore = EventStoreTest;
using Numbers = std::vector<int>;

TEST_F(AnEventStore, keeps_what_it_is_sent_once) {
  must(store.keep({batch(1, some(1, 3))}, kNow));
  must(store.keep({batch(1, some(1, 3))}, kNow));
  EXPECT_EQ(all(), (Numbers{1, 2, 3}));
  must(store.keep({batch(3, some(3, 5))}, kNow));
  EXPECT_EQ(all(), (Numbers{1, 2, 3, 4, 5})) << "a part of it was there";
  must(store.keep({batch(2, some(2, 2))}, kNow));
  EXPECT_EQ(all().size(), 5u);
  must(store.keep({batch(1, some(6, 6), "00000000000000bb"), batch(1, some(7, 7), kSpool, "c2")}, kNow));
  EXPECT_EQ(all(), (Numbers{1, 2, 3, 4, 5, 6, 7})) << "another spool, and another connector's";
  must(store.keep({batch(100, some(8, 8))}, kNow));
  EXPECT_EQ(all().back(), 8) << "what was lost on the way is no hindrance";
  store = must(EventStore::open(folder / "events.db"));
  EXPECT_EQ(store.last(), 8u);
  must(store.keep({batch(100, some(8, 8))}, kNow));
  EXPECT_EQ(all().size(), 8u);
}

TEST_F(AnEventStore, passes_over_one_that_made_no_sense) {
  EventBatch b = batch(1, some(1, 3));
  b.events[1].reset();
  must(store.keep({b}, kNow));
  EXPECT_EQ(all(), (Numbers{1, 3}));
  must(store.keep({batch(2, some(2, 4))}, kNow));
  EXPECT_EQ(all(), (Numbers{1, 3, 4}));
}

TEST_F(AnEventStore, knows_the_last_spools_of_a_connector_and_forgets_older_ones) {
  for (int i = 0; i < 50; ++i) must(store.keep({batch(1, some(i, i), fmt::format("{:016x}", i))}, kNow));
  for (const int again : {49, 43}) must(store.keep({batch(1, some(again, again), fmt::format("{:016x}", again))}, kNow));
  EXPECT_EQ(all().size(), 50u);
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((folder / "events.db").c_str(), &db), SQLITE_OK);
  int spools = 0;
  const auto read = [](void* n, int, char** text, char**) { return *static_cast<int*>(n) = std::atoi(text[0]), 0; };
  sqlite3_exec(db, "SELECT count(*) FROM spool", read, &spools, nullptr);
  sqlite3_close(db);
  EXPECT_EQ(spools, 8);
}

TEST_F(AnEventStore, finds_by_who_what_which_and_when) {
  must(store.keep({batch(1, some(1, 10))}, kNow));
  must(store.keep({batch(11, some(11, 12, Kind::denied, kNow + std::chrono::hours(1)))}, kNow + std::chrono::hours(1)));
  EXPECT_EQ(newest({.user = "alice@example.com"}), (Numbers{2, 4, 6, 8, 10, 12}));
  EXPECT_EQ(newest({.device = "00000000000000d1", .kinds = {Kind::denied}}), (Numbers{11}));
  EXPECT_EQ(newest({.kinds = {Kind::denied, Kind::failed}}), (Numbers{11, 12}));
  EXPECT_EQ(newest({.kinds = {Kind::failed}}), Numbers());
  EXPECT_EQ(newest({.resource = "NAS"}).size(), 12u);
  EXPECT_EQ(newest({.resource = "nas"}), Numbers());
  EXPECT_EQ(newest({.connector = "home-1"}).size(), 12u);
  EXPECT_EQ(newest({.connector = "home-2"}), Numbers());
  EXPECT_EQ(newest({.since = kNow + std::chrono::minutes(1)}), (Numbers{11, 12}));
  EXPECT_EQ(newest({.until = kNow + std::chrono::minutes(1)}).size(), 10u);
  EXPECT_EQ(newest({.since = kNow + std::chrono::hours(2)}), Numbers());
  EXPECT_EQ(oldest({.user = "bob@example.com", .since = kNow + std::chrono::minutes(1)}), (Numbers{11}));
  EXPECT_EQ(oldest({}, 1000, 9), (Numbers{10, 11, 12}));
  EXPECT_EQ(oldest({}, 3), newest({}, 4)) << "in pages";
  store = must(EventStore::open(folder / "events.db", {2, Duration::zero()}));   // which does little at once
  EXPECT_EQ(all().size(), 12u);
  EXPECT_EQ(newest({.kinds = {Kind::denied}}), (Numbers{11, 12}));
  EXPECT_EQ(oldest({.user = "alice@example.com"}), (Numbers{2, 4, 6, 8, 10, 12}));
  EXPECT_EQ(oldest({.kinds = {Kind::failed}}), Numbers());
  EXPECT_FALSE(must(store.before({.kinds = {Kind::failed}}, 13, 10)).done);
}

TEST_F(AnEventStore, finds_what_came_late_by_when_it_was) {
  must(store.keep({batch(1, some(1, 2))}, kNow + std::chrono::hours(5)));
  const auto late = some(3, 3, Kind::closed, kNow - std::chrono::hours(1));
  must(store.keep({batch(1, late, "00000000000000bb")}, kNow + std::chrono::hours(6)));
  EXPECT_EQ(newest({.since = kNow}), (Numbers{1, 2}));
  EXPECT_EQ(newest({.until = kNow}), (Numbers{3}));
  must(store.keep({batch(3, some(4, 4, Kind::closed, kNow + std::chrono::hours(999)))}, kNow + std::chrono::hours(7)));
  EXPECT_EQ(newest({.since = kNow + std::chrono::hours(8)}), Numbers()) << "one from the future is one of now";
  EXPECT_EQ(newest({.since = kNow + std::chrono::hours(7)}), (Numbers{4}));
}

RC_GTEST_PROP(EventStoreModel, finds_what_a_plain_list_finds, ()) {
  Folder folder;
  EventStore store = must(EventStore::open(folder / "events.db"));
  std::vector<std::pair<std::int64_t, int>> model;   // when, and which
  UnixTime now = kNow;
  const int count = *rc::gen::inRange(1, 60);
  for (int i = 1; i <= count; ++i) {
    now += std::chrono::seconds(*rc::gen::inRange(-100, 100));   // somebody sets the clock
    const UnixTime at = now - std::chrono::seconds(*rc::gen::inRange(-30, 300));
    must(store.keep({batch(static_cast<std::uint64_t>(i), {event(i, Kind::closed, at)})}, now));
    model.emplace_back(std::min(at, now).time_since_epoch().count(), i);
  }
  EventFilter f;
  f.since = UnixTime(std::chrono::seconds((*rc::gen::elementOf(model)).first + *rc::gen::inRange(-1, 2)));
  const std::uint64_t after = *rc::gen::inRange<std::uint64_t>(0, 61);
  std::vector<int> wanted, forward, back;
  for (const auto& [when, which] : model) {
    if (when >= f.since->time_since_epoch().count() && static_cast<std::uint64_t>(which) > after) wanted.push_back(which);
  }
  for (const Json& e : must(store.after(f, after, 1000)).events) forward.push_back(e["up"]);
  for (const Json& e : must(store.before(f, 1000, 1000)).events) {
    if (e["number"] > after) back.insert(back.begin(), e["up"].get<int>());
  }
  RC_ASSERT(forward == wanted);
  RC_ASSERT(back == wanted);
}

TEST_F(AnEventStore, takes_out_what_is_too_old_and_uses_no_number_twice) {
  must(store.keep({batch(1, some(1, 10))}, kNow));
  must(store.keep({batch(11, some(11, 12, Kind::denied, kNow + std::chrono::hours(1)))}, kNow + std::chrono::hours(1)));
  EXPECT_EQ(must(store.purge(kNow + std::chrono::minutes(1), 1u << 30, 4)), 4u) << "a little at a time";
  EXPECT_EQ(must(store.purge(kNow + std::chrono::minutes(1), 1u << 30, 100)), 6u);
  EXPECT_EQ(must(store.purge(kNow + std::chrono::minutes(1), 1u << 30, 100)), 0u);
  EXPECT_EQ(all(), (Numbers{11, 12}));
  must(store.purge(kNow + std::chrono::hours(2), 1u << 30, 100));
  EXPECT_EQ(all(), Numbers());
  EXPECT_EQ(must(store.first()), 0u);
  store = must(EventStore::open(folder / "events.db"));
  must(store.keep({batch(13, some(13, 13))}, kNow));
  EXPECT_EQ(store.last(), 13u);
  EXPECT_EQ(all(), (Numbers{13}));
}

TEST_F(AnEventStore, stays_as_small_as_it_has_to) {
  std::uint64_t biggest = 0;
  for (int i = 0; i < 40; ++i) {
    must(store.keep({batch(static_cast<std::uint64_t>(i) * 250 + 1, some(i * 250 + 1, i * 250 + 250))}, kNow));
    while (must(store.purge(kNow - std::chrono::hours(1), 1u << 20, 250)) >= 250) {}
    biggest = std::max(biggest, must(store.bytes()));
  }
  EXPECT_LE(must(store.bytes()), 1u << 20);
  EXPECT_LE(biggest, 3u << 19);
  const Numbers left = all();
  ASSERT_GT(left.size(), 500u);
  EXPECT_EQ(left.back(), 10'000) << "the newest stay";
  EXPECT_EQ(left.front(), 10'001 - static_cast<int>(left.size()));
}

TEST_F(AnEventStore, of_a_newer_tg_is_left_alone) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((folder / "newer.db").c_str(), &db), SQLITE_OK);
  sqlite3_exec(db, "PRAGMA user_version = 99", nullptr, nullptr, nullptr);
  sqlite3_close(db);
  const auto opened = EventStore::open(folder / "newer.db");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::unsupported);
}

Json message(const std::vector<ConnectionEvent>& events, std::uint64_t first = 1) {
  Json list = Json::array();
  for (const ConnectionEvent& e : events) list.push_back(to_json(e));
  return {{"type", "events"}, {"spool", kSpool}, {"first", first}, {"events", list}};
}

TEST(AnEventBatch, is_checked_field_by_field) {
  EXPECT_EQ(must(event_batch(message(some(1, 3)))).through(), 3u);
  Json damaged = message(some(1, 3));
  damaged["events"][1] = nullptr;
  damaged["events"][2]["user"] = "\x1b[2J";
  const EventBatch b = must(event_batch(damaged));
  EXPECT_TRUE(b.events[0] && !b.events[1] && !b.events[2]);
  const auto refused = [](const char* key, const Json& value) {
    Json m = message(some(1, 1));
    m[key] = value;
    const auto read = event_batch(m);
    return !read && read.error().code == Errc::protocol;
  };
  EXPECT_TRUE(refused("spool", "aa"));
  EXPECT_TRUE(refused("spool", "00000000000000zz"));
  EXPECT_TRUE(refused("spool", nullptr));
  EXPECT_TRUE(refused("first", 0));
  EXPECT_TRUE(refused("first", -1));
  EXPECT_TRUE(refused("first", ~0ull));
  EXPECT_TRUE(refused("events", Json::array()));
  EXPECT_TRUE(refused("events", Json::object()));
  EXPECT_TRUE(refused("events", std::vector<int>(1025, 1)));
}

TEST(Describing, adds_what_the_controller_knows_and_asks_the_connector_for_nothing_about_itself) {
  Folder folder;
  Store store = must(Store::open(folder / "controller.db"));
  DesiredState state = home();
  state.networks.push_back({"office", {}});
  state.connectors.push_back({"office-1", "office", {}});
  state.groups[1].members = {"alice@example.com", "bob@example.com"};
  state.groups.push_back({"nobody", {}, {}});
  state.resources[0].groups = {"family", "guests", "nobody"};
  must(store.apply(state, false, kNow));
  const std::string device = enrolled(store, Token::Role::device, "bob@example.com", "key");
  const Model model = must(store.model());
  const auto described = [&](const std::string& connector, ConnectionEvent e) {
    RecordedEvent r{.event = std::move(e)};
    for (const ConnectorRecord& c : model.connectors) {
      if (c.name == connector) r.connector = c.id;
    }
    describe(model, r);
    return r;
  };
  ConnectionEvent e = event(2);
  e.resource = model.resources[0].resource.id;
  RecordedEvent r = described("home-1", e);
  EXPECT_EQ(r.connector_name, "home-1");
  EXPECT_EQ(r.network, "home");
  EXPECT_EQ(r.groups, (std::vector<std::string>{"family", "guests"}));
  EXPECT_EQ(r.device_name, "");
  r = described("office-1", e);
  EXPECT_EQ(r.network, "office");
  EXPECT_TRUE(r.groups.empty()) << "no Resource of its network";
  e.user.clear();
  e.device = device;
  r = described("home-1", e);
  EXPECT_EQ(r.event.user, "bob@example.com") << "whose device it is";
  EXPECT_EQ(r.device_name, "laptop");
  EXPECT_EQ(r.groups, (std::vector<std::string>{"guests"}));
  e.resource = 4711;
  EXPECT_TRUE(described("home-1", e).groups.empty());
}

struct EventsTest : testing::Test {
  Folder folder;
  net::Loop loop;
  Turner turner{loop};
  Model model;
  std::vector<std::pair<std::string, Json>> answers;
  std::unique_ptr<Events> events;

  void SetUp() override {
    model.connectors = {{"c1", "home-1", "home", "", {}, {}}, {"c2", "home-2", "home", "", {}, {}}};
    start();
  }
  void start(EventsSettings settings = {}) {
    events.reset();
    events = std::make_unique<Events>(loop, folder / "events.db", settings, [this]() -> const Model& { return model; },
                                      [this](const std::string& id, const Json& m) { answers.emplace_back(id, m); });
  }
  Json query(Json request) {
    request["type"] = "events";
    if (!request.contains("most")) request["most"] = 1000u;
    return must(events->query(request));
  }
  std::string refusal(Json request) {
    request["type"] = "events";
    if (!request.contains("most")) request["most"] = 1000u;
    const auto answer = events->query(request);
    return answer ? "" : answer.error().text;
  }
  static UnixTime now() { return net::Loop::wall(); }
};
using TheEvents = EventsTest;

TEST_F(TheEvents, of_each_connector_are_answered_for_when_they_are_kept) {
  must(events->take("c1", message(some(1, 3, Kind::closed, now()))));
  must(events->take("c2", message(some(4, 4, Kind::denied, now()))));
  EXPECT_TRUE(answers.empty());
  ASSERT_TRUE(turner.until([&] { return answers.size() == 2; }));
  EXPECT_EQ(answers[0].first, "c1");
  EXPECT_EQ(answers[0].second, (Json{{"type", "events_kept"}, {"spool", kSpool}, {"through", 3}}));
  EXPECT_EQ(answers[1].first, "c2");
  const Json found = query({});
  ASSERT_EQ(found["events"].size(), 4u);
  EXPECT_EQ(found["last"], 4);
  EXPECT_EQ(found["events"][0]["connector"], "home-2") << "the newest first";
  EXPECT_EQ(found["events"][3]["connector"], "home-1");
  EXPECT_EQ(found["events"][3]["connector_id"], "c1");
  EXPECT_EQ(found["events"][3]["network"], "home");
  EXPECT_EQ(query({{"kinds", {"denied"}}})["events"].size(), 1u);
  EXPECT_EQ(query({{"after", 3u}})["events"].size(), 1u);
  EXPECT_EQ(query({{"after", 4u}})["events"].size(), 0u);
  EXPECT_FALSE(events->take("c1", Json{{"type", "events"}}));
}

TEST_F(TheEvents, keep_the_last_of_two_messages_that_a_connector_did_not_wait_with) {
  must(events->take("c1", message(some(1, 2, Kind::closed, now()))));
  must(events->take("c1", message(some(1, 3, Kind::closed, now()))));
  ASSERT_TRUE(turner.until([&] { return !answers.empty(); }));
  EXPECT_EQ(answers[0].second["through"], 3);
  EXPECT_EQ(query({})["events"].size(), 3u);
}

TEST_F(TheEvents, are_asked_for_with_sense) {
  EXPECT_EQ(refusal({{"device", "laptop"}}), "there is no device \"laptop\"; one that is gone is found by its id");
  EXPECT_EQ(refusal({{"device", "0123456789abcdef"}}), "");
  DeviceRecord d;
  d.id = "0123456789abcdef";
  d.name = "laptop";
  model.devices = {d};
  EXPECT_EQ(refusal({{"device", "laptop"}}), "");
  d.id = "1123456789abcdef";
  model.devices.push_back(d);
  EXPECT_NE(refusal({{"device", "laptop"}}).find("several devices"), std::string::npos);
  EXPECT_NE(refusal({{"kinds", {"opened"}}}), "");
  EXPECT_NE(refusal({{"kinds", "denied"}}), "");
  EXPECT_NE(refusal({{"most", 1001u}}), "");
  EXPECT_NE(refusal({{"after", -1}}), "");
  EXPECT_NE(refusal({{"since", "1h"}}), "");
  EXPECT_NE(refusal({{"user", Json::object()}}), "");
}

TEST_F(TheEvents, that_can_not_be_kept_are_not_answered_for_and_are_kept_once_they_can_be) {
  events.reset();
  std::filesystem::remove(folder / "events.db");
  std::ofstream(folder / "events.db") << std::string(10'000, 'x');
  testing::internal::CaptureStderr();
  start();
  must(events->take("c1", message(some(1, 3, Kind::closed, now()))));
  const Instant then = net::Loop::now();
  turner.until([&] { return net::Loop::now() - then > std::chrono::seconds(1); });
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
  EXPECT_TRUE(answers.empty());
  EXPECT_NE(events->status()["problem"], "");
  EXPECT_NE(refusal({}).find("can't be read"), std::string::npos);
  std::filesystem::remove(folder / "events.db");
  ASSERT_TRUE(turner.until([&] { return !answers.empty(); }));
  EXPECT_EQ(events->status()["problem"], "");
  EXPECT_EQ(query({})["events"].size(), 3u);
}

TEST_F(TheEvents, are_not_answered_for_while_the_database_refuses_them) {
  const auto script = [&](const char* sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open((folder / "events.db").c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(db);
  };
  script("CREATE TRIGGER no AFTER INSERT ON event WHEN new.text LIKE '%\"up\":3,%' BEGIN SELECT RAISE(ABORT, 'no room'); END");
  must(events->take("c1", message(some(1, 3, Kind::closed, now()))));
  const Instant then = net::Loop::now();
  turner.until([&] { return net::Loop::now() - then > std::chrono::seconds(1); });
  EXPECT_TRUE(answers.empty());
  EXPECT_NE(events->status()["problem"].get<std::string>().find("no room"), std::string::npos);
  EXPECT_EQ(query({})["events"].size(), 0u) << "nor is a part of them kept";
  script("DROP TRIGGER no");
  ASSERT_TRUE(turner.until([&] { return !answers.empty(); }));
  EXPECT_EQ(query({})["events"].size(), 3u);
  EXPECT_EQ(events->status()["problem"], "");
}

TEST_F(TheEvents, go_when_their_time_is_over) {
  start({std::chrono::seconds(1), 1u << 30});
  must(events->take("c1", message(some(1, 3, Kind::closed, now()))));
  ASSERT_TRUE(turner.until([&] { return !answers.empty(); }));
  ASSERT_TRUE(turner.until([&] { return query({})["events"].empty(); }));
  EXPECT_EQ(events->last(), 3u);
}

TEST_F(TheEvents, of_many_connectors_all_have_their_turn) {
  for (int i = 0; i < 40; ++i) {
    model.connectors.push_back({fmt::format("d{:02}", i), "x", "home", "", {}, {}});
    must(events->take(fmt::format("d{:02}", i), message(some(1, 200, Kind::closed, now()))));
  }
  must(events->take("c1", message(some(1, 1, Kind::closed, now()))));
  ASSERT_TRUE(turner.until([&] {
    // The first of them always have more to say, and must not keep the others from theirs.
    for (int i = 0; i < 6; ++i) {
      must(events->take(fmt::format("d{:02}", i), message(some(1, 200, Kind::closed, now()), 1 + 200 * answers.size())));
    }
    std::set<std::string> served;
    for (const auto& [id, m] : answers) served.insert(id);
    return served.size() == 41;
  }));
}

}  // namespace tg::controller::controller_events_test
