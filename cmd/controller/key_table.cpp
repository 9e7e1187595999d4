#include "cmd/controller/key_table.h"

#include <fmt/format.h>

#include "cmd/controller/vault.h"
#include "core/encoding.h"
#include "core/text.h"

namespace tg::controller {

std::string short_id(Bytes id) { return hex(id.first(4)); }

Result<FreshToken> fresh_key(Database& db, const KeyTable& table, UnixTime expires) {
  FreshToken out{{}, random_bytes(32), expires};
  const std::string sql = fmt::format("SELECT 1 FROM {} WHERE short = ?", table.name);
  for (bool taken = true; taken;) {   // four bytes are enough for people, and not for ever without a namesake
    out.id = random_bytes(16);
    taken = false;
    auto read = db.each(sql.c_str(), {short_id(out.id)}, [&](const Row&) { taken = true; });
    if (!read) return pass_on(read);
  }
  return out;
}

Result<> check_room(Database& db, const KeyTable& table, std::int64_t user, const std::string& owner, const std::string& name) {
  bool taken = false;
  std::size_t there = 0;
  auto read = db.each(fmt::format("SELECT name FROM {} WHERE user = ?", table.name).c_str(), {user}, [&](const Row& row) {
    ++there;
    taken = taken || (!name.empty() && row.text(0) == name);
  });
  if (!read) return read;
  if (taken) return fail(Errc::conflict, fmt::format("{} has {} \"{}\" already", owner, table.one, name));
  if (there < table.most) return {};
  return fail(Errc::exhausted, fmt::format("{} has {} {}; delete one that is not needed", owner, there, table.several));
}

tl::unexpected<Error> no_such_key(const KeyTable& table, const std::string& id) {
  const std::string text = fmt::format("there is no {0} \"{1}\"; see: tg controller {0} list", table.kind, printable(id, 64));
  return fail(Errc::not_found, text);
}

}  // namespace tg::controller
