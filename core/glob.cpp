#include "core/glob.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

namespace tg {
namespace {

constexpr std::string_view kWild = "*?";

// ends_agree compares the literal ends of two patterns, which rules out most pairs at once.
bool ends_agree(std::string_view a, std::string_view b) {
  const auto prefix = [](std::string_view s) { return s.substr(0, s.find_first_of(kWild)); };
  const auto suffix = [](std::string_view s) { return s.substr(s.find_last_of(kWild) + 1); };
  const std::size_t head = std::min(prefix(a).size(), prefix(b).size());
  const std::size_t tail = std::min(suffix(a).size(), suffix(b).size());
  return a.substr(0, head) == b.substr(0, head) && a.substr(a.size() - tail) == b.substr(b.size() - tail);
}

// Overlap walks both patterns along one name that is made up on the way, shortest first. A state is a place in each
// pattern and the length of the label so far; a place on a `*` may stay for any character.
class Overlap {
 public:
  Overlap(std::string_view a, std::string_view b)
      : a_(a), b_(b), seen_((a.size() + 1) * (b.size() + 1) * (kLabelMax + 1)) {}

  bool exists() {
    visit({0, 0, 0});
    for (std::size_t length = 0; length <= kHostNameMax && !next_.empty(); ++length) {
      std::vector<State> now;
      std::swap(now, next_);
      // A `*` may also stand for nothing: those states are of the same length, so the list grows while it is read.
      for (std::size_t i = 0; i < now.size(); ++i) {
        const State s = now[i];
        if (s.a == a_.size() && s.b == b_.size() && s.label > 0) return true;
        skip_stars(s, now);
        step(s);
      }
    }
    return false;
  }

 private:
  struct State {
    std::size_t a, b, label;
  };

  bool first_time(const State& s) {
    const std::size_t index = (s.a * (b_.size() + 1) + s.b) * (kLabelMax + 1) + s.label;
    if (seen_[index]) return false;
    return seen_[index] = true;
  }
  void visit(const State& s) {
    if (first_time(s)) next_.push_back(s);
  }
  static char at(std::string_view p, std::size_t i) { return i < p.size() ? p[i] : '\0'; }

  void skip_stars(const State& s, std::vector<State>& same_length) {
    if (const State t{s.a + 1, s.b, s.label}; at(a_, s.a) == '*' && first_time(t)) same_length.push_back(t);
    if (const State t{s.a, s.b + 1, s.label}; at(b_, s.b) == '*' && first_time(t)) same_length.push_back(t);
  }

  void step(const State& s) {
    const char p = at(a_, s.a), q = at(b_, s.b);
    if (p == '\0' || q == '\0') return;
    const bool any_p = kWild.find(p) != std::string_view::npos, any_q = kWild.find(q) != std::string_view::npos;
    if (!any_p && !any_q && p != q) return;
    const char c = any_p ? q : p;
    const State next{s.a + (p != '*'), s.b + (q != '*'), 0};
    const bool dot = c == '.' || (any_p && any_q), letter = c != '.';
    if (dot && s.label > 0) visit(next);
    if (letter && s.label < kLabelMax) visit({next.a, next.b, s.label + 1});
  }

  std::string_view a_, b_;
  std::vector<bool> seen_;
  std::vector<State> next_;
};

}  // namespace

bool has_wildcard(std::string_view text) noexcept { return text.find_first_of(kWild) != std::string_view::npos; }

std::string normal_glob(std::string_view pattern) {
  std::string out;
  for (std::size_t i = 0; i < pattern.size();) {
    if (kWild.find(pattern[i]) == std::string_view::npos) {
      out += pattern[i++];
      continue;
    }
    bool star = false;
    for (; i < pattern.size() && kWild.find(pattern[i]) != std::string_view::npos; ++i) {
      if (pattern[i] == '?') out += '?';
      else star = true;
    }
    if (star) out += '*';
  }
  return out;
}

int glob_literals(std::string_view pattern) noexcept {
  return static_cast<int>(
      std::count_if(pattern.begin(), pattern.end(), [](char c) { return kWild.find(c) == std::string_view::npos; }));
}

bool glob_matches(std::string_view pattern, std::string_view name) noexcept {
  std::size_t p = 0, n = 0;
  std::size_t star = std::string_view::npos, from = 0;   // the last `*`, and where the name goes on behind it
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p, ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++from;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool globs_overlap(std::string_view a, std::string_view b) {
  return ends_agree(a, b) && Overlap(a, b).exists();
}

}  // namespace tg
