// What the keys of service accounts and API tokens have in common: each is a row of a table with a secret that is good until it
// expires, and people know it by the first 8 hex digits of its id.
#pragma once

#include <cstdint>
#include <string>

#include "cmd/controller/store.h"

namespace tg::controller {

struct KeyTable {
  const char* name;        // of the table in the database
  const char* kind;        // as in commands and in the audit log
  const char* one;         // in words
  const char* several;
  std::size_t most;        // of one owner
};

std::string short_id(Bytes id);

// fresh_key draws a secret, and an id whose short form no other has.
Result<FreshToken> fresh_key(Database& db, const KeyTable& table, UnixTime expires);

// check_room says whether somebody (`user`: his row; `owner`: in words) may have one more, of that name; "" is no name. Errors:
// conflict, exhausted.
Result<> check_room(Database& db, const KeyTable& table, std::int64_t user, const std::string& owner, const std::string& name);

// no_such_key is the error about a short id that is none.
tl::unexpected<Error> no_such_key(const KeyTable& table, const std::string& id);

}  // namespace tg::controller
