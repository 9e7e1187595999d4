#include "core/authority.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "core/text.h"

namespace tg {
namespace {

bool administers(Role role) { return role == Role::admin || role == Role::owner; }

std::string titled(const std::string& kind, std::string_view name) { return kind + " \"" + printable(name, 64) + "\""; }

tl::unexpected<Error> only_an_owner(const std::string& deed) { return fail(Errc::denied, "only an owner may " + deed); }

Result<> check_providers(const DesiredState& before, const DesiredState& after) {
  DesiredState from, to;
  from.identity_providers = before.identity_providers;
  to.identity_providers = after.identity_providers;
  for (const Change& c : plan(from, to, true)) {
    const char* deed = c.verb == Change::Verb::create ? "add" : c.verb == Change::Verb::update ? "change" : "remove";
    return only_an_owner(std::string(deed) + " the " + titled(c.kind, c.name));
  }
  return {};
}

template <class Spec>
Result<> check_subjects(const std::string& kind, const std::vector<Spec>& before, const std::vector<Spec>& after,
                        std::string Spec::*name) {
  std::unordered_map<std::string_view, const Spec*> known;
  for (const Spec& s : before) known.try_emplace(s.*name, &s);
  std::unordered_set<std::string_view> kept;
  for (const Spec& s : after) {
    kept.insert(s.*name);
    const auto was = known.find(s.*name);
    const std::string who = titled(kind, s.*name);
    if (was == known.end()) {
      if (s.role != Role::member) return only_an_owner("make the " + who + " with the role " + to_string(s.role));
      continue;
    }
    if (was->second->role != s.role) return only_an_owner("change the role of the " + who);
    if (administers(s.role) && was->second->blocked != s.blocked) {
      return only_an_owner((s.blocked ? "block the " : "unblock the ") + who + ", whose role is " + to_string(s.role));
    }
  }
  for (const Spec& s : before) {
    if (!administers(s.role) || kept.contains(s.*name)) continue;
    return only_an_owner("remove the " + titled(kind, s.*name) + ", whose role is " + to_string(s.role));
  }
  return {};
}

template <class Spec>
Role role_of(const std::vector<Spec>& all, std::string Spec::*name, const std::string& subject) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const Spec& s) { return s.*name == subject; });
  return found == all.end() ? Role::member : found->role;
}

}  // namespace

Result<> may_change(Role by, const DesiredState& before, const DesiredState& after) {
  if (by == Role::owner) return {};
  if (by != Role::admin) return fail(Errc::denied, "only an owner or an admin may change something here");
  if (auto may = check_providers(before, after); !may) return may;
  if (auto may = check_subjects("user", before.users, after.users, &UserSpec::email); !may) return may;
  return check_subjects("service", before.services, after.services, &ServiceSpec::name);
}

Result<> may_act_for(Role by, const DesiredState& state, const std::string& subject) {
  if (by == Role::owner) return {};
  const bool person = is_person(subject);
  const std::string who = titled(person ? "user" : "service", subject);
  if (by != Role::admin) return fail(Errc::denied, "only an owner or an admin may do this for the " + who);
  const Role role = person ? role_of(state.users, &UserSpec::email, lower(subject))
                           : role_of(state.services, &ServiceSpec::name, subject);
  if (!administers(role)) return {};
  return only_an_owner("do this for the " + who + ", whose role is " + to_string(role));
}

}  // namespace tg
