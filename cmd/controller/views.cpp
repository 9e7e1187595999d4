#include "cmd/controller/views.h"
#include "core/json.h"

#include <algorithm>
#include <iterator>

namespace tg::controller {
namespace {

std::string resource_key(const Resource& r) { return "resource/" + std::to_string(r.id); }

// told is what a device hears of a Resource that has demands.
ResourceAccess told(const Directory& directory, const DeviceRecord& device, ResourceId resource, const Access& access) {
  ResourceAccess out{access.need, access.policy == nullptr ? "" : access.policy->name, access.changes, false, {}};
  if (access.need != Need::approval) return out;
  out.most = *access.policy->approval;
  const auto& requests = directory.model().requests;
  out.asked = std::any_of(requests.begin(), requests.end(), [&](const RequestRecord& r) {
    return r.state == RequestRecord::State::open && r.user == device.user && r.resource == resource;
  });
  return out;
}

std::shared_ptr<const Json> shared(Json j) { return std::make_shared<const Json>(std::move(j)); }

}  // namespace

std::vector<RelayPlace> relays_in_use(const Model& model, const std::string& embedded) {
  std::vector<RelayPlace> out;
  if (!embedded.empty()) out.push_back({kEmbeddedRelay, embedded});
  for (const RelayRecord& r : model.relays) {
    if (!r.key.empty() && r.address != embedded) out.push_back({r.id, r.address});
  }
  return out;
}

SharedView device_items(const Directory& directory, const Presence& presence, const std::vector<RelayPlace>& relays,
                        const LeaseKeys& keys, const std::string& device, Leases& leases, Judge& judge) {
  SharedView out;
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
  out.emplace("self", shared(to_json(self)));
  // Granted is what one grant gives: it ends when the first of these Resources is reached no longer, and another takes its place.
  struct Granted {
    std::vector<ResourceId> resources;
    UnixTime until;
  };
  std::map<std::string, Granted> networks;
  AccessList needs;
  for (const Reached& r : self.sign_in ? directory.would_reach(record->user).reached : directory.reach(record->user).reached) {
    const Resource& resource = r.resource->resource;
    out.emplace(resource_key(resource), directory.item(*r.resource));
    if (self.sign_in) continue;
    const Access access = directory.access(*record, r, judge);
    if (r.demands.any()) needs.emplace(resource.id, told(directory, *record, resource.id, access));
    if (access.need != Need::nothing) continue;
    Granted& granted = networks.try_emplace(resource.network, Granted{{}, record->reaches_until()}).first->second;
    granted.resources.push_back(resource.id);
    granted.until = std::min(granted.until, access.changes);
  }
  if (!needs.empty()) out.emplace("access", shared(to_json(needs)));
  const Generation generation = directory.generation(device);
  for (const auto& [network, granted] : networks) {
    out.emplace("grant/" + network, shared(leases.grant(keys, network, granted.resources, generation, now, granted.until)));
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
