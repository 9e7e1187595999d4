// What people ask for where a policy wants approval, in the store.
#include <fmt/format.h>

#include <algorithm>

#include "cmd/controller/store.h"
#include "cmd/controller/vault.h"
#include "core/duration.h"
#include "core/encoding.h"
#include "core/json.h"
#include "core/text.h"

namespace tg::controller {
namespace {

constexpr std::chrono::hours kKept(24 * 30);    // what was answered; the audit log has it for longer


// most_of is for how long a request may be approved; nothing where none is wanted.
std::optional<std::chrono::seconds> most_of(const Demands& d) {
  std::optional<std::chrono::seconds> of_ways;
  bool every = !d.ways.empty();
  for (const PolicySpec* way : d.ways) {
    every = every && way->approval;
    if (way->approval && (!of_ways || *way->approval > *of_ways)) of_ways = way->approval;
  }
  const auto own = d.own == nullptr ? std::nullopt : d.own->approval;
  if (own && every) return std::min(*own, *of_ways);
  return own ? own : of_ways;
}

const Reached* find(const Circle& circle, ResourceId resource) {
  const auto found = std::find_if(circle.reached.begin(), circle.reached.end(),
                                  [&](const Reached& r) { return r.resource->resource.id == resource; });
  return found == circle.reached.end() ? nullptr : &*found;
}

Json json_of(const RequestRecord& r) {
  return {{"user", r.user}, {"device", r.device}, {"resource", r.resource_name}, {"reason", r.reason},
          {"wanted", std::uint64_t(r.wanted.count())}};
}

}  // namespace

Result<std::string> Store::new_request(const RequestRecord& wish, UnixTime now, const std::string& from) {
  auto here = directory();
  if (!here) return pass_on(here);
  const Model& model = (*here)->model();
  const Reached* reached = find((*here)->reach(wish.user), wish.resource);
  const auto most = reached == nullptr ? std::nullopt : most_of(reached->demands);
  if (reached == nullptr) return fail(Errc::not_found, "there is no such Resource for you");
  RequestRecord asked = wish;
  asked.resource_name = reached->resource->resource.name;
  const std::string name = printable(asked.resource_name, 64);
  if (!most) return fail(Errc::not_found, fmt::format("{} is not reached by asking: its policy wants no approval", name));
  if (asked.wanted.count() == 0) asked.wanted = *most;
  if (asked.wanted > *most) {
    return fail(Errc::invalid_argument, fmt::format("{} is approved for {} at most; ask for less with --for", name, to_string(*most)));
  }
  std::size_t open = 0;
  for (const RequestRecord& r : model.requests) {
    if (r.user != asked.user || r.state != RequestRecord::State::open || r.asked < now - kRequestOpen) continue;
    ++open;
    if (r.resource == asked.resource) {
      return fail(Errc::conflict, fmt::format("{} was asked for at {} already, as {}; an administrator has to answer", name,
                                              utc_text(r.asked), r.id));
    }
  }
  if (open >= kRequestsMax) {
    return fail(Errc::exhausted, fmt::format("{} of your requests are waiting for an answer, and more may not", open));
  }
  asked.id = hex(random_bytes(4));
  auto done = change(Stamp(now, asked.user, from), Effect::grows, [&](Database& db, Notes& notes) -> Result<> {
    auto gone = db.run("DELETE FROM request WHERE (state = 0 AND asked < ?) OR (state <> 0 AND decided < ? AND until < ?)",
                       {number(now - kRequestOpen), number(now - kKept), number(now - kKept)});
    if (!gone) return pass_on(gone);
    auto made = db.run("INSERT INTO request (id, user, device, resource, reason, asked, wanted) SELECT ?, u.id, ?, ?, ?, ?, ? FROM user u "
                       "WHERE u.email = ?",
                       {asked.id, asked.device, static_cast<std::int64_t>(asked.resource), asked.reason, number(now),
                        std::int64_t{asked.wanted.count()}, asked.user});
    if (!made) return pass_on(made);
    if (*made == 0) return fail(Errc::denied, "this device's user has been deleted");
    notes.push_back({"create", "request", asked.id, "null", json_text(json_of(asked))});
    return {};
  });
  if (!done) return pass_on(done);
  return asked.id;
}

Result<> Store::decide(const std::string& id, std::optional<std::chrono::seconds> for_how_long, const Stamp& by) {
  auto here = directory();
  if (!here) return pass_on(here);
  const auto& all = (*here)->model().requests;
  const auto found = std::find_if(all.begin(), all.end(), [&](const RequestRecord& r) { return r.id == id; });
  if (found == all.end()) {
    return fail(Errc::not_found, fmt::format("there is no request {}; see: tg controller request list", printable(id, 64)));
  }
  const RequestRecord& asked = *found;
  const Reached* reached = find((*here)->reach(asked.user), asked.resource);
  const auto most = reached == nullptr ? std::nullopt : most_of(reached->demands);
  const std::string name = printable(asked.resource_name, 64);
  if (for_how_long && !most) {
    return fail(Errc::conflict, fmt::format("approving would give {} nothing: {} is for none of his groups any more, or wants no approval",
                                            printable(asked.user), name));
  }
  const auto length = for_how_long && for_how_long->count() == 0 ? std::min(asked.wanted, *most) : for_how_long;
  if (length && *length > *most) {
    return fail(Errc::invalid_argument, fmt::format("for: the policy of {} allows {} at most", name, to_string(*most)));
  }
  const auto state = length ? RequestRecord::State::approved : RequestRecord::State::denied;
  const UnixTime until = length ? by.time + *length : UnixTime();
  return change(by, Effect::may_shrink, [&](Database& db, Notes& notes) -> Result<> {
    auto done = db.run("UPDATE request SET state = ?, decided_by = ?, decided = ?, until = ? WHERE id = ?",
                       {static_cast<std::int64_t>(state), by.who, number(by.time), number(until), id});
    if (!done) return pass_on(done);
    if (*done == 0) return fail(Errc::not_found, fmt::format("there is no request {} any more", id));
    Json after = {{"resource", asked.resource_name}, {"user", asked.user}};
    if (length) after["until"] = number(until);
    notes.push_back({length ? "approve" : "deny", "request", id, json_text(json_of(asked)), json_text(after)});
    return {};
  });
}

}  // namespace tg::controller
