#include "cmd/controller/web_session.h"

#include "cmd/controller/store.h"
#include "cmd/controller/words.h"
#include "core/encoding.h"
#include "core/json.h"

namespace tg::controller {
namespace {

constexpr std::size_t kNameBytes = 4;


}  // namespace

Result<std::optional<WebSessionRow>> web_session(Database& db, Bytes id) {
  std::optional<WebSessionRow> out;
  auto read = db.each("SELECT u.email, u.role, u.blocked, s.expires, coalesce(p.name, 'password'), s.methods, s.started "
                      "FROM web_session s JOIN user u ON u.id = s.user "
                      "LEFT JOIN \"identity-provider\" p ON p.id = s.provider WHERE s.id = ?",
                      {id}, [&](const Row& row) {
                        const Json json{{"user", row.text(0)}, {"provider", row.text(4)}, {"methods", split(row.text(5))},
                                        {"started", row.number(6)}, {"expires", row.number(3)}};
                        out = WebSessionRow{row.text(0), stored_role(row.number(1)), row.number(2) != 0, row.number(3),
                                            json_text(json)};
                      });
  if (!read) return pass_on(read);
  return out;
}

std::string web_session_name(Bytes id) { return hex(id.first(std::min(id.size(), kNameBytes))); }

Result<std::optional<WebCaller>> Store::web_caller(Bytes id, UnixTime now) {
  auto found = web_session(db_, id);
  if (!found) return pass_on(found);
  if (!*found || (*found)->blocked || (*found)->expires <= number(now)) return std::nullopt;
  return WebCaller{(*found)->user, (*found)->role, UnixTime(std::chrono::seconds((*found)->expires))};
}

Result<> Store::end_web_session(Bytes id, const Stamp& by) {
  return change(by, Effect::grows, [&](Database& db, Notes& notes) -> Result<> {
    auto before = web_session(db, id);
    if (!before) return pass_on(before);
    if (!*before) return fail(Errc::not_found, "there is no such session (any more)");
    auto done = db.run("DELETE FROM web_session WHERE id = ?", {id});
    if (!done) return pass_on(done);
    notes.push_back({"sign-out", kWebSession, web_session_name(id), std::move((*before)->json)});
    return {};
  });
}

Result<> Store::end_web_sessions(UnixTime now) {
  std::vector<Buffer> over;
  auto read = db_.each("SELECT id FROM web_session WHERE expires <= ? ORDER BY expires", {number(now)},
                       [&](const Row& row) { over.push_back(row.blob(0)); });
  if (!read || over.empty()) return read;
  return change(now, Effect::grows, [&](Database& db, Notes& notes) -> Result<> {
    for (const Buffer& id : over) {
      auto before = web_session(db, id);
      if (!before) return pass_on(before);
      auto ended = db.run("DELETE FROM web_session WHERE id = ? AND expires <= ?", {Bytes(id), number(now)});
      if (!ended) return pass_on(ended);
      if (*ended > 0 && *before) notes.push_back({"end", kWebSession, web_session_name(id), std::move((*before)->json)});
    }
    return {};
  });
}

}  // namespace tg::controller
