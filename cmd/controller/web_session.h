// Rows of the table web_session, inside the caller's transaction.
#pragma once

#include <optional>
#include <string>

#include "cmd/controller/database.h"
#include "core/rights.h"

namespace tg::controller {

inline constexpr const char* kWebSession = "web-session";   // the audit log's kind

struct WebSessionRow {
  std::string user;            // e-mail address
  Role role = Role::member;
  bool blocked = false;        // the user is
  std::int64_t expires = 0;
  std::string json;            // what the audit log says of it
};

// web_session returns nothing when there is none.
Result<std::optional<WebSessionRow>> web_session(Database& db, Bytes id);
// web_session_name is what the audit log calls it: the beginning of its id, which is no secret.
std::string web_session_name(Bytes id);

}  // namespace tg::controller
