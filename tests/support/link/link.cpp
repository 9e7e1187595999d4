#include "tests/support/link/link.h"

#include <algorithm>

#include "core/vnet_header.h"

namespace tg::link {
namespace {

std::mt19937_64 generator(std::uint64_t seed, std::uint32_t purpose) {
  std::seed_seq mixed{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32), purpose};
  return std::mt19937_64(mixed);
}

// share: 0 to 1, without 1. The standard's distributions may differ from library to library.
double share(std::mt19937_64& g) { return static_cast<double>(g() >> 11) * 0x1p-53; }

Duration time_of(std::size_t bytes, std::uint64_t rate) {
  if (rate == 0) return {};
  return Duration(static_cast<Duration::rep>(static_cast<double>(bytes) * 8e9 / static_cast<double>(rate)));
}

}  // namespace

Link::Link(const LinkOptions& options)
    : options_(options),
      loss_(generator(options.seed, 1)),
      jitter_(generator(options.seed, 2)),
      reorder_(generator(options.seed, 3)) {}

void Link::arrive(Packet packet, Instant now) {
  counters_.packets += packet.segments;
  counters_.bytes += packet.size;
  if (packet.segments > 1) ++counters_.super_packets;

  // Whoever finds the line idle is taken, however small the queue.
  const Instant start = std::max(now, line_free_);
  const bool full = start > now && start - now + time_of(packet.size, options_.rate) > time_of(options_.queue, options_.rate);
  if (full || way_bytes_ + packet.size > kOnTheWay) {
    counters_.dropped += packet.segments;
    return;
  }
  line_free_ = start + time_of(packet.size, options_.rate);
  ++arrived_;

  const bool lost = share(loss_) < options_.loss;
  const bool late = share(reorder_) < options_.reorder;
  const auto more = static_cast<Duration::rep>(share(jitter_) * static_cast<double>(options_.jitter.count()));
  if (lost) {
    counters_.lost += packet.segments;
    return;
  }
  Instant out = std::max(line_free_ + options_.delay + Duration(more), last_out_);
  if (late) {
    out += options_.late;
  } else {
    last_out_ = out;
  }
  way_bytes_ += packet.size;
  way_.push_back({out, arrived_, std::move(packet)});
  std::push_heap(way_.begin(), way_.end(), Later{});
}

std::optional<Packet> Link::leave(Instant now) {
  if (way_.empty() || way_.front().at > now) return std::nullopt;
  std::pop_heap(way_.begin(), way_.end(), Later{});
  const std::uint64_t number = way_.back().number;
  Packet packet = std::move(way_.back().packet);
  way_.pop_back();
  way_bytes_ -= packet.size;
  counters_.delivered += packet.segments;
  counters_.delivered_bytes += packet.size;
  if (number < highest_left_) counters_.overtaken += packet.segments;
  highest_left_ = std::max(highest_left_, number);
  return packet;
}

Instant Link::next_deadline() const noexcept { return way_.empty() ? kNever : way_.front().at; }

std::optional<Piece> piece_of(Bytes frame) noexcept {
  constexpr std::size_t kEthernet = 14;
  const auto header = VnetHeader::decode(frame);
  if (!header || frame.size() < VnetHeader::kSize + kEthernet) return std::nullopt;
  const Bytes packet = frame.subspan(VnetHeader::kSize);
  if (!header->gso() || header->gso_size == 0) return Piece{packet.size(), 1};
  // hdr_len is a hint that may be too large. Where the checksum begins, the transport's header does.
  const bool udp = header->gso_type == VnetHeader::kGsoUdpL4;
  const std::size_t transport = header->csum_start;
  if (transport + 20 > packet.size()) return std::nullopt;
  const std::size_t headers = transport + (udp ? 8u : std::size_t{packet[transport + 12]} >> 4 << 2);
  if (headers >= packet.size()) return std::nullopt;
  const std::size_t payload = packet.size() - headers;
  const std::size_t segments = (payload + header->gso_size - 1) / header->gso_size;
  return Piece{payload + segments * headers, static_cast<std::uint32_t>(segments)};
}

}  // namespace tg::link
