// Json's name alone, for headers: its definition is a second's work for the compiler (core/json.h).
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace tg {

using Json = nlohmann::json;

}  // namespace tg
