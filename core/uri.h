// Text inside URIs.
#pragma once

#include <string>
#include <string_view>

namespace tg {

// percent_encoded leaves the unreserved characters of RFC 3986 section 2.3 as they are, and writes every other byte as %XX: good
// for any part of a URI, and for forms (RFC 6749 appendix B).
std::string percent_encoded(std::string_view text);

}  // namespace tg
