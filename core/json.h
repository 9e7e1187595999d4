// JSON from outside: parsed with limits, and read field by field.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/json_fwd.h"
#include "core/result.h"

namespace tg {

// parse_json returns nothing for bytes that are not one JSON value in UTF-8, or that nest deeper than kJsonDepth.
inline constexpr int kJsonDepth = 64;
std::optional<Json> parse_json(std::string_view text);

// json_text writes `j` in one line; bytes that are not UTF-8 become U+FFFD.
std::string json_text(const Json& j);

// text_or and number_or return a member of an object, or `otherwise` when it is missing or of another type. (Json::value
// throws for another type, and a peer's bytes must not.)
std::string text_or(const Json& object, const char* key, std::string otherwise);
std::int64_t number_or(const Json& object, const char* key, std::int64_t otherwise);

// Fields reads one object field by field and remembers the first thing wrong, so that a reader asks once, at the end. A
// field that is missing, of another type or above its limit gives an empty value. Fields that nobody reads are ignored:
// the peer may be newer.
class Fields {
 public:
  static constexpr std::size_t kTextMax = 256;
  static constexpr std::size_t kListMax = 4096;

  // `object` and `what` (for messages: "resource") must outlive this.
  Fields(const Json& object, std::string_view what);

  std::string text(const char* key, std::size_t max = kTextMax);            // not empty, no control characters
  std::string text_or_empty(const char* key, std::size_t max = kTextMax);   // may be missing or empty
  std::uint64_t number(const char* key, std::uint64_t max = std::numeric_limits<std::uint64_t>::max());
  bool flag(const char* key);
  std::vector<std::string> texts(const char* key, std::size_t most = kListMax);
  // any returns the field whatever its type, or null and an error when it is missing.
  const Json* any(const char* key);

  bool has(const char* key) const { return object_.is_object() && object_.contains(key); }
  bool ok() const noexcept { return error_.empty(); }
  void refuse(std::string_view key, std::string_view why);
  tl::unexpected<Error> error() const { return fail(Errc::malformed, error_); }

 private:
  bool printable_text(const Json& j, std::size_t max) const;

  const Json& object_;
  std::string_view what_;
  std::string error_;
};

}  // namespace tg
