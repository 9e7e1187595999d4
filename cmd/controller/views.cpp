#include "cmd/controller/views.h"
#include "core/json.h"

#include <algorithm>
#include <iterator>

namespace tg::controller {
namespace {

template <class T>
const std::vector<const T*>& look_up(const std::unordered_map<std::string, std::vector<const T*>>& lists,
                                     const std::string& key) {
  static const std::vector<const T*> kNone;
  const auto found = lists.find(key);
  return found == lists.end() ? kNone : found->second;
}

std::string resource_key(const Resource& r) { return "resource/" + std::to_string(r.id); }

std::shared_ptr<const Json> shared(Json j) { return std::make_shared<const Json>(std::move(j)); }

// items_of makes what agents are told of each Resource, or takes it from `old`. Both are sorted by id.
std::vector<std::shared_ptr<const Json>> items_of(const std::vector<ResourceRecord>& resources, const Directory* old) {
  std::vector<std::shared_ptr<const Json>> out;
  out.reserve(resources.size());
  static const std::vector<ResourceRecord> kNone;
  const auto& before = old == nullptr ? kNone : old->model().resources;
  auto at = before.begin();
  for (const ResourceRecord& r : resources) {
    while (at != before.end() && at->resource.id < r.resource.id) ++at;
    const bool same = at != before.end() && at->resource == r.resource;
    out.push_back(same ? old->item(*at) : shared(to_json(r.resource)));
  }
  return out;
}

}  // namespace

Directory::Directory(Model model, const Directory* before)
    : model_(std::move(model)), items_(items_of(model_.resources, before)) {
  for (const ResourceRecord& r : model_.resources) {
    resources_[r.resource.network].push_back(&r);
    for (const std::string& group : r.groups) of_group_[group].push_back(&r);
  }
  for (const GroupRecord& g : model_.groups) {
    const auto add = [&](Groups& groups_of, const std::vector<std::string>& by_claim) {
      std::vector<std::string> all;
      std::set_union(g.members.begin(), g.members.end(), by_claim.begin(), by_claim.end(), std::back_inserter(all));
      for (const std::string& member : all) groups_of[member].push_back(g.name);
    };
    add(groups_of_, g.by_claim);
    add(once_groups_of_, g.once_by_claim);
  }
  for (const ConnectorRecord& c : model_.connectors) connectors_[c.network].push_back(&c);
  for (const Revocation& r : model_.revocations) generations_[r.device] = r.generation;
}

const std::vector<const ResourceRecord*>& Directory::reach_by(const Groups& groups_of, const std::string& user) const {
  static const std::vector<const ResourceRecord*> kNone;
  const auto groups = groups_of.find(user);
  if (groups == groups_of.end()) return kNone;
  const auto [at, fresh] = reach_.try_emplace(groups->second);
  std::vector<const ResourceRecord*>& list = at->second;
  if (!fresh) return list;
  for (const std::string& group : groups->second) {
    const auto& reached = look_up(of_group_, group);
    list.insert(list.end(), reached.begin(), reached.end());
  }
  std::sort(list.begin(), list.end(), [](auto* a, auto* b) { return a->resource.id < b->resource.id; });
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list;
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

std::vector<RelayPlace> relays_in_use(const Model& model, const std::string& embedded) {
  std::vector<RelayPlace> out;
  if (!embedded.empty()) out.push_back({kEmbeddedRelay, embedded});
  for (const RelayRecord& r : model.relays) {
    if (!r.key.empty() && r.address != embedded) out.push_back({r.id, r.address});
  }
  return out;
}

SharedView device_items(const Directory& directory, const Presence& presence, const std::vector<RelayPlace>& relays,
                        const LeaseKeys& keys, const std::string& device, Leases& leases, UnixTime now) {
  SharedView out;
  const DeviceRecord* record = directory.model().device(device);
  if (record == nullptr || record->blocked || record->user_blocked) return out;
  DeviceSelf self{record->user, record->id, record->name};
  self.sign_in = !record->let_in(now);
  if (record->session && now < record->session->expires) {
    self.provider = record->session->provider;
    self.until = record->session->expires;
  } else if (!record->service_key.empty()) {
    self.key = record->service_key;
    self.until = record->key_expires;
  }
  out.emplace("self", shared(to_json(self)));
  std::map<std::string, std::vector<ResourceId>> networks;
  for (const ResourceRecord* r : self.sign_in ? directory.would_reach(record->user) : directory.reach(record->user)) {
    out.emplace(resource_key(r->resource), directory.item(*r));
    if (!self.sign_in) networks[r->resource.network].push_back(r->resource.id);
  }
  const UnixTime until = record->reaches_until();
  const Generation generation = directory.generation(device);
  for (const auto& [network, resources] : networks) {
    out.emplace("grant/" + network, shared(leases.grant(keys, network, resources, generation, now, until)));
    for (const ConnectorRecord* c : directory.connectors(network)) {
      const auto here = presence.find(c->id);
      ConnectorInfo info{c->id, c->name, network, here != presence.end(), {}, {}};
      if (info.online) info.direct = here->second;
      for (const RelayPlace& r : relays) info.relays.push_back({r.id, r.address, leases.ticket(keys, r.id, c->id, now)});
      out.emplace("connector/" + c->id, shared(to_json(info)));
    }
  }
  leases.drop_unused();
  return out;
}

SharedView relay_items(const Directory& directory, const LeaseKeys& keys, const std::string& relay) {
  SharedView out;
  const RelayRecord* record = directory.model().relay(relay);
  if (record == nullptr) return out;
  out.emplace("self", shared(to_json(RelaySelf{record->id, record->name, keys.instance, record->address,
                                               relay_ticket_key(keys.ticket_key, record->id)})));
  return out;
}

SharedView connector_items(const Directory& directory, const std::vector<RelayPlace>& relays, const LeaseKeys& keys,
                           const std::string& connector, std::chrono::seconds grace) {
  SharedView out;
  const ConnectorRecord* record = directory.model().connector(connector);
  if (record == nullptr) return out;
  std::vector<std::string> addresses;
  for (const RelayPlace& r : relays) addresses.push_back(r.address);
  out.emplace("self", shared(to_json(ConnectorSelf{record->id, record->name, record->network, keys.instance,
                                                   keys.grant_key.public_key(), addresses, directory.model().grant_floor, grace})));
  for (const ResourceRecord* r : directory.resources(record->network)) {
    out.emplace(resource_key(r->resource), directory.item(*r));
  }
  for (const Revocation& r : directory.model().revocations) {
    out.emplace("revoked/" + r.device, shared(r.generation));
  }
  return out;
}

}  // namespace tg::controller
