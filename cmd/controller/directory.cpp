#include "cmd/controller/directory.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/json.h"

namespace tg::controller {
namespace {

template <class T>
const std::vector<const T*>& look_up(const std::unordered_map<std::string, std::vector<const T*>>& lists,
                                     const std::string& key) {
  static const std::vector<const T*> kNone;
  const auto found = lists.find(key);
  return found == lists.end() ? kNone : found->second;
}

// items_of makes what agents are told of each Resource, or takes it from `old`. Both are sorted by id.
std::vector<std::shared_ptr<const std::string>> items_of(const std::vector<ResourceRecord>& resources, const Directory* old) {
  std::vector<std::shared_ptr<const std::string>> out;
  out.reserve(resources.size());
  static const std::vector<ResourceRecord> kNone;
  const auto& before = old == nullptr ? kNone : old->model().resources;
  auto at = before.begin();
  for (const ResourceRecord& r : resources) {
    while (at != before.end() && at->resource.id < r.resource.id) ++at;
    const bool same = at != before.end() && at->resource == r.resource;
    out.push_back(same ? old->item(*at) : std::make_shared<const std::string>(json_text(to_json(r.resource))));
  }
  return out;
}

// No grant that there is lives for longer, also while the controller is away.
constexpr std::chrono::seconds kLongest = kGrantLifetime + std::chrono::hours(12);

// Difference is what the step from one Circle to another may take away.
struct Difference {
  bool takes = false;                                             // something that nobody had to do anything for
  std::vector<std::pair<const Reached*, const Reached*>> doubtful;   // that have demands; the second is null for what is gone
};

Difference difference_of(const Circle& from, const Circle& to) {
  Difference out;
  auto at = to.reached.begin();
  for (const Reached& had : from.reached) {
    const Resource& r = had.resource->resource;
    while (at != to.reached.end() && at->resource->resource.id < r.id) ++at;
    const bool there = at != to.reached.end() && at->resource->resource.id == r.id && at->resource->resource.network == r.network;
    if (!had.demands.any() && there && !at->demands.any()) continue;
    if (!had.demands.any() && !there) {
      out.takes = true;
      break;
    }
    out.doubtful.emplace_back(&had, there ? &*at : nullptr);
  }
  return out;
}

}  // namespace

std::string resource_key(const Resource& r) { return "resource/" + std::to_string(r.id); }

Directory::Directory(Model model, const Directory* before)
    : model_(std::move(model)), items_(items_of(model_.resources, before)) {
  for (const PolicySpec& p : model_.policies) policies_.emplace(p.name, &p);
  for (const ResourceRecord& r : model_.resources) {
    resources_[r.resource.network].push_back(&r);
    for (const std::string& group : r.groups) of_group_[group].push_back(&r);
  }
  for (const GroupRecord& g : model_.groups) {
    const auto add = [&](Groups& groups_of, const std::vector<std::string>& by_claim) {
      std::vector<std::string> all;
      std::set_union(g.members.begin(), g.members.end(), by_claim.begin(), by_claim.end(), std::back_inserter(all));
      for (const std::string& member : all) groups_of[member].push_back(&g);
    };
    add(groups_of_, g.by_claim);
    add(once_groups_of_, g.once_by_claim);
  }
  for (const ConnectorRecord& c : model_.connectors) connectors_[c.network].push_back(&c);
  set_revocations(std::exchange(model_.revocations, {}));
  for (const RequestRecord& r : model_.requests) {
    if (r.state == RequestRecord::State::open) asked_[r.user][r.resource] = r.asked;
    if (r.state != RequestRecord::State::approved) continue;
    Approval& known = approved_[r.user][r.resource];
    if (r.until > known.until) known = {r.decided.value_or(r.asked), r.until};
  }
}

void Directory::set_revocations(std::vector<Revocation> revocations) {
  model_.revocations = std::move(revocations);
  for (const Revocation& r : model_.revocations) generations_[r.device] = r.generation;
}

const PolicySpec* Directory::policy(const std::string& name) const {
  if (name.empty()) return nullptr;
  const auto found = policies_.find(name);
  TG_CHECK(found != policies_.end());   // a foreign key: what is not there must not open anything
  return found->second;
}

const Circle& Directory::circle_of(const Groups& groups_of, const std::string& user) const {
  static const Circle kNone;
  const auto groups = groups_of.find(user);
  if (groups == groups_of.end()) return kNone;
  const auto [at, fresh] = circles_.try_emplace(groups->second);
  Circle& out = at->second;
  if (!fresh) return out;
  std::vector<std::pair<const ResourceRecord*, const PolicySpec*>> ways;
  for (const GroupRecord* group : groups->second) {
    for (const ResourceRecord* r : look_up(of_group_, group->name)) ways.emplace_back(r, policy(group->policy));
  }
  std::stable_sort(ways.begin(), ways.end(),
                   [](const auto& a, const auto& b) { return a.first->resource.id < b.first->resource.id; });
  for (std::size_t i = 0; i < ways.size();) {
    Reached one{ways[i].first, {policy(ways[i].first->policy), {}}};
    bool free = false;
    for (; i < ways.size() && ways[i].first == one.resource; ++i) {
      if (ways[i].second == nullptr) free = true;
      else one.demands.ways.push_back(ways[i].second);
    }
    if (free) one.demands.ways.clear();
    out.demanding = out.demanding || one.demands.any();
    out.reached.push_back(std::move(one));
  }
  Items items;
  for (const Reached& r : out.reached) items.emplace(resource_key(r.resource->resource), item(*r.resource));
  if (!items.empty()) out.items = std::make_shared<const Items>(std::move(items));
  return out;
}

Standing Directory::standing_of(const DeviceRecord& device) const {
  Standing out;
  out.trusted = device.trusted;
  if (!device.session) return out;
  const SessionRecord& s = *device.session;
  out.signed_in = std::min(s.started, s.authenticated.value_or(s.started));
  out.session_ends = s.expires;
  static const std::vector<std::string> kNone;
  const auto& all = model_.identity_providers;
  const auto provider = std::find_if(all.begin(), all.end(), [&](const IdentityProviderRecord& p) { return p.spec.name == s.provider; });
  out.second_factor = second_factor(s.methods, s.context, provider == all.end() ? kNone : provider->spec.mfa_contexts);
  return out;
}

Access Directory::access(const DeviceRecord& device, const Standing& standing, const Reached& reached, Judge& judge) const {
  if (!reached.demands.any()) return {};
  std::optional<Approval> approved;
  if (const auto of_user = approved_.find(device.user); of_user != approved_.end()) {
    const auto found = of_user->second.find(reached.resource->resource.id);
    if (found != of_user->second.end()) approved = found->second;
  }
  return judge(reached.demands, standing, approved);
}

bool Directory::asked(const std::string& user, ResourceId resource, UnixTime now) const {
  const auto of_user = asked_.find(user);
  if (of_user == asked_.end()) return false;
  const auto found = of_user->second.find(resource);
  return found != of_user->second.end() && found->second >= now - kRequestOpen;
}

UnixTime Directory::next_change(Judge& judge) const {
  UnixTime out = UnixTime::max();
  if (model_.policies.empty()) return out;
  for (const DeviceRecord& d : model_.devices) {
    if (!d.let_in(judge.now())) continue;
    const Circle& circle = reach(d.user);
    if (!circle.demanding) continue;
    const Standing standing = standing_of(d);
    for (const Reached& r : circle.reached) out = std::min(out, access(d, standing, r, judge).again);
  }
  return out;
}

const std::vector<const ConnectorRecord*>& Directory::connectors(const std::string& network) const {
  return look_up(connectors_, network);
}
const std::vector<const ResourceRecord*>& Directory::resources(const std::string& network) const {
  return look_up(resources_, network);
}
Generation Directory::generation(const std::string& device) const {
  const auto found = generations_.find(device);
  return std::max(model_.grant_floor, found == generations_.end() ? 0 : found->second);
}

std::vector<std::string> lost(const Directory& before, const Directory& after, Judge& judge) {
  std::map<std::pair<const Circle*, const Circle*>, Difference> known;   // many users have the same groups
  std::vector<std::string> out;
  for (const DeviceRecord& had : before.model().devices) {
    if (!had.let_in(UnixTime())) continue;   // a session that is over is one until it is taken away
    const DeviceRecord* has = after.model().device(had.id);
    const UnixTime horizon = std::min(had.reaches_until(), judge.now() + kLongest);
    if (has == nullptr || !has->let_in(judge.now()) || has->reaches_until() < horizon) {
      out.push_back(had.id);
      continue;
    }
    const Circle* from = &before.reach(had.user);
    const Circle* to = &after.reach(has->user);
    if (from == to) continue;
    const auto [at, fresh] = known.try_emplace({from, to});
    if (fresh) at->second = difference_of(*from, *to);
    const Difference& d = at->second;
    if (!d.takes && d.doubtful.empty()) continue;
    const Standing stood = before.standing_of(had), stands = after.standing_of(*has);
    const auto gone = [&](const auto& pair) {
      const Access then = before.access(had, stood, *pair.first, judge);
      if (then.need != Need::nothing) return false;
      if (pair.second == nullptr) return true;
      const Access now = after.access(*has, stands, *pair.second, judge);
      if (now.need != Need::nothing) return true;
      return now.changes < std::min(then.changes, horizon);
    };
    if (d.takes || std::any_of(d.doubtful.begin(), d.doubtful.end(), gone)) out.push_back(had.id);
  }
  return out;
}

}  // namespace tg::controller
