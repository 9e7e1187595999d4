// What the tunnel's tests share: a handler that writes down what it is told, and two tunnels joined by nothing but
// copying.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/tunnel.h"

namespace tg {

using namespace std::chrono_literals;
using namespace std::string_view_literals;

inline constexpr auto kAtClient = Tunnel::Side::client;
inline constexpr auto kAtConnector = Tunnel::Side::connector;
inline constexpr auto kZero4 = "\0\0\0\0"sv;
inline constexpr auto kOne4 = "\0\0\0\1"sv;

inline Instant at(Duration d) { return Instant{} + d; }
inline void append(Buffer& to, Bytes b) { to.insert(to.end(), b.begin(), b.end()); }
inline std::uint16_t port_for(Protocol p) { return p == Protocol::icmp ? 0 : 80; }

// Recorder keeps what it is told as lines, stream bytes apart, and has bytes to send for those who ask.
struct Recorder : TunnelHandler {
  struct Out {
    std::string bytes;
    bool fin = false;
  };

  std::vector<std::string> told;
  std::map<StreamId, std::string> got;
  std::map<StreamId, Out> out;
  std::vector<OpenRequest> opens;
  std::vector<std::string> datagrams;
  std::function<void(StreamId)> in_pull = [](StreamId) {};
  std::function<void(StreamId)> in_data = [](StreamId) {};
  std::function<void(StreamId)> in_open = [](StreamId) {};
  std::size_t pulls = 0;

  void tell(std::string_view what, StreamId id, std::string_view more = {}) {
    std::string line = std::string(what) + " " + std::to_string(id);
    if (!more.empty()) line += " " + std::string(more);
    told.push_back(line);
  }

  void on_grant(std::string_view jws) override { told.push_back("grant " + std::string(jws.substr(0, 8))); }
  void on_open(StreamId id, const OpenRequest& request) override {
    opens.push_back(request);
    tell("open", id, request.host);
    in_open(id);
  }
  void on_query(StreamId id, const Query& query) override { tell("query", id, query.name); }
  void on_opened(StreamId id) override { tell("opened", id); }
  void on_answer(StreamId id, std::uint8_t rcode, Bytes records) override {
    tell("answer", id, std::to_string(rcode) + "/" + std::to_string(records.size()));
  }
  void on_data(StreamId id, Bytes data) override {
    got[id].append(as_text(data));
    in_data(id);
  }
  void on_fin(StreamId id) override { tell("fin", id); }
  void on_datagram(StreamId id, Bytes datagram) override {
    tell("datagram", id);
    datagrams.emplace_back(as_text(datagram));
  }
  void on_echo(StreamId id, const Echo& echo) override {
    tell("echo", id, std::to_string(echo.sequence) + "/" + std::to_string(echo.payload.size()));
  }
  void on_reset(StreamId id, Code code) override { tell("reset", id, to_string(code)); }
  void on_goaway(Code code) override { told.push_back("goaway " + std::string(to_string(code))); }
  Pull pull(StreamId id, MutBytes room) override {
    ++pulls;
    in_pull(id);
    Out& o = out[id];
    const std::size_t n = std::min(room.size(), o.bytes.size());
    std::copy_n(o.bytes.begin(), n, room.begin());
    o.bytes.erase(0, n);
    return {n, !o.bytes.empty(), o.fin && o.bytes.empty()};
  }

  std::vector<std::string> take() { return std::exchange(told, {}); }
};

// Pair is a client and a connector. run() carries bytes until both are quiet.
struct Pair {
  Instant now = at(1s);
  Recorder c;
  Recorder s;
  Tunnel client;
  Tunnel connector;
  std::array<std::uint8_t, kFrameMax> record{};

  explicit Pair(TunnelLimits of_client = {}, TunnelLimits of_connector = {})
      : client(Tunnel::Side::client, c, now, of_client), connector(Tunnel::Side::connector, s, now, of_connector) {}

  std::size_t carry(Tunnel& from, Tunnel& to) {
    const std::size_t n = from.produce(record, now);
    if (n > 0) {
      const auto ok = to.feed(Bytes(record).first(n), now);
      EXPECT_TRUE(ok) << ok.error().text;
    }
    return n;
  }
  void run() {
    while (carry(client, connector) + carry(connector, client) > 0) {
    }
  }
  StreamId open(Protocol p = Protocol::tcp) {
    const auto id = client.open({7, p, port_for(p), "nas.home.int"});
    EXPECT_TRUE(id);
    return *id;
  }
  StreamId open_wide(Protocol p = Protocol::tcp) {   // and opened
    const StreamId id = open(p);
    run();
    connector.opened(id);
    run();
    c.take();
    s.take();
    return id;
  }
};

// Lone is one tunnel whose peer is written by hand.
struct Lone {
  Instant now = at(1s);
  Recorder h;
  Tunnel tunnel;
  Buffer in;      // frames for it

  explicit Lone(Tunnel::Side side, TunnelLimits limits = {}) : tunnel(side, h, now, limits) {}

  Result<> feed() {
    const Buffer bytes = std::exchange(in, {});
    return tunnel.feed(bytes, now);
  }
  void frame(FrameType type, std::uint8_t flags, StreamId id, std::string_view payload = {}) {
    std::array<std::uint8_t, kFrameHeader> head{};
    write_header(head, {type, flags, static_cast<std::uint16_t>(payload.size()), id});
    in.insert(in.end(), head.begin(), head.end());
    in.insert(in.end(), payload.begin(), payload.end());
  }
  void open(StreamId id, Protocol p = Protocol::tcp) {
    encode_open(in, id, {7, p, port_for(p), "nas"}, p == Protocol::tcp ? 1000 : 0);
  }
  // sent returns the frames that it has to say, as "TYPE stream" lines, with the code of RESET and GOAWAY.
  std::vector<std::string> sent() {
    std::vector<std::string> lines;
    std::array<std::uint8_t, kFrameMax> record{};
    while (const std::size_t n = tunnel.produce(record, now)) {
      for (Bytes b = Bytes(record).first(n); !b.empty();) {
        const FrameHeader h = read_header(b);
        std::string line = std::string(to_string(h.type)) + " " + std::to_string(h.stream);
        const Bytes payload = b.subspan(kFrameHeader, h.length);
        const bool coded = h.type == FrameType::reset || h.type == FrameType::goaway;
        if (coded) line += " " + std::string(to_string(decode_reset(payload)));
        lines.push_back(line);
        b = b.subspan(kFrameHeader + h.length);
      }
    }
    return lines;
  }
};

inline StreamId client_open(Lone& l, Protocol p = Protocol::tcp) {
  return l.tunnel.open({7, p, port_for(p), "nas"}).value();
}

}  // namespace tg
