#include "dns/forwarder.h"

#include <algorithm>

namespace tg::dns {
namespace {

// make_reply answers a query without records. `head`: its header, and its question if it had one.
Buffer make_reply(Bytes head, std::uint16_t rcode, bool cut = false) {
  Buffer out(head.begin(), head.end());
  const bool has_question = out.size() > kHeaderSize;
  Header header;
  header.set_flags(static_cast<std::uint16_t>(out[2] << 8 | out[3]));
  header.qr = true;
  header.aa = header.ad = false;
  header.ra = true;
  header.tc = cut;
  header.rcode = rcode;
  Writer w(out);
  w.put_u16(2, header.flags());
  w.put_u16(4, has_question ? 1 : 0);
  for (const std::size_t count : {6, 8, 10}) w.put_u16(count, 0);
  return out;
}

bool is_query(Bytes message) {
  return message.size() >= kHeaderSize && message.size() <= kMaxMessage && (message[2] & 0x80) == 0;
}

}  // namespace

Forwarder::Forwarder(Config config)
    : config_(std::move(config)), exchanges_({config_.servers, config_.retry_after, false, config_.random}) {}

Forwarder::RequestId Forwarder::forward(Bytes query, bool tcp, Instant now) {
  const RequestId id = next_id_++;
  if (!is_query(query)) {
    outcomes_.push_back({id, {}, {}});
    return id;
  }
  const auto question = question_size(query);
  if (!question) {
    outcomes_.push_back({id, make_reply(query.first(kHeaderSize), kRcodeFormErr), {}});
    return id;
  }
  const Bytes head = query.first(kHeaderSize + *question);
  if (requests_.size() >= config_.max_in_flight) {
    outcomes_.push_back({id, make_reply(head, kRcodeServFail), {}});
    return id;
  }
  const auto exchange = exchanges_.ask_verbatim(Buffer(query.begin(), query.end()), tcp, now, now + config_.total);
  requests_.emplace(exchange, Request{id, Buffer(head.begin(), head.end())});
  ids_.emplace(id, exchange);
  collect();
  return id;
}

void Forwarder::cancel(RequestId id) {
  std::erase_if(outcomes_, [&](const Outcome& o) { return o.id == id; });
  const auto it = ids_.find(id);
  if (it == ids_.end()) return;
  exchanges_.cancel(it->second);
  requests_.erase(it->second);
  ids_.erase(it);
}

void Forwarder::collect() {
  while (auto reply = exchanges_.next_reply()) {
    const auto it = requests_.find(reply->id);
    const Request request = std::move(it->second);
    requests_.erase(it);
    ids_.erase(request.id);
    Buffer bytes = std::move(reply->bytes);
    const bool theirs = bytes.size() >= kHeaderSize;
    if (reply->end == Exchanges::End::flooded) bytes = make_reply(request.head, kRcodeNoError, true);
    else if (!theirs) bytes = make_reply(request.head, kRcodeServFail);
    std::copy_n(request.head.begin(), 2, bytes.begin());   // the id
    outcomes_.push_back({request.id, std::move(bytes), theirs ? reply->server : std::nullopt});
  }
}

std::optional<Forwarder::Outcome> Forwarder::next_outcome() {
  if (outcomes_.empty()) return std::nullopt;
  Outcome outcome = std::move(outcomes_.front());
  outcomes_.pop_front();
  return outcome;
}

void Forwarder::on_datagram(Transaction t, const Endpoint& from, Bytes datagram, Instant now) {
  exchanges_.on_datagram(t, from, datagram, now);
  collect();
}
void Forwarder::on_stream(Transaction t, Bytes bytes, Instant now) {
  exchanges_.on_stream(t, bytes, now);
  collect();
}
void Forwarder::on_failed(Transaction t, Instant now) {
  exchanges_.on_failed(t, now);
  collect();
}
void Forwarder::on_timeout(Instant now) {
  exchanges_.on_timeout(now);
  collect();
}

}  // namespace tg::dns
