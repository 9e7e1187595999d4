#include "core/split.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <map>

#include "tests/support/packets.h"

namespace tg::split_test {

using tg::test::make_partial;
using tg::test::tcp_packet;
using Action = FlowCapture::Action;
using Event = FlowCapture::Event;
using End = FlowCapture::End;
using namespace std::chrono_literals;

constexpr Ipv4 kLocal{0xAC101E01}, kFar{0x64600007};
constexpr unsigned kSyn = tcp_flag::syn, kAck = tcp_flag::ack, kRst = tcp_flag::rst;
constexpr FlowKey kKey{{kLocal, 40000}, {kFar, 443}};
constexpr Instant kStart{1h};

Buffer segment(unsigned flags, std::uint32_t seq = 1000, const FlowKey& key = kKey) {
  return tcp_packet(key.src, key.dst, seq, (flags & kAck) != 0 ? 5000 : 0, flags);
}

struct Rig {
  explicit Rig(const Splitter::Config& c = {}) : splitter(c) {}
  Splitter splitter;
  Instant now = kStart;

  FlowCapture::Outcome put(Buffer packet) {
    VnetHeader h;
    const Buffer before = packet;
    const auto out = splitter.process(packet, h, now);
    EXPECT_EQ(packet, before) << "a packet was changed";
    return out;
  }
  FlowId open(std::uint32_t isn = 1000, const FlowKey& key = kKey) {
    const auto out = put(segment(kSyn, isn, key));
    EXPECT_EQ(out.event, Event::opened);
    return out.flow;
  }
  FlowId establish(const FlowKey& key = kKey) {
    const FlowId flow = open(1000, key);
    EXPECT_TRUE(splitter.admit(flow, now));
    EXPECT_EQ(splitter.accepted(key.src, key.dst), flow);
    return flow;
  }
};

TEST(Splitter, holds_a_syn_and_swallows_its_repetitions) {
  Rig r;
  const FlowId flow = r.open();
  EXPECT_EQ(r.splitter.key_of(flow), kKey);
  for (int i = 0; i < 3; ++i) {
    const auto again = r.put(segment(kSyn));
    EXPECT_EQ(again.action, Action::drop);
    EXPECT_EQ(again.event, Event::none);
  }
  EXPECT_EQ(r.splitter.counts().held, 1u);
}

TEST(Splitter, admits_by_giving_the_syn_back_as_it_came) {
  Rig r;
  const std::uint8_t mss[] = {2, 4, 0xFF, 0xD7};
  const Buffer syn = tcp_packet(kKey.src, kKey.dst, 1000, 0, kSyn, {}, mss);
  Buffer partial = syn;
  VnetHeader h = make_partial(partial);
  const auto out = r.splitter.process(partial, h, r.now);
  ASSERT_EQ(out.event, Event::opened);
  const auto back = r.splitter.admit(out.flow, r.now);
  ASSERT_TRUE(back);
  EXPECT_EQ(Buffer(back->begin(), back->end()), syn) << "with a complete checksum";
  EXPECT_EQ(r.splitter.counts().open, 1u);
  EXPECT_EQ(r.splitter.admit(out.flow, r.now).error().code, Errc::not_found);
}

TEST(Splitter, finds_the_flow_of_an_accepted_socket_by_both_its_ends_and_once) {
  Rig r;
  const FlowId flow = r.open();
  EXPECT_EQ(r.splitter.accepted(kKey.src, kKey.dst), std::nullopt) << "it is not admitted yet";
  ASSERT_TRUE(r.splitter.admit(flow, r.now));
  EXPECT_EQ(r.splitter.accepted(kKey.src, {kFar, 444}), std::nullopt);
  EXPECT_EQ(r.splitter.accepted({kLocal, 40001}, kKey.dst), std::nullopt);
  EXPECT_EQ(r.splitter.accepted(kKey.src, kKey.dst), flow);
  EXPECT_EQ(r.splitter.accepted(kKey.src, kKey.dst), std::nullopt);
}

TEST(Splitter, what_is_forwarded_goes_back_unchanged) {
  Rig r;
  for (const unsigned flags : {kAck, kSyn | kAck, kRst}) {
    const auto out = r.put(segment(flags));
    EXPECT_EQ(out.action, Action::write) << flags;
    EXPECT_EQ(out.event, Event::none);
  }
  r.establish();
  for (const unsigned flags : {kAck, kSyn, kRst, kRst | kAck}) {
    const auto out = r.put(segment(flags));
    EXPECT_EQ(out.action, Action::write) << flags;
    EXPECT_EQ(out.event, Event::none) << "its socket is told by the kernel";
  }
  EXPECT_EQ(r.splitter.counts().open, 1u);
}

TEST(Splitter, an_rst_before_the_flow_is_accepted_cancels_it) {
  Rig r;
  const FlowId held = r.open();
  const auto early = r.put(segment(kRst, 1001));
  EXPECT_EQ(early.event, Event::cancelled);
  EXPECT_EQ(early.flow, held);
  EXPECT_EQ(r.splitter.key_of(held), std::nullopt);

  const FlowId admitted = r.open();
  ASSERT_TRUE(r.splitter.admit(admitted, r.now));
  const auto late = r.put(segment(kRst, 1001));
  EXPECT_EQ(late.action, Action::write) << "the kernel has half a connection to forget";
  EXPECT_EQ(late.event, Event::cancelled);
  EXPECT_EQ(late.flow, admitted);
  r.splitter.closed(admitted, End::reset, r.now);
  EXPECT_EQ(r.splitter.counts().open, 0u);
}

TEST(Splitter, refuses_with_what_the_application_is_to_hear) {
  Rig r;
  const Bytes rst = r.splitter.refuse_reset(r.open());
  ASSERT_FALSE(rst.empty());
  EXPECT_TRUE(parse_tcp(*parse_ipv4(rst))->has(tcp_flag::rst));
  EXPECT_EQ(parse_ipv4(rst)->src, kFar);
  const Bytes icmp = r.splitter.refuse_unreachable(r.open(), Unreachable::host);
  ASSERT_FALSE(icmp.empty());
  EXPECT_EQ(parse_icmp(*parse_ipv4(icmp))->type, IcmpMessage::kUnreachable);
  EXPECT_EQ(r.splitter.counts().held, 0u);
}

TEST(Splitter, a_dropped_flow_stays_silent_for_a_time_and_another_syn_begins_anew) {
  Rig r;
  r.splitter.drop(r.open(), r.now);
  EXPECT_EQ(r.put(segment(kSyn)).event, Event::none);
  EXPECT_EQ(r.splitter.counts().silent, 1u);
  r.open(2000);                                          // connect() was given up and begun again
  EXPECT_EQ(r.splitter.counts().silent, 0u);
  r.splitter.drop(r.open(1000, {{kLocal, 40001}, kKey.dst}), r.now);
  EXPECT_EQ(r.splitter.next_deadline(), r.now + Splitter::Config().silence);
  r.now += Splitter::Config().silence;
  EXPECT_EQ(r.splitter.on_timeout(r.now), std::nullopt);
  EXPECT_EQ(r.splitter.counts().silent, 0u);
}

TEST(Splitter, a_flow_that_is_closed_makes_room_for_another_of_its_key) {
  Rig r;
  const FlowId first = r.establish();
  r.splitter.closed(first, End::finished, r.now);
  const FlowId second = r.establish();
  EXPECT_NE(first, second);
  r.splitter.closed(first, End::reset, r.now);           // late, and of nobody
  EXPECT_EQ(r.splitter.key_of(second), kKey);
  EXPECT_EQ(r.splitter.next_deadline(), kNever);
}

TEST(Splitter, the_port_of_an_accepted_flow_again_is_another_flow_and_its_syn_again_is_none) {
  Rig r;
  const FlowId first = r.establish();
  const auto late = r.put(segment(kSyn));                // a repetition that was overtaken
  EXPECT_EQ(late.action, Action::write);
  EXPECT_EQ(late.event, Event::none);
  const FlowId second = r.open(5000);
  EXPECT_NE(first, second);
  EXPECT_EQ(r.splitter.key_of(first), std::nullopt);
  r.splitter.closed(first, End::finished, r.now);        // its owner reads the end only now
  ASSERT_TRUE(r.splitter.admit(second, r.now));
  EXPECT_EQ(r.splitter.accepted(kKey.src, kKey.dst), second);
}

TEST(Splitter, tells_of_a_flow_that_is_not_accepted_in_time) {
  Rig r;
  const FlowId flow = r.open();
  ASSERT_TRUE(r.splitter.admit(flow, r.now));
  EXPECT_EQ(r.splitter.next_deadline(), r.now + Splitter::Config().accept_wait);
  EXPECT_EQ(r.splitter.on_timeout(r.now), std::nullopt);
  r.now += Splitter::Config().accept_wait;
  EXPECT_EQ(r.splitter.on_timeout(r.now), flow);
  EXPECT_EQ(r.splitter.on_timeout(r.now), std::nullopt);
  r.splitter.closed(flow, End::reset, r.now);
  r.establish();
}

TEST(Splitter, above_its_limits_a_silent_flow_gives_way_and_then_a_syn_is_dropped) {
  Splitter::Config c;
  c.max_flows = 2;
  c.max_held = 2;
  Rig r(c);
  const auto key = [](std::uint16_t port) { return FlowKey{{kLocal, port}, kKey.dst}; };
  r.splitter.drop(r.open(1000, key(1)), r.now);
  r.open(1000, key(2));
  r.open(1000, key(3));
  EXPECT_EQ(r.splitter.counts().silent, 0u);
  const auto out = r.put(segment(kSyn, 1000, key(4)));
  EXPECT_EQ(out.action, Action::drop);
  EXPECT_EQ(out.event, Event::none);
}

TEST(Splitter, cuts_nothing_since_the_kernel_has_all_of_it) {
  Rig r;
  r.splitter.closed(r.establish(), End::finished, r.now);
  EXPECT_TRUE(r.splitter.cut_lingering().empty());
}

// Whatever comes, it agrees with a map of what each key's flow is.
TEST(Splitter, agrees_with_a_model) {
  rc::check([] {
    enum class Is { held, admitted, accepted, silent };
    struct Flow {
      Is is;
      FlowId id;
      std::uint32_t isn;
    };
    Rig r;
    std::map<std::uint16_t, Flow> model;
    const int steps = *rc::gen::inRange(0, 200);
    for (int i = 0; i < steps; ++i) {
      const auto port = static_cast<std::uint16_t>(*rc::gen::inRange(1, 5));
      const FlowKey key{{kLocal, port}, kKey.dst};
      const auto isn = static_cast<std::uint32_t>(1000 * *rc::gen::inRange(1, 3));
      const auto at = model.find(port);
      switch (*rc::gen::inRange(0, 7)) {
        case 0: case 1: {
          const auto out = r.put(segment(kSyn, isn, key));
          const bool again = at != model.end() && (at->second.is == Is::silent || at->second.is == Is::accepted);
          const bool begins = at == model.end() || (again && at->second.isn != isn);
          RC_ASSERT((out.event == Event::opened) == begins);
          if (begins) model[port] = {Is::held, out.flow, isn};
          else if (at->second.is == Is::held) at->second.isn = isn;
          break;
        }
        case 2:
          if (at == model.end()) break;
          RC_ASSERT(r.splitter.admit(at->second.id, r.now).has_value() == (at->second.is == Is::held));
          if (at->second.is == Is::held) at->second.is = Is::admitted;
          break;
        case 3: {
          const bool there = at != model.end() && at->second.is == Is::admitted;
          RC_ASSERT(r.splitter.accepted(key.src, key.dst) == (there ? std::optional(at->second.id) : std::nullopt));
          if (there) at->second.is = Is::accepted;
          break;
        }
        case 4:
          if (at == model.end()) break;
          r.splitter.closed(at->second.id, End::finished, r.now);
          model.erase(at);
          break;
        case 5:
          if (at == model.end()) break;
          r.splitter.drop(at->second.id, r.now);
          if (at->second.is == Is::held) at->second.is = Is::silent;
          break;
        default: {
          if (at == model.end() || at->second.is == Is::admitted) break;
          const auto out = r.put(segment(kRst, at->second.isn + 1, key));
          RC_ASSERT((out.event == Event::cancelled) == (at->second.is == Is::held));
          if (at->second.is == Is::held) model.erase(at);
          break;
        }
      }
      const auto count = [&](auto... states) {
        return static_cast<std::size_t>(std::count_if(model.begin(), model.end(), [&](const auto& f) { return ((f.second.is == states) || ...); }));
      };
      RC_ASSERT(r.splitter.counts().held == count(Is::held));
      RC_ASSERT(r.splitter.counts().silent == count(Is::silent));
      RC_ASSERT(r.splitter.counts().open == count(Is::admitted, Is::accepted));
    }
  });
}

}  // namespace tg::split_test
