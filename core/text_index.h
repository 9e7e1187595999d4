// A hash table of texts that does not change: what a look-up needs is in one place.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <memory_resource>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"

namespace tg {

// TextIndex maps texts of up to 255 bytes to numbers, and to bytes that belong to them. Copies of the texts stand in places of two
// cache lines that are found by the hash alone, so that with a million of them a look-up mostly waits for memory once. What does not
// fit into its place goes to the next; what is too large for any stands elsewhere. An entry takes 1.6 to 3.4 times its text, its
// bytes and 8 more: 64 bytes with a text of 30, 192 with one of 55, of which a place has one. Immutable once built. Whoever hashes the
// texts chooses how, with all bits spread (see mix64).
class TextIndex {
 public:
  struct Entry {
    std::uint64_t hash = 0;
    std::string_view text;
    std::uint32_t value = 0;
    Bytes more = {};           // up to 65534
  };
  struct Found {
    std::uint32_t value;
    Bytes more;                // lives as long as this
  };

  TextIndex() = default;
  // Of two entries with one text, and nothing more, the first counts.
  explicit TextIndex(std::span<const Entry> entries) {
    double full = 0;           // places, if nothing but such entries were in each
    for (const Entry& e : entries) full += 1.0 / static_cast<double>(std::min(kEntries, kWords / words_in_place(e)));
    if (!entries.empty()) places_.resize(static_cast<std::size_t>(full * kRoom) + 1);
    TG_CHECK(places_.size() <= UINT32_MAX);
    // The largest first: a place that has no room for one is then five sixths full at least, so there is always room somewhere.
    for (std::size_t words = kWords; words > 0; --words) {
      for (const Entry& e : entries) {
        if (words_in_place(e) == words && !find(e.hash, e.text)) insert(e);
      }
    }
  }

  bool empty() const noexcept { return places_.empty(); }

  // fetch has the memory of what find() will be asked for come meanwhile.
  void fetch(std::uint64_t hash) const noexcept {
    if (places_.empty()) return;
    const Place& place = places_[home(hash)];
    __builtin_prefetch(&place);
    __builtin_prefetch(place.words.data() + kWords / 2);
  }

  std::optional<Found> find(std::uint64_t hash, std::string_view text) const {
    if (places_.empty()) return std::nullopt;
    for (std::size_t at = home(hash);; at = next(at)) {
      const Place& place = places_[at];
      const std::uint64_t* entry = place.words.data();
      for (std::size_t i = 0; i < place.count; ++i) {
        Head head;
        std::memcpy(&head, entry, sizeof head);
        if (place.tags[i] == tag_of(hash)) {
          if (head.more == kFar) {
            if (const Far& far = far_[head.value]; as_text(far.text) == text) return Found{far.value, far.more};
          } else if (head.text == text.size()) {
            const auto* const bytes = reinterpret_cast<const std::uint8_t*>(entry) + sizeof head;
            if (as_text({bytes, head.text}) == text) return Found{head.value, Bytes(bytes + head.text, head.more)};
          }
        }
        entry += words_of(head);
      }
      if (!place.passed) return std::nullopt;
    }
  }

 private:
  static constexpr std::size_t kWords = 15;      // for entries, of 8 bytes each
  static constexpr std::size_t kEntries = 6;     // in one place
  static constexpr double kRoom = 1.5;           // places, for each that would be full
  static constexpr std::uint16_t kFar = UINT16_MAX;

  struct Head {
    std::uint32_t value;       // of what is far: its number there
    std::uint16_t more;        // the size, or kFar
    std::uint16_t text;        // its size
  };
  struct alignas(128) Place {
    std::array<std::uint8_t, kEntries> tags{};
    std::uint8_t count = 0;
    bool passed = false;       // something that belongs here went on to the next
    std::array<std::uint64_t, kWords> words{};
  };
  struct Far {
    Buffer text, more;
    std::uint32_t value;
  };

  static std::uint8_t tag_of(std::uint64_t hash) noexcept { return static_cast<std::uint8_t>(hash); }
  std::size_t home(std::uint64_t hash) const noexcept { return static_cast<std::size_t>((hash >> 32) * places_.size() >> 32); }
  std::size_t next(std::size_t at) const noexcept { return at + 1 == places_.size() ? 0 : at + 1; }

  static std::size_t words_of(const Head& head) noexcept {
    return head.more == kFar ? 1 : (sizeof(Head) + head.text + head.more + 7) / 8;
  }
  static Head head_of(const Entry& e) noexcept {
    return {e.value, static_cast<std::uint16_t>(e.more.size()), static_cast<std::uint16_t>(e.text.size())};
  }
  static std::size_t words_in_place(const Entry& e) noexcept {
    const std::size_t words = words_of(head_of(e));
    return words > kWords ? 1 : words;
  }

  void insert(const Entry& e) {
    TG_CHECK(e.text.size() <= UINT8_MAX && e.more.size() < kFar);
    Head head = head_of(e);
    if (words_of(head) > kWords) {
      const Bytes text = as_bytes(e.text);
      far_.push_back({Buffer(text.begin(), text.end()), Buffer(e.more.begin(), e.more.end()), e.value});
      head = {static_cast<std::uint32_t>(far_.size() - 1), kFar, 0};
    }
    std::size_t at = home(e.hash);
    std::size_t used = used_in(places_[at]);
    for (; places_[at].count == kEntries || used + words_of(head) > kWords; used = used_in(places_[at])) {
      places_[at].passed = true;
      at = next(at);
    }
    Place& place = places_[at];
    place.tags[place.count++] = tag_of(e.hash);
    auto* to = reinterpret_cast<std::uint8_t*>(place.words.data() + used);
    std::memcpy(to, &head, sizeof head);
    if (head.more == kFar) return;
    std::copy(e.text.begin(), e.text.end(), to + sizeof head);
    std::copy(e.more.begin(), e.more.end(), to + sizeof head + e.text.size());
  }

  static std::size_t used_in(const Place& place) noexcept {
    std::size_t used = 0;
    for (std::size_t i = 0; i < place.count; ++i) {
      Head head;
      std::memcpy(&head, place.words.data() + used, sizeof head);
      used += words_of(head);
    }
    return used;
  }

  std::pmr::vector<Place> places_;   // from the default resource: see net/memory.h
  std::vector<Far> far_;
};

}  // namespace tg
