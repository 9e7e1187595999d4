#include "dns/cache.h"

#include <algorithm>

namespace tg::dns {
namespace {

std::size_t rdata_size(const std::vector<Record>& records) {
  std::size_t size = 0;
  for (const Record& r : records) size += r.rdata.size();
  return size;
}

void age(std::vector<Record>& records, std::uint32_t seconds) {
  for (Record& r : records) r.ttl -= std::min(r.ttl, seconds);
}

}  // namespace

void Cache::store(const Question& question, const Answer& answer, Instant now) {
  const auto life = lifetime(answer);
  if (!life || capacity_ == 0) return;
  if (rdata_size(answer.records.answers) + rdata_size(answer.records.authorities) > kMaxRdata) return;
  if (const auto old = index_.find(question); old != index_.end()) {
    entries_.erase(old->second);
    index_.erase(old);
  }
  if (entries_.size() == capacity_) {
    index_.erase(entries_.back().question);
    entries_.pop_back();
  }
  entries_.push_front({question, answer, now, now + *life});
  index_.emplace(question, entries_.begin());
}

std::optional<Answer> Cache::find(const Question& question, Instant now) {
  const auto it = index_.find(question);
  if (it == index_.end()) return std::nullopt;
  const auto entry = it->second;
  if (now >= entry->expires) {
    entries_.erase(entry);
    index_.erase(it);
    return std::nullopt;
  }
  entries_.splice(entries_.begin(), entries_, entry);
  Answer answer = entry->answer;
  const auto passed = std::chrono::duration_cast<std::chrono::seconds>(now - entry->stored).count();
  age(answer.records.answers, static_cast<std::uint32_t>(passed));
  age(answer.records.authorities, static_cast<std::uint32_t>(passed));
  return answer;
}

void Cache::clear() {
  entries_.clear();
  index_.clear();
}

}  // namespace tg::dns
