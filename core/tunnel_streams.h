// The streams of one tunnel, and the lists they wait in.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

#include "core/frame.h"
#include "core/time.h"

namespace tg {

struct Stream;

// Link is a stream's place in one StreamList.
struct Link {
  Stream* before = nullptr;
  Stream* after = nullptr;
  bool in = false;
};

// Stream is one side's state of one stream. "We" is this side.
struct Stream {
  enum class Kind : std::uint8_t { tcp, udp, icmp, query };

  StreamId id = 0;
  Kind kind = Kind::tcp;
  bool opened = false;            // OPENED was sent or seen
  bool readable = false;          // pull() may have something
  bool fin_due = false;           // pull() said that nothing will follow
  bool fin_sent = false;
  bool fin_received = false;
  std::uint32_t send_credit = 0;  // bytes that we may send
  std::uint32_t turn_left = 0;    // bytes left of this stream's turn to send

  // What the peer may send. window == receive_credit + held + owed(): each byte of it is either still the peer's to
  // send, or with our owner, or consumed and not yet given back.
  std::uint32_t window = 0;
  std::uint32_t receive_credit = 0;
  std::uint32_t held = 0;
  std::uint32_t owed() const noexcept { return window - receive_credit - held; }
  std::uint32_t epoch_bytes = 0;  // consumed since epoch
  Instant epoch{};
  Instant born{};

  Link ready;                     // waits for its turn to send
  Link giving;                    // has credit to give back

  bool can_send() const noexcept {
    return kind == Kind::tcp && opened && !fin_sent && (fin_due || (readable && send_credit > 0));
  }
};

// StreamList is a queue of streams, linked through their member `link`. It allocates nothing.
template <Link Stream::*link>
class StreamList {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  Stream& front() const noexcept { return *first_; }

  // push puts `s` at the end, unless it is in the list.
  void push(Stream& s) noexcept {
    Link& l = s.*link;
    if (l.in) return;
    l = {last_, nullptr, true};
    (last_ != nullptr ? (last_->*link).after : first_) = &s;
    last_ = &s;
  }
  // remove takes `s` out, if it is in the list.
  void remove(Stream& s) noexcept {
    Link& l = s.*link;
    if (!l.in) return;
    (l.before != nullptr ? (l.before->*link).after : first_) = l.after;
    (l.after != nullptr ? (l.after->*link).before : last_) = l.before;
    l = {};
  }

 private:
  Stream* first_ = nullptr;
  Stream* last_ = nullptr;
};

// StreamTable finds live streams by id. Ids only ever grow, so that the index is a sorted vector that is appended to,
// and no choice of ids by a peer makes it slow: a look-up is a guess (right while no stream has ended), or a binary
// search. Streams stay where they are in memory. Memory follows the most streams that were ever live at once.
class StreamTable {
 public:
  std::size_t size() const noexcept { return live_; }
  StreamId last() const noexcept { return last_; }                       // the highest id that ever was
  bool existed(StreamId id) const noexcept { return id != 0 && id <= last_; }

  Stream* find(StreamId id) noexcept {
    if (recent_ != nullptr && recent_->id == id) return recent_;
    const std::size_t at = place(id);
    if (at == index_.size() || index_[at].stream == nullptr) return nullptr;
    return recent_ = index_[at].stream;
  }
  bool contains(StreamId id) const noexcept {
    const std::size_t at = place(id);
    return at < index_.size() && index_[at].stream != nullptr;
  }

  // add makes a stream. `id` must be above last().
  Stream& add(StreamId id, Stream::Kind kind, Instant now);
  // skip makes ids up to `id` ones that were, without a stream.
  void skip(StreamId id) noexcept { last_ = id; }
  // remove ends `s`, which must be in no list.
  void remove(Stream& s);
  // above returns the live ids greater than `id`.
  std::vector<StreamId> above(StreamId id) const;

 private:
  struct Entry {
    StreamId id;
    Stream* stream;   // null: gone
  };

  // place returns where `id` is in the index, or the index's size.
  std::size_t place(StreamId id) const noexcept {
    if (index_.empty() || id < index_.front().id || id > index_.back().id) return index_.size();
    const std::size_t guess = std::min<std::size_t>(id - index_.front().id, index_.size() - 1);   // no higher: ids grow
    if (index_[guess].id == id) return guess;
    const auto end = index_.begin() + static_cast<std::ptrdiff_t>(guess);
    const auto it = std::lower_bound(index_.begin(), end, id, [](const Entry& e, StreamId i) { return e.id < i; });
    return it != end && it->id == id ? static_cast<std::size_t>(it - index_.begin()) : index_.size();
  }

  std::vector<Entry> index_;
  std::deque<Stream> slots_;
  std::vector<Stream*> free_;
  Stream* recent_ = nullptr;
  std::size_t live_ = 0;
  StreamId last_ = 0;
};

}  // namespace tg
