// One direction of an emulated line: what arrives leaves later, at the line's rate, or never. Sans-I/O: packets and times in,
// packets and times out, all chance from a seed.
#pragma once

#include <cstdint>
#include <optional>
#include <queue>
#include <random>
#include <vector>

#include "core/bytes.h"
#include "core/time.h"

namespace tg::link {

struct LinkOptions {
  Duration delay{};
  Duration jitter{};                               // 0 to this much more, evenly spread, and nobody overtakes for it
  Duration late = std::chrono::milliseconds(3);    // what a reordered packet takes longer
  std::uint64_t rate = 0;                          // bits a second; 0: no limit
  std::uint64_t queue = 0;                         // bytes that may wait for the line
  double loss = 0;                                 // shares of the packets, 0 to 1
  double reorder = 0;
  std::uint64_t seed = 1;
  bool operator==(const LinkOptions&) const = default;
};

// Packet is what goes over the line in one piece. A super-packet, which a host's offload has not yet cut into segments, is one
// piece too, and takes the time of its segments with a header each.
struct Packet {
  Buffer bytes;
  std::size_t size = 0;          // bytes on the line
  std::uint32_t segments = 1;
};

struct LinkCounters {
  std::uint64_t packets = 0, bytes = 0;            // that arrived, in segments and bytes on the line
  std::uint64_t super_packets = 0;                 // that arrived: pieces of several segments
  std::uint64_t dropped = 0;                       // packets that found the queue full
  std::uint64_t lost = 0;                          // packets lost on the way
  std::uint64_t overtaken = 0;                     // packets that left after one which had arrived later
  std::uint64_t delivered = 0, delivered_bytes = 0;
};

// Link is the line: a drop-tail queue, a sender that puts one packet after the other on the wire at `rate`, and the way, of
// `delay` and `jitter`. A packet is lost on the way: it has taken its time of the line. A reordered one is `late`, and what is
// behind it goes past; everything else stays in order. Each kind of chance has a generator of its own, so that a seed loses
// the same packets whatever else is asked for.
// Without a rate nothing waits for the line. What is on the way is bounded: by rate and times, or by kOnTheWay.
class Link {
 public:
  static constexpr std::size_t kOnTheWay = 256 * 1024 * 1024;

  explicit Link(const LinkOptions& options);

  // arrive takes a packet, or drops it. Every `now`, here and below, must be no earlier than the one before.
  void arrive(Packet packet, Instant now);
  // leave returns the next packet whose time has come, or nothing.
  std::optional<Packet> leave(Instant now);
  // next_deadline is when leave will have something; kNever when nothing is on the way.
  Instant next_deadline() const noexcept;

  const LinkCounters& counters() const noexcept { return counters_; }

 private:
  struct OnTheWay {
    Instant at;
    std::uint64_t number;
    Packet packet;
  };
  struct Later {
    bool operator()(const OnTheWay& a, const OnTheWay& b) const noexcept {
      return a.at != b.at ? a.at > b.at : a.number > b.number;
    }
  };

  LinkOptions options_;
  LinkCounters counters_;
  std::mt19937_64 loss_, jitter_, reorder_;
  std::vector<OnTheWay> way_;                      // a heap: the next one to leave is in front
  std::size_t way_bytes_ = 0;
  Instant line_free_{};                            // when the line has sent all that it took
  Instant last_out_{};                             // of those that stay in order
  std::uint64_t arrived_ = 0;
  std::uint64_t highest_left_ = 0;
};

// piece_of says what a frame as an AF_PACKET socket with PACKET_VNET_HDR gives it (struct virtio_net_hdr, Ethernet header,
// packet) is on the line: `size` and `segments` of a Packet. Nothing when it is too short for its headers.
struct Piece {
  std::size_t size = 0;
  std::uint32_t segments = 1;
};
std::optional<Piece> piece_of(Bytes frame) noexcept;

}  // namespace tg::link
