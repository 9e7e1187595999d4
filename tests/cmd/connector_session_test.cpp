// The connector's own checks of every flow, against clients that check nothing themselves.
#include "cmd/connector/session.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <set>

#include "cmd/controller/pki.h"
#include "controller_agent.h"
#include "dns/types.h"

namespace tg::connector {
namespace {

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
  bool settled(StreamId id) const { return opened.contains(id) || ended.contains(id); }

  void on_opened(StreamId id) override { opened.insert(id); }
  void on_answer(StreamId id, std::uint8_t rcode, Bytes) override { answers[id] = rcode; }
  void on_data(StreamId id, Bytes data) override {
    text += as_text(data);
    link.tunnel().consumed(id, data.size());
  }
  void on_datagram(StreamId, Bytes datagram) override { text += as_text(datagram); }
  void on_reset(StreamId id, Code code) override { ended[id] = code; }
  Pull pull(StreamId, MutBytes out) override {
    std::copy(to_send.begin(), to_send.end(), out.begin());
    return {.size = std::exchange(to_send, "").size()};
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
  std::string text, to_send;
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

class ConnectorSession : public ::testing::Test {
 protected:
  static constexpr ResourceId kBox = 1, kNotGranted = 2, kLoops = 3, kNames = 4, kSecrets = 5, kOwn = 6;

  ConnectorSession() {
    rules_.self = {"c0", "home-1", "home", pki_.instance(), ed25519_public_key(seed_), {}, {}};
    rules_.policy = Policy(resources());
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
    return {pki_.instance(), "alice@example.com", d.identity.id, "home", {kBox, kLoops, kNames, kOwn}, now_, now_ + hours(1),
            d.identity.key_thumbprint};
  }
  std::string good(const Device& d) const { return grant(d).sign(seed_); }

  // dial begins a line; connect returns one whose handshake is done.
  Line dial(const Device& d) {
    net::Fd listener = must(net::tcp_listen(must(Endpoint::parse("127.0.0.1:0"))));
    net::Fd near = must(net::tcp_connect(net::local_endpoint(listener.get())));
    net::Fd far;
    EXPECT_TRUE(turner_.until([&] { return static_cast<bool>(far = net::accept_from(listener.get())); }));
    Line line;
    line.session = std::make_unique<Session>(Session::Shared{loop_, resolver_, rules_, own_addresses_, flows_, tunnels_},
                                             std::move(far), server_, [](const Error&) {});
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
    const StreamId stream = must(line->link.tunnel().query({id, name, type}));
    line->link.kick();
    EXPECT_TRUE(turner_.until([&] { return line->answers.contains(stream) || line->ended.contains(stream); }));
    return line->answers.contains(stream) ? line->answers.at(stream) : -1;
  }

  // untouched says that nobody came to the private network, once the connector has done all that it was asked to before.
  bool untouched(const Line& line) {
    const auto answered = line->link.tunnel().pings().answered;
    line->link.probe();
    EXPECT_TRUE(turner_.until([&] { return line->link.tunnel().pings().answered > answered; }));
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
  Flow flow(const Line& line) {
    Flow f{line->begin(tcp()), {}};
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
  net::Resolver resolver_{loop_, dns::Resolver::Config{}};
  Rules rules_;
  const std::function<std::vector<IpAddress>()> own_addresses_ = [] {
    return std::vector<IpAddress>{must(IpAddress::parse("10.9.0.1"))};
  };
  DeviceQuota flows_{{8, 3}}, tunnels_{{8, 3}};
  const Device laptop_ = device("d1");
  const Device other_ = device("d2");
};

TEST_F(ConnectorSession, dials_what_grant_and_rules_allow) {
  const Line line = connect(laptop_, good(laptop_));
  const Flow f = flow(line);
  line->to_send = "question";
  line->link.tunnel().readable(f.id);
  line->link.kick();
  char got[16];
  ssize_t n = 0;
  ASSERT_TRUE(turner_.until([&] { return (n = ::recv(f.far.get(), got, sizeof got, 0)) > 0; }));
  EXPECT_EQ(std::string(got, static_cast<std::size_t>(n)), "question");
  ASSERT_EQ(::send(f.far.get(), "answer", 6, 0), 6);
  EXPECT_TRUE(turner_.until([&] { return line->text == "answer"; }));
  EXPECT_EQ(line.session->user(), "alice@example.com");
}

TEST_F(ConnectorSession, passes_datagrams_that_grant_and_rules_allow) {
  const Line line = connect(laptop_, good(laptop_));
  const StreamId id = line->begin(udp());
  line->link.tunnel().datagram(id, as_bytes("hello"));
  char got[16];
  ssize_t n = 0;
  ASSERT_TRUE(turner_.until([&] { return (n = ::recv(udp_.get(), got, sizeof got, 0)) > 0; }));
  EXPECT_EQ(std::string(got, static_cast<std::size_t>(n)), "hello");
}

TEST_F(ConnectorSession, asks_the_private_dns_about_names_that_grant_and_rules_allow) {
  const Line line = connect(laptop_, good(laptop_));
  must(line->link.tunnel().query({kNames, "nas.home.int", dns::kTypeA}));
  line->link.kick();
  char question[512];
  EXPECT_TRUE(turner_.until([&] { return ::recv(dns_.get(), question, sizeof question, 0) > 0; }));
}

TEST_F(ConnectorSession, refuses_everything_without_a_grant) { refused(connect(laptop_), Code::denied); }

TEST_F(ConnectorSession, refuses_the_grant_of_another_device) {
  refused(connect(laptop_, good(other_)), Code::denied);
  Grant renamed = grant(other_);
  renamed.device = laptop_.identity.id;
  refused(connect(laptop_, renamed.sign(seed_)), Code::denied);
  Grant rebound = grant(other_);
  rebound.key_thumbprint = laptop_.identity.key_thumbprint;
  refused(connect(laptop_, rebound.sign(seed_)), Code::denied);
}

TEST_F(ConnectorSession, refuses_a_grant_that_has_expired) {
  Grant old = grant(laptop_);
  old.issued = now_ - hours(2);
  old.expires = now_ - seconds(62);   // leeway: a minute
  const Line line = connect(laptop_, old.sign(seed_));
  refused(line, Code::grant_expired);
  line->show(good(laptop_));
  EXPECT_EQ(outcome(line, tcp()), Code::none) << "a new one is as good as ever";
}

TEST_F(ConnectorSession, refuses_a_grant_that_the_controller_did_not_sign) {
  refused(connect(laptop_, grant(laptop_).sign(Buffer(32, 8))), Code::denied);
  std::string cut = good(laptop_);
  cut.resize(cut.rfind('.') + 1);
  refused(connect(laptop_, cut), Code::denied);
}

TEST_F(ConnectorSession, refuses_a_grant_for_another_network_or_of_another_controller) {
  Grant elsewhere = grant(laptop_);
  elsewhere.network = "office";
  refused(connect(laptop_, elsewhere.sign(seed_)), Code::denied);
  Grant foreign = grant(laptop_);
  foreign.issuer = "tg-00000000";
  refused(connect(laptop_, foreign.sign(seed_)), Code::denied);
}

TEST_F(ConnectorSession, refuses_a_grant_from_before_a_revocation_and_takes_one_from_after_it) {
  rules_.revoked[laptop_.identity.id] = now_ + seconds(1);
  const Line line = connect(laptop_, good(laptop_));
  refused(line, Code::revoked);
  Grant later = grant(laptop_);
  later.issued = now_ + seconds(1);
  line->show(later.sign(seed_));
  EXPECT_EQ(outcome(line, tcp()), Code::none);
}

TEST_F(ConnectorSession, refuses_what_is_no_device_whatever_it_shows) {
  const Device relay = device("d1", "relay");
  const Line line = dial(relay);   // what is said now arrives with the end of the handshake
  line->show(good(relay));
  line->begin(tcp());
  EXPECT_TRUE(turner_.until([&] { return line->closed; }));
  EXPECT_EQ(line->goodbye, Code::denied);
  EXPECT_TRUE(line->opened.empty());
  EXPECT_FALSE(net::accept_from(tcp_.get()));
}

TEST_F(ConnectorSession, refuses_resources_that_are_not_granted_not_known_or_not_the_winner) {
  const Line line = connect(laptop_, good(laptop_));
  EXPECT_EQ(outcome(line, tcp(kNotGranted, "127.0.0.2")), Code::denied) << "not in the grant";
  EXPECT_EQ(outcome(line, tcp(kBox, "127.0.0.2")), Code::denied) << "another Resource's host";
  EXPECT_EQ(outcome(line, tcp(99, "127.0.0.1")), Code::denied) << "no such Resource";
  EXPECT_EQ(outcome(line, tcp(kLoops, "127.0.0.1")), Code::denied) << "not in that network";
  EXPECT_EQ(outcome(line, udp(kNotGranted, "127.0.0.2")), Code::denied);
  EXPECT_EQ(outcome(line, {kNotGranted, Protocol::icmp, 0, "127.0.0.2"}), Code::denied);
  EXPECT_EQ(rcode(line, kSecrets, "a.secret.int"), dns::kRcodeRefused);
  EXPECT_EQ(rcode(line, kNames, "a.secret.int", dns::kTypeTxt), dns::kRcodeRefused);
  EXPECT_TRUE(untouched(line));
}

TEST_F(ConnectorSession, refuses_names_that_match_no_resource) {
  const Line line = connect(laptop_, good(laptop_));
  for (const char* name : {"home.int", "nas.home.int.evil.org", "xhome.int", "localhost", "127.0.0.1.", "a..home.int", "::1"}) {
    EXPECT_EQ(outcome(line, tcp(kNames, name)), Code::denied) << name;
    EXPECT_EQ(rcode(line, kNames, name), dns::kRcodeRefused) << name;
  }
  EXPECT_TRUE(untouched(line));
}

TEST_F(ConnectorSession, refuses_protocols_and_ports_that_the_rules_do_not_allow) {
  const Line line = connect(laptop_, good(laptop_));
  EXPECT_EQ(outcome(line, {kBox, Protocol::tcp, udp_port_, "127.0.0.1"}), Code::port_not_allowed);
  EXPECT_EQ(outcome(line, {kBox, Protocol::udp, tcp_port_, "127.0.0.1"}), Code::port_not_allowed);
  const StreamId ping = line->begin({kBox, Protocol::icmp, 0, "127.0.0.1"});
  EXPECT_TRUE(line->link.tunnel().echo(ping, {1, as_bytes("hello")}));
  EXPECT_TRUE(turner_.until([&] { return line->settled(ping); }));
  EXPECT_EQ(line->ended[ping], Code::port_not_allowed);
  EXPECT_TRUE(untouched(line));
}

TEST_F(ConnectorSession, dials_no_loopback_and_not_itself_for_a_network_around_them) {
  const Line line = connect(laptop_, good(laptop_));
  EXPECT_EQ(outcome(line, tcp(kLoops, "127.1.2.3")), Code::address_forbidden);
  EXPECT_EQ(outcome(line, udp(kLoops, "127.1.2.3")), Code::address_forbidden);
  EXPECT_EQ(outcome(line, tcp(kOwn, "10.9.0.1")), Code::address_forbidden);
  EXPECT_TRUE(untouched(line));
}

TEST_F(ConnectorSession, ends_a_live_flow_at_once_when_its_resource_is_removed) {
  const Line line = connect(laptop_, good(laptop_));
  const Flow f = flow(line);
  rules_.policy = Policy();
  line.session->rules_changed();
  EXPECT_LT(ends(f), seconds(1));
  EXPECT_TRUE(turner_.until([&] { return line->ended.contains(f.id); }));
  EXPECT_EQ(line->ended[f.id], Code::revoked);
  EXPECT_EQ(outcome(line, tcp()), Code::denied);
}

TEST_F(ConnectorSession, ends_a_live_flow_at_once_when_its_port_is_taken_away) {
  const Line line = connect(laptop_, good(laptop_));
  const Flow f = flow(line);
  auto narrower = resources();
  narrower[0].protocols.tcp = Ports::none();
  rules_.policy = Policy(std::move(narrower));
  line.session->rules_changed();
  EXPECT_LT(ends(f), seconds(1));
}

TEST_F(ConnectorSession, ends_a_live_flow_at_once_when_a_new_grant_no_longer_covers_it) {
  const Line line = connect(laptop_, good(laptop_));
  const Flow f = flow(line);
  Grant less = grant(laptop_);
  less.resources = {kNames};
  line->show(less.sign(seed_));
  EXPECT_LT(ends(f), seconds(1));
}

TEST_F(ConnectorSession, ends_the_live_flows_of_a_revoked_device_within_five_seconds) {
  const Line line = connect(laptop_, good(laptop_));
  const Line bystander = connect(other_, good(other_));
  const Flow f = flow(line);
  const Flow beside = flow(bystander);
  rules_.revoked[laptop_.identity.id] = now_ + seconds(1);
  line.session->rules_changed();
  bystander.session->rules_changed();
  EXPECT_EQ(outcome(line, tcp()), Code::revoked) << "nothing new from this moment on";
  EXPECT_LT(ends(f), seconds(5));
  char byte;
  EXPECT_TRUE(::recv(beside.far.get(), &byte, 1, 0) < 0 && errno == EAGAIN) << "another device's flow goes on";
}

TEST_F(ConnectorSession, ends_live_flows_when_the_grant_runs_out) {
  Grant brief = grant(laptop_);
  brief.expires = net::Loop::wall() - seconds(58);   // two seconds of the leeway are left
  const Line line = connect(laptop_, brief.sign(seed_));
  const Flow f = flow(line);
  EXPECT_LT(ends(f), seconds(5));
  EXPECT_TRUE(turner_.until([&] { return line->ended.contains(f.id); }));
  EXPECT_EQ(line->ended[f.id], Code::grant_expired);
}

TEST_F(ConnectorSession, refuses_a_device_that_has_its_fill_of_flows_over_all_its_tunnels) {
  const Line one = connect(laptop_, good(laptop_));
  const Line two = connect(laptop_, good(laptop_));
  const Line neighbour = connect(other_, good(other_));
  const Flow first = flow(one);
  const Flow second = flow(two);
  EXPECT_EQ(outcome(one, udp()), Code::none);
  EXPECT_EQ(outcome(two, tcp()), Code::exhausted);
  EXPECT_EQ(outcome(two, udp()), Code::exhausted);
  EXPECT_TRUE(untouched(two));
  EXPECT_EQ(outcome(neighbour, tcp()), Code::none) << "there is room for others";
  one->link.tunnel().reset(first.id, Code::none);
  one->link.kick();
  ends(first);
  EXPECT_EQ(outcome(two, tcp()), Code::none) << "a flow that ended makes room";
}

TEST_F(ConnectorSession, refuses_a_device_that_has_its_fill_of_tunnels) {
  const Line one = connect(laptop_, good(laptop_));
  Line two = connect(laptop_);
  const Line three = connect(laptop_);
  const Line four = connect(laptop_);
  EXPECT_TRUE(turner_.until([&] { return four->closed; }));
  EXPECT_EQ(four->goodbye, Code::exhausted);
  EXPECT_EQ(outcome(one, tcp()), Code::none) << "those that stand go on";
  EXPECT_EQ(outcome(connect(other_, good(other_)), tcp()), Code::none) << "there is room for others";
  two.session.reset();
  EXPECT_EQ(outcome(connect(laptop_, good(laptop_)), tcp()), Code::none);
}

TEST_F(ConnectorSession, counts_no_flow_of_a_tunnel_that_is_gone) {
  {
    const Line line = connect(laptop_, good(laptop_));
    flow(line);
    flow(line);
    EXPECT_EQ(flows_.open(), 2u);
  }
  EXPECT_EQ(flows_.open(), 0u);
}

}  // namespace
}  // namespace tg::connector
