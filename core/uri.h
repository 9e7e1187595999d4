// Parts of URIs as text (RFC 3986). Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tg {

// percent_encoded writes everything but unreserved characters (section 2.3) as %XX: for one segment of a path, or one value of a query.
std::string percent_encoded(std::string_view text);
// percent_decoded returns nothing for a % without two hexadecimal digits behind it.
std::optional<std::string> percent_decoded(std::string_view text);

// parse_query reads "a=1&b=two+words" as forms write it: '+' is a space. Nothing for a bad %.
using QueryItems = std::vector<std::pair<std::string, std::string>>;
std::optional<QueryItems> parse_query(std::string_view query);

}  // namespace tg
