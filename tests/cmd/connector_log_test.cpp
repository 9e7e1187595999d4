// What a device that is refused again and again can write into the connector's log.
#include <regex>
#include <sstream>

#include "connector_harness.h"

namespace tg::connector::connector_log_test {

class ConnectorLog : public ConnectorTest {
 protected:
  // Told is how many lines have `words`, and how many more they say were left out.
  struct Told {
    int lines = 0, left_out = 0;
  };
  static Told told(const std::string& log, const std::string& words) {
    Told out;
    const std::regex more(R"( \(and (\d+) more like it\)$)");
    std::istringstream all(log);
    for (std::string line; std::getline(all, line);) {
      if (line.find(words) == line.npos) continue;
      ++out.lines;
      if (std::smatch number; std::regex_search(line, number, more)) out.left_out += std::stoi(number[1]);
    }
    return out;
  }
  void denied(const Line& line, int times, const std::string& host = "127.0.0.2") {
    const std::size_t before = line->ended.size();
    for (int i = 0; i < times; ++i) line->begin(tcp(kNotGranted, host));
    ASSERT_TRUE(turner_.until([&] { return line->ended.size() == before + static_cast<std::size_t>(times); }));
  }
  // expect_few: the burst, and one for each second that it took.
  static void expect_few(const std::string& log, const std::string& words, Instant since) {
    const auto passed = std::chrono::ceil<seconds>(net::Loop::now() - since).count();
    const Told few = told(log, words);
    EXPECT_GE(few.lines, LogQuota::kBurst) << log;
    EXPECT_LE(few.lines, LogQuota::kBurst + passed) << log;
  }
};

TEST_F(ConnectorLog, has_few_lines_of_a_device_that_is_denied_by_the_hundred_over_all_its_tunnels) {
  const Instant start = net::Loop::now();
  testing::internal::CaptureStderr();
  for (int i = 0; i < 3; ++i) denied(connect(laptop_, good(laptop_)), 100);
  denied(connect(other_, good(other_)), 5, "127.0.0.3");
  const std::string log = testing::internal::GetCapturedStderr();
  expect_few(log, "denied tcp 127.0.0.2:", start);
  EXPECT_EQ(told(log, "denied tcp 127.0.0.3:").lines, 5) << "its neighbour is not left out";
}

TEST_F(ConnectorLog, says_how_many_lines_it_left_out) {
  testing::internal::CaptureStderr();
  const Line line = connect(laptop_, good(laptop_));
  denied(line, 60);
  const Instant then = net::Loop::now();
  turner_.until([&] { return net::Loop::now() - then > seconds(1); });
  denied(line, 1);
  const std::string log = testing::internal::GetCapturedStderr();
  const Told all = told(log, "denied tcp 127.0.0.2:");
  EXPECT_EQ(all.lines + all.left_out, 61) << log;
  EXPECT_GT(all.left_out, 30) << log;
}

TEST_F(ConnectorLog, counts_grants_that_are_refused_and_addresses_that_are_forbidden_too) {
  const Instant start = net::Loop::now();
  testing::internal::CaptureStderr();
  const Line line = connect(laptop_), second = connect(other_, good(other_));
  for (int i = 0; i < 60; ++i) line->show("no grant");
  heard(line);
  for (int i = 0; i < 60; ++i) EXPECT_EQ(outcome(second, tcp(kLoops, "127.1.2.3")), Code::address_forbidden);
  const std::string log = testing::internal::GetCapturedStderr();
  expect_few(log, "a grant of device " + laptop_.identity.id + " was refused: ", start);
  expect_few(log, "it resolves to 127.1.2.3 (loopback)", start);
}

}  // namespace tg::connector::connector_log_test
