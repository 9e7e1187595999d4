// A connector's events on the disk, and a controller that comes and goes.
#include "cmd/connector/event_spool.h"

#include <sys/stat.h>

#include <fstream>

#include "controller_agent.h"
#include "core/json.h"

namespace tg::connector::event_spool_test {

using controller::Turner;

struct ASpool : testing::Test {
  test::Folder folder;
  net::Loop loop;
  Turner turner{loop};
  std::vector<Json> said;
  std::unique_ptr<EventSpool> spool;

  void SetUp() override { start(); }
  void start(EventQueue::Limits limits = {}) {
    spool.reset();
    spool = std::make_unique<EventSpool>(loop, folder / "events", limits, [this](const Json& m) { said.push_back(m); });
  }
  // A process that was killed leaves everything as it is.
  void killed() {
    std::filesystem::copy(folder / "events", folder / "copy");
    spool.reset();
    std::filesystem::remove_all(folder / "events");
    std::filesystem::rename(folder / "copy", folder / "events");
  }
  static ConnectionEvent event(int number) {
    ConnectionEvent e;
    e.host = "nas.home.int";
    e.port = 22;
    e.up = static_cast<std::uint64_t>(number);
    return e;
  }
  void record(int from, int to) {
    for (int i = from; i <= to; ++i) spool->record(event(i));
  }
  void written() {
    ASSERT_TRUE(turner.until([&] { return spool->status()["unwritten_bytes"] == 0; }));
  }
  void keep(const Json& m) {
    const auto through = m["first"].get<std::size_t>() + m["events"].size() - 1;
    spool->kept({{"type", "events_kept"}, {"spool", m["spool"]}, {"through", through}});
  }
  // drain is a controller that keeps everything, and returns what it was told.
  std::vector<int> drain() {
    std::vector<int> out;
    std::size_t heard = said.size();
    spool->ready(true);
    EXPECT_TRUE(turner.until([&] {
      while (heard < said.size()) {
        const Json m = said[heard++];
        for (const Json& e : m["events"]) out.push_back(e.is_object() ? e.value("up", 0) : -1);
        keep(m);
      }
      return spool->status()["waiting"] == 0;
    }));
    return out;
  }
  static std::vector<int> numbers(int from, int to) {
    std::vector<int> out;
    for (int i = from; i <= to; ++i) out.push_back(i);
    return out;
  }
  std::vector<std::string> files() const {
    std::vector<std::string> out;
    for (const auto& f : std::filesystem::directory_iterator(folder / "events")) out.push_back(f.path());
    return out;
  }
};

TEST_F(ASpool, says_events_to_a_controller_that_is_there_and_leaves_nothing_behind) {
  EXPECT_EQ(drain(), std::vector<int>());
  record(1, 3);
  ASSERT_TRUE(turner.until([&] { return !said.empty(); }));
  EXPECT_EQ(said[0]["type"], "events");
  EXPECT_EQ(said[0]["first"], 1);
  EXPECT_EQ(said[0]["spool"].get<std::string>().size(), 16u);
  EXPECT_EQ(said[0]["events"].size(), 3u);
  EXPECT_EQ(said[0]["events"][1]["up"], 2);
  EXPECT_EQ(spool->status()["waiting"], 3);
  EXPECT_EQ(files().size(), 1u) << "it was written before it was said";
  record(4, 4);
  ASSERT_TRUE(turner.until([&] { return spool->status()["unwritten_bytes"] == 0; }));
  EXPECT_EQ(said.size(), 1u) << "one at a time";
  keep(said[0]);
  ASSERT_TRUE(turner.until([&] { return said.size() == 2; }));
  keep(said[1]);
  record(5, 5);
  written();
  spool->ready(false);
  EXPECT_EQ(spool->status()["waiting"], 1);
  EXPECT_EQ(drain(), numbers(5, 5));
  spool.reset();
  EXPECT_TRUE(files().empty());
}

TEST_F(ASpool, says_again_what_the_controller_did_not_answer_for) {
  record(1, 2);
  spool->ready(true);
  ASSERT_TRUE(turner.until([&] { return !said.empty(); }));
  const Json first = said[0];
  spool->ready(false);
  EXPECT_EQ(drain(), numbers(1, 2));
  EXPECT_EQ(said[1]["first"], first["first"]);
  EXPECT_EQ(said[1]["spool"], first["spool"]);
}

TEST_F(ASpool, keeps_files_for_its_user_alone) {
  record(1, 1);
  written();
  struct stat info {};
  ASSERT_EQ(::stat((folder / "events").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  ASSERT_EQ(::stat(files().at(0).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(ASpool, goes_on_after_a_kill_and_a_torn_line) {
  record(1, 500);
  written();
  killed();
  std::ofstream(files().at(0), std::ios::app) << R"({"host":"the power was l)";
  start();
  record(501, 502);
  EXPECT_EQ(drain(), numbers(1, 502));
  EXPECT_NE(said.front()["spool"], said.back()["spool"]) << "a process has a spool of its own";
  start();
  EXPECT_EQ(spool->status()["waiting"], 0);
}

TEST_F(ASpool, writes_what_it_has_when_it_is_stopped) {
  record(1, 3);
  start();
  EXPECT_EQ(drain(), numbers(1, 3));
}

TEST_F(ASpool, keeps_the_number_of_a_line_that_was_damaged) {
  record(1, 3);
  written();
  killed();
  std::fstream file(files().at(0));
  file.seekp(5);
  file << "\x01\x02\x03\x04";
  file.close();
  start();
  EXPECT_EQ(drain(), (std::vector<int>{-1, 2, 3}));
}

TEST_F(ASpool, gives_up_the_oldest_for_want_of_room_and_says_so) {
  start({20'000, 2000, 10'000});
  record(1, 1000);
  std::vector<int> got;
  std::uint64_t lost = 0;
  written();
  std::size_t heard = 0;
  spool->ready(true);
  ASSERT_TRUE(turner.until([&] {
    while (heard < said.size()) {
      const Json m = said[heard++];
      for (const Json& e : m["events"]) {
        if (e["kind"] == "lost") lost += e["lost"].get<std::uint64_t>();
        else got.push_back(e["up"]);
      }
      keep(m);
    }
    return spool->status()["waiting"] == 0;
  }));
  ASSERT_FALSE(got.empty());
  EXPECT_EQ(got, numbers(1001 - static_cast<int>(got.size()), 1000)) << "the newest";
  EXPECT_GE(lost + got.size(), 1000u);
  EXPECT_LE(lost + got.size(), 1100u) << "but for those that told of others";
}

TEST_F(ASpool, serves_on_where_nothing_can_be_written_and_says_so_once) {
  spool.reset();
  std::filesystem::remove_all(folder / "events");
  std::ofstream(folder / "events") << "no directory";
  testing::internal::CaptureStderr();
  start();
  for (int i = 0; i < 5; ++i) {
    record(10 * i + 1, 10 * i + 10);
    spool->flush();
  }
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
  EXPECT_NE(spool->status()["problem"], "");
  EXPECT_EQ(drain(), numbers(1, 50)) << "from memory";
  std::filesystem::remove(folder / "events");
  std::filesystem::create_directory(folder / "events");
  spool->ready(false);
  record(51, 52);
  ASSERT_TRUE(turner.until([&] { return spool->status()["problem"] == "" && spool->status()["unwritten_bytes"] == 0; }));
  EXPECT_EQ(files().size(), 1u);
}

TEST_F(ASpool, says_no_more_than_a_controller_listens_to) {
  record(1, 3000);
  const Instant start = net::Loop::now();
  EXPECT_EQ(drain(), numbers(1, 3000));
  EXPECT_GE(said.size(), 12u);
  const auto took = net::Loop::now() - start;
  EXPECT_GE(took, (said.size() - 1) * std::chrono::milliseconds(125));
  for (const Json& m : said) EXPECT_LE(json_text(m).size(), 70'000u);
}

}  // namespace tg::connector::event_spool_test
