// What a relay can do to the records of a tunnel: nothing that would not end it.
#include "connector_harness.h"

namespace tg::connector::connector_records_test {

enum class Harm : std::uint8_t { none, flip_the_middle, flip_the_end, say_twice };

// Meddler passes TLS records on between two sockets, as a relay does, and does harm to one of them.
class Meddler {
 public:
  static constexpr std::size_t kHeader = 5;            // RFC 8446 section 5.1
  static constexpr std::uint8_t kChangeCipherSpec = 20;

  Meddler(net::Loop& loop, net::Fd a, net::Fd b, Harm harm, std::size_t victim)
      : harm_(harm), victim_(victim), ways_{Way{std::move(a), {}}, Way{std::move(b), {}}} {
    for (std::size_t i = 0; i < 2; ++i) {
      watches_[i] = net::Watch(loop, ways_[i].from.get(), [this, i] { take(i); });
      watches_[i].want_read(true);
    }
  }
  bool harmed() const { return harmed_; }

 private:
  struct Way {
    net::Fd from;
    Buffer pending;
  };

  void take(std::size_t i) {
    std::uint8_t bytes[65536];
    const ssize_t n = ::recv(ways_[i].from.get(), bytes, sizeof bytes, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      watches_[i] = {};
      ::shutdown(ways_[1 - i].from.get(), SHUT_WR);
      return;
    }
    Buffer& pending = ways_[i].pending;
    pending.insert(pending.end(), bytes, bytes + n);
    while (pending.size() >= kHeader) {
      const std::size_t size = kHeader + (std::size_t{pending[3]} << 8 | pending[4]);
      if (pending.size() < size) return;
      const Buffer record(pending.begin(), pending.begin() + static_cast<std::ptrdiff_t>(size));
      pending.erase(pending.begin(), pending.begin() + static_cast<std::ptrdiff_t>(size));
      pass(i, record);
    }
  }

  void pass(std::size_t i, Buffer record) {
    const bool empty = record[0] == kChangeCipherSpec;   // for middleboxes; nobody looks at it
    const bool victim = !empty && count_++ == victim_;
    if (victim && harm_ == Harm::flip_the_middle) record[kHeader + (record.size() - kHeader) / 2] ^= 0x10;
    if (victim && harm_ == Harm::flip_the_end) record.back() ^= 0x01;
    send(i, record);
    if (victim && harm_ == Harm::say_twice) send(i, record);
    harmed_ = harmed_ || (victim && harm_ != Harm::none);
  }
  void send(std::size_t i, const Buffer& record) {
    ::send(ways_[1 - i].from.get(), record.data(), record.size(), MSG_NOSIGNAL);
  }

  Harm harm_;
  std::size_t victim_;
  std::size_t count_ = 0;
  bool harmed_ = false;
  std::array<Way, 2> ways_;
  std::array<net::Watch, 2> watches_;
};

class ConnectorRecords : public ConnectorTest {
 protected:
  struct Pair {
    net::Fd near, far;
  };
  Pair pair() {
    net::Fd listener = must(net::tcp_listen(must(Endpoint::parse("127.0.0.1:0"))));
    Pair p{must(net::tcp_connect(net::local_endpoint(listener.get()))), {}};
    EXPECT_TRUE(turner_.until([&] { return static_cast<bool>(p.far = net::accept_from(listener.get())); }));
    return p;
  }

  // exchange has a server echo `words` through a relay that does `harm` to the record with this number, and returns
  // whether it came to that. Whoever gets bytes, server or client, gets the true ones; and the tunnel ends.
  bool exchange(Harm harm, std::size_t victim) {
    Pair one = pair(), two = pair();
    Meddler relay(loop_, std::move(one.far), std::move(two.near), harm, victim);
    const Line line = join(laptop_, std::move(one.near), std::move(two.far));
    line->show(good(laptop_));
    const StreamId id = line->begin(tcp());
    line->say(id, words_);
    net::Fd far;
    std::string heard;
    const auto whole = [&] { return line->text.size() >= words_.size(); };
    const bool ended = turner_.until([&] {
      if (!far) far = net::accept_from(tcp_.get());
      char bytes[16384];
      for (ssize_t n; far && (n = ::recv(far.get(), bytes, sizeof bytes, 0)) > 0;) {
        heard.append(bytes, static_cast<std::size_t>(n));
        EXPECT_EQ(::send(far.get(), bytes, static_cast<std::size_t>(n), MSG_NOSIGNAL), n);
      }
      return line->closed || (whole() && !relay.harmed());
    });
    EXPECT_TRUE(ended);
    EXPECT_EQ(heard, words_.substr(0, heard.size()));
    EXPECT_EQ(line->text, words_.substr(0, line->text.size()));
    EXPECT_TRUE(relay.harmed() ? line->closed : whole());
    return relay.harmed();
  }
  // every does it to one record after the other, until all of an exchange had their turn.
  void every(Harm harm) {
    std::size_t victim = 0;
    while (exchange(harm, victim)) {
      ASSERT_FALSE(HasFailure()) << "record " << victim;
      ++victim;
    }
    EXPECT_GT(victim, 12u) << "handshake, requests and three records of data each way";
  }

  const std::string words_ = [] {
    std::string words;
    for (int i = 0; words.size() < 40'000; ++i) words += std::to_string(i) + " ";
    return words;
  }();
};

TEST_F(ConnectorRecords, pass_through_a_relay_unharmed) { EXPECT_FALSE(exchange(Harm::none, 0)); }
TEST_F(ConnectorRecords, each_of_which_a_bit_is_flipped_ends_the_tunnel) { every(Harm::flip_the_middle); }
TEST_F(ConnectorRecords, each_of_which_the_last_bit_is_flipped_ends_the_tunnel) { every(Harm::flip_the_end); }
TEST_F(ConnectorRecords, each_that_is_said_twice_ends_the_tunnel) { every(Harm::say_twice); }

}  // namespace tg::connector::connector_records_test
