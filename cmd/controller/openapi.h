// What the HTTP API can do, for programs and for people: made of the table of api_endpoints.h. Pure.
#pragma once

#include <string>

#include "core/json_fwd.h"

namespace tg::controller {

// openapi is the document of OpenAPI 3.1.
const Json& openapi();
// api_page is the same as HTML without scripts.
const std::string& api_page();

}  // namespace tg::controller
