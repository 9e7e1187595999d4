// The relay, with real sockets on loopback, a real connector's side and real ClientHellos.
#include "net/relay.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <filesystem>

#include "cmd/controller/pki.h"
#include "controller_agent.h"
#include "core/ticket.h"
#include "net/acceptor.h"
#include "net/relay_client.h"
#include "net/relay_protocol.h"

namespace tg::controller::relay_test {

constexpr std::uint64_t kConnector = 0x0011223344556677;
constexpr const char* kConnectorId = "0011223344556677";

class RelayTest : public ::testing::Test {
 protected:
  RelayTest() {
    net::Fd listener = must(net::tcp_listen(must(Endpoint::parse("127.0.0.1:0"))));
    at_ = net::local_endpoint(listener.get());
    const auto control = must(net::TlsContext::server(must(pki_.own("relay", "aa", now_)), net::kAlpnRelay));
    relay_ = std::make_unique<net::Relay>(loop_, std::move(listener), control, key_, pki_.instance(), 2);
  }

  std::unique_ptr<net::RelayClient> connector(const std::string& role = "connector") {
    const net::Credentials own = must(pki_.own(role, kConnectorId, now_));
    return std::make_unique<net::RelayClient>(
        loop_, HostPort{"127.0.0.1", at_.port}, net::ResolveHost{}, [own] { return net::TlsContext::client(own, net::kAlpnRelay); },
        pki_.instance(),
        net::RelayClient::Callbacks{[this](net::Fd fd) { rung_.push_back(std::move(fd)); },
                                    [this](bool up, const Error* why) { told_.push_back(up ? "up" : why->text); }});
  }
  net::TlsContext connector_context() {
    return must(net::TlsContext::client(must(pki_.own("connector", kConnectorId, now_)), net::kAlpnRelay));
  }

  // dial sends the first bytes of a client: a ClientHello with this SNI, and something behind it.
  net::Fd dial(const std::string& server_name, const std::string& behind = "") {
    net::Fd fd = must(net::tcp_connect(at_));
    Buffer bytes = net::rendezvous_hello(server_name);
    hello_ = bytes;
    const Bytes more = as_bytes(behind);
    bytes.insert(bytes.end(), more.begin(), more.end());
    EXPECT_TRUE(turner_.until([&] { return ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()); }));
    return fd;
  }
  std::string ticket(std::uint64_t id = kConnector, std::chrono::seconds life = std::chrono::seconds(600)) {
    return Ticket{id, now_ + life, 7}.label(key_) + std::string(net::kSniSuffix);
  }
  // read_all turns the loop until `n` bytes have come, or the other side has closed.
  std::string read(int fd, std::size_t n) {
    std::string got;
    bool ended = false;
    turner_.until([&] {
      char chunk[4096];
      const ssize_t r = ::recv(fd, chunk, std::min(sizeof chunk, n - got.size()), 0);
      if (r == 0) ended = true;
      if (r > 0) got.append(chunk, static_cast<std::size_t>(r));
      return ended || got.size() >= n;
    });
    return got;
  }
  std::string read_to_end(int fd) { return read(fd, 1 << 20); }

  net::Loop loop_;
  Turner turner_{loop_};
  UnixTime now_ = net::Loop::wall();
  Pki pki_ = must(Pki::create(now_));
  Buffer key_ = Buffer(32, 0x5a);
  Endpoint at_;
  Buffer hello_;
  std::vector<net::Fd> rung_;
  std::vector<std::string> told_;   // by on_state
  std::unique_ptr<net::Relay> relay_;
};

TEST_F(RelayTest, joins_a_client_to_the_connector_of_its_ticket) {
  const auto c = connector();
  ASSERT_TRUE(turner_.until([&] { return relay_->connectors() == 1; }));
  const net::Fd client = dial(ticket(), "early bytes");
  ASSERT_TRUE(turner_.until([&] { return relay_->joined() == 1 && rung_.size() == 1; }));
  // The connector gets the client's first bytes exactly, its own hello was swallowed, and bytes go back.
  EXPECT_EQ(read(rung_[0].get(), hello_.size() + 11), std::string(as_text(hello_)) + "early bytes");
  ASSERT_EQ(::send(rung_[0].get(), "answer", 6, 0), 6);
  EXPECT_EQ(read(client.get(), 6), "answer");
}

TEST_F(RelayTest, an_end_travels_and_the_pair_is_forgotten) {
  const auto c = connector();
  ASSERT_TRUE(turner_.until([&] { return relay_->connectors() == 1; }));
  const net::Fd client = dial(ticket());
  ASSERT_TRUE(turner_.until([&] { return rung_.size() == 1 && relay_->joined() == 1; }));
  ::shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(read_to_end(rung_[0].get()), as_text(hello_));
  rung_.clear();
  EXPECT_TRUE(turner_.until([&] { return relay_->joined() == 0; }));
  EXPECT_EQ(read_to_end(client.get()), "");
}

std::size_t open_pipes() {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    count += std::filesystem::read_symlink(entry, gone).string().starts_with("pipe:") ? 1 : 0;
  }
  return count;
}

TEST_F(RelayTest, idle_pairs_hold_no_pipe) {
  const auto c = connector();
  ASSERT_TRUE(turner_.until([&] { return relay_->connectors() == 1; }));
  const std::size_t before = open_pipes();
  std::vector<net::Fd> clients;
  for (std::size_t i = 1; i <= 40; ++i) {
    clients.push_back(dial(ticket(), "some bytes"));
    ASSERT_TRUE(turner_.until([&] { return rung_.size() == i && relay_->joined() == i; }));
    EXPECT_EQ(read(rung_.back().get(), hello_.size() + 10), std::string(as_text(hello_)) + "some bytes");
  }
  EXPECT_LE(open_pipes(), before + 4) << "a pipe has two ends, and two were in use at once";
}

TEST_F(RelayTest, ends_its_pairs_when_it_ends) {
  const auto c = connector();
  ASSERT_TRUE(turner_.until([&] { return relay_->connectors() == 1; }));
  std::vector<net::Fd> clients;
  for (std::size_t i = 1; i <= 5; ++i) {
    clients.push_back(dial(ticket(), "early"));
    ASSERT_TRUE(turner_.until([&] { return rung_.size() == i && relay_->joined() == i; }));
  }
  EXPECT_EQ(relay_->counts().threads, 2u);
  rung_.pop_back();   // one is about to tell that it is over
  relay_.reset();
  for (const net::Fd& client : clients) EXPECT_EQ(read_to_end(client.get()), "");
}

TEST_F(RelayTest, keeps_a_few_control_streams_of_one_connector_and_the_newest) {
  std::vector<decltype(connector())> streams;
  for (int i = 0; i < 6; ++i) {
    streams.push_back(connector());
    ASSERT_TRUE(turner_.until([&] { return streams.back()->up(); }));
  }
  const auto up = [&] { return std::count_if(streams.begin(), streams.end(), [](const auto& s) { return s->up(); }); };
  EXPECT_TRUE(turner_.until([&] { return up() == 4; })) << up();
  EXPECT_TRUE(streams.back()->up());
}

TEST_F(RelayTest, says_at_once_that_a_connector_is_not_there) {
  const net::Fd client = dial(ticket());
  EXPECT_EQ(hex(as_bytes(read_to_end(client.get()))), "15030300020270");   // unrecognized_name
}

TEST_F(RelayTest, refuses_tickets_that_are_forged_or_old) {
  const auto c = connector();
  ASSERT_TRUE(turner_.until([&] { return relay_->connectors() == 1; }));
  std::string forged = ticket();
  forged[3] = forged[3] == 'a' ? 'b' : 'a';
  for (const std::string& label : {forged, ticket(kConnector, std::chrono::seconds(-3600)), std::string("nonsense.tg")}) {
    const net::Fd client = dial(label);
    EXPECT_EQ(hex(as_bytes(read_to_end(client.get()))), "15030300020231") << label;   // access_denied
  }
  EXPECT_TRUE(rung_.empty());
}

TEST_F(RelayTest, only_connectors_of_this_instance_may_wait_for_clients) {
  const auto device = connector("device");
  const Pki other = must(Pki::create(now_));
  const auto stranger = must(net::TlsContext::client(must(other.own("connector", kConnectorId, now_)), net::kAlpnRelay));
  bool ended = false;
  const net::Tls tls(loop_, must(net::tcp_connect(at_)), stranger,
                     net::Tls::Callbacks{[] {}, [](Bytes) {}, {}, [&](const Error&) { ended = true; }});
  ASSERT_TRUE(turner_.until([&] { return ended; }));
  EXPECT_EQ(relay_->connectors(), 0u);
  EXPECT_FALSE(device->up());
}

TEST_F(RelayTest, says_goodbye_to_a_control_stream_and_takes_nobody_any_more) {
  const Agent control(loop_, at_, connector_context());
  ASSERT_TRUE(turner_.until([&] { return control.last("welcome") != nullptr; }));
  relay_->goodbye();
  EXPECT_TRUE(turner_.until([&] { return control.last("goodbye") != nullptr; }));
  EXPECT_FALSE(control.closed) << "it is said before anything is cut";
  const auto late = net::tcp_connect(at_);
  EXPECT_TRUE(!late || turner_.until([&] { return net::connect_error(late->get()) == ECONNREFUSED; }));
}

TEST_F(RelayTest, a_connector_leaves_at_once_when_it_hears_goodbye_and_waits_in_quiet) {
  const auto c = connector();
  ASSERT_TRUE(turner_.until([&] { return c->up(); }));
  relay_->goodbye();
  EXPECT_TRUE(turner_.until([&] { return !c->up() && relay_->connectors() == 0; }, std::chrono::seconds(1)));
  ASSERT_TRUE(turner_.until([&] { return told_.size() >= 3; }));
  const Instant begin = net::Loop::now();
  turner_.until([&] { return net::Loop::now() - begin > std::chrono::seconds(2); });   // some attempts
  ASSERT_EQ(told_.size(), 3u) << "the same is not told twice";
  EXPECT_EQ(told_[0], "up");
  EXPECT_EQ(told_[1], "it says goodbye");
  EXPECT_NE(told_[2].find("refused"), std::string::npos) << told_[2];
}

TEST_F(RelayTest, a_message_of_an_unknown_type_is_refused_by_its_name) {
  Agent control(loop_, at_, connector_context());
  ASSERT_TRUE(turner_.until([&] { return control.last("welcome") != nullptr; }));
  control.say({{"type", "ping"}});
  ASSERT_TRUE(turner_.until([&] { return control.last("pong") != nullptr; }));
  control.say({{"type", "dance"}});
  ASSERT_TRUE(turner_.until([&] { return control.closed; }));
  ASSERT_NE(control.last("error"), nullptr);
  EXPECT_EQ((*control.last("error"))["text"], "unknown message \"dance\"");
  EXPECT_EQ(relay_->connectors(), 0u);
}

TEST_F(RelayTest, a_connector_refuses_a_relays_message_of_an_unknown_type) {
  net::Fd listener = must(net::tcp_listen(must(Endpoint::parse("127.0.0.1:0"))));
  at_ = net::local_endpoint(listener.get());
  const auto context = must(net::TlsContext::server(must(pki_.own("relay", "aa", now_)), net::kAlpnRelay));
  std::unique_ptr<net::Tls> strange;
  std::string heard;
  const net::Acceptor acceptor(loop_, std::move(listener), [&](net::Fd fd, const Endpoint&) {
    if (strange) return;   // it comes again
    strange = std::make_unique<net::Tls>(
        loop_, std::move(fd), context,
        net::Tls::Callbacks{[&] {
                              strange->write(control_frame({{"type", "welcome"}}));
                              strange->write(control_frame({{"type", "dance"}}));
                            },
                            [&](Bytes b) { heard += as_text(b); }, {}, [](const Error&) {}});
  });
  const auto c = connector();
  ASSERT_TRUE(turner_.until([&] { return told_.size() >= 2; }));
  EXPECT_FALSE(c->up());
  EXPECT_NE(told_[1].find("sent an unknown message \"dance\""), std::string::npos) << told_[1];
  EXPECT_TRUE(turner_.until([&] { return heard.find("unknown message \\\"dance\\\"") != std::string::npos; })) << heard;
}

// FakeRelay does with those who come what a test wants.
struct FakeRelay {
  struct Guest {
    int fd = -1;
    std::unique_ptr<net::Tls> tls;
    Instant came{};
    bool gone = false;
  };
  FakeRelay(net::Loop& loop, const Pki& pki, std::function<void(net::Tls&)> on_open)
      : context(must(net::TlsContext::server(must(pki.own("relay", "aa", net::Loop::wall())), net::kAlpnRelay))) {
    net::Fd listener = must(net::tcp_listen(must(Endpoint::parse("127.0.0.1:0"))));
    at = net::local_endpoint(listener.get());
    acceptor = net::Acceptor(loop, std::move(listener), [this, &loop, on_open](net::Fd fd, const Endpoint&) {
      Guest& g = *guests.emplace_back(std::make_unique<Guest>());
      g.fd = fd.get();
      g.came = net::Loop::now();
      g.tls = std::make_unique<net::Tls>(loop, std::move(fd), context,
                                         net::Tls::Callbacks{[&g, on_open] { on_open(*g.tls); }, [](Bytes) {}, {},
                                                             [&g](const Error&) { g.gone = true; }});
    });
  }
  // settled: the guest's kernel has acknowledged everything, and nothing will be sent again.
  static bool settled(const Guest& guest) {
    tcp_info info{};
    socklen_t size = sizeof info;
    EXPECT_EQ(::getsockopt(guest.fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    return info.tcpi_unacked == 0;
  }
  // forget has a guest's packets vanish unseen from now on, as on a way that does not know the connection any more.
  void forget(const Guest& guest) {
    sock_filter nothing[] = {{BPF_RET | BPF_K, 0, 0, 0}};
    const sock_fprog program{1, nothing};
    ASSERT_EQ(::setsockopt(guest.fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
  }
  net::TlsContext context;
  Endpoint at;
  std::vector<std::unique_ptr<Guest>> guests;
  net::Acceptor acceptor;
};

const auto say = [](const char* type) {
  return [type](net::Tls& tls) { tls.write(control_frame({{"type", type}})); };
};

TEST_F(RelayTest, a_connector_notices_within_3_s_that_the_way_has_forgotten_it) {
  FakeRelay relay(loop_, pki_, say("welcome"));
  at_ = relay.at;
  const auto c = connector();
  ASSERT_TRUE(turner_.until([&] { return c->up() && FakeRelay::settled(*relay.guests[0]); }));
  // It is not the time of a ping: nothing is sent that could stay unanswered.
  relay.forget(*relay.guests[0]);
  const Instant begin = net::Loop::now();
  ASSERT_TRUE(turner_.until([&] { return !c->up(); }, std::chrono::milliseconds(3500)));
  ASSERT_TRUE(turner_.until([&] { return c->up(); }, std::chrono::seconds(1)));
  EXPECT_LT(net::Loop::now() - begin, std::chrono::seconds(4));
  ASSERT_EQ(relay.guests.size(), 2u);
  turner_.until([&] { return net::Loop::now() - begin > std::chrono::seconds(9); });
  EXPECT_EQ(told_.size(), 3u) << "a way that is only quiet stays";
}

TEST_F(RelayTest, a_connector_waits_3_s_for_a_welcome) {
  FakeRelay relay(loop_, pki_, [](net::Tls&) {});
  at_ = relay.at;
  const auto c = connector();
  ASSERT_TRUE(turner_.until([&] { return relay.guests.size() == 2; }, std::chrono::seconds(4)));
  EXPECT_EQ(told_, std::vector<std::string>{"it is silent"});
  EXPECT_GT(relay.guests[1]->came - relay.guests[0]->came, std::chrono::seconds(2));
}

TEST_F(RelayTest, those_that_a_relay_says_goodbye_to_do_not_come_back_in_step) {
  int heard = 0;
  FakeRelay relay(loop_, pki_, [&](net::Tls& tls) {
    if (++heard <= 16) tls.write(control_frame({{"type", "welcome"}}));
  });
  at_ = relay.at;
  std::vector<std::unique_ptr<net::RelayClient>> all;
  for (int i = 0; i < 16; ++i) all.push_back(connector());
  ASSERT_TRUE(turner_.until([&] { return std::all_of(all.begin(), all.end(), [](const auto& c) { return c->up(); }); }));
  const Instant begin = net::Loop::now();
  for (const auto& g : relay.guests) say("goodbye")(*g->tls);
  ASSERT_TRUE(turner_.until([&] { return relay.guests.size() >= 32; }, std::chrono::seconds(2)));
  std::vector<Duration> after;
  for (std::size_t i = 16; i < 32; ++i) after.push_back(relay.guests[i]->came - begin);
  std::sort(after.begin(), after.end());
  EXPECT_GE(after.front(), net::kGoodbyeRetry / 2);
  EXPECT_LE(after.back(), net::kGoodbyeRetry + std::chrono::milliseconds(300));
  EXPECT_GT(after.back() - after.front(), std::chrono::milliseconds(150)) << "by chance once in 10^6 times";
}

TEST_F(RelayTest, those_that_a_relay_refuses_do_not_come_back_in_step) {
  for (const char* how : {"error", "dance"}) {
    FakeRelay relay(loop_, pki_, say(how));
    at_ = relay.at;
    std::vector<std::unique_ptr<net::RelayClient>> all;
    for (int i = 0; i < 16; ++i) all.push_back(connector());
    ASSERT_TRUE(turner_.until([&] { return relay.guests.size() >= 32; }, std::chrono::seconds(4))) << how;
    const Duration spread = relay.guests[31]->came - relay.guests[16]->came;
    const Duration first = relay.guests[16]->came - relay.guests[0]->came;
    EXPECT_GE(first, net::kLongestRetry / 2) << how;
    EXPECT_LE(relay.guests[31]->came - relay.guests[15]->came, net::kLongestRetry + std::chrono::milliseconds(500)) << how;
    EXPECT_GT(spread, std::chrono::milliseconds(200)) << how;
  }
}

TEST_F(RelayTest, rings_a_connector_that_comes_back_for_those_who_wait) {
  Agent deaf(loop_, at_, connector_context());   // its stream stands, but it is not there any more
  ASSERT_TRUE(turner_.until([&] { return deaf.last("welcome") != nullptr; }));
  const net::Fd client = dial(ticket(), "early bytes");
  ASSERT_TRUE(turner_.until([&] { return deaf.last("dial") != nullptr; }));
  const auto back = connector();
  ASSERT_TRUE(turner_.until([&] { return rung_.size() == 1 && relay_->joined() == 1; }, std::chrono::seconds(5)));
  EXPECT_EQ(read(rung_[0].get(), hello_.size() + 11), std::string(as_text(hello_)) + "early bytes");
}

TEST_F(RelayTest, a_made_up_rendezvous_is_closed) {
  const net::Fd nobody = dial("r-aaaaaaaaaaaaaaaaaaaaaaaaaa.tg");
  EXPECT_EQ(read_to_end(nobody.get()), "");
}

TEST_F(RelayTest, what_is_no_client_hello_is_closed) {
  const net::Fd fd = must(net::tcp_connect(at_));
  ASSERT_TRUE(turner_.until([&] { return ::send(fd.get(), "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL) == 18; }));
  EXPECT_EQ(read_to_end(fd.get()), "");
}

TEST_F(RelayTest, a_second_connection_of_a_connector_that_goes_leaves_the_first) {
  const auto first = connector();
  ASSERT_TRUE(turner_.until([&] { return first->up(); }));
  auto second = connector();
  ASSERT_TRUE(turner_.until([&] { return second->up(); }));
  second.reset();
  const net::Fd client = dial(ticket());
  EXPECT_TRUE(turner_.until([&] { return relay_->joined() == 1; }));
}

TEST_F(RelayTest, one_source_cannot_take_all_the_places) {
  const auto c = connector();
  ASSERT_TRUE(turner_.until([&] { return relay_->connectors() == 1; }));
  std::vector<net::Fd> idle;
  for (std::size_t i = 0; i < net::Relay::kWaitingPerSource + 20; ++i) idle.push_back(must(net::tcp_connect(at_)));
  std::size_t closed = 0;
  EXPECT_TRUE(turner_.until([&] {
    closed = 0;
    for (const net::Fd& fd : idle) {
      char byte;
      if (::recv(fd.get(), &byte, 1, MSG_PEEK) == 0) ++closed;
    }
    return closed == 20;
  })) << closed << " were closed";
  char byte;
  EXPECT_EQ(::recv(idle.front().get(), &byte, 1, MSG_PEEK), 0) << "the oldest went";
  EXPECT_EQ(::recv(idle.back().get(), &byte, 1, MSG_PEEK), -1) << "the newest stays";
  const net::Fd client = dial(ticket());
  EXPECT_TRUE(turner_.until([&] { return relay_->joined() == 1; })) << "and nobody is kept out";
}

}  // namespace tg::controller::relay_test
