// The tables of the store, and their version.
#pragma once

#include "cmd/controller/database.h"

namespace tg::controller {

// ensure_schema makes the tables in an empty database, and brings older ones up to date. Errors: unsupported when a
// newer tg made them.
Result<> ensure_schema(Database& db);

}  // namespace tg::controller
