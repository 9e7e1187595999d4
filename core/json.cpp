#include "core/json.h"

#include "core/text.h"

namespace tg {
namespace {

// shallow counts brackets outside strings before anything is built of them.
bool shallow(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      else if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kJsonDepth) return false;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return true;
}

}  // namespace

std::optional<Json> parse_json(std::string_view text) {
  if (!shallow(text)) return std::nullopt;
  Json j = Json::parse(text.begin(), text.end(), nullptr, false);
  if (j.is_discarded()) return std::nullopt;
  return j;
}

std::string json_text(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

Fields::Fields(const Json& object, std::string_view what) : object_(object), what_(what) {
  if (!object.is_object()) error_ = std::string(what) + ": not an object";
}

void Fields::refuse(std::string_view key, std::string_view why) {
  if (ok()) error_ = std::string(what_) + ": " + std::string(key) + " " + std::string(why);
}

const Json* Fields::any(const char* key) {
  if (!ok()) return nullptr;
  const auto at = object_.find(key);
  if (at != object_.end()) return &*at;
  refuse(key, "is missing");
  return nullptr;
}

bool Fields::printable_text(const Json& j, std::size_t max) const {
  if (!j.is_string()) return false;
  const auto& s = j.get_ref<const std::string&>();
  return s.size() <= max && printable(s, max) == s;
}

std::string Fields::text(const char* key, std::size_t max) {
  const Json* j = any(key);
  if (j == nullptr) return {};
  if (!printable_text(*j, max) || j->get_ref<const std::string&>().empty()) {
    refuse(key, "is not a text of 1 to " + std::to_string(max) + " printable bytes");
    return {};
  }
  return j->get<std::string>();
}

std::string Fields::text_or_empty(const char* key, std::size_t max) {
  if (!has(key) || object_[key] == "") return {};
  return text(key, max);
}

std::uint64_t Fields::number(const char* key, std::uint64_t max) {
  const Json* j = any(key);
  if (j == nullptr) return 0;
  if (!j->is_number_unsigned() || j->get<std::uint64_t>() > max) {
    refuse(key, "is not a whole number up to " + std::to_string(max));
    return 0;
  }
  return j->get<std::uint64_t>();
}

bool Fields::flag(const char* key) {
  const Json* j = any(key);
  if (j != nullptr && !j->is_boolean()) refuse(key, "is neither true nor false");
  return ok() && j->get<bool>();
}

std::vector<std::string> Fields::texts(const char* key, std::size_t most) {
  std::vector<std::string> out;
  const Json* j = any(key);
  if (j == nullptr) return out;
  if (!j->is_array() || j->size() > most) refuse(key, "is not a list of at most " + std::to_string(most));
  for (std::size_t i = 0; ok() && i < j->size(); ++i) {
    if (printable_text((*j)[i], kTextMax)) out.push_back((*j)[i].get<std::string>());
    else refuse(key, "holds something that is not a printable text");
  }
  if (!ok()) out.clear();
  return out;
}

std::string text_or(const Json& object, const char* key, std::string otherwise) {
  if (!object.is_object()) return otherwise;
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::move(otherwise);
}

std::int64_t number_or(const Json& object, const char* key, std::int64_t otherwise) {
  if (!object.is_object()) return otherwise;
  const auto it = object.find(key);
  return it != object.end() && it->is_number_integer() ? it->get<std::int64_t>() : otherwise;
}

}  // namespace tg
