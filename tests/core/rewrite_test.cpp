#include "core/rewrite.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>
#include <set>

#include "core/offload.h"
#include "tests/support/packets.h"

namespace tg::rewrite_test {

using tg::test::make_partial;
using tg::test::tcp_packet;
using Action = Rewriter::Action;
using Event = Rewriter::Event;
using End = Rewriter::End;
using namespace std::chrono_literals;

constexpr Ipv4 kLocal{0xAC101E01}, kPeer{0xAC101E02}, kContainer{0xAC110005}, kFar{0x64600007};
constexpr std::uint16_t kListen = 7000;
constexpr Ipv4Port kListener{kLocal, kListen};
constexpr auto kSyn = tcp_flag::syn, kAck = tcp_flag::ack, kFin = tcp_flag::fin, kRst = tcp_flag::rst;
constexpr Instant kStart{1h};

Rewriter::Config config() {
  Rewriter::Config c;
  c.listen_port = kListen;
  c.hash_seed = 42;
  return c;
}

// A flow of `key` as both ends see it, and the packets they write.
struct Wire {
  FlowKey key{{kLocal, 40000}, {kFar, 443}};
  std::uint32_t isn = 1000;

  Buffer syn() const { return tcp_packet(key.src, key.dst, isn, 0, kSyn); }
  // `heard`: how many bytes of the other side, its FIN among them, are acknowledged.
  Buffer app(unsigned flags, Bytes payload = {}, std::uint32_t heard = 0) const {
    return tcp_packet(key.src, key.dst, isn + 1, 5000 + heard, flags, payload);
  }
  Buffer listener(Ipv4Port peer, unsigned flags, Bytes payload = {}, std::uint32_t heard = 0) const {
    return tcp_packet(kListener, peer, 5000, isn + 1 + heard, flags, payload);
  }
};

struct Rig {
  explicit Rig(Rewriter::Config c = config()) : rewriter(c) {}
  Rewriter rewriter;
  Instant now = kStart;

  Rewriter::Outcome put(Buffer& packet) {
    VnetHeader h;
    return rewriter.process(packet, h, now);
  }
  Rewriter::Outcome put(Buffer&& packet) { return put(packet); }

  FlowId open(const Wire& w) {
    const auto out = put(w.syn());
    EXPECT_EQ(out.event, Event::opened);
    return out.flow;
  }
  // establish returns the peer that the listener sees.
  Ipv4Port establish(const Wire& w, FlowId* id = nullptr) {
    const FlowId flow = open(w);
    if (id != nullptr) *id = flow;
    const auto syn = rewriter.admit(flow, now);
    EXPECT_TRUE(syn);
    const auto ip = parse_ipv4(*syn);
    const Ipv4Port peer{ip->src, parse_tcp(*ip)->src_port};
    EXPECT_EQ(put(w.listener(peer, kSyn | kAck)).action, Action::write);
    EXPECT_EQ(put(w.app(kAck)).action, Action::write);
    return peer;
  }
};

FlowKey ends(Bytes packet) {
  const auto ip = parse_ipv4(packet);
  const auto t = parse_tcp(*ip);
  return {{ip->src, t->src_port}, {ip->dst, t->dst_port}};
}

bool whole(Bytes packet) {
  const auto ip = parse_ipv4(packet);
  return ip && checksum(packet.first(ip->header)) == 0 && checksum_ok(*ip);
}

unsigned flags_of(Bytes packet) { return parse_tcp(*parse_ipv4(packet))->flags; }

TEST(Rewriter, holds_a_syn_and_swallows_its_repetitions) {
  Rig r;
  const Wire w;
  const auto first = r.put(w.syn());
  EXPECT_EQ(first.action, Action::drop);
  EXPECT_EQ(first.event, Event::opened);
  EXPECT_EQ(r.rewriter.key_of(first.flow), w.key);
  for (int i = 0; i < 3; ++i) {
    const auto again = r.put(w.syn());
    EXPECT_EQ(again.action, Action::drop);
    EXPECT_EQ(again.event, Event::none);
  }
  EXPECT_EQ(r.rewriter.counts().held, 1u);
}

TEST(Rewriter, admits_by_bending_the_syn_to_the_listener) {
  Rig r;
  const Wire w;
  const std::uint8_t mss[] = {2, 4, 0xFF, 0xD7};
  const auto out = r.put(tcp_packet(w.key.src, w.key.dst, w.isn, 0, kSyn, {}, mss));
  const auto syn = r.rewriter.admit(out.flow, r.now);
  ASSERT_TRUE(syn);
  EXPECT_EQ(ends(*syn), (FlowKey{{kPeer, 1024}, kListener}));
  EXPECT_EQ(parse_tcp(*parse_ipv4(*syn))->seq, w.isn);
  EXPECT_EQ(syn->size(), 44u);
  EXPECT_TRUE(whole(*syn));
  EXPECT_EQ(r.rewriter.accepted({kPeer, 1024}, {}), out.flow);
  EXPECT_FALSE(r.rewriter.admit(out.flow, r.now));   // once
}

TEST(Rewriter, rewrites_both_ways_with_whole_checksums) {
  Rig r;
  Wire w;
  w.key.src = {kContainer, 50000};
  const Ipv4Port peer = r.establish(w);
  Buffer up = w.app(kAck, as_bytes("GET / HTTP/1.1"));
  EXPECT_EQ(r.put(up).action, Action::write);
  EXPECT_EQ(ends(up), (FlowKey{peer, kListener}));
  EXPECT_TRUE(whole(up));
  Buffer down = w.listener(peer, kAck, as_bytes("200"));
  EXPECT_EQ(r.put(down).action, Action::write);
  EXPECT_EQ(ends(down), (FlowKey{w.key.dst, w.key.src}));
  EXPECT_TRUE(whole(down));
}

TEST(Rewriter, keeps_a_partial_checksum_partial_and_right) {
  const bool holds = rc::check([](std::uint32_t src, std::uint32_t dst, std::uint16_t sport, std::uint16_t dport,
               const std::vector<std::uint8_t>& payload) {
    Rig r;
    Wire w;
    w.key = {{Ipv4{src}, sport}, {Ipv4{dst}, dport}};
    RC_PRE(w.key.src != kListener && dst - kPeer.value >= 5u);
    Buffer syn = w.syn();
    VnetHeader h = make_partial(syn);
    const auto opened = r.rewriter.process(syn, h, r.now);
    RC_ASSERT(opened.event == Event::opened);
    const auto admitted = r.rewriter.admit(opened.flow, r.now);
    RC_ASSERT(admitted && whole(*admitted));
    const Ipv4Port peer = ends(*admitted).src;
    for (const bool up : {true, false}) {
      Buffer b = up ? w.app(kAck, payload) : w.listener(peer, kAck, payload);
      VnetHeader header = make_partial(b);
      header.gso_type = VnetHeader::kGsoTcp4;
      header.gso_size = 1400;
      VnetHeader same = header;
      RC_ASSERT(r.rewriter.process(b, header, r.now).action == Action::write);
      RC_ASSERT(header == same);
      RC_ASSERT(!whole(b) || payload.empty());
      RC_ASSERT(complete_checksum(b, header));
      RC_ASSERT(whole(b));
    }
  });
  EXPECT_TRUE(holds);
}

TEST(Rewriter, does_not_mend_a_damaged_packet) {
  Rig r;
  const Wire w;
  Buffer syn = w.syn();
  syn[24] ^= 0x40;
  EXPECT_EQ(r.put(syn).event, Event::none);
  r.establish(w);
  Buffer b = w.app(kAck, as_bytes("abc"));
  b.back() ^= 1;
  EXPECT_EQ(r.put(b).action, Action::write);
  EXPECT_FALSE(whole(b));
}

TEST(Rewriter, refuses_with_a_reset_that_ends_the_connect) {
  Rig r;
  const Wire w;
  const FlowId id = r.open(w);
  const Bytes rst = r.rewriter.refuse_reset(id);
  EXPECT_EQ(ends(rst), (FlowKey{w.key.dst, w.key.src}));
  EXPECT_EQ(flags_of(rst), kRst | kAck);
  EXPECT_EQ(parse_tcp(*parse_ipv4(rst))->ack, w.isn + 1);
  EXPECT_TRUE(whole(rst));
  EXPECT_TRUE(r.rewriter.refuse_reset(id).empty());
  EXPECT_NE(r.open(w), id);                       // trying again is a new flow
}

TEST(Rewriter, refuses_with_icmp_that_quotes_the_syn) {
  Rig r;
  const Wire w;
  const FlowId id = r.open(w);
  const Bytes out = r.rewriter.refuse_unreachable(id, Unreachable::prohibited);
  const auto ip = parse_ipv4(out);
  const auto m = parse_icmp(*ip);
  EXPECT_EQ(ip->src, kFar);
  EXPECT_EQ(ip->dst, kLocal);
  EXPECT_EQ(m->type, 3);
  EXPECT_EQ(m->code, 13);
  EXPECT_EQ(ends(m->payload), w.key);
  EXPECT_TRUE(r.rewriter.refuse_unreachable(id, Unreachable::host).empty());
}

TEST(Rewriter, stays_silent_until_the_application_stops_trying) {
  Rig r;
  Wire w;
  const FlowId id = r.open(w);
  r.rewriter.drop(id, r.now);
  EXPECT_EQ(r.rewriter.next_deadline(), r.now + 130s);
  for (const auto after : {1s, 3s, 63s, 129s}) {
    r.now = kStart + after;
    const auto out = r.put(w.syn());
    EXPECT_EQ(out.action, Action::drop);
    EXPECT_EQ(out.event, Event::none);
  }
  r.now = kStart + 130s;
  EXPECT_EQ(r.put(w.syn()).event, Event::opened);
}

TEST(Rewriter, a_new_connect_ends_the_silence) {
  Rig r;
  Wire w;
  r.rewriter.drop(r.open(w), r.now);
  w.isn += 77777;
  EXPECT_EQ(r.put(w.syn()).event, Event::opened);
  EXPECT_EQ(r.rewriter.counts().silent, 0u);
}

TEST(Rewriter, resets_what_belongs_to_no_flow) {
  Rig r;
  const Wire w;
  const auto from_app = r.put(w.app(kAck, as_bytes("left over")));
  EXPECT_EQ(from_app.action, Action::reply);
  EXPECT_EQ(flags_of(from_app.reply), kRst);
  EXPECT_EQ(ends(from_app.reply), (FlowKey{w.key.dst, w.key.src}));
  const auto from_listener = r.put(w.listener({kPeer, 1024}, kAck));
  EXPECT_EQ(from_listener.action, Action::reply);
  EXPECT_EQ(ends(from_listener.reply), (FlowKey{{kPeer, 1024}, kListener}));
  EXPECT_EQ(r.put(w.app(kRst)).action, Action::drop);
  EXPECT_EQ(r.put(tcp_packet({kLocal, 9}, {kPeer, 80}, 1, 0, kSyn)).action, Action::reply);   // the peers are nobody
}

TEST(Rewriter, reports_a_reset_of_a_held_flow) {
  Rig r;
  const Wire w;
  const FlowId id = r.open(w);
  EXPECT_EQ(r.put(tcp_packet(w.key.src, w.key.dst, w.isn + 5000, 0, kRst)).event, Event::none);   // not of this flow
  const auto out = r.put(tcp_packet(w.key.src, w.key.dst, w.isn + 1, 0, kRst));
  EXPECT_EQ(out.event, Event::cancelled);
  EXPECT_EQ(out.flow, id);
  EXPECT_EQ(r.rewriter.admit(id, r.now).error().code, Errc::not_found);
  EXPECT_TRUE(r.rewriter.refuse_reset(id).empty());
  EXPECT_EQ(r.rewriter.counts().held, 0u);
}

TEST(Rewriter, takes_the_newest_syn_of_a_connect_begun_again) {
  Rig r;
  Wire w;
  const FlowId id = r.open(w);
  w.isn = 99;
  EXPECT_EQ(r.put(w.syn()).event, Event::none);
  const auto syn = r.rewriter.admit(id, r.now);
  EXPECT_EQ(parse_tcp(*parse_ipv4(*syn))->seq, 99u);
}

TEST(Rewriter, leaves_fast_open_data_to_its_repetition) {
  Rig r;
  const Wire w;
  const auto out = r.put(tcp_packet(w.key.src, w.key.dst, w.isn, 0, kSyn, as_bytes("early")));
  const auto syn = r.rewriter.admit(out.flow, r.now);
  EXPECT_EQ(syn->size(), 40u);
  EXPECT_TRUE(whole(*syn));
}

TEST(Rewriter, forwards_a_repeated_syn_of_an_admitted_flow) {
  Rig r;
  const Wire w;
  ASSERT_TRUE(r.rewriter.admit(r.open(w), r.now));
  Buffer again = w.syn();
  EXPECT_EQ(r.put(again).action, Action::write);
  EXPECT_EQ(ends(again).dst, kListener);
}

TEST(Rewriter, reports_a_reset_before_the_flow_was_accepted) {
  Rig r;
  const Wire w;
  const FlowId id = r.open(w);
  ASSERT_TRUE(r.rewriter.admit(id, r.now));
  const auto out = r.put(w.app(kRst));
  EXPECT_EQ(out.action, Action::write);
  EXPECT_EQ(out.event, Event::cancelled);
  EXPECT_EQ(out.flow, id);
}

TEST(Rewriter, gives_back_an_admitted_flow_that_is_never_completed) {
  Rig r;
  const Wire w, other{{{kLocal, 41000}, {kFar, 443}}, 7};
  const FlowId id = r.open(w);
  ASSERT_TRUE(r.rewriter.admit(id, r.now));
  r.establish(other);
  EXPECT_EQ(r.rewriter.on_timeout(r.now + 129s), std::nullopt);
  EXPECT_EQ(r.rewriter.on_timeout(r.now + 130s), id);
  EXPECT_EQ(r.rewriter.on_timeout(r.now + 130s), std::nullopt);
}

TEST(Rewriter, a_live_flow_has_no_deadline) {
  Rig r;
  const Wire w;
  const Ipv4Port peer = r.establish(w);
  EXPECT_EQ(r.rewriter.next_deadline(), kNever);
  r.now += 1000h;
  EXPECT_EQ(r.rewriter.on_timeout(r.now), std::nullopt);
  EXPECT_EQ(r.rewriter.counts().open, 1u);
  EXPECT_EQ(r.put(w.app(kAck, as_bytes("x"))).action, Action::write);
  EXPECT_EQ(r.put(w.listener(peer, kAck, as_bytes("y"))).action, Action::write);
}

TEST(Rewriter, last_packets_are_rewritten_while_a_flow_lingers) {
  for (const auto& [how, time] : {std::pair{End::finished, 60s}, {End::reset, 5s}}) {
    Rig r;
    const Wire w;
    FlowId id;
    const Ipv4Port peer = r.establish(w, &id);
    r.put(w.app(kFin | kAck));
    r.put(w.listener(peer, kFin | kAck, {}, 1));
    r.put(w.app(kAck, {}, 1));
    r.rewriter.closed(id, how, r.now);
    EXPECT_EQ(r.rewriter.accepted(peer, {}), std::nullopt);
    r.now += time - 1s;
    r.rewriter.on_timeout(r.now);
    EXPECT_EQ(r.put(w.app(kAck, {}, 1)).action, Action::write);
    EXPECT_EQ(r.put(w.listener(peer, kFin | kAck, {}, 1)).action, Action::write);
    r.now += 1s;
    r.rewriter.on_timeout(r.now);
    EXPECT_EQ(r.put(w.app(kAck)).action, Action::reply);
    EXPECT_EQ(r.put(w.listener(peer, kAck)).action, Action::reply);
    EXPECT_EQ(r.rewriter.key_of(id), std::nullopt);
  }
}

TEST(Rewriter, a_slow_reader_that_half_closed_gets_everything_however_long_it_takes) {
  Rig r;
  const Wire w;
  FlowId id;
  const Ipv4Port peer = r.establish(w, &id);
  r.put(w.app(kFin | kAck));
  r.put(w.listener(peer, kAck, {}, 1));
  r.rewriter.closed(id, End::finished, r.now);          // all of it, FIN too, is in the listener's send queue
  const auto step = [&](Buffer packet) {
    r.now += 59s;
    EXPECT_EQ(r.rewriter.on_timeout(r.now), std::nullopt);
    return r.put(packet).action;
  };
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(step(w.listener(peer, kAck, as_bytes("a little more"), 1)), Action::write);
    ASSERT_EQ(step(w.app(kAck, {}, 13)), Action::write);
  }
  ASSERT_EQ(step(w.listener(peer, kFin | kAck, as_bytes("the end"), 1)), Action::write);
  ASSERT_EQ(step(w.listener(peer, kFin | kAck, as_bytes("the end"), 1)), Action::write);   // lost on the way: again
  ASSERT_EQ(step(w.app(kAck, {}, 7)), Action::write);   // all but the FIN
  ASSERT_EQ(step(w.app(kAck, {}, 8)), Action::write);   // and now that
  ASSERT_EQ(step(w.app(kAck, {}, 8)), Action::write);   // TIME_WAIT, which nothing begins anew
  r.now += 1s;
  r.rewriter.on_timeout(r.now);
  EXPECT_EQ(r.rewriter.counts().lingering, 0u);
}

TEST(Rewriter, a_reader_that_half_closed_and_pauses_is_there_when_it_goes_on) {
  Rig r;
  const Wire w;
  FlowId id;
  const Ipv4Port peer = r.establish(w, &id);
  r.put(w.app(kFin | kAck));
  r.put(w.listener(peer, kAck, {}, 1));
  r.rewriter.closed(id, End::finished, r.now);
  for (const auto probe : {51s, 102s, 120s, 120s}) {    // the kernel asks for room, ever more seldom
    r.now += probe;
    EXPECT_EQ(r.rewriter.on_timeout(r.now), std::nullopt);
    ASSERT_EQ(r.put(w.listener(peer, kAck, {}, 1)).action, Action::write);
    ASSERT_EQ(r.put(w.app(kAck)).action, Action::write);
  }
  r.now += 129s;
  r.rewriter.on_timeout(r.now);
  EXPECT_EQ(r.rewriter.counts().lingering, 1u);
  r.now += 1s;
  r.rewriter.on_timeout(r.now);
  EXPECT_EQ(r.rewriter.counts().lingering, 0u);
}

TEST(Rewriter, finished_flows_give_way_before_slow_readers) {
  auto c = config();
  c.max_flows = 2;
  Rig r(c);
  const Wire slow, done{{{kLocal, 41000}, {kFar, 443}}, 7};
  FlowId id, finished;
  r.establish(slow, &id);
  r.rewriter.closed(id, End::finished, r.now);
  r.now += 10s;
  const Ipv4Port peer = r.establish(done, &finished);
  r.put(done.app(kFin | kAck));
  r.put(done.listener(peer, kFin | kAck, {}, 1));
  r.rewriter.closed(finished, End::finished, r.now);
  r.put(done.app(kAck, {}, 1));
  r.open(Wire{{{kLocal, 9}, {kFar, 443}}, 9});
  EXPECT_TRUE(r.rewriter.key_of(id));
  EXPECT_FALSE(r.rewriter.key_of(finished));
}

TEST(Rewriter, a_reset_ends_the_wait_for_a_slow_reader) {
  Rig r;
  const Wire w;
  FlowId id;
  const Ipv4Port peer = r.establish(w, &id);
  r.put(w.app(kFin | kAck));
  r.rewriter.closed(id, End::finished, r.now);
  r.now += 30s;
  EXPECT_EQ(r.put(w.listener(peer, kRst)).action, Action::write);
  r.now += 59s;
  r.rewriter.on_timeout(r.now);
  EXPECT_EQ(r.put(w.app(kAck)).action, Action::write);
  r.now += 1s;
  r.rewriter.on_timeout(r.now);
  EXPECT_EQ(r.put(w.app(kAck)).action, Action::reply);
}

TEST(Rewriter, slow_readers_are_bounded_as_all_flows_are) {
  auto c = config();
  c.max_flows = 3;
  Rig r(c);
  std::vector<std::pair<Wire, FlowId>> slow;
  for (std::uint16_t i = 1; i <= 3; ++i) {
    const Wire w{{{kLocal, i}, {kFar, 443}}, i};
    FlowId id;
    r.establish(w, &id);
    r.rewriter.closed(id, End::finished, r.now);
    slow.emplace_back(w, id);
  }
  r.now += 10s;
  r.put(slow[0].first.app(kAck));                       // heard of since: the second is the oldest now
  r.open(Wire{{{kLocal, 9}, {kFar, 443}}, 9});
  EXPECT_TRUE(r.rewriter.key_of(slow[0].second));
  EXPECT_FALSE(r.rewriter.key_of(slow[1].second));
}

TEST(Rewriter, resets_slow_readers_at_the_end_of_the_process) {
  Rig r;
  const Wire slow, done{{{kLocal, 41000}, {kFar, 443}}, 7};
  FlowId id, finished;
  const Ipv4Port peer = r.establish(slow, &id);
  r.put(slow.app(kFin | kAck));
  r.put(slow.listener(peer, kAck, as_bytes("more"), 1));
  r.put(slow.app(kAck, {}, 4));
  const Ipv4Port other = r.establish(done, &finished);
  r.put(done.app(kFin | kAck));
  r.put(done.listener(other, kFin | kAck, {}, 1));
  r.put(done.app(kAck, {}, 1));
  r.rewriter.closed(finished, End::finished, r.now);
  r.rewriter.closed(id, End::finished, r.now);
  const Bytes rst = r.rewriter.cut_lingering();
  ASSERT_FALSE(rst.empty());
  EXPECT_EQ(ends(rst), (FlowKey{slow.key.dst, slow.key.src}));
  EXPECT_EQ(flags_of(rst), kRst);
  EXPECT_EQ(parse_tcp(*parse_ipv4(rst))->seq, 5004u);   // exactly what it waits for: RFC 5961 section 3.2
  EXPECT_TRUE(whole(rst));
  EXPECT_TRUE(r.rewriter.cut_lingering().empty());
  EXPECT_EQ(r.rewriter.counts().lingering, 0u);
}

TEST(Rewriter, a_new_syn_beside_a_lingering_flow_gets_a_port_of_its_own) {
  Rig r;
  Wire w;
  FlowId old;
  const Ipv4Port before = r.establish(w, &old);
  r.rewriter.closed(old, End::finished, r.now);
  w.isn += 1000000;
  FlowId id;
  const Ipv4Port after = r.establish(w, &id);
  EXPECT_NE(id, old);
  EXPECT_NE(after, before);
  EXPECT_EQ(r.put(w.listener(before, kAck)).action, Action::reply);   // the old one's late words reach nobody
  EXPECT_EQ(r.put(w.listener(after, kAck)).action, Action::write);
}

TEST(Rewriter, a_syn_on_a_flow_that_both_sides_ended_is_a_new_flow) {
  Rig r;
  Wire w;
  FlowId old;
  const Ipv4Port peer = r.establish(w, &old);
  Wire next = w;
  next.isn += 500000;
  Buffer b = next.syn();
  EXPECT_EQ(r.put(b).action, Action::write);                // live: the kernel's challenge (RFC 5961) answers it
  r.put(w.app(kFin | kAck));
  EXPECT_EQ(r.put(next.syn()).action, Action::write);       // half-closed is live
  r.put(w.listener(peer, kFin | kAck));
  const auto out = r.put(next.syn());
  EXPECT_EQ(out.event, Event::opened);
  EXPECT_EQ(r.rewriter.accepted(peer, {}), old);                 // until its owner closes it
  r.rewriter.closed(old, End::finished, r.now);
  EXPECT_EQ(r.rewriter.key_of(out.flow), w.key);
  r.now += 60s;
  r.rewriter.on_timeout(r.now);
  EXPECT_EQ(r.put(next.syn()).event, Event::none);          // the new flow is still held under this key
}

TEST(Rewriter, uses_ports_again_least_recently_used_first) {
  auto c = config();
  c.peers = 1;
  Rig r(c);
  const auto establish = [&](std::uint32_t i) {
    const Wire w{{{Ipv4{kContainer.value + i}, 1000}, {kFar, 443}}, i};
    const FlowId id = r.put(w.syn()).flow;
    return std::pair{id, r.rewriter.admit(id, r.now).map([](Bytes b) { return ends(b).src.port; })};
  };
  std::vector<FlowId> ids;
  for (std::uint32_t i = 0; i < 64512; ++i) {
    const auto [id, port] = establish(i);
    ASSERT_TRUE(port);
    ASSERT_EQ(*port, 1024 + i);
    ids.push_back(id);
  }
  const auto [held, none] = establish(64512);
  EXPECT_EQ(none.error().code, Errc::exhausted);
  for (const std::uint32_t i : {30u, 10u, 20u}) r.rewriter.closed(ids[i], End::finished, r.now);
  r.now += 130s;
  EXPECT_EQ(ends(*r.rewriter.admit(held, r.now)).src.port, 1024 + 30);
  EXPECT_EQ(*establish(70001).second, 1024 + 10);
  EXPECT_EQ(*establish(70002).second, 1024 + 20);
  // Under pressure the oldest lingering flow gives way.
  r.rewriter.closed(ids[40], End::finished, r.now);
  EXPECT_EQ(*establish(70003).second, 1024 + 40);
}

TEST(Rewriter, sixty_thousand_flows_are_each_found_and_a_second_peer_follows) {
  Rig r;
  std::vector<std::pair<Wire, Ipv4Port>> flows;
  for (std::uint32_t i = 0; i < 70000; ++i) {
    const Wire w{{{kLocal, static_cast<std::uint16_t>(i)}, {Ipv4{kFar.value + i / 30000}, 443}}, i};
    const auto syn = r.rewriter.admit(r.put(w.syn()).flow, r.now);
    ASSERT_TRUE(syn);
    flows.emplace_back(w, ends(*syn).src);
  }
  EXPECT_EQ(flows[64511].second, (Ipv4Port{kPeer, 65535}));
  EXPECT_EQ(flows[64512].second, (Ipv4Port{Ipv4{kPeer.value + 1}, 1024}));
  for (const auto& [w, peer] : flows) {
    Buffer up = w.app(kAck), down = w.listener(peer, kAck);
    ASSERT_EQ(r.put(up).action, Action::write);
    ASSERT_EQ(ends(up).src, peer);
    ASSERT_EQ(r.put(down).action, Action::write);
    ASSERT_EQ(ends(down), (FlowKey{w.key.dst, w.key.src}));
  }
}

TEST(Rewriter, bounds_what_it_keeps) {
  auto c = config();
  c.max_held = 3;
  c.max_flows = 5;
  Rig r(c);
  const auto wire = [](std::uint16_t i) { return Wire{{{kLocal, i}, {kFar, 443}}, i}; };
  std::vector<FlowId> ids;
  for (std::uint16_t i = 1; i <= 3; ++i) ids.push_back(r.open(wire(i)));
  EXPECT_EQ(r.put(wire(4).syn()).event, Event::none);
  for (const FlowId id : ids) ASSERT_TRUE(r.rewriter.admit(id, r.now));
  r.rewriter.drop(r.open(wire(4)), r.now);
  r.open(wire(5));
  EXPECT_EQ(r.rewriter.counts().silent, 1u);
  r.open(wire(6));                                  // the silent one gives way
  EXPECT_EQ(r.rewriter.counts().silent, 0u);
  EXPECT_EQ(r.put(wire(7).syn()).event, Event::none);
}

TEST(Rewriter, passes_what_is_no_tcp_and_drops_what_it_cannot_read) {
  Rig r;
  Buffer udp;
  ASSERT_TRUE(build_udp(udp, {kLocal, 1}, {kFar, 2}, as_bytes("x"), 1));
  EXPECT_EQ(r.put(udp).action, Action::pass);
  const Wire w;
  Buffer fragment = w.syn();
  Writer(fragment).put_u16(6, 0x2000);
  EXPECT_EQ(r.put(fragment).action, Action::drop);
  Buffer cut = w.syn();
  cut.resize(30);
  EXPECT_EQ(r.put(cut).action, Action::drop);
  Buffer odd = w.syn();
  VnetHeader h = make_partial(odd);
  h.csum_start = 24;
  EXPECT_EQ(r.rewriter.process(odd, h, r.now).event, Event::none);
  EXPECT_EQ(r.put(tcp_packet(w.key.src, w.key.dst, 1, 0, kSyn | kFin)).event, Event::none);
  EXPECT_EQ(r.rewriter.counts().held, 0u);
}

// The table against a plain reference, under random events and a clock that only the test moves.
TEST(Rewriter, agrees_with_a_plain_model) {
  struct Model {
    enum Phase { held, open, silent, lingering } phase;
    Wire wire;
    Ipv4Port peer{};
    Instant until = kNever;
    bool current = true;      // found by its key
    bool fin_app = false, fin_listener = false, reset = false, answered = false;
    bool fin_app_heard = false, fin_listener_heard = false, renews = false;
    bool over() const { return reset || (fin_app && fin_listener); }
    bool done() const { return reset || (fin_app_heard && fin_listener_heard); }
    std::chrono::seconds linger() const { return done() ? 60s : 130s; }
  };
  const bool holds = rc::check([] {
    auto c = config();
    c.hash_seed = *rc::gen::arbitrary<std::uint64_t>();
    Rig r(c);
    std::map<FlowId, Model> flows;
    std::uint32_t next_isn = 1;
    const auto expire = [&] {
      std::erase_if(flows, [&](const auto& f) { return f.second.until <= r.now; });
    };
    const auto current = [&](const FlowKey& k) {
      return std::find_if(flows.begin(), flows.end(),
                          [&](const auto& f) { return f.second.current && f.second.wire.key == k; });
    };
    const int steps = *rc::gen::inRange(1, 400);
    for (int step = 0; step < steps; ++step) {
      const auto port = [](std::uint16_t end) { return *rc::gen::inRange<std::uint16_t>(1, end); };
      const FlowKey key{{kLocal, port(5)}, {kFar, port(3)}};
      const int what = *rc::gen::inRange(0, 10);
      auto it = current(key);
      if (what <= 1) {                                       // a SYN, new or again
        expire();
        it = current(key);
        const bool again = it != flows.end() && what == 0;
        Wire w{key, again ? it->second.wire.isn : next_isn += 1000};
        Buffer b = w.syn();
        const auto out = r.put(b);
        bool opens = it == flows.end();
        if (!opens) {
          Model& m = it->second;
          const bool replaceable = m.phase == Model::silent || (m.phase == Model::open && m.over());
          opens = m.phase == Model::lingering || (!again && replaceable);
          RC_ASSERT((out.action == Action::write) == (!opens && m.phase == Model::open));
          if (m.phase == Model::held) m.wire.isn = w.isn;
          if (opens && m.phase == Model::silent) flows.erase(it);
          else if (opens) m.current = false;
        }
        RC_ASSERT((out.event == Event::opened) == opens);
        if (opens) {
          RC_ASSERT(!flows.contains(out.flow));
          flows[out.flow] = {Model::held, w};
        }
      } else if (what <= 3) {                                // the application says something
        const unsigned flags = *rc::gen::element<unsigned>(kAck, kAck, kAck | kFin, kRst);
        const Wire w = it == flows.end() ? Wire{key, 5} : it->second.wire;
        const bool heard = *rc::gen::arbitrary<bool>();
        Buffer b = w.app(flags, as_bytes("data"), heard ? 5 : 4);
        const auto out = r.put(b);
        if (it != flows.end() && (it->second.phase == Model::open || it->second.phase == Model::lingering)) {
          Model& m = it->second;
          RC_ASSERT(out.action == Action::write);
          RC_ASSERT(ends(b) == (FlowKey{m.peer, kListener}));
          RC_ASSERT(whole(b));
          RC_ASSERT((out.event == Event::cancelled) == (m.phase == Model::open && !m.answered && flags == kRst));
          m.answered = true;
          const bool waits = m.renews && !m.done();
          m.fin_app |= (flags & kFin) != 0;
          m.fin_listener_heard |= heard && (flags & kAck) != 0 && m.fin_listener;
          m.reset |= flags == kRst;
          if (waits) m.until = r.now + m.linger();
        } else if (it != flows.end() && it->second.phase == Model::held && flags == kRst) {
          RC_ASSERT(out.event == Event::cancelled && out.flow == it->first);
          flows.erase(it);
        } else {
          RC_ASSERT(out.action == (flags == kRst ? Action::drop : Action::reply));
        }
      } else if (what == 4) {                                // the listener says something to some peer
        const Ipv4Port peer{kPeer, static_cast<std::uint16_t>(1024 + *rc::gen::inRange(0, 12))};
        const auto f = std::find_if(flows.begin(), flows.end(), [&](const auto& x) { return x.second.peer == peer; });
        const unsigned flags = *rc::gen::element<unsigned>(kAck, kAck | kFin);
        const bool heard = *rc::gen::arbitrary<bool>();
        const std::uint32_t isn = f == flows.end() ? 9 : f->second.wire.isn;
        Buffer b = Wire{key, isn}.listener(peer, flags, as_bytes("data"), heard ? 5 : 4);
        const auto out = r.put(b);
        if (f != flows.end() && f->second.current) {
          RC_ASSERT(out.action == Action::write);
          RC_ASSERT(ends(b) == (FlowKey{f->second.wire.key.dst, f->second.wire.key.src}));
          RC_ASSERT(whole(b));
          Model& m = f->second;
          const bool waits = m.renews && !m.done();
          m.fin_listener |= (flags & kFin) != 0;
          m.fin_app_heard |= heard && m.fin_app;
          if (waits) m.until = r.now + m.linger();
        } else {
          RC_ASSERT(out.action == Action::reply);
        }
      } else if (what <= 8 && !flows.empty()) {              // the owner decides about some flow
        auto f = std::next(flows.begin(), *rc::gen::inRange<std::size_t>(0, flows.size()));
        Model& m = f->second;
        if (what == 5) {
          const auto syn = r.rewriter.admit(f->first, r.now);
          RC_ASSERT(syn.has_value() == (m.phase == Model::held));
          expire();
          if (syn) {
            m.phase = Model::open;
            m.peer = ends(*syn).src;
            RC_ASSERT(whole(*syn) && parse_tcp(*parse_ipv4(*syn))->seq == m.wire.isn);
            for (const auto& [id, other] : flows) RC_ASSERT(&other == &m || other.peer != m.peer);
          }
        } else if (what == 6) {
          const bool reset = *rc::gen::arbitrary<bool>();
          const Bytes out = reset ? r.rewriter.refuse_reset(f->first)
                                  : r.rewriter.refuse_unreachable(f->first, Unreachable::host);
          RC_ASSERT(out.empty() == (m.phase != Model::held));
          if (!out.empty()) flows.erase(f);
        } else if (what == 7) {
          r.rewriter.drop(f->first, r.now);
          if (m.phase == Model::held) m.phase = Model::silent, m.until = r.now + 130s;
        } else {
          const bool reset = *rc::gen::arbitrary<bool>();
          r.rewriter.closed(f->first, reset ? End::reset : End::finished, r.now);
          if (m.phase == Model::open) {
            m.phase = Model::lingering;
            m.until = r.now + (reset ? 5s : m.linger());
            m.renews = !reset;
          } else if (m.phase == Model::held) flows.erase(f);
        }
      } else {                                               // time passes
        r.now += std::chrono::seconds(*rc::gen::inRange(0, 50));
        while (const auto id = r.rewriter.on_timeout(r.now)) {
          RC_ASSERT(flows.at(*id).phase == Model::open && !flows.at(*id).answered);
          flows.at(*id).answered = true;
        }
        expire();
      }
      Rewriter::Counts n;
      for (const auto& [id, m] : flows) {
        if (m.phase == Model::held) ++n.held;
        if (m.phase == Model::open) ++n.open;
        RC_ASSERT(r.rewriter.key_of(id) == m.wire.key);
        if (m.phase == Model::open) RC_ASSERT(r.rewriter.accepted(m.peer, {}) == id);
      }
      RC_ASSERT(n.held == r.rewriter.counts().held);
      RC_ASSERT(n.open == r.rewriter.counts().open);
      RC_ASSERT(r.rewriter.next_deadline() > r.now);
    }
  });
  EXPECT_TRUE(holds);
}

}  // namespace tg::rewrite_test
