#include "core/tunnel_streams.h"

#include "core/result.h"

namespace tg {

Stream& StreamTable::add(StreamId id, Stream::Kind kind, Instant now) {
  TG_CHECK(id > last_);
  Stream* s = nullptr;
  if (free_.empty()) {
    s = &slots_.emplace_back();
  } else {
    s = free_.back();
    free_.pop_back();
  }
  *s = Stream{};
  s->id = id;
  s->kind = kind;
  s->born = s->epoch = now;
  index_.push_back({id, s});
  last_ = id;
  ++live_;
  return *s;
}

void StreamTable::remove(Stream& s) {
  TG_CHECK(!s.ready.in && !s.giving.in);
  index_[place(s.id)].stream = nullptr;
  if (recent_ == &s) recent_ = nullptr;
  free_.push_back(&s);
  --live_;
  if (index_.size() >= 64 && live_ < index_.size() / 2) {
    std::erase_if(index_, [](const Entry& e) { return e.stream == nullptr; });
  }
}

std::vector<StreamId> StreamTable::above(StreamId id) const {
  std::vector<StreamId> ids;
  for (const Entry& e : index_) {
    if (e.id > id && e.stream != nullptr) ids.push_back(e.id);
  }
  return ids;
}

}  // namespace tg
