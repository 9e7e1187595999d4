#include "core/text.h"

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

namespace tg {
namespace {

// Piece is one code point of well-formed UTF-8 (Unicode table 3-7), or one byte that is not.
struct Piece {
  std::size_t length = 1;
  bool shown = false;
};

bool moves_the_cursor(std::uint32_t c) {
  const auto in = [c](std::uint32_t first, std::uint32_t last) { return first <= c && c <= last; };
  const bool control = in(0, 0x1f) || in(0x7f, 0x9f) || in(0x2028, 0x2029);   // the last two end a line or a paragraph
  const bool turns = in(0x202a, 0x202e) || in(0x2066, 0x2069) || in(0x200e, 0x200f) || c == 0x61c;   // bidirectional
  return control || turns;
}

Piece piece_at(std::string_view s, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned first = byte(at);
  if (first < 0x80) return {1, !moves_the_cursor(first)};
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || at + length > s.size()) return {};
  std::uint32_t c = first & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return {};
    c = c << 6 | (byte(at + i) & 0x3f);
  }
  const bool overlong = (length == 3 && c < 0x800) || (length == 4 && c < 0x10000);
  if (overlong || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return {};
  return {length, !moves_the_cursor(c)};
}

}  // namespace

std::string printable(std::string_view s, std::size_t max) {
  constexpr std::string_view kCut = "…";
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  std::size_t safe = 0;   // where a cut leaves room for kCut
  for (std::size_t at = 0; at < s.size();) {
    const Piece p = piece_at(s, at);
    if (p.shown) {
      out += s.substr(at, p.length);
    } else {
      for (std::size_t i = at; i < at + p.length; ++i) {
        const auto b = static_cast<unsigned char>(s[i]);
        out += {'\\', 'x', kDigits[b >> 4], kDigits[b & 15]};
      }
    }
    if (out.size() > max) {
      out.resize(safe);
      return max < kCut.size() ? out : out.append(kCut);
    }
    if (out.size() + kCut.size() <= max) safe = out.size();
    at += p.length;
  }
  return out;
}

std::string in_quotes(std::string_view s) { return "\"" + printable(s) + "\""; }

std::string utc_text(UnixTime t) {
  const auto day = std::chrono::floor<std::chrono::days>(t);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(t - day);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02} UTC", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()), time.hours().count(), time.minutes().count());
}

std::string rfc3339(UnixTime t) {
  const auto day = std::chrono::floor<std::chrono::days>(t);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(t - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()), time.hours().count(), time.minutes().count(), time.seconds().count());
}

std::string lower(std::string_view s) {
  std::string out(s);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

}  // namespace tg
