#include "cmd/controller/views.h"
#include "cmd/controller/limits.h"
#include "core/json.h"

#include <algorithm>
#include <iterator>

namespace tg::controller {
namespace {

// told is what a device hears of a Resource that has demands.
ResourceAccess told(const Directory& directory, const DeviceRecord& device, ResourceId resource, const Access& access, UnixTime now) {
  ResourceAccess out{access.need, access.policy == nullptr ? "" : access.policy->name, access.changes, false, {}};
  if (access.need != Need::approval) return out;
  out.most = *access.policy->approval;
  out.asked = directory.asked(device.user, resource, now);
  return out;
}

// end_of returns when something ends: then, or a little earlier where a grant would have too many different moments to fit.
UnixTime end_of(const std::map<UnixTime, std::vector<ResourceId>>& ends, UnixTime when) {
  if (ends.size() < kGrantEndsMost || ends.contains(when)) return when;
  const auto later = ends.upper_bound(when);
  return later == ends.begin() ? when : std::prev(later)->first;
}

void put(Items& items, std::string key, const Json& item) {
  items.emplace(std::move(key), std::make_shared<const std::string>(json_text(item)));
}

}  // namespace

std::vector<RelayPlace> relays_in_use(const Model& model, const std::string& embedded) {
  std::vector<RelayPlace> out;
  if (!embedded.empty()) out.push_back({kEmbeddedRelay, embedded});
  for (const RelayRecord& r : model.relays) {
    if (!r.key.empty() && r.address != embedded) out.push_back({r.id, r.address});
  }
  return out;
}

ToldView device_items(const Directory& directory, const Presence& presence, const std::vector<RelayPlace>& relays,
                        const LeaseKeys& keys, const std::string& device, Leases& leases, Judge& judge) {
  ToldView out;
  const UnixTime now = judge.now();
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
  put(out.own, "self", to_json(self));
  std::map<std::string, Leases::Covered> networks;
  AccessList needs;
  const Standing standing = directory.standing_of(*record);
  const Circle& circle = self.sign_in ? directory.would_reach(record->user) : directory.reach(record->user);
  out.common = circle.items;
  for (const Reached& r : circle.reached) {
    if (self.sign_in) break;
    const Resource& resource = r.resource->resource;
    const Access access = directory.access(*record, standing, r, judge);
    if (r.demands.any()) needs.emplace(resource.id, told(directory, *record, resource.id, access, now));
    Leases::Covered& covered = networks[resource.network];
    covered.until = record->reaches_until();
    if (access.need != Need::nothing) covered.withheld.push_back(resource.id);
    else if (access.changes == UnixTime::max()) covered.resources.push_back(resource.id);
    else covered.ends[end_of(covered.ends, access.changes)].push_back(resource.id);
  }
  if (!needs.empty()) put(out.own, "access", to_json(needs));
  const Generation generation = directory.generation(device);
  for (const auto& [network, covered] : networks) {
    if (covered.resources.empty() && covered.ends.empty()) continue;
    put(out.own, "grant/" + network, leases.grant(keys, network, covered, generation, now));
    for (const ConnectorRecord* c : directory.connectors(network)) {
      const auto here = presence.find(c->id);
      ConnectorInfo info{c->id, c->name, network, here != presence.end(), {}, {}};
      if (info.online) info.direct = here->second;
      for (const RelayPlace& r : relays) info.relays.push_back({r.id, r.address, leases.ticket(keys, r.id, c->id, now)});
      put(out.own, "connector/" + c->id, to_json(info));
    }
  }
  leases.drop_unused();
  return out;
}

ToldView relay_items(const Directory& directory, const LeaseKeys& keys, const std::string& relay) {
  ToldView out;
  const RelayRecord* record = directory.model().relay(relay);
  if (record == nullptr) return out;
  put(out.own, "self", to_json(RelaySelf{record->id, record->name, keys.instance, record->address,
                                         relay_ticket_key(keys.ticket_key, record->id)}));
  return out;
}

ToldView connector_items(const Directory& directory, const std::vector<RelayPlace>& relays, const LeaseKeys& keys,
                           const std::string& connector, std::chrono::seconds grace) {
  ToldView out;
  const ConnectorRecord* record = directory.model().connector(connector);
  if (record == nullptr) return out;
  std::vector<std::string> addresses;
  for (const RelayPlace& r : relays) addresses.push_back(r.address);
  put(out.own, "self", to_json(ConnectorSelf{record->id, record->name, record->network, keys.instance,
                                             keys.grant_key.public_key(), addresses, directory.model().grant_floor, grace}));
  for (const ResourceRecord* r : directory.resources(record->network)) {
    out.own.emplace(resource_key(r->resource), directory.item(*r));
  }
  for (const Revocation& r : directory.model().revocations) {
    put(out.own, "revoked/" + r.device, r.generation);
  }
  return out;
}

}  // namespace tg::controller
