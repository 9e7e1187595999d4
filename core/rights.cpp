#include "core/rights.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/text.h"

namespace tg {
namespace {

constexpr std::array<const char*, 4> kRoles = {"member", "auditor", "admin", "owner"};

struct Word {
  std::string_view area;
  std::string_view deed;
};

Word cut_word(std::string_view word) {
  const auto colon = word.rfind(':');
  if (colon == word.npos) return {word, {}};
  return {word.substr(0, colon), word.substr(colon + 1)};
}

bool known(const Word& w) {
  return (w.deed == "read" || w.deed == "write") && (w.area == "*" || std::find(kAreas.begin(), kAreas.end(), w.area) != kAreas.end());
}

}  // namespace

const char* to_string(Role role) noexcept { return kRoles[static_cast<std::size_t>(role)]; }

std::optional<Role> role_named(std::string_view text) noexcept {
  const auto found = std::find(kRoles.begin(), kRoles.end(), text);
  if (found == kRoles.end()) return std::nullopt;
  return static_cast<Role>(found - kRoles.begin());
}

Scopes Scopes::everything() {
  Scopes out;
  out.words_ = {"*:write"};
  return out;
}

Result<Scopes> Scopes::parse(const std::vector<std::string>& words) {
  Scopes all;
  for (const std::string& word : words) {
    if (known(cut_word(word))) {
      all.words_.push_back(word);
      continue;
    }
    return fail(Errc::invalid_argument, fmt::format("\"{}\" is no scope; one is AREA:read or AREA:write, where AREA is * or one of {}",
                                                    printable(word, 64), fmt::join(kAreas, ", ")));
  }
  if (all.words_.empty()) return fail(Errc::invalid_argument, "at least one scope is needed, such as *:read");
  std::sort(all.words_.begin(), all.words_.end());
  all.words_.erase(std::unique(all.words_.begin(), all.words_.end()), all.words_.end());
  Scopes out;
  for (const std::string& word : all.words_) {
    Scopes others = all;
    std::erase(others.words_, word);
    const Word w = cut_word(word);
    if (!others.cover(w.area, w.deed == "write" ? Deed::write : Deed::read)) out.words_.push_back(word);
  }
  return out;
}

bool Scopes::cover(std::string_view area, Deed deed) const {
  return std::any_of(words_.begin(), words_.end(), [&](const std::string& word) {
    const Word w = cut_word(word);
    return (w.area == "*" || w.area == area) && (w.deed == "write" || deed == Deed::read);
  });
}

bool Scopes::cover(const Scopes& other) const {
  return std::all_of(other.words_.begin(), other.words_.end(), [&](const std::string& word) {
    const Word w = cut_word(word);
    return cover(w.area, w.deed == "write" ? Deed::write : Deed::read);
  });
}

}  // namespace tg
