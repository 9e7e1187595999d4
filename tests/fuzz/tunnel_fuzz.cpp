// Three lives of a tunnel, chosen by the first byte: (0, 1) bytes from anybody at a connector or a client with streams
// of every kind; (2) two honest tunnels, and a link that changes bytes; (3) the model of tests/core with the input as
// its dice.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "core/tunnel.h"
#include "tests/core/tunnel_model.h"

using namespace tg;

namespace {

void require(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

// Nimble is an owner that answers everything, and holds the tunnel to its word.
struct Nimble final : TunnelHandler {
  Tunnel* tunnel = nullptr;
  std::set<StreamId> live;
  std::uint32_t turn = 0;

  void on_grant(std::string_view jws) override { require(jws.size() <= kGrantMax, "grant too long"); }
  void on_open(StreamId id, const OpenRequest& request) override {
    require(live.insert(id).second, "id twice");
    require(!request.host.empty() && request.host.size() <= kHostMax, "host");
    if (++turn % 5 == 0) return drop(id);
    if (turn % 7 != 0) tunnel->opened(id);
    tunnel->readable(id);
    tunnel->datagram(id, as_bytes("hello"));
    tunnel->echo(id, {1, as_bytes("hello")});
  }
  void on_query(StreamId id, const Query&) override {
    if (++turn % 3 != 0) return tunnel->answer(id, 0, Buffer(turn % 20'000));
    live.insert(id);
  }
  void on_opened(StreamId id) override {
    require(live.contains(id), "opened what is not");
    tunnel->readable(id);
  }
  void on_answer(StreamId id, std::uint8_t, Bytes records) override {
    require(live.erase(id) == 1 && records.size() < kAnswerMax, "answer to nothing");
  }
  void on_data(StreamId id, Bytes data) override {
    require(live.contains(id) && !data.empty(), "data for nobody");
    if (++turn % 11 == 0) return drop(id);
    if (turn % 4 != 0) tunnel->consumed(id, data.size());
  }
  void on_fin(StreamId id) override { require(live.contains(id), "fin for nobody"); }
  void on_datagram(StreamId id, Bytes datagram) override {
    require(live.contains(id) && datagram.size() <= kDatagramMax, "datagram for nobody");
    tunnel->datagram(id, datagram);
  }
  void on_echo(StreamId id, const Echo& echo) override {
    require(live.contains(id), "echo for nobody");
    tunnel->echo(id, echo);
  }
  void on_reset(StreamId id, Code) override { require(live.erase(id) == 1, "reset of nothing"); }
  void on_goaway(Code) override {}
  Pull pull(StreamId id, MutBytes out) override {
    require(live.contains(id) && !out.empty() && out.size() <= kPayloadMax, "pull for nobody");
    const std::size_t n = std::min<std::size_t>(out.size(), ++turn % 5'000);
    return {n, turn % 6 != 0, turn % 13 == 0};
  }
  void drop(StreamId id) {
    live.erase(id);
    tunnel->reset(id, Code::denied);
  }
};

TunnelLimits tight() {
  TunnelLimits l;
  l.first_credit = 20'000;
  l.max_credit = 100'000;
  l.total_credit = 300'000;
  l.max_streams = 50;
  l.max_queued_control = 20'000;
  l.max_queued_datagrams = 100'000;
  return l;
}

void open_some(Tunnel& client, Nimble& owner) {
  for (const Protocol p : {Protocol::tcp, Protocol::udp, Protocol::icmp, Protocol::tcp}) {
    owner.live.insert(*client.open({7, p, p == Protocol::icmp ? std::uint16_t{0} : std::uint16_t{80}, "nas"}));
  }
  owner.live.insert(*client.query({7, "nas", 15}));
  client.send_grant("ey.grant");
}

// sane takes the tunnel's output and checks that its frames are whole and well made.
void sane(Tunnel& t, Instant now, bool client) {
  std::array<std::uint8_t, kFrameMax> record{};
  for (int i = 0; i < 4; ++i) {
    const std::size_t n = t.produce(record, now);
    bool continuing = true;    // the record may begin with a later piece
    for (Bytes b = Bytes(record).first(n); !b.empty();) {
      require(b.size() >= kFrameHeader, "cut header");
      const FrameHeader h = read_header(b);
      require(b.size() >= kFrameHeader + h.length, "cut frame");
      require(header_problem(h, client, continuing).empty(), "bad header");
      continuing = (h.flags & kFlagMore) != 0;
      b = b.subspan(kFrameHeader + h.length);
    }
  }
}

void anybody(Bytes in, Tunnel::Side side) {
  Nimble owner;
  Instant now{};
  Tunnel t(side, owner, now, tight());
  owner.tunnel = &t;
  if (side == Tunnel::Side::client) open_some(t, owner);
  while (!in.empty()) {
    const std::size_t n = std::min<std::size_t>(in.size(), 1 + in[0] % 64u);
    const bool ok = t.feed(in.first(n), now).has_value();
    in = in.subspan(n);
    now += std::chrono::milliseconds(n);
    sane(t, now, side == Tunnel::Side::client);
    if (!ok) break;
    require(t.streams() <= 50, "too many streams");
  }
  (void)t.on_timeout(now + std::chrono::seconds(20));
}

void mutated(Bytes in) {
  Nimble c;
  Nimble s;
  Instant now{};
  Tunnel client(Tunnel::Side::client, c, now, tight());
  Tunnel connector(Tunnel::Side::connector, s, now, tight());
  c.tunnel = &client;
  s.tunnel = &connector;
  open_some(client, c);
  Reader r(in);
  std::array<std::uint8_t, kFrameMax> record{};
  const auto carry = [&](Tunnel& from, Tunnel& to) {
    const std::size_t n = from.produce(record, now);
    if (n == 0) return true;
    if (r.u8() % 4 == 1) record[r.u16() % n] ^= r.u8();
    return to.feed(Bytes(record).first(n), now).has_value();
  };
  for (int i = 0; i < 60 && r.ok(); ++i) {
    now += std::chrono::milliseconds(r.u8());
    if (!carry(client, connector) || !carry(connector, client)) break;
  }
}

void lived(Bytes in) {
  std::uint64_t seed = in.size();
  for (const std::uint8_t b : in) seed = (seed ^ b) * 0x100000001b3;
  model::World world([r = Reader(in), seed](std::uint32_t below) mutable {
    if (r.left() >= 2) return static_cast<std::uint32_t>(r.u16()) * below >> 16;
    seed = seed * 6364136223846793005u + 1442695040888963407u;    // then a generator goes on, so that lives can finish
    return static_cast<std::uint32_t>((seed >> 32) * below >> 32);
  }, true);
  const std::string problem = world.run(static_cast<int>(std::min<std::size_t>(in.size() / 8, 100)));
  require(problem.empty(), problem.c_str());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes in(data + 1, size - 1);
  switch (data[0] % 4) {
    case 0: anybody(in, Tunnel::Side::connector); break;
    case 1: anybody(in, Tunnel::Side::client); break;
    case 2: mutated(in); break;
    default: lived(in);
  }
  return 0;
}
