// Patterns of names: `*` stands for zero or more characters, dots too, and `?` for exactly one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tg {

// kHostNameMax is how many characters a host's name has: 255 bytes on the wire, less the first length byte and the root (RFC 1035).
inline constexpr std::size_t kHostNameMax = 253;

// kLabelMax is how many of them are in one label (RFC 1035 section 2.3.4).
inline constexpr std::size_t kLabelMax = 63;

// has_wildcard says whether `*` or `?` is in `text`.
bool has_wildcard(std::string_view text) noexcept;

// normal_glob returns the shortest spelling of the same pattern: in each run of wildcards the `?` first, then one `*`.
std::string normal_glob(std::string_view pattern);

// glob_literals counts the characters that are neither `*` nor `?`.
int glob_literals(std::string_view pattern) noexcept;

// glob_matches says whether all of `name` fits. At worst the product of the two lengths, no allocation.
bool glob_matches(std::string_view pattern, std::string_view name) noexcept;

// globs_overlap says whether some name (no empty label, labels up to 63 and the whole up to 253 characters) fits both.
bool globs_overlap(std::string_view a, std::string_view b);

}  // namespace tg
