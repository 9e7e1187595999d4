#include "cmd/controller/reach.h"

#include <algorithm>
#include <set>

namespace tg::controller {
namespace {

// shrinks says whether whoever was in the groups `from` reached something that the groups `to` do not reach now.
bool shrinks(const Reach& before, const Reach::Groups& from, const Reach& after, const Reach::Groups& to) {
  const auto reached = [&](const auto& one) {
    return std::any_of(to.begin(), to.end(), [&](std::int64_t group) {
      const auto& there = Reach::in(after.resources, group);
      return std::binary_search(there.begin(), there.end(), one);
    });
  };
  return std::any_of(from.begin(), from.end(), [&](std::int64_t group) {
    const auto& had = Reach::in(before.resources, group);
    if (std::binary_search(to.begin(), to.end(), group) && had == Reach::in(after.resources, group)) return false;
    return !std::all_of(had.begin(), had.end(), reached);
  });
}

}  // namespace

Result<Reach> read_reach(Database& db) {
  Reach out;
  auto devices = db.each("SELECT d.id, d.user FROM device d JOIN user u ON u.id = d.user WHERE d.blocked = 0 AND u.blocked = 0 AND "
                         "(d.signs_in = 0 OR EXISTS (SELECT 1 FROM session s WHERE s.device = d.id))", {},
                         [&](const Row& row) { out.devices.emplace(row.text(0), row.number(1)); });
  if (!devices) return pass_on(devices);
  auto groups = db.each("SELECT user, \"group\" FROM member ORDER BY user, \"group\"", {},
                        [&](const Row& row) { out.groups[row.number(0)].push_back(row.number(1)); });
  if (!groups) return pass_on(groups);
  auto resources = db.each(
      "SELECT g.\"group\", r.id, r.network FROM resource_group g JOIN resource r ON r.id = g.resource "
      "ORDER BY g.\"group\", r.id",
      {}, [&](const Row& row) { out.resources[row.number(0)].emplace_back(row.number(1), row.number(2)); });
  if (!resources) return pass_on(resources);
  return out;
}

std::vector<std::string> lost(const Reach& before, const Reach& after) {
  std::set<std::int64_t> users;
  std::map<std::pair<Reach::Groups, Reach::Groups>, bool> known;   // many users have the same groups
  for (const auto& [user, from] : before.groups) {
    const auto& to = Reach::in(after.groups, user);
    const auto [at, fresh] = known.try_emplace({from, to}, false);
    if (fresh) at->second = shrinks(before, from, after, to);
    if (at->second) users.insert(user);
  }
  std::vector<std::string> out;
  for (const auto& [device, user] : before.devices) {
    if (users.contains(user) || !after.devices.contains(device)) out.push_back(device);
  }
  return out;
}

}  // namespace tg::controller
