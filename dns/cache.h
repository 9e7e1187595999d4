// Answers kept for as long as their TTL says.
#pragma once

#include <list>
#include <optional>
#include <unordered_map>

#include "core/time.h"
#include "dns/answer.h"
#include "dns/message.h"

namespace tg::dns {

struct QuestionHash {
  std::size_t operator()(const Question& q) const noexcept { return q.name.hash() * 31 + q.type * 7u + q.klass; }
};

// Cache keeps at most `capacity` answers; the one that was least recently used makes room. No clock.
class Cache {
 public:
  // An answer with more rdata than this is not kept: the cache's memory stays below capacity times this.
  static constexpr std::size_t kMaxRdata = 8192;

  explicit Cache(std::size_t capacity) : capacity_(capacity) {}

  // store keeps `answer` for its lifetime(), when it has one.
  void store(const Question& question, const Answer& answer, Instant now);
  // find returns the answer with the TTLs that are left of it.
  std::optional<Answer> find(const Question& question, Instant now);
  void clear();
  std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct Entry {
    Question question;
    Answer answer;
    Instant stored;
    Instant expires;
  };
  std::size_t capacity_;
  std::list<Entry> entries_;   // most recently used first
  std::unordered_map<Question, std::list<Entry>::iterator, QuestionHash> index_;
};

}  // namespace tg::dns
