// Two tunnels on a simulated link, two owners that do at random what owners do, and a model of what each stream must
// have delivered. Every choice comes from a Dice, so that a seed, or a fuzzer's bytes, say all that happens.
#pragma once

#include <array>
#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "core/tunnel.h"

namespace tg::model {

using Dice = std::function<std::uint32_t(std::uint32_t below)>;

// stream_bytes are the `n` bytes (at most a frame) at `offset` of what `side` sends on stream `id`: nothing lost,
// doubled or reordered goes unseen.
inline Bytes stream_bytes(StreamId id, int side, std::uint64_t offset, std::size_t n) {
  constexpr std::size_t kPeriod = 65521;   // a prime, so that no loss of whole frames or records fits it
  static const Buffer noise = [] {
    Buffer b(kPeriod);
    std::uint32_t x = 1;
    for (auto& v : b) v = static_cast<std::uint8_t>((x = x * 1664525 + 1013904223) >> 24);
    b.insert(b.end(), b.begin(), b.begin() + kFrameMax);
    return b;
  }();
  return Bytes(noise).subspan((offset + id * 7919 + static_cast<unsigned>(side) * 30011) % kPeriod, n);
}

// End is one side's view of one stream.
struct End {
  Protocol protocol = Protocol::tcp;
  bool opened = false;
  bool over = false;               // reset, either way
  std::uint64_t to_send = 0;
  std::uint64_t sent = 0;
  bool wants_fin = false;
  bool fin_sent = false;
  std::uint64_t received = 0;
  std::uint64_t held = 0;
  bool fin_got = false;
  std::uint32_t pace = 0;          // bytes read a step; 0: not before the end
  std::uint32_t datagrams_sent = 0;
  std::uint32_t datagrams_got = 0;
};

struct Wire {
  struct Chunk {
    Instant at;
    Buffer bytes;
  };
  Duration delay{};
  std::uint64_t rate = 0;          // bytes a second
  Instant free{};                  // when the last byte handed over is on its way
  std::deque<Chunk> chunks;
};

class World;

class Owner final : public TunnelHandler {
 public:
  Owner(World& world, int side) : world_(world), side_(side) {}

  void on_grant(std::string_view jws) override;
  void on_open(StreamId id, const OpenRequest& request) override;
  void on_query(StreamId id, const Query& query) override;
  void on_opened(StreamId id) override;
  void on_answer(StreamId id, std::uint8_t rcode, Bytes records) override;
  void on_data(StreamId id, Bytes data) override;
  void on_fin(StreamId id) override;
  void on_datagram(StreamId id, Bytes datagram) override;
  void on_echo(StreamId id, const Echo& echo) override { on_datagram(id, echo.payload); }
  void on_reset(StreamId id, Code code) override;
  void on_goaway(Code code) override;
  Pull pull(StreamId id, MutBytes out) override;

  std::map<StreamId, End> ends;
  std::set<StreamId> unanswered;   // OPENs
  std::set<StreamId> queries;
  bool goodbye = false;

 private:
  World& world_;
  const int side_;
};

class World {
 public:
  explicit World(Dice dice, bool small = false);

  // run does `steps` of anything, then lets everything finish. It returns what went wrong, or "".
  std::string run(int steps);

  // run_cut does `steps` of anything and cuts the link, one way or both, without a word; the owners go on as if nothing
  // were. Both ends must find out in time, a client with streams within seconds suspect it, and neither does anything
  // more. It returns what went wrong, or "".
  std::string run_cut(int steps);

  void wrong(const std::string& what) {
    if (problem_.empty()) problem_ = what;
  }
  std::uint32_t dice(std::uint32_t below) { return below == 0 ? 0 : dice_(below); }
  bool finishing() const { return finishing_; }
  std::uint64_t max_held(int side) const { return limits_[static_cast<std::size_t>(side)].max_credit; }
  Tunnel& tunnel(int side) { return side == 0 ? client_ : connector_; }
  Owner& owner(int side) { return side == 0 ? c_ : s_; }

  std::uint64_t delivered = 0;
  double fullest = 0;              // the most that was held for all streams of a side, as a share of what may be

 private:
  static TunnelLimits random_limits(const Dice& dice, bool small);
  void act();
  void act_on(int side);
  void open();
  void send_datagram(int side, StreamId id, End& e);
  void settle(int side, StreamId id);
  void read(int side);
  void carry();
  void judge_memory(int side);
  bool quiet() const;
  void finish();
  void judge();
  void judge_dead(int side);

  Dice dice_;
  std::array<TunnelLimits, 2> limits_;
  Instant now_ = Instant{} + std::chrono::seconds(1);
  Owner c_;
  Owner s_;
  Tunnel client_;
  Tunnel connector_;
  std::array<Wire, 2> wires_;      // [0]: from the client
  std::array<bool, 2> cut_{};      // what this side sends gets nowhere
  std::array<std::size_t, 2> room_{65536, 65536};   // what the socket of a cut link still takes
  std::array<bool, 2> dead_{};     // this side has found the tunnel dead
  bool finishing_ = false;
  std::string problem_;
};

// --- Owner

inline void Owner::on_grant(std::string_view jws) {
  for (const char c : jws) {
    if (c != 'g') return world_.wrong("a grant came out wrong");
  }
}

inline void Owner::on_open(StreamId id, const OpenRequest& request) {
  if (ends.contains(id)) world_.wrong("an id came twice");
  End& e = ends[id];
  e.protocol = request.protocol;
  e.pace = world_.dice(4) == 0 ? 0 : 1 + world_.dice(20'000);
  unanswered.insert(id);
}

inline void Owner::on_query(StreamId id, const Query& query) {
  if (query.name != "q" + std::to_string(id)) world_.wrong("a query came out wrong");
  queries.insert(id);
}

inline void Owner::on_opened(StreamId id) {
  End& e = ends.at(id);
  if (e.opened || e.over) world_.wrong("opened what was opened or over");
  e.opened = true;
}

inline void Owner::on_answer(StreamId id, std::uint8_t rcode, Bytes records) {
  if (queries.erase(id) != 1) world_.wrong("an answer to nothing");
  if (rcode != id % 16 || records.size() != id * 37 % 60'000) world_.wrong("an answer came out wrong");
}

inline void Owner::on_data(StreamId id, Bytes data) {
  End& e = ends.at(id);
  if (e.over || e.fin_got || !e.opened) world_.wrong("data on a stream that takes none");
  const Bytes expected = stream_bytes(id, 1 - side_, e.received, data.size());
  const bool same = std::equal(data.begin(), data.end(), expected.begin());
  if (!same) world_.wrong("a byte was lost, doubled or reordered");
  e.received += data.size();
  e.held += data.size();
  world_.delivered += data.size();
  if (e.held > world_.max_held(side_)) world_.wrong("more bytes held than there is credit");
}

inline void Owner::on_fin(StreamId id) {
  End& e = ends.at(id);
  if (e.over || e.fin_got) world_.wrong("an end too many");
  e.fin_got = true;
}

inline void Owner::on_datagram(StreamId id, Bytes datagram) {
  End& e = ends.at(id);
  Reader r(datagram);
  const std::uint32_t number = r.u32();
  if (e.over || !r.ok() || number != ++e.datagrams_got) world_.wrong("a datagram was lost, doubled or reordered");
  if (datagram.size() < 5 || datagram.back() != static_cast<std::uint8_t>(number)) {
    world_.wrong("a datagram came out wrong");
  }
}

inline void Owner::on_reset(StreamId id, Code) {
  unanswered.erase(id);
  if (queries.erase(id) > 0) return;
  End& e = ends.at(id);
  if (e.over) world_.wrong("reset what was over");
  e.over = true;
}

inline void Owner::on_goaway(Code) { goodbye = true; }

inline Pull Owner::pull(StreamId id, MutBytes out) {
  End& e = ends.at(id);
  if (e.over || !e.opened || e.fin_sent || out.empty()) world_.wrong("asked a stream that must not be");
  if (!world_.finishing() && world_.dice(50) == 0) {
    world_.tunnel(side_).reset(id, Code::reset);
    e.over = true;
    return {out.size(), true, false};
  }
  std::uint64_t n = std::min<std::uint64_t>(out.size(), e.to_send - e.sent);
  if (world_.dice(3) == 0) n = std::min<std::uint64_t>(n, 1 + world_.dice(3'000));
  const Bytes bytes = stream_bytes(id, side_, e.sent, n);
  std::copy(bytes.begin(), bytes.end(), out.begin());
  e.sent += n;
  const bool all = e.sent == e.to_send;
  e.fin_sent = all && e.wants_fin;
  return {n, !all, e.fin_sent};
}

// --- World

inline TunnelLimits World::random_limits(const Dice& dice, bool small) {
  constexpr std::array<std::uint32_t, 4> kFirst = {100, 1'000, 16'000, 256 * 1024};
  TunnelLimits l;
  l.first_credit = kFirst[dice(small ? 2 : 4)];
  l.max_credit = l.first_credit << dice(7);
  l.total_credit = l.first_credit * (1 + dice(40));
  l.least_credit = 1 + dice(l.first_credit);
  l.max_streams = 1 + dice(60);
  l.max_queued_datagrams = 70'000 + dice(100'000);
  return l;
}

inline World::World(Dice dice, bool small)
    : dice_(std::move(dice)), limits_{random_limits(dice_, small), random_limits(dice_, small)},
      c_(*this, 0), s_(*this, 1),
      client_(Tunnel::Side::client, c_, now_, limits_[0]), connector_(Tunnel::Side::connector, s_, now_, limits_[1]) {
  for (Wire& w : wires_) {
    w.delay = std::chrono::microseconds(dice_(100) * dice_(100) * 10);
    w.rate = 1'000'000 + dice_(1'000'000) * std::uint64_t{1'000};
  }
}

inline void World::open() {
  switch (dice(6)) {
    case 0:
    case 1:
    case 2:
    case 3: {
      const auto kind = dice(6);
      const Protocol p = kind < 4 ? Protocol::tcp : kind == 4 ? Protocol::udp : Protocol::icmp;
      const auto id = client_.open({7, p, p == Protocol::icmp ? std::uint16_t{0} : std::uint16_t{80}, "host"});
      if (!id) return;
      End& e = c_.ends[*id];
      e.protocol = p;
      e.pace = dice(4) == 0 ? 0 : 1 + dice(20'000);
      if (p != Protocol::tcp && dice(2) == 0) send_datagram(0, *id, e);
      return;
    }
    case 4: {
      // The name tells the id, which is not known before: ids are counted.
      const auto id = client_.query({7, "q" + std::to_string((c_.ends.empty() ? 0 : c_.ends.rbegin()->first) + 1), 15});
      if (!id) return;
      c_.ends[*id].over = true;    // takes the id; it is no flow
      c_.queries.insert(*id);
      return;
    }
    default: client_.send_grant(std::string(dice(40'000), 'g'));
  }
}

inline void World::send_datagram(int side, StreamId id, End& e) {
  Buffer b;
  Writer w(b);
  w.u32(e.datagrams_sent + 1);
  b.resize(dice(5) == 0 ? 5 + dice(60'000) : 5 + dice(1'500), static_cast<std::uint8_t>(e.datagrams_sent + 1));
  const bool taken = e.protocol == Protocol::udp ? tunnel(side).datagram(id, b) : tunnel(side).echo(id, {1, b});
  if (taken) ++e.datagrams_sent;
}

// settle answers an OPEN or a QUERY.
inline void World::settle(int side, StreamId id) {
  if (s_.queries.erase(id) > 0) {
    return connector_.answer(id, static_cast<std::uint8_t>(id % 16), Buffer(id * 37 % 60'000));
  }
  s_.unanswered.erase(id);
  End& e = owner(side).ends.at(id);
  if (!finishing_ && dice(5) == 0) {
    connector_.reset(id, Code::refused);
    e.over = true;
  } else {
    connector_.opened(id);
    e.opened = true;
  }
}

inline void World::act_on(int side) {
  auto& ends = owner(side).ends;
  if (ends.empty()) return;
  auto it = ends.lower_bound(1 + dice(ends.rbegin()->first));
  if (it == ends.end() || it->second.over) return;
  auto& [id, e] = *it;
  if (e.protocol != Protocol::tcp) {
    if (dice(10) == 0) {
      tunnel(side).reset(id, Code::none);
      e.over = true;
    } else if (side == 0 || e.opened) {
      send_datagram(side, id, e);
    }
    return;
  }
  const auto what = dice(30);
  if (what == 0) {
    tunnel(side).reset(id, Code::reset);
    e.over = true;
    if (side == 1) s_.unanswered.erase(id);
  } else if (!e.wants_fin) {
    e.to_send += dice(what < 4 ? 200'000 : 5'000) % (limits_[static_cast<std::size_t>(1 - side)].first_credit * 20);
    e.wants_fin = what == 1 || what == 5;
    tunnel(side).readable(id);
  }
}

inline void World::act() {
  const auto what = dice(20);
  if (what < 4) {
    open();
  } else if (what < 8) {
    if (!s_.unanswered.empty()) settle(1, *s_.unanswered.begin());
    if (!s_.queries.empty() && dice(2) == 0) settle(1, *s_.queries.rbegin());
  } else if (what == 8 && !c_.queries.empty() && dice(4) == 0) {
    const StreamId id = *c_.queries.begin();
    c_.queries.erase(id);
    client_.reset(id, Code::none);
  } else if (what == 9 && dice(200) == 0) {
    tunnel(static_cast<int>(dice(2))).goaway(Code::shutting_down);
  } else {
    act_on(static_cast<int>(what % 2));
  }
}

inline void World::read(int side) {
  for (auto& [id, e] : owner(side).ends) {
    if (e.held == 0 || e.over) continue;
    const std::uint64_t n = std::min<std::uint64_t>(e.held, finishing_ ? UINT32_MAX : e.pace);
    e.held -= n;
    tunnel(side).consumed(id, n);
  }
}

inline void World::carry() {
  std::array<std::uint8_t, kFrameMax> record{};
  for (int side = 0; side < 2; ++side) {
    Wire& w = wires_[static_cast<std::size_t>(side)];
    std::size_t& room = room_[static_cast<std::size_t>(side)];
    while (cut_[static_cast<std::size_t>(side)] && room >= kFrameMax) {
      const std::size_t n = tunnel(side).produce(record, now_);
      room -= n;
      if (n == 0) break;
    }
    while (!cut_[static_cast<std::size_t>(side)] && w.free < now_ + std::chrono::milliseconds(2)) {     // the socket takes no more than that
      const std::size_t n = tunnel(side).produce(record, now_);
      if (n == 0) break;
      w.free = std::max(w.free, now_) + std::chrono::nanoseconds(n * 1'000'000'000 / w.rate);
      w.chunks.push_back({w.free + w.delay, Buffer(record.begin(), record.begin() + static_cast<std::ptrdiff_t>(n))});
    }
  }
  for (int side = 0; side < 2; ++side) {
    Wire& w = wires_[static_cast<std::size_t>(side)];
    while (!w.chunks.empty() && w.chunks.front().at <= now_) {
      for (Bytes b = w.chunks.front().bytes; !b.empty();) {
        const auto all = static_cast<std::uint32_t>(b.size());
        const std::size_t n = dice(3) == 0 ? std::min(all, 1 + dice(20)) : 1 + dice(all);
        const auto ok = tunnel(1 - side).feed(b.first(n), now_);
        if (!ok) return wrong("feed: " + ok.error().text);
        b = b.subspan(n);
      }
      w.chunks.pop_front();
    }
  }
  for (int side = 0; side < 2; ++side) judge_memory(side);
  for (int side = 0; side < 2; ++side) {
    bool& dead = dead_[static_cast<std::size_t>(side)];
    if (dead || now_ < tunnel(side).next_deadline()) continue;
    const auto ok = tunnel(side).on_timeout(now_);
    if (ok) continue;
    if (!cut_[0] && !cut_[1]) wrong("on_timeout: " + ok.error().text);
    if (ok.error().code != Errc::timed_out) wrong("a cut link is not what it died of: " + ok.error().text);
    dead = cut_[0] = cut_[1] = true;         // a dead end closes its socket
  }
}

// judge_memory adds up what the owner holds for all live streams: no more than total_credit, but for the least_credit
// with which streams still begin above it.
inline void World::judge_memory(int side) {
  const TunnelLimits& l = limits_[static_cast<std::size_t>(side)];
  std::uint64_t held = 0;
  std::uint64_t bound = l.total_credit;
  for (const auto& [id, e] : owner(side).ends) {
    if (e.over || e.protocol != Protocol::tcp || !tunnel(side).alive(id)) continue;
    held += e.held;
    bound += std::min(l.first_credit, l.least_credit);
  }
  fullest = std::max(fullest, static_cast<double>(held) / static_cast<double>(bound));
  if (held > bound) wrong("more bytes held for all streams than there is credit for them");
}

inline bool World::quiet() const {
  return !client_.wants_output() && !connector_.wants_output() && wires_[0].chunks.empty() && wires_[1].chunks.empty();
}

// finish lets readers read and writers end, and waits until nothing moves.
inline void World::finish() {
  finishing_ = true;
  int still = 0;
  for (int steps = 0; steps < 200'000 && problem_.empty(); ++steps) {
    now_ += std::chrono::milliseconds(1);
    while (!s_.unanswered.empty()) settle(1, *s_.unanswered.begin());
    while (!s_.queries.empty()) settle(1, *s_.queries.begin());
    for (int side = 0; side < 2; ++side) {
      for (auto& [id, e] : owner(side).ends) {
        if (e.over || e.protocol != Protocol::tcp || e.wants_fin) continue;
        e.wants_fin = true;
        tunnel(side).readable(id);
      }
      read(side);
    }
    carry();
    still = quiet() ? still + 1 : 0;
    if (still > 3) return;
  }
  wrong("something is stuck");
}

// judge compares both ends of every stream.
inline void World::judge() {
  for (auto& [id, near] : c_.ends) {
    const auto it = s_.ends.find(id);
    if (it == s_.ends.end()) {
      if (!near.over) wrong("a stream that the connector never saw lives on");
      continue;
    }
    const End& far = it->second;
    if (near.over || far.over) {
      const auto ended = [](const End& e) { return e.over || (e.fin_sent && e.fin_got); };
      if (!ended(near) || !ended(far)) wrong("a reset was lost");
      if (client_.alive(id) || connector_.alive(id)) wrong("a stream outlived its reset");
    } else if (near.protocol == Protocol::tcp) {
      if (near.received != far.to_send || far.received != near.to_send) wrong("bytes are missing");
      if (!near.fin_got || !far.fin_got) wrong("an end is missing");
      if (client_.alive(id) || connector_.alive(id)) wrong("a stream outlived both ends");
    } else {
      const bool all = near.datagrams_got == far.datagrams_sent && far.datagrams_got == near.datagrams_sent;
      if (!all) wrong("datagrams are missing");
      client_.reset(id, Code::none);
    }
  }
  if (!c_.queries.empty()) wrong("a query has no answer");
}

inline std::string World::run(int steps) {
  for (int i = 0; i < steps && problem_.empty(); ++i) {
    now_ += std::chrono::microseconds(dice(3'000));
    for (std::uint32_t n = dice(4); n > 0; --n) act();
    for (int side = 0; side < 2; ++side) read(side);
    carry();
  }
  if (problem_.empty()) finish();
  if (problem_.empty()) judge();
  if (problem_.empty()) finish();
  if (problem_.empty() && client_.streams() + connector_.streams() > 0) wrong("streams are left over");
  return problem_;
}

inline std::string World::run_cut(int steps) {
  for (int i = 0; i < steps && problem_.empty(); ++i) {
    now_ += std::chrono::microseconds(dice(3'000));
    for (std::uint32_t n = dice(4); n > 0; --n) act();
    for (int side = 0; side < 2; ++side) read(side);
    carry();
  }
  if (c_.goodbye || s_.goodbye) return problem_;
  const auto ways = 1 + dice(3);
  cut_ = {(ways & 1) != 0, (ways & 2) != 0};
  for (std::size_t side = 0; side < 2; ++side) {
    if (cut_[side]) wires_[side].chunks.clear();
  }
  const Instant since = now_;
  const auto asks = client_.open({7, Protocol::tcp, 80, "host"});
  if (asks) c_.ends[*asks].protocol = Protocol::tcp;
  bool suspected = false;
  const Duration found = limits_[0].ping_after + limits_[0].dead_after;
  while (problem_.empty() && !(dead_[0] && dead_[1])) {
    now_ += std::chrono::milliseconds(1 + dice(400));
    if (now_ - since > 2 * found + std::chrono::seconds(5)) wrong("a dead link was not found out");
    if (now_ - since < std::chrono::seconds(20)) act();
    for (int side = 0; side < 2; ++side) read(side);
    carry();
    suspected = suspected || client_.silent();
  }
  if (problem_.empty() && asks && !suspected) wrong("a client that waits for an answer did not suspect anything");
  for (int side = 0; side < 2 && problem_.empty(); ++side) judge_dead(side);
  return problem_;
}

// judge_dead goes on using a tunnel that is over: it must take it, and do nothing.
inline void World::judge_dead(int side) {
  Tunnel& t = tunnel(side);
  std::array<std::uint8_t, kFrameMax> record{};
  if (side == 0 && client_.open({7, Protocol::tcp, 80, "host"})) wrong("a stream was opened on a dead tunnel");
  for (auto& [id, e] : owner(side).ends) {
    if (dice(2) == 0) t.readable(id);
    if (dice(2) == 0) t.reset(id, Code::reset);
  }
  while (t.produce(record, now_) > 0) {
  }
  if (t.wants_output()) wrong("a dead tunnel wants to say more");
  if (t.next_deadline() != kNever) wrong("a dead tunnel waits for something");
}

}  // namespace tg::model
