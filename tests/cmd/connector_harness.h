// A connector's Session with clients that check nothing themselves, and a private network that is this process.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <deque>
#include <map>
#include <set>

#include "cmd/connector/session.h"
#include "cmd/controller/pki.h"
#include "controller_agent.h"
#include "dns/types.h"
#include "tests/support/dns_wire.h"

namespace tg::connector {

using controller::must;
using std::chrono::hours;
using std::chrono::seconds;

// Client speaks tg/1 and opens whatever it is told to, with whatever grant.
class Client final : public TunnelHandler {
 public:
  Client(net::Loop& loop, net::Fd fd, const net::TlsContext& context)
      : link(loop, std::move(fd), context, Tunnel::Side::client, *this,
             {[this] { open = true; }, [this](const Error&) { closed = true; }}) {}

  void show(const std::string& grant) {
    EXPECT_TRUE(link.tunnel().send_grant(grant));
    link.kick();
  }
  StreamId begin(const OpenRequest& request) {
    const StreamId id = must(link.tunnel().open(request));
    link.kick();
    return id;
  }
  StreamId ask(const Query& query) {
    const StreamId id = must(link.tunnel().query(query));
    link.kick();
    return id;
  }
  void say(StreamId id, std::string_view words) {
    sending[id].text += words;
    link.tunnel().readable(id);
    link.kick();
  }
  bool settled(StreamId id) const { return opened.contains(id) || ended.contains(id); }

  void on_opened(StreamId id) override { opened.insert(id); }
  void on_answer(StreamId id, std::uint8_t rcode, Bytes) override { answers[id] = rcode; }
  void on_data(StreamId id, Bytes data) override {
    text += as_text(data);
    if (takes) link.tunnel().consumed(id, data.size());
  }
  void on_datagram(StreamId, Bytes datagram) override { text += as_text(datagram); }
  void on_reset(StreamId id, Code code) override { ended[id] = code; }
  Pull pull(StreamId id, MutBytes out) override {
    Words& words = sending[id];
    const std::size_t n = std::min({words.left(), out.size(), piece});
    std::copy_n(words.text.data() + words.sent, n, out.begin());
    words.sent += n;
    if (words.left() == 0) words = {};
    return {.size = n, .more = words.left() > 0};
  }
  void on_goaway(Code code) override { goodbye = code; }
  void on_fin(StreamId) override {}
  void on_echo(StreamId, const Echo&) override {}
  void on_grant(std::string_view) override {}
  void on_open(StreamId, const OpenRequest&) override {}
  void on_query(StreamId, const Query&) override {}

  bool open = false, closed = false;
  std::set<StreamId> opened;
  std::map<StreamId, Code> ended;
  std::map<StreamId, std::uint8_t> answers;
  struct Words {
    std::string text;
    std::size_t sent = 0;
    std::size_t left() const { return text.size() - sent; }
  };
  std::map<StreamId, Words> sending;
  std::size_t piece = SIZE_MAX;           // of a DATA frame
  bool takes = true;                      // gives credit back for what has come
  std::string text;
  std::optional<Code> goodbye;
  net::TunnelLink link;
};

struct Device {
  net::Credentials credentials;
  net::Identity identity;
};

// Line is a client and the Session that serves it.
struct Line {
  std::unique_ptr<Client> client;
  std::unique_ptr<Session> session;
  Client* operator->() const { return client.get(); }
};

// Zone answers questions for A records as it is told to: with each name's answers in turn, the last one from then on.
// An answer without an address is NXDOMAIN. Names that it was told nothing of get no answer.
class Zone {
 public:
  Zone(net::Loop& loop, int fd) : fd_(fd), watch_(loop, fd, [this] { take(); }) { watch_.want_read(true); }

  std::map<std::string, std::deque<std::vector<std::string>>> answers;
  std::vector<std::string> asked;          // names, with a final dot
  std::uint32_t ttl = 0;                   // nobody may keep an answer

 private:
  void take() {
    std::uint8_t bytes[1500];
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    auto* peer = reinterpret_cast<sockaddr*>(&from);
    const ssize_t n = ::recvfrom(fd_, bytes, sizeof bytes, 0, peer, &size);
    if (n <= 0) return;
    const Bytes query(bytes, static_cast<std::size_t>(n));
    const test::Seen seen = test::see(query);
    std::string name = seen.qname;
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    asked.push_back(name);
    const auto known = answers.find(name.substr(0, name.size() - 1));
    if (known == answers.end() || seen.qtype != dns::kTypeA) return;
    auto& turns = known->second;
    const std::vector<std::string> now = turns.front();
    if (turns.size() > 1) turns.pop_front();
    std::string reply = test::be16(seen.id) + test::be16(now.empty() ? 0x8583 : 0x8580) + test::be16(1) +
                        test::be16(static_cast<unsigned>(now.size())) + test::be32(0);
    reply += as_text(query.subspan(12, name.size() + 1 + 4));   // one byte more than its text with final dot
    for (const std::string& address : now) {
      const IpAddress ip = must(IpAddress::parse(address));
      reply += test::rr("\xC0\x0C", dns::kTypeA, dns::kClassIn, ttl, std::string(as_text(ip.bytes())));
    }
    EXPECT_GT(::sendto(fd_, reply.data(), reply.size(), 0, peer, size), 0);
  }
  int fd_;
  net::Watch watch_;
};

class ConnectorTest : public ::testing::Test {
 protected:
  static constexpr ResourceId kBox = 1, kNotGranted = 2, kLoops = 3, kNames = 4, kSecrets = 5, kOwn = 6;

  ConnectorTest() {
    rules_.self = {"c0", "home-1", "home", pki_.instance(), ed25519_public_key(seed_), {}, {}};
    rules_.own = {must(IpAddress::parse("10.9.0.1"))};
    rules_.policy = std::make_shared<const Policy>(resources());
    resolver_.set_servers({net::local_endpoint(dns_.get())});
  }

  // What the private network is here: one TCP and one UDP port on every loopback address, and a DNS server.
  net::Fd tcp_ = must(net::tcp_listen(must(Endpoint::parse("0.0.0.0:0"))));
  net::Fd udp_ = must(net::udp_bind(must(Endpoint::parse("0.0.0.0:0"))));
  net::Fd dns_ = must(net::udp_bind(must(Endpoint::parse("127.0.0.1:0"))));
  const std::uint16_t tcp_port_ = net::local_endpoint(tcp_.get()).port;
  const std::uint16_t udp_port_ = net::local_endpoint(udp_.get()).port;

  static Ports only(std::uint16_t port) { return Ports(std::vector<PortRange>{{port, port}}); }
  std::vector<Resource> resources() const {
    const auto make = [](ResourceId id, const std::string& address, Protocols protocols = {}) {
      return Resource{id, address, "home", must(Address::parse(address)), "", std::move(protocols)};
    };
    return {make(kBox, "127.0.0.1", {only(tcp_port_), only(udp_port_), false}),
            make(kNotGranted, "127.0.0.2"),
            make(kLoops, "127.1.0.0/16"),
            make(kNames, "*.home.int"),
            make(kSecrets, "*.secret.int"),
            make(kOwn, "10.9.0.0/16")};
  }
  OpenRequest tcp(ResourceId id = kBox, const std::string& host = "127.0.0.1") const {
    return {id, Protocol::tcp, tcp_port_, host};
  }
  OpenRequest udp(ResourceId id = kBox, const std::string& host = "127.0.0.1") const {
    return {id, Protocol::udp, udp_port_, host};
  }

  Device device(const std::string& id, const std::string& role = "device") {
    Device d;
    d.credentials = must(pki_.own(role, id, now_));
    d.identity = must(net::leaf_identity(d.credentials.chain));
    return d;
  }
  Grant grant(const Device& d) const {
    return {pki_.instance(), "alice@example.com", d.identity.id, "home", {kBox, kLoops, kNames, kOwn}, 0, now_,
            now_ + hours(1), d.identity.key_thumbprint};
  }
  std::string good(const Device& d) const { return grant(d).sign(seed_); }

  static dns::Resolver::Config lookups(std::size_t all, std::size_t of_one) {
    dns::Resolver::Config config;
    config.lookups = std::make_shared<DeviceQuota>(DeviceQuota::Limits{all, of_one});
    return config;
  }

  // dial begins a line, join one on what connects client and connector; connect returns one whose handshake is done.
  Line dial(const Device& d) {
    net::Fd listener = must(net::tcp_listen(must(Endpoint::parse("127.0.0.1:0"))));
    net::Fd near = must(net::tcp_connect(net::local_endpoint(listener.get())));
    net::Fd far;
    EXPECT_TRUE(turner_.until([&] { return static_cast<bool>(far = net::accept_from(listener.get())); }));
    return join(d, std::move(near), std::move(far));
  }
  Line join(const Device& d, net::Fd near, net::Fd far) {
    Line line;
    const Session::Shared shared{loop_, resolver_, rules_, common_};
    const Session::Callbacks callbacks{[this] { ++known_; }, [](const Error&) {}};
    line.session = std::make_unique<Session>(shared, "relay.example.com:8444", std::move(far), server_, callbacks);
    line.client = std::make_unique<Client>(loop_, std::move(near), must(net::TlsContext::client(d.credentials, net::kAlpnTunnel)));
    return line;
  }
  Line connect(const Device& d) {
    Line line = dial(d);
    EXPECT_TRUE(turner_.until([&] { return line->open; }));
    return line;
  }
  Line connect(const Device& d, const std::string& grant) {
    Line line = connect(d);
    line->show(grant);
    return line;
  }

  // outcome opens a flow and returns what became of it: none when it stands.
  Code outcome(const Line& line, const OpenRequest& request) {
    const StreamId id = line->begin(request);
    EXPECT_TRUE(turner_.until([&] { return line->settled(id); }));
    return line->ended.contains(id) ? line->ended.at(id) : Code::none;
  }
  // rcode asks the private DNS, and returns the answer's.
  int rcode(const Line& line, ResourceId id, const std::string& name, std::uint16_t type = dns::kTypeA) {
    const StreamId stream = line->ask({id, name, type});
    EXPECT_TRUE(turner_.until([&] { return line->answers.contains(stream) || line->ended.contains(stream); }));
    return line->answers.contains(stream) ? line->answers.at(stream) : -1;
  }

  // heard waits until the connector has done all that it was asked to before.
  void heard(const Line& line) {
    const auto answered = line->link.tunnel().pings().answered;
    line->link.probe();
    EXPECT_TRUE(turner_.until([&] { return line->link.tunnel().pings().answered > answered; }));
  }
  // untouched says that nobody came to the private network, once the connector has done all that it was asked to before.
  bool untouched(const Line& line) {
    heard(line);
    char byte;
    const bool quiet = ::recv(udp_.get(), &byte, 1, 0) < 0 && ::recv(dns_.get(), &byte, 1, 0) < 0;
    return !net::accept_from(tcp_.get()) && quiet;
  }
  // refused tries each kind of flow of kBox, which are allowed, and a question, for the code that each must end with.
  void refused(const Line& line, Code code) {
    EXPECT_EQ(outcome(line, tcp()), code);
    const StreamId id = line->begin(udp());
    EXPECT_TRUE(line->link.tunnel().datagram(id, as_bytes("right behind")));
    EXPECT_TRUE(turner_.until([&] { return line->settled(id); }));
    EXPECT_EQ(line->ended[id], code);
    EXPECT_EQ(rcode(line, kNames, "nas.home.int"), dns::kRcodeRefused);
    EXPECT_EQ(line.session->flows(), 0u);
    EXPECT_TRUE(untouched(line));
  }
  // Flow is a TCP flow that stands, and its far end.
  struct Flow {
    StreamId id = 0;
    net::Fd far;
  };
  Flow flow(const Line& line) { return flow(line, tcp()); }
  Flow flow(const Line& line, const OpenRequest& request) {
    Flow f{line->begin(request), {}};
    EXPECT_TRUE(turner_.until([&] { return line->opened.contains(f.id) && (f.far = net::accept_from(tcp_.get())); }));
    return f;
  }
  // ends returns how long it took until the far end of a flow was told that it is over.
  Duration ends(const Flow& f, Duration patience = seconds(10)) {
    const Instant start = net::Loop::now();
    char byte;
    EXPECT_TRUE(turner_.until([&] { return ::recv(f.far.get(), &byte, 1, 0) >= 0 || errno != EAGAIN; }, patience));
    return net::Loop::now() - start;
  }

  net::Loop loop_;
  controller::Turner turner_{loop_};
  const UnixTime now_ = net::Loop::wall();
  controller::Pki pki_ = must(controller::Pki::create(now_));
  const Buffer seed_ = Buffer(32, 7);
  const net::TlsContext server_ = must(net::TlsContext::server(must(pki_.own("connector", "c0", now_)), net::kAlpnTunnel));
  net::Resolver resolver_{loop_, lookups(12, 4)};
  Rules rules_;
  DeviceQuota flows_{{8, 3}}, tunnels_{{8, 3}}, kept_{{24u << 20, 9u << 20}};
  LogLines lines_;
  std::vector<ConnectionEvent> events_;
  Recorder recorder_{0, [this] {
                       for (ConnectionEvent& e : recorder_.take().events) events_.push_back(std::move(e));
                     }};
  Traffic traffic_;
  Session::Common common_{flows_, tunnels_, kept_, lines_, recorder_, traffic_};
  int known_ = 0;   // clients that have shown who they are
  const Device laptop_ = device("d1");
  const Device other_ = device("d2");
};

}  // namespace tg::connector
