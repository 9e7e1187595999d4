#include "cmd/controller/model.h"

#include <algorithm>

namespace tg::controller {
namespace {

template <class T>
const T* by_id(const std::vector<T>& all, std::string_view id) {
  const auto found = std::lower_bound(all.begin(), all.end(), id,
                                      [](const T& one, std::string_view i) { return one.id < i; });
  return found == all.end() || found->id != id ? nullptr : &*found;
}

}  // namespace

const ConnectorRecord* Model::connector(std::string_view id) const { return by_id(connectors, id); }
const RelayRecord* Model::relay(std::string_view id) const { return by_id(relays, id); }
const DeviceRecord* Model::device(std::string_view id) const { return by_id(devices, id); }

std::optional<std::string> Model::key(std::string_view role, std::string_view id) const {
  const auto of = [](const auto* record) {
    return record == nullptr ? std::nullopt : std::optional<std::string>(record->key);
  };
  if (role == "device") return of(device(id));
  if (role == "connector") return of(connector(id));
  if (role == "relay") return of(relay(id));
  return std::nullopt;
}

DesiredState desired(const Model& model) {
  DesiredState out;
  for (const std::string& n : model.networks) out.networks.push_back({n, {}});
  for (const ConnectorRecord& c : model.connectors) out.connectors.push_back({c.name, c.network, {}});
  for (const RelayRecord& r : model.relays) out.relays.push_back({r.name, r.address, {}});
  for (const IdentityProviderRecord& p : model.identity_providers) out.identity_providers.push_back(p.spec);
  for (const UserRecord& u : model.users) out.users.push_back({u.email, {}, u.by_sign_in, u.blocked, u.role});
  out.policies = model.policies;
  out.services = model.services;
  for (const GroupRecord& g : model.groups) out.groups.push_back({g.name, g.members, {}, g.claims, g.policy});
  out.told = model.told;
  for (const ResourceRecord& r : model.resources) {
    const Resource& what = r.resource;
    out.resources.push_back({what.name, what.network, what.address, what.alias, r.groups, what.protocols, {}, r.policy});
  }
  return out;
}

}  // namespace tg::controller
