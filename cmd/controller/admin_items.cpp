// The entries of the model as administrators see them.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <unordered_map>

#include "cmd/controller/admin_api.h"
#include "cmd/controller/desired_json.h"
#include "core/duration.h"
#include "core/json.h"
#include "core/text.h"
#include "core/view.h"

namespace tg::controller {
namespace {

Json time_of(const std::optional<UnixTime>& t) {
  return t ? Json(t->time_since_epoch().count()) : Json(nullptr);
}

// Present finds the agents that are online.
class Present {
 public:
  explicit Present(const std::vector<OnlineAgent>& online) {
    for (const OnlineAgent& a : online) agents_.emplace(a.role + "/" + a.id, &a);
  }
  const OnlineAgent* find(const std::string& role, const std::string& id) const {
    const auto found = agents_.find(role + "/" + id);
    return found == agents_.end() ? nullptr : found->second;
  }

 private:
  std::unordered_map<std::string, const OnlineAgent*> agents_;
};

void add_presence(Json& item, const OnlineAgent* agent) {
  item["online"] = agent != nullptr;
  item["from"] = agent ? Json(agent->address) : Json(nullptr);
  item["version"] = agent ? Json(agent->version) : Json(nullptr);
}

Json networks(const Model& model, const Present& online) {
  Json out = Json::array();
  for (const std::string& name : model.networks) {
    std::size_t connectors = 0;
    std::size_t here = 0;
    for (const ConnectorRecord& c : model.connectors) {
      if (c.network != name) continue;
      ++connectors;
      if (online.find("connector", c.id)) ++here;
    }
    const auto resources = std::count_if(model.resources.begin(), model.resources.end(),
                                         [&](const ResourceRecord& r) { return r.resource.network == name; });
    out.push_back({{"name", name}, {"connectors", connectors}, {"connectors_online", here}, {"resources", resources}});
  }
  return out;
}

Json connectors(const Model& model, const Present& online) {
  Json out = Json::array();
  for (const ConnectorRecord& c : model.connectors) {
    Json item = {{"id", c.id}, {"name", c.name}, {"network", c.network}, {"enrolled", !c.key.empty()},
                 {"created", time_of(c.created)}, {"last_seen", time_of(c.last_seen)}};
    add_presence(item, online.find("connector", c.id));
    out.push_back(std::move(item));
  }
  return out;
}

Json relays(const Model& model, const Present& online) {
  Json out = Json::array();
  for (const RelayRecord& r : model.relays) {
    Json item = {{"id", r.id}, {"name", r.name}, {"address", r.address}, {"enrolled", !r.key.empty()},
                 {"created", time_of(r.created)}, {"last_seen", time_of(r.last_seen)}};
    add_presence(item, online.find("relay", r.id));
    out.push_back(std::move(item));
  }
  return out;
}

Json identity_providers(const Model& model) {
  Json out = Json::array();
  for (const IdentityProviderRecord& p : model.identity_providers) {
    Json item = to_json(p.spec);
    item["secret"] = p.has_secret ? "hidden" : "none";
    item["lifetime"] = to_string(p.spec.session);
    out.push_back(std::move(item));
  }
  return out;
}

Json policies(const Model& model) {
  std::unordered_map<std::string, std::vector<std::string>> groups, resources;
  for (const GroupRecord& g : model.groups) groups[g.policy].push_back(g.name);
  for (const ResourceRecord& r : model.resources) resources[r.policy].push_back(r.resource.name);
  Json out = Json::array();
  for (const PolicySpec& p : model.policies) {
    Json item = to_json(p);
    item["demands"] = what_for(p);
    item["groups"] = groups[p.name];
    item["resources"] = resources[p.name];
    out.push_back(std::move(item));
  }
  return out;
}

Json requests(const Model& model, UnixTime now) {
  Json out = Json::array();
  for (const RequestRecord& r : model.requests) {
    const bool approved = r.state == RequestRecord::State::approved;
    const char* state = r.state == RequestRecord::State::open ? "open" : !approved ? "denied" : now < r.until ? "approved" : "over";
    const DeviceRecord* device = model.device(r.device);
    out.push_back({{"id", r.id}, {"user", r.user}, {"device", device == nullptr ? r.device : device->name}, {"resource", r.resource_name},
                   {"reason", r.reason}, {"state", state}, {"asked", time_of(r.asked)}, {"wanted", to_string(r.wanted)},
                   {"decided", time_of(r.decided)}, {"decided_by", r.decided_by},
                   {"until", approved ? time_of(r.until) : Json(nullptr)}});
  }
  return out;
}

Json sessions(const Model& model) {
  Json out = Json::array();
  for (const DeviceRecord& d : model.devices) {
    if (!d.session) continue;
    out.push_back({{"id", d.id}, {"device", d.name}, {"user", d.user}, {"provider", d.session->provider},
                   {"methods", d.session->methods}, {"context", d.session->context}, {"started", time_of(d.session->started)},
                   {"expires", time_of(d.session->expires)}});
  }
  return out;
}

// Members by a claim, and not by name.
std::vector<std::string> only_by_claim(const GroupRecord& g) {
  std::vector<std::string> out;
  std::set_difference(g.by_claim.begin(), g.by_claim.end(), g.members.begin(), g.members.end(), std::back_inserter(out));
  return out;
}

// Counts what belongs to each subject, by its name.
template <class Record>
std::unordered_map<std::string, std::size_t> count_of(const std::vector<Record>& all, std::string Record::*whose) {
  std::unordered_map<std::string, std::size_t> out;
  for (const Record& one : all) ++out[one.*whose];
  return out;
}

Json users(const Model& model) {
  std::unordered_map<std::string, std::vector<std::string>> groups;
  for (const GroupRecord& g : model.groups) {
    for (const std::string& member : g.members) groups[member].push_back(g.name);
    for (const std::string& member : only_by_claim(g)) groups[member].push_back(g.name);
  }
  auto devices = count_of(model.devices, &DeviceRecord::user);
  Json out = Json::array();
  for (const UserRecord& u : model.users) {
    out.push_back({{"email", u.email}, {"groups", groups[u.email]}, {"devices", devices[u.email]}, {"accounts", u.accounts}, {"password", u.password}, {"totp", u.totp},
                   {"state", u.blocked ? "blocked" : "active"}, {"role", to_string(u.role)},
                   {"made", u.by_sign_in ? "by sign-in" : "by an administrator"}});
  }
  return out;
}

Json services(const Model& model) {
  std::unordered_map<std::string, std::vector<std::string>> groups;
  for (const GroupRecord& g : model.groups) {
    for (const std::string& member : g.members) groups[member].push_back(g.name);
  }
  auto keys = count_of(model.service_keys, &ServiceKeyRecord::service);
  auto devices = count_of(model.devices, &DeviceRecord::user);
  Json out = Json::array();
  for (const ServiceSpec& s : model.services) {
    out.push_back({{"name", s.name}, {"state", s.blocked ? "blocked" : "active"}, {"role", to_string(s.role)},
                   {"groups", groups[s.name]}, {"keys", keys[s.name]}, {"devices", devices[s.name]}});
  }
  return out;
}

// of_key is what keys and API tokens have in common.
template <class Record>
Json of_key(const Record& k, UnixTime now) {
  return {{"id", k.id}, {"name", k.name}, {"state", k.expires <= now ? "expired" : "active"}, {"created", time_of(k.created)},
          {"expires", time_of(k.expires)}, {"last_used", time_of(k.last_used)}};
}

Json keys(const Model& model, UnixTime now) {
  auto devices = count_of(model.devices, &DeviceRecord::service_key);
  Json out = Json::array();
  for (const ServiceKeyRecord& k : model.service_keys) {
    Json item = of_key(k, now);
    item["service"] = k.service;
    item["devices"] = devices[k.id];
    out.push_back(std::move(item));
  }
  return out;
}

Json api_tokens(const Model& model, UnixTime now) {
  Json out = Json::array();
  for (const ApiTokenRecord& t : model.api_tokens) {
    Json item = of_key(t, now);
    item["user"] = t.user;
    item["scopes"] = t.scopes.words();
    out.push_back(std::move(item));
  }
  return out;
}

Json groups(const Model& model) {
  std::unordered_map<std::string, std::vector<std::string>> resources;
  for (const ResourceRecord& r : model.resources) {
    for (const std::string& group : r.groups) resources[group].push_back(r.resource.name);
  }
  Json out = Json::array();
  for (const GroupRecord& g : model.groups) {
    out.push_back({{"name", g.name}, {"members", g.members}, {"claims", to_json(g.claims)}, {"by_claim", only_by_claim(g)},
                   {"resources", resources[g.name]}, {"policy", g.policy}});
  }
  return out;
}

Json resources(const Model& model) {
  Json out = Json::array();
  for (const ResourceRecord& r : model.resources) {
    Json item = to_json(r.resource);
    item["groups"] = r.groups;
    item["alias"] = r.resource.alias;
    item["rules"] = r.resource.protocols.to_string();
    item["policy"] = r.policy;
    out.push_back(std::move(item));
  }
  return out;
}

Json devices(const Model& model, const Present& online) {
  Json out = Json::array();
  for (const DeviceRecord& d : model.devices) {
    const char* state = d.blocked ? "blocked" : d.trusted ? "trusted" : "pending";
    const char* access = d.blocked ? "blocked" : d.user_blocked ? "user blocked" : d.signs_in && !d.session ? "signed out" : "let in";
    Json item = {{"id", d.id}, {"name", d.name}, {"user", d.user}, {"state", state}, {"access", access},
                 {"created", time_of(d.created)}, {"last_seen", time_of(d.last_seen)}};
    add_presence(item, online.find("device", d.id));
    out.push_back(std::move(item));
  }
  return out;
}

}  // namespace

Result<Json> items(const Model& model, const std::vector<OnlineAgent>& agents, const std::string& kind, UnixTime now) {
  const Present online(agents);
  if (kind == "network") return networks(model, online);
  if (kind == "connector") return connectors(model, online);
  if (kind == "relay") return relays(model, online);
  if (kind == "identity-provider") return identity_providers(model);
  if (kind == "policy") return policies(model);
  if (kind == "request") return requests(model, now);
  if (kind == "session") return sessions(model);
  if (kind == "user") return users(model);
  if (kind == "service") return services(model);
  if (kind == "key") return keys(model, now);
  if (kind == "api-token") return api_tokens(model, now);
  if (kind == "group") return groups(model);
  if (kind == "resource") return resources(model);
  if (kind == "device") return devices(model, online);
  return fail(Errc::invalid_argument, fmt::format("there is no kind \"{}\"", printable(kind, 64)));
}

}  // namespace tg::controller
