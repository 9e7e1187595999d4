// What a connector receives at once is sent to a server at once, and yet is what it would have been one after the other: flows may
// end in the middle of it.
#include "connector_harness.h"

namespace tg::connector::connector_batches_test {

class ConnectorBatches : public ConnectorTest {
 protected:
  static constexpr std::size_t kAtOnce = 64;      // parts that are sent together: kGathered in net/tcp_flow.cpp

  // say_in_pieces has every byte be a DATA frame of its own, in as few records as they fit into.
  static void say_in_pieces(const Line& line, const Flow& f, std::size_t bytes) {
    line->piece = 1;
    line->say(f.id, std::string(bytes, 'x'));
  }
  // then runs behind what was said, before anybody reads: what it says is read together with that.
  void then(std::function<void()> what) { loop_.post(std::move(what)); }

  // goes_on says whether a flow carries what is said now.
  bool goes_on(const Line& line, const Flow& f) {
    line->piece = SIZE_MAX;
    line->say(f.id, "still there");
    char bytes[64];
    return turner_.until([&] { return ::recv(f.far.get(), bytes, sizeof bytes, 0) == 11; });
  }
  // far_reads returns what has come to the far end until it ends, and errno's value, or 0 for a FIN.
  std::pair<std::size_t, int> far_reads(const Flow& f) {
    std::size_t all = 0;
    int end = -1;
    EXPECT_TRUE(turner_.until([&] {
      char bytes[4096];
      ssize_t n;
      while ((n = ::recv(f.far.get(), bytes, sizeof bytes, 0)) > 0) all += static_cast<std::size_t>(n);
      if (n == 0 || errno != EAGAIN) end = n == 0 ? 0 : errno;
      return end >= 0;
    }));
    return {all, end};
  }
};

// `pour` sends as much of `what` from the far end as its socket takes, from `sent` on.
void pour(const net::Fd& far, const std::string& what, std::size_t& sent) {
  const ssize_t n = ::send(far.get(), what.data() + sent, what.size() - sent, MSG_NOSIGNAL);
  if (n > 0) sent += static_cast<std::size_t>(n);
}

// pattern returns bytes of which no two stretches are the same.
std::string pattern(std::size_t size) {
  std::string out;
  for (std::uint32_t i = 0; out.size() < size; ++i) out += std::to_string(i * 2654435761u) + " ";
  out.resize(size);
  return out;
}

TEST_F(ConnectorBatches, what_a_server_sends_at_once_arrives_whole_and_in_order) {
  for (const std::size_t size : {1u, 16'000u, 128u << 10, 300'000u, 5u << 20}) {
    const Line line = connect(laptop_, good(laptop_));
    const Flow f = flow(line);
    const std::string all = pattern(size);
    std::size_t sent = 0;
    EXPECT_TRUE(turner_.until([&] {
      pour(f.far, all, sent);
      return line->text.size() >= all.size();
    }));
    EXPECT_TRUE(line->text == all) << size;
    EXPECT_TRUE(goes_on(line, f)) << size;
  }
}

TEST_F(ConnectorBatches, of_a_server_no_more_is_read_than_the_client_takes) {
  const Line line = connect(laptop_, good(laptop_));
  line->takes = false;
  const Flow f = flow(line);
  const std::string all = pattern(8u << 20);
  std::size_t sent = 0, before = 0;
  const auto settled = [&] {
    before = line->text.size();
    pour(f.far, all, sent);
    heard(line);
    return line->text.size() == before;
  };
  while (!settled() || before == 0) {}
  EXPECT_LT(before, all.size());
  line->link.tunnel().reset(f.id, Code::none);
  line->link.kick();
  EXPECT_TRUE(turner_.until([&] { return !events_.empty() && events_.back().kind == ConnectionEvent::Kind::closed; }));
  EXPECT_EQ(events_.back().down, before);
}

TEST_F(ConnectorBatches, a_reset_right_behind_as_much_as_is_sent_at_once_ends_the_flow_and_nothing_else) {
  for (const std::size_t bytes : {std::size_t{1}, kAtOnce - 1, kAtOnce, kAtOnce + 1, 3 * kAtOnce}) {
    const Line line = connect(laptop_, good(laptop_));
    const Flow f = flow(line), other = flow(line);
    say_in_pieces(line, f, bytes);
    then([&] {
      line->link.tunnel().reset(f.id, Code::reset);
      line->link.kick();
    });
    EXPECT_EQ(far_reads(f), std::pair(bytes, ECONNRESET)) << bytes;
    EXPECT_TRUE(goes_on(line, other)) << bytes;
  }
}

TEST_F(ConnectorBatches, a_server_that_has_reset_in_the_meantime_ends_the_flow_and_nothing_else) {
  for (const std::size_t bytes : {kAtOnce - 1, kAtOnce, kAtOnce + 1, 2 * kAtOnce + 1}) {
    const Line line = connect(laptop_, good(laptop_));
    Flow f = flow(line);
    const Flow other = flow(line);
    say_in_pieces(line, f, bytes);
    then([&] {
      net::set_reset_on_close(f.far.get());
      f.far.reset();
    });
    EXPECT_TRUE(turner_.until([&] { return line->ended.contains(f.id); })) << bytes;
    EXPECT_EQ(line->ended[f.id], Code::reset);
    EXPECT_TRUE(goes_on(line, other)) << bytes;
  }
}

TEST_F(ConnectorBatches, the_record_of_a_flow_counts_what_came_right_before_its_reset) {
  const Line line = connect(laptop_, good(laptop_));
  const Flow f = flow(line);
  say_in_pieces(line, f, 10);
  then([&] {
    line->link.tunnel().reset(f.id, Code::reset);
    line->link.kick();
  });
  EXPECT_EQ(far_reads(f), std::pair(std::size_t{10}, ECONNRESET));
  ASSERT_FALSE(events_.empty());
  EXPECT_EQ(events_.back().up, 10u);
}

TEST_F(ConnectorBatches, datagrams_that_come_together_arrive_in_order_and_also_before_a_reset) {
  for (const int count : {1, 31, 32, 33, 100}) {
    const Line line = connect(laptop_, good(laptop_));
    const StreamId id = line->begin(udp());
    line->link.kick();
    ASSERT_TRUE(turner_.until([&] { return line->opened.contains(id); }));
    for (int i = 0; i < count; ++i) line->link.tunnel().datagram(id, as_bytes(std::to_string(i)));
    line->link.kick();
    then([&] {
      line->link.tunnel().reset(id, Code::reset);
      line->link.kick();
    });
    std::vector<std::string> got;
    ASSERT_TRUE(turner_.until([&] {
      char bytes[16];
      ssize_t n;
      while ((n = ::recv(udp_.get(), bytes, sizeof bytes, 0)) > 0) got.emplace_back(bytes, static_cast<std::size_t>(n));
      return got.size() >= static_cast<std::size_t>(count);
    })) << got.size() << " of " << count;
    for (int i = 0; i < count; ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], std::to_string(i));
  }
}

TEST_F(ConnectorBatches, datagrams_for_a_closed_port_end_the_flow_as_refused_however_many_come_together) {
  for (const int count : {1, 2, 3, 40}) {
    const Line line = connect(laptop_, good(laptop_));
    const StreamId id = line->begin(udp());
    ASSERT_TRUE(turner_.until([&] { return line->opened.contains(id); }));
    udp_.reset();
    for (int i = 0; i < count; ++i) line->link.tunnel().datagram(id, as_bytes("x"));
    line->link.kick();
    ASSERT_TRUE(turner_.until([&] { return line->ended.contains(id); })) << count;
    EXPECT_EQ(line->ended[id], Code::refused) << count;
    udp_ = must(net::udp_bind(must(Endpoint::parse("0.0.0.0:" + std::to_string(udp_port_)))));
  }
}

}  // namespace tg::connector::connector_batches_test
