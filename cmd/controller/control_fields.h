// Fields that several messages of a control stream have.
#pragma once

#include <string>

#include "core/json.h"
#include "core/text.h"

namespace tg::controller {

// pem_field returns a certificate request; "" when there is none of a likely size.
inline std::string pem_field(const Json& message, const char* key) {
  constexpr std::size_t kMax = 16 * 1024;
  std::string out = text_or(message, key, "");
  return out.size() <= kMax ? out : std::string();
}

// name_field returns a name. That of a machine is for people, so a strange one is no reason to turn it away.
inline std::string name_field(const Json& message, const char* key) { return printable(text_or(message, key, ""), 64); }

}  // namespace tg::controller
